package templates

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/net/html"

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

// FuzzCatalogue feeds every kind of file that a catalogue has: what is wrong
// has a place inside of one of them, and what loads renders its samples.
func FuzzCatalogue(f *testing.F) {
	f.Add("<p>{{.data.a}}</p>", "{{.data.a}}", `{"a": {{json .data.a}}}`, "samples: {default: {a: x}}", `{{template "content" .}}`, "p", "a: b", "default_locale: en")
	f.Add(`{{template "p" .data.a}}`, `{{t "n" .data.a}}`, `{{json .to}}`, "layout: l\nschema: {type: object, required: [a], properties: {a: {type: integer}}}\nsamples: {default: {a: 2}}",
		`<style>p{top:0}</style>{{template "content" .}}`, `{{date "date" .}}`, "n: {one: '{1} x', other: '{1} y'}", "defaults: {category: c, css: inline, from: {en: A, de: B}}")
	f.Add(`{{range .data.l}}{{template "p" .}}{{else}}{{t "n" "g" .x}}{{end}}`, `{{cached "x" .data.l}}{{len .data.l}}{{end}}`, `[]`, "channels: [push, email]\nexpires_in: 5m\nsamples: {default: &a {l: []}, b: *a}",
		`{{block "content" .}}{{end}}`, `<a href="{{.}}`, "n: {select: g, other: 'x', f: {one: a, other: b}}", "defaults: {layout: l, priority: bulk}")
	f.Fuzz(func(t *testing.T, mailHTML, text, data, settings, layout, partial, messages, catalogue string) {
		files := folder("m/en/email.subject.txt", "s", "m/en/email.html", mailHTML, "m/en/email.txt", text, "m/en/push.title.txt", text, "m/en/push.data.json", data, "m/de/webhook.json", data, "m/en/webhook.json", data,
			"m/template.yaml", settings, "_layouts/l.html", layout, "_layouts/l.txt", layout, "_partials/p.html", partial, "_partials/p.txt", partial, "_partials/p.json", partial,
			"_locales/en.yaml", messages, "_locales/de.yaml", messages, "catalogue.yaml", catalogue)
		c, err := Load(files)
		if err != nil {
			checkPlaces(t, files, err)
			return
		}
		checkPlaces(t, files, c.Examine())
		for _, k := range c.Cases() {
			if k.Err != nil && strings.Contains(k.Err.Error(), "fault of the gateway") {
				t.Errorf("%s %s: %v", k.Medium, k.Locale, k.Err)
			}
			if k.Err == nil && k.Content.Email != nil && (len(k.Content.Email.HTML) > maxOutput || strings.ContainsAny(k.Content.Email.Subject, "\r\n")) {
				t.Errorf("%s: %d bytes, subject %q", k.Locale, len(k.Content.Email.HTML), k.Content.Email.Subject)
			}
			if push := k.Content.Push; k.Err == nil && push != nil && push.Data != nil && !push.Data.IsValid() || k.Err == nil && k.Content.Webhook != nil && !k.Content.Webhook.IsValid() {
				t.Errorf("no JSON: %s %s", push.Data, k.Content.Webhook)
			}
		}
	})
}

// checkPlaces fails for a fault that is outside of the catalogue's files.
func checkPlaces(t *testing.T, files fstest.MapFS, err error) {
	t.Helper()
	var faults Faults
	if !errors.As(err, &faults) {
		t.Fatalf("no faults: %v", err)
	}
	for _, fault := range faults {
		if strings.Contains(fault.What, "fault of the gateway") {
			t.Errorf("%v", fault)
		}
		file, ok := files[fault.File]
		if !ok {
			if _, err := fs.Stat(files, path.Dir(fault.File)); err != nil { // its folder: the fault may be that it is not there
				t.Errorf("a fault of a file that cannot be there: %v", fault)
			}
			continue
		}
		lines := strings.Split(string(file.Data), "\n")
		if fault.Line < 1 || fault.Line > len(lines) {
			t.Errorf("line %d of %d: %v", fault.Line, len(lines), fault)
		} else if most := len(lines[fault.Line-1]) + 3; fault.Column < 1 || fault.Column > most { // the file's BOM is not in the line
			t.Errorf("column %d of %d: %v in %q", fault.Column, most, fault, lines[fault.Line-1])
		}
		if !utf8.ValidString(fault.Error()) && utf8.Valid(file.Data) {
			t.Errorf("broken UTF-8: %q", fault.Error())
		}
	}
}

// FuzzData feeds a notification's data: what CheckData lets through renders,
// in each of the templates that come with the project.
func FuzzData(f *testing.F) {
	for _, seed := range []string{`{}`, `{"order":"A","items":["a"]}`, `{"order":1}`, `[`, `{"order":"A","items":[null]}`, `{"order":"A","eta":"2027-01-01T00:00:00Z"}`, `{"order":"A","order":"B"}`, "\xff"} {
		f.Add(seed)
	}
	catalogues := []*Catalogue{loadTestdata(f), mustLoad(f, os.DirFS("../examples/shop/catalogue")), mustLoad(f, os.DirFS("../examples/github/catalogue"))}
	for _, c := range catalogues {
		for _, name := range c.Names() {
			for _, s := range c.templates[name].Samples {
				f.Add(string(s.Data))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data string) {
		for _, c := range catalogues {
			for _, name := range c.Names() {
				checkData(t, c, name, data)
			}
		}
	})
}

func checkData(t *testing.T, c *Catalogue, name, data string) {
	t.Helper()
	one, _ := c.Template(name)
	_, faults := one.CheckData(jsontext.Value(data))
	for _, fault := range faults {
		if !strings.HasPrefix(fault.Pointer, "/data") || fault.Detail == "" {
			t.Errorf("%s: fault %+v of %q", name, fault, data)
		}
	}
	if len(faults) > 0 {
		return
	}
	for _, m := range one.Channels() {
		for _, locale := range one.Locales() {
			req := request(name, m, data)
			req.Locale = locale
			if _, err := c.Render(req); err != nil {
				t.Errorf("%s %s %s: %q passed the check, but: %v", name, m, locale, data, err)
			}
		}
	}
}

// injected is a mail with a value in every place that HTML has for one, and
// none that decides what is written.
const injected = `<!DOCTYPE html><html><head><title>{{.data.a}}</title><style>p { color: {{.data.b}}; background: url("{{.data.a}}") }</style></head>
<body><p title="{{.data.a}}" title2='{{.data.b}}' lang={{.data.a}}>{{.data.a}} {{.data.b}}</p><a href="{{.data.a}}">{{.data.b}}</a>
<a href="https://a.example/{{.data.a}}/{{.data.b}}?q={{.data.a}}#{{.data.b}}">x</a><img src={{.data.a}} alt='{{.data.b}}'><img srcset="{{.data.a}} 2x, {{.data.b}}" alt="">
<p style="width: {{.data.a}}; {{.data.b}}">x</p><textarea>{{.data.a}}</textarea><script>var a = {{.data.a}}, b = "{{.data.b}}", c = '{{.data.a}}', d = ` + "`{{.data.b}}`" + `, e = /{{.data.a}}/;</script>
<a onclick="f({{.data.a}}, '{{.data.b}}')">x</a><script type="application/json">{"a": {{.data.a}}, "b": "{{.data.b}}"}</script><!-- {{.data.a}} -->
<p>{{upper .data.a}}{{truncate 9 .data.b}}{{isolate .data.a}}{{t "m" .data.b}}{{print .data.a .data.b}}{{json .data.a}}{{printf "%q" .data.b}}</p></body></html>`

// FuzzInjection feeds two values: whatever they are, the mail's tags and
// attributes are those that its author wrote, no link runs, and nothing that is
// said of them quotes them.
func FuzzInjection(f *testing.F) {
	for _, seed := range hostileTexts {
		f.Add(seed, "x")
		f.Add("x", seed)
	}
	f.Add("</textarea><script>", "--><b>")
	f.Add("</style><script>alert(1)</script>", "`${alert(1)}")
	f.Add("\\", "\"; alert(1); //")
	f.Add("javascript\t:alert(1)", "x, javascript:alert(1)")
	c := mustLoad(f, folder("m/en/email.subject.txt", "{{.data.a}} {{.data.b}}", "m/en/email.html", injected, "m/en/push.title.txt", "{{.data.a}}", "m/en/push.data.json", `{"a": {{json .data.a}}, "b": {{json .data}}}`,
		"m/en/webhook.json", `{"a": {{json (print .data.a .data.b)}}}`, "_locales/en.yaml", "m: 'for {1}'"))
	want := structure(renderInjected(f, c, "x", "x"))
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			return // no JSON: FuzzData has those
		}
		out := renderInjected(t, c, a, b)
		if got := structure(out); got != want {
			t.Errorf("%q and %q change the mail:\n%s\nwant\n%s\nin\n%s", a, b, got, want, out)
		}
		if found := dangers(strings.ReplaceAll(strings.ReplaceAll(out, "<script>", "<i>"), `<script type="application/json">`, "<i>")); len(found) > 0 {
			t.Errorf("%q and %q make %v", a, b, found)
		}
	})
}

func renderInjected(t testing.TB, c *Catalogue, a, b string) string {
	t.Helper()
	data, err := appendJSON(nil, map[string]any{"a": a, "b": b}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []notice.Medium{notice.MediumPush, notice.MediumWebhook} {
		if _, err := c.Render(request("m", m, string(data))); err != nil {
			t.Fatalf("%s: %v", m, err)
		}
	}
	r, err := c.Render(request("m", notice.MediumEmail, string(data)))
	if err != nil {
		t.Fatalf("%v", err)
	}
	if strings.ContainsAny(r.Content.Email.Subject, "\r\n") {
		t.Errorf("subject %q", r.Content.Email.Subject)
	}
	return r.Content.Email.HTML
}

// structure is a text's tags and the names of their attributes.
func structure(text string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(text))
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		if kind == html.TextToken {
			continue
		}
		tag := z.Token()
		fmt.Fprintf(&b, "%v %s", kind, tag.Data)
		for _, a := range tag.Attr {
			b.WriteString(" " + a.Key)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// FuzzInline feeds a part that calls partials: put in the places of their
// calls they write what the engine writes when it calls them.
func FuzzInline(f *testing.F) {
	f.Add(`{{template "mixed" .}}{{$x := .data.n}}{{template "personal" .}}{{$x}}`, "Ada", `{"title":"a","n":1,"at":"2027-01-01","o":{"a":1}}`)
	f.Add(`{{range .data.items}}{{template "line" .}}{{template "mixed" $}}{{end}}`, "'", `{"title":"a","n":1,"at":"2027-01-01","o":{"a":1},"items":[{"name":"x","price":2}]}`)
	f.Add(`<a title="{{template "shared" .}}">{{with .data.o}}{{template "item" .}}{{template "shared" $}}{{end}}`, "<", `{"title":"a","o":{"a":1,"b":2}}`)
	f.Fuzz(func(t *testing.T, source, name, data string) {
		if strings.ContainsAny(source, "`\\") || strings.Contains(source, "define") || strings.Contains(source, "block") {
			return // a call may stand there as a text, or be of something else
		}
		inPlace, err := propertyCatalogue(source, source)
		if err != nil {
			return
		}
		called, err := propertyCatalogue(rootCall.ReplaceAllString(source, `$1 (or $2)`), "x")
		if err != nil {
			return // the engine tells from a constant call what it cannot from another
		}
		req := request("m", notice.MediumEmail, data)
		req.To.Name = name
		want, wantErr := called.Render(req)
		got, gotErr := inPlace.Render(req)
		if gotErr == nil && wantErr == nil && !reflect.DeepEqual(got.Content.Email.HTML, want.Content.Email.HTML) {
			t.Errorf("%q for %q with %s: in place\n%q, called\n%q", source, name, data, got.Content.Email.HTML, want.Content.Email.HTML)
		}
	})
}

// rootCall is a call that hands the root over.
var rootCall = regexp.MustCompile(`(\{\{-? *template +"\w+") +([.$])`)

// The fuzz targets run over what they found before, and over the parts of the
// catalogues that come with the project.
func TestEveryPartOfTheProjectsCataloguesFuzzesWell(t *testing.T) {
	for _, dir := range []string{"testdata/catalogue", "../examples/shop/catalogue", "../examples/github/catalogue"} {
		parts := 0
		err := fs.WalkDir(os.DirFS(dir), ".", func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || path.Ext(file) != ".html" {
				return err
			}
			parts++
			text, err := os.ReadFile(path.Join(dir, file))
			if err != nil {
				return err
			}
			for cut := range 40 { // as an editor saves it halfway
				part := string(text[:len(text)*cut/40])
				files := folder("m/en/email.subject.txt", "s", "m/en/email.html", part)
				if c, err := Load(files); err != nil {
					checkPlaces(t, files, err)
				} else {
					checkPlaces(t, files, c.Examine())
				}
			}
			return nil
		})
		if err != nil || parts == 0 {
			t.Errorf("%s: %d parts, %v", dir, parts, err)
		}
	}
}
