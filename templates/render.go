package templates

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
)

// Request asks for one notification's content in one medium.
type Request struct {
	Template   string
	Version    string // pinned when the delivery was planned; empty: the current one
	Medium     notice.Medium
	Locale     string // BCP 47; empty: To.Locale, then the catalogue's default
	ID         string
	Category   string // empty: the template's
	Data       jsontext.Value
	To         notice.Person
	AcceptedAt time.Time // the default webhook body's timestamp: the same on every attempt
	Now        time.Time
	// UnsubscribeURL is the link by which the reader leaves the category; empty
	// when there is none, as in previews and on other media than email.
	UnsubscribeURL string
}

// Rendering is finished content.
type Rendering struct {
	Content notice.Content // only the part of the request's medium is set
	Locale  string         // of the parts that were used
	Version string         // of the template that was used
	// LocaleNote says that the reader does not read the language of the parts,
	// because the template has none for theirs; empty when they do.
	LocaleNote string
	Fallback   string   // why the pinned version was not used; empty when it was
	Cache      CacheUse // what of it was shared with other renderings
}

// renderer is what one rendering works with; pooled.
type renderer struct {
	out  output
	root map[string]any
	to   map[string]any
	in   *jsontext.Decoder
	who  reading
	run  run
	now  asked
}

// asked is what the rendering in hand was asked for. What the parts see of it
// is laid out when the engine is about to run: a part may be known whole.
type asked struct {
	request   Request
	template  *Template
	group     *group
	category  string
	data      any
	subject   string // of the mail, once it is rendered
	preheader string
	addressed bool // who is set
	laidOut   bool // root is
}

// renderers are the working sets of renderings that have ended.
type renderers struct{ pool sync.Pool }

func (p *renderers) get() *renderer {
	if r, ok := p.pool.Get().(*renderer); ok {
		return r
	}
	r := &renderer{root: make(map[string]any, 6), to: make(map[string]any, 5), in: jsontext.NewDecoder(new(bytes.Buffer))}
	r.run.renderer = r
	return r
}

// put keeps r for the next rendering, but not what it holds of a person, nor a
// buffer that one large part has blown up.
func (p *renderers) put(r *renderer) {
	if r.out.Cap() > 64<<10 {
		return
	}
	r.out.reset()
	r.run.clear()
	r.now = asked{}
	r.in.Reset(new(bytes.Buffer)) // it holds the data until then
	clear(r.root)
	clear(r.to)
	p.pool.Put(r)
}

// Render makes the content of one medium. It is safe for many goroutines. The
// error names the template, the part and the line, and quotes no data.
func (c *Catalogue) Render(req Request) (Rendering, error) {
	t, fallback, err := c.pinned(req.Template, req.Version)
	if err != nil {
		return Rendering{}, err
	}
	out := Rendering{Version: t.Version, Fallback: fallback}
	g, note := t.choices.get(t, &req)
	if g == nil {
		if req.Medium != notice.MediumWebhook {
			return Rendering{}, fmt.Errorf("template %q has no parts for %s", t.Name, req.Medium)
		}
		out.Locale = t.defaultLocale
		out.Content.Webhook, err = defaultBody(req)
		return out, err
	}
	out.Locale, out.LocaleNote = g.locale, note
	r := c.renderers.get()
	defer c.renderers.put(r)
	r.run.cache = c.cache.Load()
	if err := r.take(t, g, req); err != nil {
		return Rendering{}, err
	}
	e := execution{renderer: r, group: g}
	out.Content = e.content(req.Medium)
	out.Cache = r.run.use
	if e.err != nil {
		return Rendering{}, fmt.Errorf("render template %q: %w", t.Name, e.err)
	}
	return out, nil
}

// pinned is the version of a template that a request asks for, or the current
// one and why.
func (c *Catalogue) pinned(name, version string) (t *Template, fallback string, err error) {
	t, ok := c.templates[name]
	if ok && (version == "" || t.Version == version) {
		return t, "", nil
	}
	if version != "" {
		if old := c.past.find(pin{name, version}); old != nil {
			return old, "", nil
		}
	}
	if !ok {
		return nil, "", fmt.Errorf("there is no template %q in the catalogue%s", name, known(name, c.Names()))
	}
	return t, fmt.Sprintf("version %s of template %s is no longer held: rendered with %s", version, name, t.Version), nil
}

func (req *Request) locale() string {
	if req.Locale != "" {
		return req.Locale
	}
	return req.To.Locale
}

// prepare takes a request and lays out what the parts see of it.
func (r *renderer) prepare(t *Template, g *group, req Request) error {
	if err := r.take(t, g, req); err != nil {
		return err
	}
	r.layOut()
	return nil
}

// take takes a request and its data.
func (r *renderer) take(t *Template, g *group, req Request) error {
	category := req.Category
	if category == "" {
		category = t.Category
	}
	data, err := r.data(t, g, category, req.Data)
	if err != nil {
		return fmt.Errorf("template %q: data %w", t.Name, err)
	}
	r.now = asked{request: req, template: t, group: g, category: category, data: data}
	return nil
}

// layOut makes the root of what the parts see.
func (r *renderer) layOut() {
	if r.now.laidOut {
		return
	}
	r.now.laidOut = true
	req, locale := &r.now.request, r.now.group.locale
	r.to["user"], r.to["name"], r.to["email"] = req.To.User, req.To.Name, req.To.Email
	r.to["locale"], r.to["timezone"] = req.To.Locale, req.To.Timezone
	r.root["data"], r.root["to"], r.root["id"] = r.now.data, r.to, req.ID
	r.root["category"], r.root["template"], r.root["now"] = r.now.category, r.now.template.Name, req.Now
	r.root["unsubscribe_url"] = req.UnsubscribeURL
	r.root["subject"], r.root["preheader"] = r.now.subject, r.now.preheader
	r.root["lang"], r.root["dir"], r.root[readerRoot] = locale, direction(locale), r.address()
}

// address is the reader: how numbers and times are written.
func (r *renderer) address() *reading {
	if !r.now.addressed {
		r.now.addressed = true
		req := &r.now.request
		r.who.at(r.now.template.readers, r.now.group.locale, req.locale(), req.To.Timezone)
	}
	return &r.who
}

// head lets the parts that follow see a mail's subject and preheader.
func (r *renderer) head(subject, preheader string) {
	r.now.subject, r.now.preheader = subject, preheader
	if r.now.laidOut {
		r.root["subject"], r.root["preheader"] = subject, preheader
	}
}

// text is a value of the root that is a text; ok is false for others, and for
// what does not lie there.
func (a *asked) text(path []string) (text string, ok bool) {
	switch {
	case len(path) == 2 && path[0] == "to":
		return personText(&a.request.To, path[1])
	case len(path) != 1:
		return "", false
	}
	switch path[0] {
	case "id":
		return a.request.ID, true
	case "category":
		return a.category, true
	case "template":
		return a.template.Name, true
	case "unsubscribe_url":
		return a.request.UnsubscribeURL, true
	case "subject":
		return a.subject, true
	case "preheader":
		return a.preheader, true
	}
	return "", false
}

func personText(p *notice.Person, name string) (text string, ok bool) {
	switch name {
	case "user":
		return p.User, true
	case "name":
		return p.Name, true
	case "email":
		return p.Email, true
	case "locale":
		return p.Locale, true
	case "timezone":
		return p.Timezone, true
	}
	return "", false
}

// data is the request's data, decoded now or before.
func (r *renderer) data(t *Template, g *group, category string, raw jsontext.Value) (any, error) {
	shared := g.shared()
	if r.run.cache == nil || shared == nil {
		return r.decode(t, raw)
	}
	known, hash := r.run.cache.find(shared, category, raw)
	if known != nil {
		r.run.record = known
		return known.data, nil
	}
	data, err := r.decode(t, raw)
	if err == nil && r.run.cache.sighted(hash) {
		r.run.record = r.run.cache.remember(shared, hash, &record{category: category, raw: string(raw), data: data})
	}
	return data, err
}

func (r *renderer) decode(t *Template, raw jsontext.Value) (any, error) {
	data, err := decodeWith(r.in, raw, readableFloat)
	if err != nil {
		return nil, err
	}
	for _, path := range t.optional {
		putNull(data, path)
	}
	return data, nil
}

// shared is a fragment that no other group has; nil when nothing in the group
// is shared.
func (g *group) shared() *fragment {
	for _, p := range g.parts {
		if p != nil && len(p.fragments) > 0 {
			return p.fragments[0]
		}
	}
	return nil
}

// execution runs the parts of one group until the first that fails.
type execution struct {
	*renderer
	group *group
	err   error
}

// content runs the parts of one medium.
func (e *execution) content(m notice.Medium) (c notice.Content) {
	switch m {
	case notice.MediumEmail:
		e.head(singleLine(e.text(partSubject)), singleLine(e.text(partPreheader)))
		c.Email = &notice.EmailContent{Subject: e.now.subject, HTML: e.text(partHTML), Text: e.text(partText), FromName: e.group.from, ReplyTo: e.group.replyTo}
	case notice.MediumPush:
		c.Push = &notice.PushContent{Title: singleLine(e.text(partTitle)), Body: strings.TrimSpace(e.text(partBody)), Data: e.json(partPushData),
			Options: e.pushOptions()}
		if c.Push.Data != nil && c.Push.Data.Kind() != '{' {
			e.err = Fault{File: e.group.parts[partPushData].file, What: "the result is no JSON object, which push data must be"}
		}
	case notice.MediumWebhook:
		c.Webhook = e.json(partWebhook)
	}
	return c
}

// text runs one part; a part that the group does not have is empty.
func (e *execution) text(p part) string {
	program := e.group.parts[p]
	if e.err != nil || program == nil {
		return ""
	}
	text, err := e.run.text(program)
	switch {
	case err == nil:
		return text
	case errors.Is(err, errSteps), errors.Is(err, errOutput), errors.Is(err, errTime):
		e.err = Fault{File: program.file, What: err.Error()}
	default:
		e.err = withoutValues(engineFault(program.file, err))
	}
	return ""
}

// withoutValues cuts what the engine quotes of the data, which may be personal.
func withoutValues(f Fault) Fault {
	const quoting = "range can't iterate over"
	if i := strings.Index(f.What, quoting); i >= 0 {
		f.What = f.What[:i] + quoting + " that value: it is no list"
	}
	return f
}

// json runs one part whose result must be JSON.
func (e *execution) json(p part) jsontext.Value {
	text := e.text(p)
	if e.err != nil || e.group.parts[p] == nil {
		return nil
	}
	value := jsontext.Value(strings.TrimSpace(text))
	if err := value.Compact(); err != nil {
		e.err = notJSON(e.group.parts[p].file, text)
		return nil
	}
	return value
}

// notJSON says where a result stops being JSON, without what it holds.
func notJSON(file, text string) error {
	decoder := jsontext.NewDecoder(strings.NewReader(text))
	for {
		if _, err := decoder.ReadToken(); err != nil {
			break
		}
	}
	at := positionAt(file, text, int(decoder.InputOffset()))
	return Fault{File: file, What: fmt.Sprintf("the result is no JSON (it ends being so after line %d, column %d of it): write values as {{json .data.order}}", at.line, at.column)}
}

// defaultBody is a webhook's body without webhook.json, in the shape that
// Standard Webhooks recommends.
func defaultBody(req Request) (jsontext.Value, error) {
	data := req.Data
	if len(data) == 0 {
		data = jsontext.Value("{}")
	}
	body, err := json.Marshal(struct {
		ID        string         `json:"id"`
		Type      string         `json:"type"`
		Timestamp string         `json:"timestamp"`
		Data      jsontext.Value `json:"data"`
	}{req.ID, req.Template, req.AcceptedAt.UTC().Format(time.RFC3339Nano), data})
	if err != nil {
		return nil, fmt.Errorf("template %q: webhook body: data is not JSON", req.Template)
	}
	return body, nil
}

// singleLine keeps a subject or title on one line: any run of white space
// becomes one space.
func singleLine(s string) string {
	if !strings.ContainsAny(s, "\r\n\t\v\f\u0085\u2028\u2029") {
		return strings.TrimSpace(s)
	}
	return strings.Join(strings.Fields(s), " ")
}
