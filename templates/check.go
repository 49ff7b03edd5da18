package templates

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
)

// Case is one rendering of a catalogue with its templates' own samples: what
// Check tries and snapshots record.
type Case struct {
	Template string
	Medium   notice.Medium
	Locale   string
	Sample   string
	Rendering
	Err error // nil, or why it could not be rendered
}

// Cases renders every template × channel × locale × sample, with a fixed
// person, id and time, so that the same catalogue gives the same bytes. A
// template without samples gives no case, unless it needs no data at all.
func (c *Catalogue) Cases() []Case {
	names := c.Names()
	cases := make([][]Case, len(names))
	each(len(names), func(i int) { cases[i] = c.cases(c.templates[names[i]]) })
	return slices.Concat(cases...)
}

func (c *Catalogue) cases(t *Template) []Case {
	var cases []Case
	for _, m := range t.channels {
		for _, locale := range t.mediumLocales(m) {
			for _, s := range t.trials() {
				k := Case{Template: t.Name, Medium: m, Locale: locale, Sample: s.Name}
				req := SampleRequest(t, m, locale)
				req.Data = s.Data
				if err := survive(func() { k.Rendering, k.Err = c.Render(req) }); err != nil {
					k.Err = fmt.Errorf("rendering it %w", err)
				}
				cases = append(cases, k)
			}
		}
	}
	return cases
}

// SampleRequest asks for a rendering for a made-up person at a fixed time.
func SampleRequest(t *Template, m notice.Medium, locale string) Request {
	at := time.Date(2027, 1, 1, 9, 0, 0, 0, time.UTC)
	return Request{
		Template: t.Name, Medium: m, Locale: locale, ID: "0-sample00000000000000",
		To:         notice.Person{User: "u42", Name: "Ada Example", Email: "ada@example.com", Locale: locale, Timezone: "Europe/Berlin"},
		AcceptedAt: at, Now: at,
	}
}

// trials are the samples, or no data where none is needed.
func (t *Template) trials() []Sample {
	if len(t.Samples) > 0 {
		return t.Samples
	}
	if _, faults := t.CheckData(nil); len(faults) == 0 {
		return []Sample{{Name: "default"}}
	}
	return nil
}

func (t *Template) mediumLocales(m notice.Medium) []string {
	if locales := keys(t.groups[m]); len(locales) > 0 {
		return locales
	}
	return []string{t.defaultLocale}
}

// Check renders every case and returns what fails, comes out blank or is
// broken HTML, with the warnings there are; nil when there are only those.
func (c *Catalogue) Check() error { return c.Examine().Err() }

// Examine is everything that can be said of a catalogue that loads, by place:
// the warnings of loading it, and what the renderings of its samples show.
func (c *Catalogue) Examine() Faults {
	names := c.Names()
	found := make([]Faults, len(names))
	each(len(names), func(i int) {
		t := c.templates[names[i]]
		e := examination{catalogue: c, template: t, faults: &found[i], htmlSeen: map[string]bool{}}
		for _, k := range c.cases(t) {
			if err := survive(func() { e.examine(k) }); err != nil {
				e.faults.add(position{t.Name, 1, 1}, "examining it %v", err)
			}
		}
	})
	return append(slices.Concat(found...), c.findings...).sorted()
}

// examination looks at the renderings of one template.
type examination struct {
	catalogue *Catalogue
	template  *Template
	faults    *Faults
	htmlSeen  map[string]bool // HTML that was looked at, so that equal renderings cost one look
}

func (e *examination) examine(k Case) {
	where := " (sample " + k.Sample + ", locale " + k.Locale + ")"
	file := path.Join(k.Template, k.Locale)
	var fault Fault
	switch {
	case errors.As(k.Err, &fault):
		fault.Line, fault.Column = max(fault.Line, 1), max(fault.Column, 1)
		fault.What += where
		*e.faults = append(*e.faults, fault)
	case k.Err != nil:
		e.faults.add(position{file, 1, 1}, "%v%s", k.Err, where)
	case blank(k.Content):
		e.faults.add(position{path.Join(file, blankPart(k.Content)), 1, 1}, "comes out blank%s", where)
	default:
		e.content(k, where)
	}
}

// content warns of what a rendering shows though nothing failed.
func (e *examination) content(k Case, where string) {
	g, ok := lookupLocale(e.template.groups[k.Medium], k.Locale, e.template.defaultLocale)
	if !ok {
		return
	}
	if mail := k.Content.Email; mail != nil {
		e.mail(k, mail, g, where)
	}
	if push := k.Content.Push; push != nil {
		e.push(push, g, where)
	}
}

// The bounds that a rendering is held to.
const (
	maxSubject = 78        // characters; RFC 5322 §2.1.1, and most readers show fewer
	maxMail    = 102 << 10 // bytes of HTML; Gmail hides the rest behind a link
	maxPush    = 4096      // bytes; APNs' and FCM's payload
)

func (e *examination) mail(k Case, mail *notice.EmailContent, g *group, where string) {
	if n := utf8.RuneCountInString(mail.Subject); n > maxSubject {
		e.faults.warn(g.start(partSubject), "the subject has %d characters, and readers show at most %d: shorten it%s", n, maxSubject, where)
	}
	if n := len(mail.HTML); n > maxMail {
		e.faults.warn(g.start(partHTML), "the mail has %d bytes of HTML, and Gmail hides what is beyond %d: shorten it%s", n, maxMail, where)
	}
	if mail.HTML != "" && !e.htmlSeen[mail.HTML] {
		e.htmlSeen[mail.HTML] = true
		e.html(k, g)
	}
}

// html executes the HTML part again, to know the source of what comes out.
func (e *examination) html(k Case, g *group) {
	traced := newTrace(g.parts[partHTML], e.catalogue.texts)
	if traced == nil {
		return
	}
	r := e.catalogue.renderers.get()
	defer e.catalogue.renderers.put(r)
	req := SampleRequest(e.template, k.Medium, k.Locale)
	req.Data = e.template.sample(k.Sample)
	req.UnsubscribeURL = "https://notify.example/u/sample" // a preview has none, and every mail that is sent has
	if r.prepare(e.template, g, req) != nil || traced.engine.Execute(traced, r.root) != nil {
		return // the first execution has said why
	}
	m := markup{text: traced.String(), whole: true, faults: e.faults, isValue: traced.hasValue, at: func(offset int) position {
		if at, ok := traced.at(offset); ok {
			return at
		}
		return g.start(partHTML)
	}}
	m.check()
}

func (t *Template) sample(name string) jsontext.Value {
	for _, s := range t.Samples {
		if s.Name == name {
			return s.Data
		}
	}
	return nil
}

// push measures a push in the two shapes that providers bound: APNs' payload,
// and FCM's title, body and data together. A body that is too long is cut when
// it is sent; the rest cannot be.
func (e *examination) push(push *notice.PushContent, g *group, where string) {
	payload, err := json.Marshal(map[string]any{
		"aps":  map[string]any{"alert": map[string]string{"title": push.Title, "body": push.Body}},
		"data": push.Data,
	})
	if err != nil {
		return
	}
	size := max(len(payload), len(push.Title)+len(push.Body)+len(push.Data))
	switch rest := size - len(push.Body); {
	case rest > maxPush:
		e.faults.add(g.start(partPushData, partTitle), "the push has %d bytes without its body, and APNs and FCM take %d: shorten it%s", rest, maxPush, where)
	case size > maxPush:
		e.faults.warn(g.start(partBody), "the push has %d bytes, and APNs and FCM take %d, so its body is cut: shorten it%s", size, maxPush, where)
	}
}

// start is the beginning of the first of the parts that the group has.
func (g *group) start(parts ...part) position {
	for _, p := range parts {
		if g.parts[p] != nil {
			return position{g.parts[p].file, 1, 1}
		}
	}
	return position{g.locale, 1, 1}
}

func blank(c notice.Content) bool { return blankPart(c) != "" }

// blankPart names the part without which nobody would know what was said.
func blankPart(c notice.Content) string {
	switch {
	case c.Email != nil && c.Email.Subject == "":
		return partNames()[partSubject]
	case c.Email != nil && strings.TrimSpace(c.Email.HTML+c.Email.Text) == "":
		return partNames()[partText]
	case c.Push != nil && c.Push.Title+c.Push.Body == "":
		return partNames()[partBody]
	}
	return ""
}
