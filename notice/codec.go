package notice

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// Events and deliveries are written to and read from the queue several times
// each, so they have an encoding of their own: a version, then every field in
// the order of its struct. Texts are preceded by their length, numbers are
// varints, times are milliseconds. Reading it takes a tenth of the time that
// JSON takes. docs/decisions/006 says what a new field has to do.

// codecVersion begins an encoding, and codecEnvironments one whose addresses
// and devices have an environment each, which is written only where one of
// them has: without, an encoding is what older consumers read too. Neither is
// a character that JSON begins with.
// codecFurther is one that goes on, after what ended it before, with what a
// chain or quiet hours need; 4 is one that does both. codecDigest is 3 with a
// digest behind that, and 6 the same with environments.
const (
	codecVersion      = 1
	codecEnvironments = 2
	codecFurther      = 3
	codecDigest       = 5
	codecLast         = 6
)

// ErrEncoding is what is wrong with a payload that is no encoding of ours.
var ErrEncoding = errors.New("not an encoding of this version of the gateway")

// AppendBinary implements encoding.BinaryAppender.
func (e *Event) AppendBinary(b []byte) ([]byte, error) {
	environments := slices.ContainsFunc(e.Notification.To.Devices, func(d Device) bool { return d.Environment != "" })
	b = appendVersion(b, environments, e.Planned > 0, false)
	b = appendText(b, e.ID)
	b = appendText(b, e.Tenant)
	b = appendTime(b, e.AcceptedAt)
	b = appendBool(b, e.Keyed)
	n := &e.Notification
	b = appendText(b, n.Template)
	b, err := appendContent(b, n.Content)
	if err != nil {
		return nil, err
	}
	b = appendRecipient(b, &n.To, environments)
	b = appendText(b, n.Data)
	b = binary.AppendUvarint(b, uint64(len(n.Channels)))
	for _, m := range n.Channels {
		b = appendText(b, m)
	}
	b = appendText(b, n.Route)
	b = appendText(b, n.Category)
	b = appendText(b, n.Priority)
	b = appendTime(b, n.SendAt)
	b = appendTime(b, n.ExpiresAt)
	b = appendText(b, n.CollapseKey)
	if e.Planned > 0 {
		b = binary.AppendUvarint(b, uint64(e.Planned))
	}
	return b, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. The event keeps parts
// of data, which must not be changed afterwards.
func (e *Event) UnmarshalBinary(data []byte) error {
	d := newDecoder(data)
	e.ID, e.Tenant, e.AcceptedAt, e.Keyed = d.text(), d.text(), d.time(), d.bool()
	n := &e.Notification
	n.Template = d.text()
	n.Content = d.content()
	d.recipient(&n.To)
	n.Data = d.bytes()
	n.Channels = list(d, func() Medium { return Medium(d.text()) })
	n.Route, n.Category, n.Priority = Route(d.text()), d.text(), Lane(d.text())
	n.SendAt, n.ExpiresAt, n.CollapseKey = d.time(), d.time(), d.text()
	if d.further {
		e.Planned = int(d.uint() & 0xffff)
	}
	return d.end()
}

// AppendBinary implements encoding.BinaryAppender.
func (d *Delivery) AppendBinary(b []byte) ([]byte, error) {
	environments := d.Address.Environment != ""
	digest := d.Digest != ""
	further := d.Chain != nil || d.Quiet != "" || digest
	b = appendVersion(b, environments, further, digest)
	b = appendText(b, d.ID)
	b = appendText(b, d.Tenant)
	b = appendText(b, d.Template)
	b = appendText(b, d.Version)
	b, err := appendContent(b, d.Content)
	if err != nil {
		return nil, err
	}
	b = appendText(b, d.Data)
	b = appendText(b, d.Category)
	b = appendText(b, d.Lane)
	for _, s := range [...]string{d.To.User, d.To.Name, d.To.Email, d.To.Locale, d.To.Timezone} {
		b = appendText(b, s)
	}
	b = appendAddress(b, &d.Address, environments)
	b = appendTime(b, d.AcceptedAt)
	b = appendTime(b, d.ExpiresAt)
	b = appendText(b, d.CollapseKey)
	b = binary.AppendUvarint(b, uint64(max(d.Attempt, 0)))
	b = binary.AppendUvarint(b, 0) // once the further addresses of a chain
	b = appendBool(b, d.Unknown)
	b = appendBool(b, d.Alone)
	b = appendBool(b, d.Keyed)
	if !further {
		return b, nil
	}
	b = appendText(b, d.Quiet)
	b, err = appendChain(b, d.Chain)
	if digest {
		b = appendText(b, d.Digest)
	}
	return b, err
}

func appendChain(b []byte, c *Chain) ([]byte, error) {
	b = appendBool(b, c != nil)
	if c == nil {
		return b, nil
	}
	b = binary.AppendUvarint(b, uint64(max(c.First, 0)))
	b = binary.AppendUvarint(b, uint64(max(c.Last, 0)))
	rest, err := c.Rest.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	return appendText(b, rest), nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. The delivery keeps
// parts of data, which must not be changed afterwards.
func (d *Delivery) UnmarshalBinary(data []byte) error {
	r := newDecoder(data)
	d.ID, d.Tenant, d.Template, d.Version = r.text(), r.text(), r.text(), r.text()
	d.Content, d.Data = r.content(), r.bytes()
	d.Category, d.Lane = r.text(), Lane(r.text())
	d.To = Person{User: r.text(), Name: r.text(), Email: r.text(), Locale: r.text(), Timezone: r.text()}
	d.Address = r.address()
	d.AcceptedAt, d.ExpiresAt, d.CollapseKey = r.time(), r.time(), r.text()
	d.Attempt = int(r.uint() & 0xffff)
	_ = list(r, r.address) // of a version whose chains went from address to address
	d.Unknown, d.Alone, d.Keyed = r.bool(), r.bool(), r.bool()
	if r.further {
		d.Quiet, d.Chain = r.text(), r.chain()
	}
	if r.digest {
		d.Digest = r.text()
	}
	return r.end()
}

func (d *decoder) chain() *Chain {
	if !d.bool() {
		return nil
	}
	c := &Chain{First: int(d.uint() & 0xffff), Last: int(d.uint() & 0xffff)}
	if err := c.Rest.UnmarshalBinary(d.bytes()); err != nil {
		d.fail("the rest of its chain cannot be read")
	}
	return c
}

// EncodedID is the id that an encoded Event or Delivery begins with; empty when
// payload begins with none. It is all that is read.
func EncodedID(payload []byte) string {
	return newDecoder(payload).text()
}

func appendText[S ~string | ~[]byte](b []byte, s S) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendTime writes the zero time as 0, which no other time here is.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.UnixMilli())
}

func appendVersion(b []byte, environments, further, digest bool) []byte {
	version := byte(codecVersion)
	if environments {
		version += codecEnvironments - codecVersion
	}
	switch {
	case digest:
		version += codecDigest - codecVersion
	case further:
		version += codecFurther - codecVersion
	}
	return append(b, version)
}

func appendAddress(b []byte, a *Address, environments bool) []byte {
	b = appendText(b, a.Channel)
	b = appendText(b, a.To)
	b = appendText(b, a.App)
	b = appendText(b, a.Secret)
	if environments {
		b = appendText(b, a.Environment)
	}
	return b
}

func appendRecipient(b []byte, to *Recipient, environments bool) []byte {
	for _, s := range [...]string{to.User, to.Email, to.Name, to.Locale, to.Timezone} {
		b = appendText(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(to.Devices)))
	for _, d := range to.Devices {
		b = appendText(b, d.Platform)
		b = appendText(b, d.Token)
		b = appendText(b, d.App)
		if environments {
			b = appendText(b, d.Environment)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(to.Webhooks)))
	for _, w := range to.Webhooks {
		b = appendText(b, w.URL)
		b = appendText(b, w.Secret)
	}
	return b
}

// The parts that a content may have, as bits of the byte before it.
const (
	hasContent = 1 << iota
	hasEmail
	hasPush
	hasAttachments // since they exist; without them an encoding is what it was before
	hasPushOptions // the same
	hasSender      // the same
)

func appendContent(b []byte, c *Content) ([]byte, error) {
	if c == nil {
		return append(b, 0), nil
	}
	parts := byte(hasContent)
	if c.Email != nil {
		parts |= hasEmail
		if len(c.Email.Attachments) > 0 {
			parts |= hasAttachments
		}
		if c.Email.FromName+c.Email.ReplyTo != "" {
			parts |= hasSender
		}
	}
	if c.Push != nil {
		parts |= hasPush
		if c.Push.Options != nil {
			parts |= hasPushOptions
		}
	}
	b = append(b, parts)
	if m := c.Email; m != nil {
		b = appendText(b, m.Subject)
		b = appendText(b, m.HTML)
		b = appendText(b, m.Text)
		b = appendAttachments(b, m.Attachments)
		if parts&hasSender != 0 {
			b = appendText(b, m.FromName)
			b = appendText(b, m.ReplyTo)
		}
	}
	if p := c.Push; p != nil {
		b = appendText(b, p.Title)
		b = appendText(b, p.Body)
		b = appendText(b, p.Data)
		if p.Options != nil { // rare, and of many fields: as JSON
			raw, err := json.Marshal(p.Options)
			if err != nil {
				return nil, fmt.Errorf("encoding push options: %w", ErrEncoding)
			}
			b = appendText(b, raw)
		}
	}
	return appendText(b, c.Webhook), nil
}

// appendAttachments writes nothing where there are none.
func appendAttachments(b []byte, files []Attachment) []byte {
	if len(files) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(files)))
	for i := range files {
		a := &files[i]
		for _, s := range [...]string{a.Filename, a.ContentType, a.Content, a.URL, a.Inline} {
			b = appendText(b, s)
		}
	}
	return b
}

// decoder reads an encoding and keeps the first thing that is wrong with it;
// everything read after that is empty. Texts are parts of one copy.
type decoder struct {
	data []byte
	copy string
	at   int
	err  error

	environments bool // addresses and devices have one
	further      bool // what codecFurther says follows
	digest       bool // and what codecDigest does
}

func newDecoder(data []byte) *decoder {
	d := &decoder{data: data, copy: string(data), at: 1}
	if len(data) == 0 || data[0] < codecVersion || data[0] > codecLast {
		d.fail("it begins otherwise")
		return d
	}
	d.environments = (data[0]-codecVersion)&1 != 0
	d.further, d.digest = data[0] >= codecFurther, data[0] >= codecDigest
	return d
}

func (d *decoder) fail(why string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrEncoding, why)
	}
	d.at = len(d.data)
}

// end is the first error, or that something follows.
func (d *decoder) end() error {
	if d.err == nil && d.at != len(d.data) {
		d.fail("something follows its end")
	}
	return d.err
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.data[d.at:])
	if n <= 0 {
		d.fail("it ends early")
		return 0
	}
	d.at += n
	return v
}

// span is where the next text lies.
func (d *decoder) span() (from, to int) {
	n := d.uint()
	if n > uint64(len(d.data)-d.at) {
		d.fail("it ends early")
		return d.at, d.at
	}
	from = d.at
	d.at += int(n)
	return from, d.at
}

func (d *decoder) text() string {
	from, to := d.span()
	return d.copy[from:to]
}

// bytes is nil for an empty text.
func (d *decoder) bytes() []byte {
	from, to := d.span()
	if from == to {
		return nil
	}
	return d.data[from:to:to]
}

func (d *decoder) byte() byte {
	if d.at >= len(d.data) {
		d.fail("it ends early")
		return 0
	}
	d.at++
	return d.data[d.at-1]
}

func (d *decoder) bool() bool { return d.byte() != 0 }

func (d *decoder) time() time.Time {
	v, n := binary.Varint(d.data[d.at:])
	if n <= 0 {
		d.fail("it ends early")
		return time.Time{}
	}
	d.at += n
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMilli(v).UTC()
}

// list reads a counted list; nil for an empty one. Each element takes a byte
// at least, so a count beyond what is left is no count.
func list[T any](d *decoder, one func() T) []T {
	n := d.uint()
	if n > uint64(len(d.data)-d.at) {
		d.fail("it ends early")
		return nil
	}
	if n == 0 {
		return nil
	}
	out := make([]T, 0, min(n, 64))
	for range n {
		if out = append(out, one()); d.err != nil {
			return nil
		}
	}
	return out
}

func (d *decoder) address() Address {
	return Address{Channel: Channel(d.text()), To: d.text(), App: d.text(), Secret: d.text(), Environment: d.environment()}
}

func (d *decoder) environment() Environment {
	if !d.environments {
		return ""
	}
	return Environment(d.text())
}

func (d *decoder) recipient(to *Recipient) {
	to.User, to.Email, to.Name, to.Locale, to.Timezone = d.text(), d.text(), d.text(), d.text(), d.text()
	to.Devices = list(d, func() Device {
		return Device{Platform: Platform(d.text()), Token: d.text(), App: d.text(), Environment: d.environment()}
	})
	to.Webhooks = list(d, func() Webhook { return Webhook{URL: d.text(), Secret: d.text()} })
}

func (d *decoder) attachment() Attachment {
	return Attachment{Filename: d.text(), ContentType: d.text(), Content: d.text(), URL: d.text(), Inline: d.text()}
}

func (d *decoder) content() *Content {
	parts := d.byte()
	if parts&hasContent == 0 {
		return nil
	}
	c := &Content{}
	if parts&hasEmail != 0 {
		c.Email = &EmailContent{Subject: d.text(), HTML: d.text(), Text: d.text()}
		if parts&hasAttachments != 0 {
			c.Email.Attachments = list(d, d.attachment)
		}
		if parts&hasSender != 0 {
			c.Email.FromName, c.Email.ReplyTo = d.text(), d.text()
		}
	}
	if parts&hasPush != 0 {
		c.Push = &PushContent{Title: d.text(), Body: d.text(), Data: d.bytes()}
		if parts&hasPushOptions != 0 {
			c.Push.Options = &PushOptions{}
			if json.Unmarshal(d.bytes(), c.Push.Options) != nil {
				d.fail("its push options cannot be read")
			}
		}
	}
	c.Webhook = d.bytes()
	return c
}
