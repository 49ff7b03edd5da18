package apns

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json/jsontext"
)

// payload is the body of one push, taken apart.
type payload struct {
	kind        notice.PushType
	priority    int // 0: the kind's
	title, body string
	custom      []member // beside aps
	aps         []member // what the options add to it
	alert       []member // what their alert adds
	silence     bool     // no sound, not even the default
}

type member struct {
	name  string
	value jsontext.Value
}

// newPayload reads the content. The members of Data stand at the top level of
// the payload, beside aps, where apps look for them; none of them is aps.
func newPayload(c *notice.PushContent) (*payload, error) {
	p := &payload{title: c.Title, body: c.Body}
	var err error
	if p.custom, err = members(c.Data, "data"); err != nil {
		return nil, err
	}
	if _, aps := split(p.custom, "aps"); aps != nil {
		return nil, errors.New("data.aps: is not data: say it in the push options of apns")
	}
	if c.Options != nil && c.Options.APNs != nil {
		err = p.options(c.Options.APNs)
	}
	if p.kind == "" {
		p.kind = notice.PushAlert
		if p.silent() {
			p.kind = notice.PushBackground
		}
	}
	return p, err
}

// options takes over what the options say.
func (p *payload) options(o *notice.APNsOptions) error {
	p.kind, p.priority = o.PushType, o.Priority
	all, err := members(o.APS, "options.apns.aps")
	if err != nil {
		return err
	}
	rest, alert := split(all, "alert")
	if p.alert, err = members(alert, "options.apns.aps.alert"); err != nil {
		return err
	}
	if o.Badge != nil {
		p.add("badge", jsontext.Int(int64(*o.Badge)))
	}
	if o.RelevanceScore != nil {
		p.add("relevance-score", jsontext.Float(*o.RelevanceScore))
	}
	for _, text := range [...][2]string{{"thread-id", o.ThreadID}, {"category", o.Category}, {"interruption-level", o.InterruptionLevel},
		{"target-content-id", o.TargetContentID}, {"filter-criteria", o.FilterCriteria}} {
		if text[1] != "" {
			p.add(text[0], jsontext.String(text[1]))
		}
	}
	if o.MutableContent {
		p.add("mutable-content", jsontext.Int(1))
	}
	if o.ContentAvailable {
		p.add("content-available", jsontext.Int(1))
	}
	p.silence = o.Sound.Kind() == 'n'
	if len(o.Sound) > 0 && !p.silence {
		p.aps = append(p.aps, member{"sound", o.Sound})
	}
	p.aps = append(p.aps, rest...)
	return nil
}

// add adds a member of aps.
func (p *payload) add(name string, t jsontext.Token) {
	p.aps = append(p.aps, member{name, jsontext.Value(tokenText(t))})
}

func tokenText(t jsontext.Token) []byte {
	if t.Kind() != '"' {
		return []byte(t.String())
	}
	raw, _ := jsontext.AppendQuote(nil, t.String()) // an error says that it is not UTF-8, which was replaced
	return raw
}

// silent reports whether nothing is to be shown: the push then only wakes the
// app ("Pushing background updates to your app").
func (p *payload) silent() bool {
	return p.title == "" && p.body == "" && len(p.alert) == 0
}

// encode writes the payload in the bytes that its kind may have, shortening the
// body when that is what it takes.
func (p *payload) encode() ([]byte, error) {
	most := kindOf(p.kind).payload
	raw, err := p.write(p.body)
	if err != nil || len(raw) <= most {
		return raw, err
	}
	rest := len(raw)
	for _, r := range p.body {
		rest -= channels.JSONCost(r)
	}
	short := channels.Shorten(p.body, most-rest, channels.JSONCost)
	if short == "" { // a push without its text is another push
		return nil, fmt.Errorf("without the body the payload takes %d bytes, and %d at most with it: shorten title and data", rest, most)
	}
	return p.write(short)
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
	if kindOf(p.kind).always || !p.silent() || len(p.aps) > 0 {
		w.name("aps")
		p.writeAPS(&w, body)
	}
	w.members(p.custom)
	w.end()
	if w.err != nil {
		return nil, errors.New("the push's data or options cannot be written as JSON")
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func (p *payload) writeAPS(w *writer, body string) {
	w.begin()
	if !p.silent() {
		w.name("alert")
		w.begin()
		w.text("title", p.title)
		w.text("body", body)
		w.members(without(without(p.alert, "title", p.title), "body", p.body))
		w.end()
		if p.kind == notice.PushAlert && !p.silence {
			w.unless(p.aps, member{"sound", jsontext.Value(`"default"`)})
		}
	}
	if own := kindOf(p.kind).fallback; own.name != "" {
		w.unless(p.aps, own)
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
func (w *writer) unless(list []member, ours member) {
	for _, m := range list {
		if m.name == ours.name {
			return
		}
	}
	w.members([]member{ours})
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
