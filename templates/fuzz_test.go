package templates

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
)

// FuzzSource feeds the text of a part: it is loaded and rendered, or refused
// with a place, and never crashes, hangs or prints a blank for data that the
// contract let through.
func FuzzSource(f *testing.F) {
	for _, seed := range []string{"{{.data.a}}", "{{range .data.l}}{{.}}{{end}}", `{{template "p" .}}`, "{{define \"x\"}}{{end}}", "{{with $x := .data.a}}{{$x.b}}{{end}}",
		"{{/* }} */}}", "{{- `}}` -}}", `{{"\"}}"}}`, "<a href='{{.data.a}}'>", "{{if}}", "{{else}}{{end}}", "{{((((.data))))}}", `{{date "date" .now}}`, "{{break}}", "{{block \"b\" .}}{{end}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		c, err := Load(folder("_partials/p.txt", "p", "_partials/p.html", "p",
			"m/en/email.subject.txt", "s", "m/en/email.txt", source, "m/en/email.html", source))
		if err != nil {
			if !strings.Contains(err.Error(), ":") {
				t.Errorf("a fault without a place: %v", err)
			}
			return
		}
		const data = `{"a":"x","l":[1,{"b":"c"}],"o":{"b":1}}`
		m, _ := c.Template("m")
		_, faults := m.CheckData(jsontext.Value(data))
		r, err := c.Render(request("m", notice.MediumEmail, data))
		if len(faults) == 0 && err == nil && strings.Contains(r.Content.Email.Text, "<no value>") && !strings.Contains(source, "<no value>") {
			t.Errorf("%q passed the contract and came out blank", source)
		}
	})
}

// FuzzData feeds a notification's data: what CheckData lets through renders.
func FuzzData(f *testing.F) {
	for _, seed := range []string{`{}`, `{"order":"A","items":["a"]}`, `{"order":1}`, `[`, `{"order":"A","items":[null]}`, `{"order":"A","eta":"2027-01-01T00:00:00Z"}`, `{"order":"A","order":"B"}`, "\xff"} {
		f.Add(seed)
	}
	c := loadTestdata(f)
	o, _ := c.Template("order-shipped")
	f.Fuzz(func(t *testing.T, data string) {
		_, faults := o.CheckData(jsontext.Value(data))
		for _, fault := range faults {
			if !strings.HasPrefix(fault.Pointer, "/data") || fault.Detail == "" {
				t.Errorf("fault %+v of %q", fault, data)
			}
		}
		if len(faults) > 0 {
			return
		}
		for _, m := range o.Channels() {
			if _, err := c.Render(request("order-shipped", m, data)); err != nil {
				t.Errorf("%q passed the check, but: %v", data, err)
			}
		}
	})
}
