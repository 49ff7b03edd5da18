package apns

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json/jsontext"
)

// maxPayload is the most bytes of a payload ("Generating a remote
// notification").
const maxPayload = 4096

// payload is the body of one push, taken apart.
type payload struct {
	title, body string
	custom      []member // beside aps
	aps         []member // what the sender's "aps" adds
	alert       []member // what its "alert" adds
}

type member struct {
	name  string
	value jsontext.Value
}

// newPayload reads the content. The members of Data stand at the top level of
// the payload, beside aps, where apps look for them. A member "aps" extends
// ours (badge, thread-id, mutable-content; sound and interruption-level in
// place of ours) and its "alert" extends our alert (subtitle, loc-key), in
// which title and body stay the content's.
func newPayload(c *notice.PushContent) (*payload, error) {
	p := &payload{title: c.Title, body: c.Body}
	all, err := members(c.Data, "data")
	if err != nil {
		return nil, err
	}
	var aps jsontext.Value
	p.custom, aps = split(all, "aps")
	all, err = members(aps, "data.aps")
	if err != nil {
		return nil, err
	}
	var alert jsontext.Value
	p.aps, alert = split(all, "alert")
	p.alert, err = members(alert, "data.aps.alert")
	return p, err
}

// silent reports whether nothing is to be shown: the push then only wakes the
// app ("Pushing background updates to your app").
func (p *payload) silent() bool {
	return p.title == "" && p.body == "" && len(p.alert) == 0
}

// encode writes the payload in at most maxPayload bytes, shortening the body
// when that is what it takes.
func (p *payload) encode() ([]byte, error) {
	raw, err := p.write(p.body)
	if err != nil || len(raw) <= maxPayload {
		return raw, err
	}
	rest := len(raw)
	for _, r := range p.body {
		rest -= channels.JSONCost(r)
	}
	if rest > maxPayload {
		return nil, fmt.Errorf("the title and data take %d bytes and a payload %d at most: shorten them", rest, maxPayload)
	}
	return p.write(channels.Shorten(p.body, maxPayload-rest, channels.JSONCost))
}

// write encodes the payload with the given body. It escapes as encoding/json
// does, because the client library passes the payload through that: what is
// measured here is what is sent.
func (p *payload) write(body string) ([]byte, error) {
	var buf bytes.Buffer
	buf.Grow(512)
	w := writer{enc: jsontext.NewEncoder(&buf,
		jsontext.EscapeForHTML(true), jsontext.EscapeForJS(true),
		jsontext.AllowInvalidUTF8(true))}
	w.begin()
	w.name("aps")
	p.writeAPS(&w, body)
	w.members(p.custom)
	w.end()
	if w.err != nil {
		return nil, errors.New("the push's data cannot be written as JSON")
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func (p *payload) writeAPS(w *writer, body string) {
	w.begin()
	if p.silent() {
		w.unless(p.aps, "content-available", "1")
	} else {
		w.name("alert")
		w.begin()
		w.text("title", p.title)
		w.text("body", body)
		w.members(without(without(p.alert, "title", p.title), "body", p.body))
		w.end()
		w.unless(p.aps, "sound", `"default"`)
	}
	w.members(p.aps)
	w.end()
}

// writer is an encoder that remembers its first error.
type writer struct {
	enc *jsontext.Encoder
	err error
}

func (w *writer) token(t jsontext.Token) {
	if w.err == nil {
		w.err = w.enc.WriteToken(t)
	}
}

func (w *writer) value(v jsontext.Value) {
	if w.err == nil {
		w.err = w.enc.WriteValue(v)
	}
}

func (w *writer) begin()        { w.token(jsontext.BeginObject) }
func (w *writer) end()          { w.token(jsontext.EndObject) }
func (w *writer) name(s string) { w.token(jsontext.String(s)) }

// text writes a member that is left out when it is empty.
func (w *writer) text(name, s string) {
	if s != "" {
		w.name(name)
		w.token(jsontext.String(s))
	}
}

func (w *writer) members(list []member) {
	for _, m := range list {
		w.name(m.name)
		w.value(m.value)
	}
}

// unless writes a default that the list does not set itself.
func (w *writer) unless(list []member, name, raw string) {
	for _, m := range list {
		if m.name == name {
			return
		}
	}
	w.name(name)
	w.value(jsontext.Value(raw))
}

// members takes an object apart; no value has none.
func members(v jsontext.Value, where string) ([]member, error) {
	if len(v) == 0 || v.Kind() == 'n' {
		return nil, nil
	}
	if v.Kind() != '{' {
		return nil, fmt.Errorf("%s is %v and must be an object", where, v.Kind())
	}
	d := jsontext.NewDecoder(bytes.NewReader(v), jsontext.AllowInvalidUTF8(true))
	if _, err := d.ReadToken(); err != nil {
		return nil, unreadable(where)
	}
	var list []member
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, unreadable(where)
		}
		m := member{name: name.String()}
		value, err := d.ReadValue()
		if err != nil {
			return nil, unreadable(where)
		}
		m.value = value.Clone()
		list = append(list, m)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, unreadable(where)
	}
	return list, nil
}

// unreadable leaves the decoder's words out, which may quote the data.
func unreadable(where string) error {
	return fmt.Errorf("%s is not a JSON object that can be read (a name may stand in it twice)", where)
}

// split takes the named member out of the list.
func split(list []member, name string) ([]member, jsontext.Value) {
	for i, m := range list {
		if m.name == name {
			return append(list[:i:i], list[i+1:]...), m.value
		}
	}
	return list, nil
}

// without is the list without the named member, when ours is set.
func without(list []member, name, ours string) []member {
	if ours == "" {
		return list
	}
	rest, _ := split(list, name)
	return rest
}
