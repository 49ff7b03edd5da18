package templates

import (
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/carillonhq/carillon/notice"
)

// styled renders the HTML of a mail m whose css is inline.
func styled(t *testing.T, source string, more ...string) string {
	t.Helper()
	files := append([]string{"m/en/email.subject.txt", "s", "m/en/email.html", source, "m/template.yaml", "css: inline"}, more...)
	r, err := mustLoad(t, folder(files...)).Render(request("m", notice.MediumEmail, `{"a":"x","l":["1","2"]}`))
	if err != nil {
		t.Fatal(err)
	}
	return r.Content.Email.HTML
}

func TestRulesBecomeStyleAttributes(t *testing.T) {
	for _, c := range []struct{ name, source, want string }{
		{"by element, class and id", `<style>p{color:red}.a{margin:0}#b{top:1px}</style><p class="a" id="b">x</p>`,
			`<style></style><p style="color:red;margin:0;top:1px" class="a" id="b">x</p>`},
		{"the more specific rule wins", `<style>.a{color:red}p{color:blue}</style><p class=a>x</p>`, `<style></style><p style="color:red" class=a>x</p>`},
		{"the later of equals wins", `<style>.a{color:red;top:0}.b{color:blue}</style><p class="b a">x`, `<style></style><p style="top:0;color:blue" class="b a">x`},
		{"important wins over specific", `<style>p{color:red!important}.a{color:blue}</style><p class="a">`, `<style></style><p style="color:red !important" class="a">`},
		{"an element's own style wins", `<style>p{color:red}</style><p style='top:0'>`, `<style></style><p style='color:red;top:0'>`},
		{"descendants and children", `<style>div p{top:0}td>p{left:0}</style><div><table><tr><td><p>x</table></div><p>`,
			`<style></style><div><table><tr><td><p style="top:0;left:0">x</table></div><p>`},
		{"implied ends", `<style>td td{top:0}li li{top:0}</style><tr><td>a<td>b<tr><td>c<li>d<li>e`, `<style></style><tr><td>a<td>b<tr><td>c<li>d<li>e`},
		{"quotes", `<style>p{font-family:"A B",'C'}</style><p>`, `<style></style><p style="font-family:&#34;A B&#34;,&#39;C&#39;">`},
		{"data URLs keep their semicolons", `<style>p{background:url(data:image/png;base64,AA==)}</style><p>`, `<style></style><p style="background:url(data:image/png;base64,AA==)">`},
		{"what depends on the screen or the pointer stays, and wins", `<style>a{color:red}a:hover{color:blue}@media (max-width:9px){a,p{top:0}}</style><a>`,
			"<style>a:hover { color:blue !important }\n@media (max-width:9px) { a,p { top:0 !important } }\n</style><a style=\"color:red\">"},
		{"a list of selectors is taken apart", `<style>p, a:hover, .x + p{top:0}</style><p>`, "<style>a:hover, .x + p { top:0 !important }\n</style><p style=\"top:0\">"},
		{"fonts stay as they are", `<style>@font-face{src:url(a)}</style><p>`, "<style>@font-face {src:url(a)}\n</style><p>"},
		{"a style that is for some media stays", `<style media="print">p{top:0}</style><style data-embed>p{top:1px}</style><p>`, `<style media="print">p{top:0}</style><style data-embed>p{top:1px}</style><p>`},
		{"loops and branches", `<style>.a{top:0}p p{top:9px}</style>{{range .data.l}}<i class="a">{{.}}</i>{{end}}{{if .data.a}}<p>{{else}}<p class="a">{{end}}</p><b class="a" title="{{.data.a}}">`,
			`<style></style><i style="top:0" class="a">1</i><i style="top:0" class="a">2</i><p></p><b style="top:0" class="a" title="x">`},
		{"an attribute between branches", `<style>p{top:0}</style><p {{if .data.a}}title="{{.data.a}}"{{end}}>`, `<style></style><p style="top:0" title="x">`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := styled(t, c.source); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestAPartialIsStyledByWhereItStands(t *testing.T) {
	got := styled(t, `<style>.x p{top:0}</style><div class="x">{{template "p" .data.a}}</div>{{template "p" .data.a}}`, "_partials/p.html", `<p>{{.}}</p>`)
	if want := `<style></style><div class="x"><p style="top:0">x</p></div><p>x</p>`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWhatCannotBeStyledIsAFaultAtItsPlace(t *testing.T) {
	for _, c := range []struct{ source, place, words string }{
		{"<style>.a{top:0}</style>\n<p>\n <b class=\"{{.data.a}}\">", "m/en/email.html:3:2", "class of <b>"},
		{"<style>.a{top:0}</style>{{.data.a}}\n<p>{{.data.a}} <b {{if .data.a}}class=\"a\"{{end}}>", "m/en/email.html:2:16", "class of <b>"},
		{"<style>p{top:0}</style><p style=top:0>", "m/en/email.html:1:24", "quoted"},
	} {
		wantFault(t, loadFaults(t, folder("m/en/email.subject.txt", "s", "m/en/email.html", c.source, "m/template.yaml", "css: inline")), c.place, c.words)
	}
}

func TestAFaultBehindInlinedStylesKeepsItsPlace(t *testing.T) {
	c := mustLoad(t, folder("m/en/email.subject.txt", "s", "m/en/email.html", "<style>p{top:0}</style><p>\n<p>x</p>{{index .data.l 5}}", "m/template.yaml", "css: inline"))
	_, err := c.Render(request("m", notice.MediumEmail, `{"l":[]}`))
	if err == nil || !strings.Contains(err.Error(), "m/en/email.html:2:") {
		t.Errorf("%v", err)
	}
}

func TestTheLayoutsThatAreBuiltIn(t *testing.T) {
	for _, name := range []string{"base", "plain", "receipt"} {
		c := mustLoad(t, folder("m/template.yaml", "layout: "+name, "m/en/email.subject.txt", "Shipped", "m/en/email.preheader.txt", "On its\nway", "m/en/email.html", `<h1>Hello {{.to.name}}</h1><p>Hi</p>`,
			"m/ar/email.subject.txt", "s", "m/ar/email.html", `<p>x</p>`, "_partials/header.html", `<tr><td>Acme</td></tr>`))
		for _, f := range c.Examine() {
			if !strings.Contains(f.What, "email.preheader.txt") && !strings.Contains(f.What, "samples") {
				t.Errorf("%s: %v", name, f)
			}
		}
		req := request("m", notice.MediumEmail, `{}`)
		req.UnsubscribeURL = "https://acme.example/u/1"
		r, err := c.Render(req)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`<html lang="en" dir="ltr"`, "<title>Shipped</title>", ">On its way&#847;", `<h1`, "Hello Ada", ">Acme<", "prefers-color-scheme: dark", ">Unsubscribe</a>", "!important", `content="light dark"`} {
			if name == "plain" && (want == "!important" || strings.HasPrefix(want, "prefers")) {
				continue
			}
			if !strings.Contains(r.Content.Email.HTML, want) {
				t.Errorf("%s has no %q:\n%s", name, want, r.Content.Email.HTML)
			}
		}
		req.Locale = "ar-EG"
		if r, err = c.Render(req); err != nil || !strings.Contains(r.Content.Email.HTML, `dir="rtl"`) || !strings.Contains(r.Content.Email.HTML, "إلغاء") {
			t.Errorf("%s in Arabic: %v\n%s", name, err, r.Content.Email.HTML)
		}
		if tables := strings.Count(r.Content.Email.HTML, "<table"); tables != strings.Count(r.Content.Email.HTML, `role="presentation"`) {
			t.Errorf("%s has a table that a screen reader would read as one", name)
		}
	}
}

func TestALayoutOfTheCataloguesOwnTakesThePlaceOfABuiltInOne(t *testing.T) {
	c := mustLoad(t, folder("m/template.yaml", "layout: base", "m/en/email.subject.txt", "s", "m/en/email.html", `x`, "_layouts/base.html", `<style>p{top:0}</style><p>{{template "content" .}}</p>`))
	r, err := c.Render(request("m", notice.MediumEmail, `{}`))
	if err != nil || r.Content.Email.HTML != `<style>p{top:0}</style><p>x</p>` {
		t.Errorf("%q, %v", r.Content.Email, err)
	}
}

// FuzzStyles feeds mails: inlining leaves every text and every tag where it
// was, and what it makes can be compiled.
func FuzzStyles(f *testing.F) {
	for _, seed := range []string{`<style>p{top:0}</style><p class="a">x`, `<style>@media x{a{b:c}}</style>`, `<p style='x'>{{if .a}}<td>{{else}}<th>{{end}}`, "<style>/*", `<style>a{b:"</style>`, `<td {{if .x}}a{{end}}>`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		if strings.ContainsAny(source, marks) {
			return
		}
		var faults Faults
		m, ok := parseModule("m/en/email.html", source, functionNames(), &faults)
		if !ok || strings.Contains(source, "{{") {
			return
		}
		l := link(m, nil, nil)
		out, _ := l.inlineCSS(&faults)
		if before, after := skeleton(source), skeleton(out.entry.Root.String()); before != after && faults.errors() == 0 {
			t.Errorf("%q became %q", source, out.entry.Root.String())
		}
	})
}

// skeleton is a text's tags and words, without styles.
func skeleton(text string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(text))
	style := false
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		t := z.Token()
		if kind != html.TextToken || !style {
			b.WriteString(kind.String() + t.Data + "|")
		}
		style = kind == html.StartTagToken && t.Data == "style"
	}
	return b.String()
}
