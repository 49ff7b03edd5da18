package preview

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

// Selection is what of a catalogue is rendered at once. The zero Selection is
// all of it.
type Selection struct {
	Template string         // empty: every template
	Locales  []string       // empty: every locale in which a template differs
	Channel  notice.Medium  // empty: every channel of a template
	Sample   string         // empty: every sample
	Data     jsontext.Value // in place of the samples
}

// Item is one template in one locale with one sample, in all its channels.
type Item struct {
	Result
	Category string
	Lane     notice.Lane
	Sample   string // empty: the data was given
	Err      error  // nil, or why it could not be rendered
}

// ErrNoSample is the Err of a template that has no sample and needs data.
var ErrNoSample = errors.New("has no sample to render: add one under samples in its template.yaml")

// RenderAll renders what s selects, on all processors, by template, locale and
// sample. What a template does not have (a sample of that name, the channel) is
// left out; the error says that a single template or everything is.
func RenderAll(c *templates.Catalogue, s Selection) ([]Item, error) {
	names := c.Names()
	if s.Template != "" {
		if _, ok := c.Template(s.Template); !ok {
			return nil, unknown("template", s.Template, names)
		}
		names = []string{s.Template}
	}
	found := make([][]Item, len(names))
	inParallel(len(names), func(i int) {
		t, _ := c.Template(names[i])
		found[i] = s.render(c, t)
	})
	items := slices.Concat(found...)
	if len(items) == 0 && len(names) > 0 {
		return nil, s.nothing(c)
	}
	return items, nil
}

// nothing says what of a selection is not there.
func (s Selection) nothing(c *templates.Catalogue) error {
	if s.Template == "" {
		return errors.New("no template of the catalogue has that channel and that sample")
	}
	_, err := Render(c, s.Template, Options{Channel: s.Channel, Sample: s.Sample, Data: s.Data})
	return err
}

// render renders one template.
func (s Selection) render(c *templates.Catalogue, t *templates.Template) (items []Item) {
	if s.Channel != "" && !t.Renders(s.Channel) {
		return nil
	}
	for _, locale := range s.locales(c, t) {
		for _, sample := range s.samples(t) {
			item := Item{Category: t.Category, Lane: t.Lane, Sample: sample.Name}
			item.Result, item.Err = Render(c, t.Name, Options{Locale: locale, Channel: s.Channel, Data: sample.Data})
			item.Template, item.Locale, item.Version = t.Name, locale, t.Version
			if _, faults := t.CheckData(sample.Data); len(faults) > 0 && len(t.Samples) == 0 && s.Data == nil {
				item.Err = ErrNoSample
			}
			items = append(items, item)
		}
	}
	return items
}

func (s Selection) locales(c *templates.Catalogue, t *templates.Template) []string {
	if len(s.Locales) > 0 {
		return s.Locales
	}
	if own := t.Locales(); len(own) > 0 {
		return own
	}
	return []string{c.DefaultLocale()} // a webhook alone
}

func (s Selection) samples(t *templates.Template) []templates.Sample {
	switch {
	case s.Data != nil:
		return []templates.Sample{{Data: s.Data}}
	case len(t.Samples) == 0 && s.Sample == "":
		return []templates.Sample{{Name: "default", Data: jsontext.Value("{}")}}
	}
	return slices.DeleteFunc(slices.Clone(t.Samples), func(x templates.Sample) bool { return s.Sample != "" && x.Name != s.Sample })
}

// inParallel calls work for 0 … n-1, on as many processors as there are.
// Calls for different numbers must not write to one place.
func inParallel(n int, work func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				work(i)
			}
		})
	}
	all.Wait()
}

// Part is one text of a rendering.
type Part struct {
	Name    string // "email.html", as the file of an export
	Channel notice.Medium
	Text    string
}

// Parts are the texts of a rendering, in the order in which they are read;
// those that are empty are left out.
func (r Result) Parts() (parts []Part) {
	add := func(m notice.Medium, name, text string) {
		if text != "" {
			parts = append(parts, Part{name, m, text})
		}
	}
	if e := r.Content.Email; e != nil {
		add(notice.MediumEmail, "email.headers", emailHeaders(e))
		add(notice.MediumEmail, "email.txt", e.Text)
		add(notice.MediumEmail, "email.html", e.HTML)
	}
	if p := r.Content.Push; p != nil {
		add(notice.MediumPush, "push.json", pushJSON(p, nil))
	}
	if body := r.Content.Webhook; len(body) > 0 {
		add(notice.MediumWebhook, "webhook.json", indented(body)+"\n")
	}
	return parts
}

// emailHeaders are the lines of a mail's head that templates decide.
func emailHeaders(e *notice.EmailContent) string {
	text := "Subject: " + e.Subject + "\n"
	if e.FromName != "" {
		text += "From: " + e.FromName + "\n"
	}
	if e.ReplyTo != "" {
		text += "Reply-To: " + e.ReplyTo + "\n"
	}
	return text
}

// pushFile is push.json: the content, and what the services would get of it.
type pushFile struct {
	notice.PushContent
	Payloads []pushPayload `json:"payloads,omitempty"`
}

type pushPayload struct {
	Service string         `json:"service"`
	Used    int            `json:"used"`
	Most    int            `json:"most"`
	Headers []Header       `json:"headers,omitempty"`
	Payload jsontext.Value `json:"payload,omitzero"`
	Error   string         `json:"error,omitempty"`
}

func pushJSON(p *notice.PushContent, payloads []Payload) string {
	file := pushFile{PushContent: *p}
	for _, x := range payloads {
		file.Payloads = append(file.Payloads, pushPayload{x.Service, x.Used, x.Most, x.Headers, jsontext.Value(x.Text), x.Error})
	}
	text, err := json.Marshal(file, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return "" // its data was made by a renderer that lets only JSON through
	}
	return string(text) + "\n"
}
