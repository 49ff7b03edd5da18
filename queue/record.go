package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// A record is one string that every transition appends to: three digits that
// count the open deliveries, the head, then a line for each decision. Nothing
// is read back to be changed, and a finished record stays far below 250 bytes.
//
//	003                                                          open deliveries
//	A <accepted, ms> <tenant> <user> <template> <category> <lane> <send_at, ms> <expires_at, ms>
//	<kind> <ordinal> <ms since accepted> <attempt> <code> <detail> <provider id> <until, ms since accepted>
//	P <ordinal> <ms since accepted> <channel> <address>          the delivery was planned
//	b <ordinal> <ms since accepted> - <code> <detail>            what was said of it after it had gone out
//
// Fields are separated by tabs, numbers are in base 36, trailing empty fields
// are left out. The kind of a line is the first letter that statusLetters
// gives its status; the line of a delivery with another ordinal than its own
// notification's is ordinal "-".

// longestOpenRecord is where a record stops taking lines that are not final: a
// provider that throttles for days must not grow it without bound.
const longestOpenRecord = 8 << 10

const (
	longestDetail = 160 // bytes of words kept of one answer
	longestCode   = 60  // bytes of its code
)

var statusLetters = map[notice.Status]byte{
	notice.StatusQueued: 'q', notice.StatusDeferred: 'l', notice.StatusSending: 's', notice.StatusRetrying: 'r',
	notice.StatusDelivered: 'd', notice.StatusFailed: 'f', notice.StatusExpired: 'e', notice.StatusCanceled: 'c',
	notice.StatusSuppressed: 'u', notice.StatusCapped: 'k', notice.StatusDead: 'x',
}

// whole is the ordinal of a line that is about the notification itself.
const whole = -1

// appendHead begins a record.
func appendHead(b []byte, ev *notice.Event) []byte {
	n := &ev.Notification
	b = append(b, "000A"...)
	b = appendField(b, base36(ev.AcceptedAt.UnixMilli()))
	b = appendField(b, ev.Tenant)
	b = appendField(b, n.To.User)
	b = appendField(b, n.Template)
	b = appendField(b, n.Category)
	b = appendField(b, string(n.Priority))
	b = appendField(b, optionalTime(n.SendAt))
	b = appendField(b, optionalTime(n.ExpiresAt))
	return endLine(b)
}

// appendPlanned adds the line that a delivery exists.
func appendPlanned(b []byte, ordinal int, since time.Duration, a notice.Address) []byte {
	b = append(b, 'P', '\t')
	b = strconv.AppendInt(b, int64(ordinal), 10)
	b = appendNumber(b, since.Milliseconds())
	b = appendField(b, string(a.Channel))
	b = appendField(b, hint(a))
	return endLine(b)
}

// appendEntry adds one decision about a delivery, or, for ordinal whole, about
// the notification itself.
func appendEntry(b []byte, ordinal int, acceptedAt time.Time, e Entry) []byte {
	b = append(b, statusLetters[e.Status], '\t')
	b = append(b, ordinalText(ordinal)...)
	b = appendNumber(b, e.At.Sub(acceptedAt).Milliseconds())
	b = appendField(b, optionalInt(e.Attempt))
	b = appendField(b, shorten(e.Code, longestCode))
	b = appendField(b, shorten(e.Detail, longestDetail))
	b = appendField(b, shorten(e.ProviderID, longestDetail))
	if !e.Until.IsZero() {
		b = appendField(b, base36(e.Until.Sub(acceptedAt).Milliseconds()))
	}
	return endLine(b)
}

func ordinalText(ordinal int) string {
	if ordinal == whole {
		return "-"
	}
	return strconv.Itoa(ordinal)
}

// appendField adds one field, on one line and in UTF-8 whatever it came in: a
// provider's words may be in anything, and a record is shown as JSON.
func appendField(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	b = append(b, '\t')
	for i := range len(s) {
		if c := s[i]; c == '\t' || c == '\n' || c == '\r' {
			b = append(b, ' ')
		} else {
			b = append(b, c)
		}
	}
	return b
}

// appendNumber adds one field.
func appendNumber(b []byte, n int64) []byte {
	return strconv.AppendInt(append(b, '\t'), n, 36)
}

func endLine(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == '\t' {
		b = b[:len(b)-1]
	}
	return append(b, '\n')
}

func base36(n int64) string { return strconv.FormatInt(n, 36) }

func optionalInt(n int) string {
	if n == 0 {
		return ""
	}
	return base36(int64(n))
}

func optionalTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return base36(t.UnixMilli())
}

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// hint names an address well enough for its owner to recognise it, and for
// nobody else to use it.
func hint(a notice.Address) string {
	switch a.Channel {
	case notice.ChannelEmail:
		local, domain, _ := strings.Cut(a.To, "@")
		return shorten(firstRune(local)+"…@"+domain, 60)
	case notice.ChannelWebhook:
		_, rest, _ := strings.Cut(a.To, "://")
		if end := strings.IndexAny(rest, "/?#"); end >= 0 {
			rest = rest[:end] // past the host there may be a token
		}
		return shorten(rest, 60)
	}
	if len(a.To) < 8 {
		return "…"
	}
	return "…" + strings.ToValidUTF8(a.To[len(a.To)-4:], "")
}

func firstRune(s string) string {
	for _, r := range s {
		return string(r)
	}
	return ""
}

// Record is what is known of a notification, by its id or a delivery's.
// Another tenant's is ErrNotFound, as is one whose retention has passed.
func (q *Queue) Record(ctx context.Context, tenant, id string) (Record, error) {
	p, notification, _, err := notice.SplitID(id)
	if err != nil || p >= q.cfg.Partitions {
		return Record{}, ErrNotFound
	}
	raw, err := q.rdb.Get(ctx, q.keys.record(p, notification)).Result()
	if errors.Is(err, redis.Nil) {
		return Record{}, ErrNotFound
	}
	if err != nil {
		return Record{}, unavailable(err)
	}
	r, err := parseRecord(notification, raw)
	if err != nil {
		return Record{}, err
	}
	if r.Tenant != tenant {
		return Record{}, ErrNotFound
	}
	return r, nil
}

// parseRecord folds a record's lines into what they say. A line that makes no
// sense is an error: a record is written by nobody else.
func parseRecord(id, raw string) (Record, error) {
	r := Record{ID: id, length: len(raw)}
	if len(raw) < 3 {
		return r, fmt.Errorf("record %s: too short", id)
	}
	var parser recordParser
	for line := range strings.Lines(raw[3:]) {
		if err := parser.line(&r, strings.Split(strings.TrimSuffix(line, "\n"), "\t")); err != nil {
			return r, fmt.Errorf("record %s: line %q: %w", id, shorten(line, 80), err)
		}
	}
	return r, nil
}

// recordParser reads fields and keeps the first error.
type recordParser struct{ err error }

func (p *recordParser) line(r *Record, f []string) error {
	f = append(f, make([]string, max(0, 9-len(f)))...)
	switch {
	case f[0] == "A":
		r.Tenant, r.User, r.Template, r.Category, r.Lane = f[2], f[3], f[4], f[5], notice.Lane(f[6])
		r.AcceptedAt, r.SendAt, r.ExpiresAt = p.time(f[1]), p.time(f[7]), p.time(f[8])
		if r.Lane == "" {
			r.Lane = notice.LaneNormal
		}
	case f[0] == "P":
		r.next = false
		d := p.delivery(r, f[1])
		d.Channel, d.Address = notice.Channel(f[3]), f[4]
		d.Status = notice.StatusQueued
		d.Timeline = append(d.Timeline, Entry{At: p.since(r, f[2]), Status: notice.StatusQueued})
	case f[1] == "-":
		e := p.entry(r, f)
		r.next = e.Status == notice.StatusQueued
		r.Timeline = append(r.Timeline, e)
	case f[0] == string(feedbackLetter):
		d := p.delivery(r, f[1])
		d.Timeline = append(d.Timeline, Entry{At: p.since(r, f[2]), Status: d.Status, Code: f[4], Detail: f[5]})
	default:
		d := p.delivery(r, f[1])
		e := p.entry(r, f)
		d.Status, d.Attempt = e.Status, max(d.Attempt, e.Attempt)
		d.Timeline = append(d.Timeline, e)
	}
	return p.err
}

func (p *recordParser) delivery(r *Record, ordinal string) *DeliveryRecord {
	n, err := strconv.Atoi(ordinal)
	if err != nil {
		p.err = err
	}
	id := notice.DeliveryID(r.ID, n)
	for i := range r.Deliveries {
		if r.Deliveries[i].ID == id {
			return &r.Deliveries[i]
		}
	}
	r.Deliveries = append(r.Deliveries, DeliveryRecord{ID: id})
	return &r.Deliveries[len(r.Deliveries)-1]
}

func (p *recordParser) entry(r *Record, f []string) Entry {
	e := Entry{At: p.since(r, f[2]), Attempt: int(p.int(f[3])), Code: f[4], Detail: f[5], ProviderID: f[6]}
	if f[7] != "" {
		e.Until = p.since(r, f[7])
	}
	letters := make([]notice.Status, 0, 1)
	for status, letter := range statusLetters {
		if f[0] == string(letter) {
			letters = append(letters, status)
		}
	}
	if len(letters) == 0 {
		p.err = fmt.Errorf("unknown kind %q", f[0])
		return e
	}
	e.Status = letters[0]
	return e
}

func (p *recordParser) int(s string) int64 {
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 36, 64)
	if err != nil {
		p.err = err
	}
	return n
}

func (p *recordParser) time(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	return time.UnixMilli(p.int(s)).UTC()
}

func (p *recordParser) since(r *Record, s string) time.Time {
	return r.AcceptedAt.Add(time.Duration(p.int(s)) * time.Millisecond)
}

// Open reports whether anything of the notification may still happen.
func (r Record) Open() bool {
	if r.next {
		return true
	}
	if len(r.Deliveries) == 0 {
		return !slices.ContainsFunc(r.Timeline, func(e Entry) bool { return e.Status.Final() })
	}
	return slices.ContainsFunc(r.Deliveries, func(d DeliveryRecord) bool { return !d.Status.Final() })
}
