package templates

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillonhq/carillon/notice"
)

// grammar draws parts that load: every value that they read is in anyMailData,
// and every tag that they open is closed.
type grammar struct {
	t     *rapid.T
	html  bool
	depth int
	vars  int
	plain bool // without {{cached}}
}

func (g *grammar) one(name string, of ...string) string { return rapid.SampledFrom(of).Draw(g.t, name) }

// value is a pipeline that writes something.
func (g *grammar) value() string {
	return g.one("value", ".data.title", ".data.n", ".data.f", ".data.o.a", ".data.o.b", "$.data.title", "$.to.name", "$.to.user", "$.id", "$.category",
		"$.template", "$.to.locale", "$.to.timezone", "$.unsubscribe_url", ".data.note | default \"none\"", "upper .data.title", "join \", \" .data.list",
		"printf \"%v-%v\" .data.title $.to.name", "len .data.list", "json .data.o", "date \"date\" .data.at", "date \"datetime\" $.now", "index .data.list 0",
		"print .data.n", "t \"hello\" .data.title", "t \"hello\" $.to.name", "truncate 3 .data.title", "lower .data.url", "number .data.f", "isolate $.to.name")
}

func (g *grammar) text() string {
	if !g.html {
		return g.one("text", "x", " \n ", "some words ", "& <b> \"q\" ", "é€")
	}
	return g.one("text", "x", " \n ", "<p>some words</p>", "<!-- a comment -->", "<b class=c>bold</b>", "&amp; é€", "<br>")
}

func (g *grammar) trims() (open, end string) {
	return g.one("open", "{{", "{{", "{{- "), g.one("close", "}}", "}}", " -}}")
}

// attribute is a value inside a tag, a style or a script.
func (g *grammar) attribute() string {
	v := g.value()
	return fmt.Sprintf(g.one("place", `<a href="{{%s}}">l</a>`, `<a href="/x?q={{%s}}&amp;u={{$.to.user}}">l</a>`, `<p title="a {{%s}} b">`, `<p title='{{%s}}'>`,
		`<p style="color: {{%s}}">`, `<script>var v = {{%s}};</script>`, `<style>p { width: {{%s}} }</style>`, `<textarea>{{%s}}</textarea>`,
		`<img src="{{%s}}" alt="{{$.to.name}}">`, `<a onclick="f({{%s}})">`, `<script type="application/json">{"v": {{%s}}}</script>`, `<p title={{%s}}>`), v)
}

func (g *grammar) node() string {
	g.depth++
	defer func() { g.depth-- }()
	kinds := 4
	if g.depth < 4 {
		kinds = 13
	}
	if g.plain && kinds == 13 {
		kinds = 12
	}
	open, end := g.trims()
	switch rapid.IntRange(0, kinds-1).Draw(g.t, "kind") {
	case 0:
		return g.text()
	case 1, 2:
		return open + g.value() + end
	case 3:
		if g.html {
			return g.attribute()
		}
		return g.text()
	case 4:
		return open + "if " + g.one("condition", ".data.flag", "$.to.name", "not .data.flag", "eq .data.n 3", "and .data.flag $.to.user", "gt (len .data.list) 1") + end +
			g.list() + "{{else}}" + g.list() + "{{end}}"
	case 5:
		return "{{range .data.list}}" + g.text() + "{{.}}" + g.one("inside", "", "{{$.to.name}}", "{{$.data.title}}", "{{if eq . \"b\"}}{{break}}{{end}}") + "{{end}}"
	case 6:
		return "{{range $i, $e := .data.items}}{{$i}}:{{$e.name}}" + g.one("inside", "", "{{$.to.user}}", "{{number $e.price}}") + "{{else}}none{{end}}"
	case 7:
		return "{{with $.data.o}}{{.a}}" + g.one("inside", "", "{{$.to.name}}", "{{$.data.n}}") + "{{end}}"
	case 8:
		return "{{with $.to.name}}{{.}} {{$.data.title}}{{else}}{{$.data.n}}{{end}}"
	case 9:
		g.vars++
		v := fmt.Sprintf("$v%d", g.vars)
		return "{{" + v + " := " + g.value() + "}}" + g.list() + "{{" + v + "}}"
	case 10:
		g.vars++
		v := fmt.Sprintf("$v%d", g.vars)
		return "{{" + v + " := 0}}{{range .data.items}}{{" + v + " = .name}}{{end}}" + g.text() + "{{" + v + "}}"
	case 11:
		return g.one("call", `{{template "shared" .}}`, `{{template "personal" .}}`, `{{template "mixed" .}}`, `{{template "item" .data.o}}`, `{{range .data.items}}{{template "line" .}}{{end}}`, `{{range .data.items}}{{template "mixed" $}}{{end}}`)
	default:
		return g.block()
	}
}

func (g *grammar) block() string {
	return g.one("block",
		`{{cached "hero" .data.o}}<i>{{.data.o.a}}</i>{{range $.data.o}}{{.}},{{end}}{{end}}`,
		`{{cached "all" .data}}{{.data.title}}{{template "shared" .}}{{date "date" .data.at}}{{end}}`,
		`{{range .data.items}}{{cached "item" .}}{{.name}}:{{number .price}}{{end}}{{$.to.name}}{{end}}`,
		`{{- cached "outer" .data.o .data.title -}} {{.data.o.a}}{{cached "inner" .data.title}}[{{$.data.title}}]{{end}} {{- end -}}`,
		`{{with .data.o}}{{cached "with" . $.to.locale}}{{.a}}{{$.to.locale}}{{end}}{{end}}`)
}

func (g *grammar) list() string {
	var b strings.Builder
	for range rapid.IntRange(0, 6).Draw(g.t, "nodes") {
		b.WriteString(g.node())
	}
	return b.String()
}

func (g *grammar) part(html bool) string {
	g.html = html
	return g.list()
}

var hostileTexts = []string{"", "x", "<b>&amp;", `"quoted" 'q'`, "a+b\x00c", "javascript:alert(1)", "https://x.example/?a=b&c=d", "http://x/%zz é(1)", "</script>", "{{.data.title}}", "\u2028é€", "ſhort"}

func anyMailData(t *rapid.T) string {
	text := rapid.SampledFrom(hostileTexts)
	items := []any{}
	for range rapid.IntRange(0, 3).Draw(t, "items") {
		items = append(items, map[string]any{"name": text.Draw(t, "name"), "price": rapid.IntRange(0, 5).Draw(t, "price")})
	}
	list := append([]string{"first"}, rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "<c>"}), 0, 3).Draw(t, "list")...)
	data := map[string]any{
		"title": text.Draw(t, "title"), "n": rapid.IntRange(-3, 4).Draw(t, "n"), "f": rapid.SampledFrom([]float64{0, 1, 1.5, 1e9, -2.25}).Draw(t, "f"),
		"o": map[string]any{"a": text.Draw(t, "a"), "b": rapid.Bool().Draw(t, "b")}, "list": list, "items": items, "flag": rapid.Bool().Draw(t, "flag"),
		"url": "https://x.example/a", "at": "2027-01-01T23:30:00Z",
	}
	if rapid.Bool().Draw(t, "has a note") {
		data["note"] = text.Draw(t, "note")
	}
	raw, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func anyReader(t *rapid.T, data string) Request {
	req := request("m", notice.MediumEmail, data)
	req.ID = rapid.SampledFrom([]string{"1-a", "2-b"}).Draw(t, "id")
	req.Category = rapid.SampledFrom([]string{"", "news", "<c>"}).Draw(t, "category")
	req.UnsubscribeURL = rapid.SampledFrom([]string{"", "https://u.example/u/abc?x=1&y=2", "https://u.example/(1)"}).Draw(t, "link")
	req.Locale = rapid.SampledFrom([]string{"en", "de", "de-AT", "fr"}).Draw(t, "locale")
	req.To = notice.Person{
		User: rapid.SampledFrom(hostileTexts).Draw(t, "user"), Name: rapid.SampledFrom(hostileTexts).Draw(t, "reader"), Email: "a@example.com",
		Locale: req.Locale, Timezone: rapid.SampledFrom([]string{"", "Europe/Vienna", "Asia/Tokyo"}).Draw(t, "zone"),
	}
	return req
}

// propertyCatalogue is a catalogue with one template of drawn parts, in two
// languages, with a layout and partials.
func propertyCatalogue(html, text string) (*Catalogue, error) {
	return Load(folder(
		"_locales/en.yaml", `hello: "Hello {1}"`, "_locales/de.yaml", `hello: "Hallo {1}"`,
		"_layouts/base.html", `<html><body>{{.data.title}}{{template "content" .}}<hr>{{.to.name}}</body></html>`,
		"_partials/shared.html", `<u>{{.data.title}}</u>`, "_partials/shared.txt", `u {{.data.title}}`,
		"_partials/personal.html", `<u>{{$n := .to.name}}{{$n}}</u>`, "_partials/personal.txt", `u {{$n := .to.name}}{{$n}}`,
		"_partials/mixed.html", `{{.data.n}} {{.to.name}}{{date "date" .data.at}} <u>{{.data.o.a}}</u>`, "_partials/mixed.txt", `{{.data.n}} {{.to.name}}{{date "date" .data.at}} {{.data.o.a}}`,
		"_partials/item.html", `{{$.a}}{{.b}}`, "_partials/item.txt", `{{$.a}}{{.b}}`,
		"_partials/line.html", `{{.name}} {{number $.price}}`, "_partials/line.txt", `{{.name}} {{number $.price}}`,
		"m/template.yaml", "layout: base",
		"m/en/email.subject.txt", "{{.data.title}} for {{.to.name}}", "m/en/email.html", html, "m/en/email.txt", text,
	))
}

// checkAgainstUncached renders for several readers, each a few times and in
// turn, and compares with what comes out without a cache, errors included.
func checkAgainstUncached(t interface{ Fatalf(string, ...any) }, html, text string, requests []Request) (use CacheUse) {
	plain, err := propertyCatalogue(html, text)
	if err != nil {
		return use // no part: the HTML engine refuses some of what is drawn
	}
	kept, _ := propertyCatalogue(html, text)
	kept.UseCache(NewCache(1 << 20))
	for round := range 4 {
		for i, req := range requests {
			want, wantErr := plain.Render(req)
			got, gotErr := kept.Render(req)
			if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Fatalf("round %d, reader %d: error\n%v, uncached\n%v\nof %q", round, i, gotErr, wantErr, html)
			}
			use.add(got.Cache)
			if wantErr == nil && !reflect.DeepEqual(got.Content, want.Content) {
				t.Fatalf("round %d, reader %d: cached\n%+v, uncached\n%+v\nof %q\nand %q", round, i, *got.Content.Email, *want.Content.Email, html, text)
			}
		}
	}
	return use
}

func (u *CacheUse) add(v CacheUse) {
	u.Hits, u.Joined, u.Misses, u.Unseen = u.Hits+v.Hits, u.Joined+v.Joined, u.Misses+v.Misses, u.Unseen+v.Unseen
}

func TestWhatComesFromTheCacheIsWhatComesWithoutIt(t *testing.T) {
	var use CacheUse
	rapid.Check(t, func(t *rapid.T) {
		g := grammar{t: t}
		html, text := g.part(true), g.part(false)
		var requests []Request
		for range 2 {
			data := anyMailData(t)
			for range rapid.IntRange(1, 3).Draw(t, "readers") {
				requests = append(requests, anyReader(t, data))
			}
		}
		use.add(checkAgainstUncached(t, html, text, requests))
	})
	if use.Hits == 0 || use.Misses == 0 || use.Unseen == 0 {
		t.Errorf("the property was not tried: %+v", use)
	}
}

// A part with its partials put in their places writes what the engine writes
// when it calls them.
func TestPartialsInTheirPlacesWriteWhatTheirCallsWrite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := grammar{t: t, plain: true}
		html, text := g.part(true), g.part(false)
		c, err := propertyCatalogue(html, text)
		if err != nil {
			t.Skip("the HTML engine refuses it")
		}
		called, err := propertyCatalogue(withoutInlining(html), withoutInlining(text))
		if err != nil {
			t.Fatalf("%v", err)
		}
		req := anyReader(t, anyMailData(t))
		want, wantErr := called.Render(req)
		got, gotErr := c.Render(req)
		if (gotErr == nil) != (wantErr == nil) || gotErr == nil && !reflect.DeepEqual(got.Content, want.Content) {
			t.Fatalf("in place\n%+v %v, called\n%+v %v", got.Content.Email, gotErr, want.Content.Email, wantErr)
		}
	})
}

// withoutInlining hands partials the root in a way that only the engine
// understands.
func withoutInlining(text string) string {
	return strings.NewReplacer(`" .}}`, `" (or .)}}`, `" $}}`, `" (or $)}}`).Replace(text)
}
