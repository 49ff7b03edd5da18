package templates

import (
	"errors"
	"path"
	"strings"
	"time"

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
	var cases []Case
	for _, name := range c.Names() {
		t := c.templates[name]
		for _, m := range t.channels {
			for _, locale := range t.mediumLocales(m) {
				for _, s := range t.trials() {
					k := Case{Template: name, Medium: m, Locale: locale, Sample: s.Name}
					req := SampleRequest(t, m, locale)
					req.Data = s.Data
					k.Rendering, k.Err = c.Render(req)
					cases = append(cases, k)
				}
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

// Check renders every case and returns what fails or comes out blank; nil
// when nothing does.
func (c *Catalogue) Check() error {
	var faults Faults
	for _, k := range c.Cases() {
		where := " (sample " + k.Sample + ", locale " + k.Locale + ")"
		file := path.Join(k.Template, k.Locale)
		var fault Fault
		switch {
		case errors.As(k.Err, &fault):
			fault.Line, fault.Column = max(fault.Line, 1), max(fault.Column, 1)
			fault.What += where
			faults = append(faults, fault)
		case k.Err != nil:
			faults.add(position{file, 1, 1}, "%v%s", k.Err, where)
		case blank(k.Content):
			faults.add(position{path.Join(file, blankPart(k.Content)), 1, 1}, "comes out blank%s", where)
		}
	}
	return faults.Err()
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
