// Package preview shows what templates make of data: on a terminal, in a
// browser, and as golden files. Every rendering comes from the same
// templates.Catalogue that the consumer uses.
package preview

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

// Options choose what of a template is rendered.
type Options struct {
	Locale  string         // BCP 47; empty: the catalogue's default
	Channel notice.Medium  // empty: every channel of the template
	Sample  string         // the sample that gives the data; empty: the first
	Data    jsontext.Value // in place of a sample
}

// Result is one template rendered, in one or more channels.
type Result struct {
	Template string
	Version  string
	Locale   string                   // what was asked for
	Locales  map[notice.Medium]string // the locale that each channel fell back to
	Content  notice.Content           // all channels together
}

// Render renders a template of c. An error that is notice.Faults says what is
// wrong with the data.
func Render(c *templates.Catalogue, name string, o Options) (Result, error) {
	t, ok := c.Template(name)
	if !ok {
		return Result{}, unknown("template", name, c.Names())
	}
	if slices.Contains(templates.PseudoLocales(), o.Locale) {
		var err error
		if c, err = c.Pseudo(name, o.Locale); err != nil {
			return Result{}, err
		}
		t, _ = c.Template(name)
	}
	data, err := chooseData(t, o)
	if err != nil {
		return Result{}, err
	}
	if _, faults := t.CheckData(data); len(faults) > 0 {
		return Result{}, faults
	}
	media, err := chooseMedia(t, o.Channel)
	if err != nil {
		return Result{}, err
	}
	locale, err := chooseLocale(c, o.Locale)
	if err != nil {
		return Result{}, err
	}
	out := Result{Template: name, Locale: locale, Locales: map[notice.Medium]string{}}
	for _, m := range media {
		req := templates.SampleRequest(t, m, locale)
		req.Data = data
		r, err := c.Render(req)
		if err != nil {
			return Result{}, err
		}
		out.take(m, r)
	}
	return out, nil
}

func (r *Result) take(m notice.Medium, from templates.Rendering) {
	r.Version, r.Locales[m] = from.Version, from.Locale
	switch m {
	case notice.MediumEmail:
		r.Content.Email = from.Content.Email
	case notice.MediumPush:
		r.Content.Push = from.Content.Push
	case notice.MediumWebhook:
		r.Content.Webhook = from.Content.Webhook
	}
}

func chooseData(t *templates.Template, o Options) (jsontext.Value, error) {
	if o.Data != nil {
		return o.Data, nil
	}
	var names []string
	for _, s := range t.Samples {
		if s.Name == o.Sample || o.Sample == "" {
			return s.Data, nil
		}
		names = append(names, s.Name)
	}
	if o.Sample != "" {
		return nil, unknown("sample", o.Sample, names)
	}
	return nil, nil
}

func chooseLocale(c *templates.Catalogue, locale string) (string, error) {
	if locale == "" {
		return c.DefaultLocale(), nil
	}
	if detail := notice.CheckLocale(locale); detail != "" {
		return "", fmt.Errorf("locale %s", detail)
	}
	return locale, nil
}

func chooseMedia(t *templates.Template, m notice.Medium) ([]notice.Medium, error) {
	switch {
	case m == "":
		return t.Channels(), nil
	case !m.Valid():
		return nil, fmt.Errorf("channel %q is none of email, push, webhook", m)
	case !t.Renders(m):
		return nil, fmt.Errorf("template %q has no parts for %s", t.Name, m)
	}
	return []notice.Medium{m}, nil
}

// unknown says that a name is not there, and what it was likely meant to be.
func unknown(kind, name string, names []string) error {
	switch near := notice.Nearest(name, names); {
	case near != "":
		return fmt.Errorf("there is no %s %q: did you mean %s?", kind, name, near)
	case len(names) == 0:
		return fmt.Errorf("there is no %s %q: there is none at all", kind, name)
	}
	return fmt.Errorf("there is no %s %q: there are %s", kind, name, strings.Join(names, ", "))
}

// ErrNoHTML is what WriteHTML returns for a template without email.html.
var ErrNoHTML = errors.New("the template has no email.html in that locale: use --format text")

// WriteHTML writes the email's HTML, byte for byte.
func (r Result) WriteHTML(w io.Writer) error {
	if r.Content.Email == nil || r.Content.Email.HTML == "" {
		return ErrNoHTML
	}
	_, err := io.WriteString(w, r.Content.Email.HTML)
	return err
}

// WriteText writes everything for reading in a terminal.
func (r Result) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, version %s\n", r.Template, r.Version)
	if e := r.Content.Email; e != nil {
		r.heading(&b, notice.MediumEmail)
		emailText(&b, e)
	}
	if p := r.Content.Push; p != nil {
		r.heading(&b, notice.MediumPush)
		pushText(&b, p)
	}
	if body := r.Content.Webhook; len(body) > 0 {
		r.heading(&b, notice.MediumWebhook)
		b.WriteString(indented(body) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Result) heading(b *strings.Builder, m notice.Medium) {
	locale := r.Locales[m]
	if locale != r.Locale {
		locale += ", for want of " + r.Locale
	}
	title := fmt.Sprintf("── %s (%s) ", m, locale)
	fmt.Fprintf(b, "\n%s%s\n", title, strings.Repeat("─", max(3, 60-len([]rune(title)))))
}

func emailText(b *strings.Builder, e *notice.EmailContent) {
	fmt.Fprintf(b, "Subject: %s\n", e.Subject)
	if e.Text != "" {
		fmt.Fprintf(b, "\n%s\n", strings.TrimRight(e.Text, "\n"))
	}
	switch {
	case e.HTML != "" && e.Text == "":
		fmt.Fprintf(b, "\n%s\n", strings.TrimRight(e.HTML, "\n"))
	case e.HTML != "":
		fmt.Fprintf(b, "\n[HTML: %d bytes; --format html shows it]\n", len(e.HTML))
	}
}

func pushText(b *strings.Builder, p *notice.PushContent) {
	for _, line := range []string{p.Title, p.Body} {
		if line != "" {
			b.WriteString(line + "\n")
		}
	}
	if len(p.Data) > 0 {
		b.WriteString("data: " + indented(p.Data) + "\n")
	}
}

func indented(v jsontext.Value) string {
	pretty := v.Clone()
	if err := pretty.Indent(jsontext.WithIndent("  ")); err != nil {
		return string(v)
	}
	return string(pretty)
}
