package templates

import (
	"io/fs"
	"strings"
	"testing"
)

// findings are what loading and rendering say of a catalogue that loads.
func findings(t *testing.T, fsys fs.FS) Faults {
	t.Helper()
	return mustLoad(t, fsys).Examine()
}

// htmlMail makes a catalogue whose one template "m" has the given mail.
func htmlMail(text string, more ...string) fs.FS {
	return folder(append([]string{"m/en/email.subject.txt", "s", "m/en/email.html", text}, more...)...)
}

func TestACatalogueIsWarnedOf(t *testing.T) {
	two := func(more ...string) fs.FS {
		return folder(append([]string{"a/en/email.subject.txt", "s", "a/en/email.txt", "t", "a/de/email.subject.txt", "s", "a/de/email.txt", "t",
			"b/en/email.subject.txt", "s", "b/en/email.txt", "t"}, more...)...)
	}
	for _, c := range []struct {
		name  string
		fsys  fs.FS
		place string
		words []string
	}{
		{"a partial that nobody uses", mail("t", "_partials/p.txt", "p"), "_partials/p.txt:1:1", []string{"no part uses it"}},
		{"a layout that nobody uses", mail("t", "_layouts/l.html", "p"), "_layouts/l.html:1:1", []string{"no part uses it"}},
		{"a locale that most templates have", two("b/de/email.subject.txt", "s", "b/de/email.txt", "t", "c/en/email.subject.txt", "s", "c/en/email.txt", "t"), "c:1:1", []string{"no parts for de"}},
		{"a locale that another medium has", mail("t", "m/en/push.title.txt", "t", "m/de/push.title.txt", "t"), "m/de:1:1", []string{"email", "readers get en"}},
		{"a part that the default locale has", htmlMail("h", "m/en/email.txt", "t", "m/de/email.subject.txt", "s", "m/de/email.txt", "t"), "m/de:1:1", []string{"email.html"}},
		{"no samples where there is data", mail("{{.data.a}}"), "m/template.yaml:1:1", []string{"no samples"}},
		{"a subject that is too long", folder("m/en/email.subject.txt", strings.Repeat("s", 79), "m/en/email.txt", "t"), "m/en/email.subject.txt:1:1", []string{"79 characters", "78"}},
		{"a mail that Gmail clips", htmlMail(strings.Repeat("<p>lorem</p>\n", 9000)), "m/en/email.html:1:1", []string{"117000 bytes", "104448"}},
		{"a push whose body is cut", folder("m/en/push.body.txt", strings.Repeat("x", 4097)), "m/en/push.body.txt:1:1", []string{"its body is cut"}},
		{"a link whose scheme is a value's", htmlMail("<a href=\"{{.data.s}}:x\">x</a>"), "m/en/email.html:1:10", []string{"may be javascript"}},
		{"a relative link", htmlMail("<p>\n <a href=\"shop/x\">x</a>"), "m/en/email.html:2:11", []string{`href="shop/x"`, "relative"}},
		{"a relative link that a value makes", htmlMail("<a href='{{.data.u}}'>x</a>", "m/template.yaml", "samples: {default: {u: shop}}"), "m/en/email.html:1:10", []string{"comes out as a relative link"}},
		{"a relative link in a branch that no sample takes", htmlMail("<p>{{if .data.u}}<img alt='' src='a.png'>{{end}}", "m/template.yaml", "samples: {default: {u: ''}}"), "m/en/email.html:1:35", []string{`src="a.png"`}},
		{"a link without a scheme", htmlMail("<a href='//shop.example'>x</a>"), "m/en/email.html:1:10", []string{"https://shop.example"}},
		{"a picture without words", htmlMail("<p>\n\n  <img src='https://x.example/a.png'>"), "m/en/email.html:3:3", []string{"alt"}},
		{"a picture in a data: link", htmlMail("<img alt='' src='data:image/png;base64,AAAA'>"), "m/en/email.html:1:18", []string{"data:"}},
		{"a stray angle", htmlMail("<p>1 < 2</p>"), "m/en/email.html:1:6", []string{"&lt;"}},
		{"a comment that Outlook would read", htmlMail("<p>x</p>\n<!--[if mso]><p>y</p><![endif]-->"), "m/en/email.html:2:1", []string{"Outlook"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := findings(t, c.fsys)
			if err := found.Err(); err != nil {
				t.Errorf("a warning refuses the catalogue: %v", err)
			}
			wantFault(t, found, c.place, c.words...)
		})
	}
}

func TestBrokenHTMLIsAFaultAtItsSource(t *testing.T) {
	for _, c := range []struct {
		name  string
		fsys  fs.FS
		place string
		words []string
	}{
		{"an element that is never closed", htmlMail("<p>a</p>\n<div>b"), "m/en/email.html:2:1", []string{"<div> is never closed"}},
		{"an end without a start", htmlMail("<p>a</p>\n b</b>"), "m/en/email.html:2:3", []string{"</b> closes nothing"}},
		{"elements that overlap", htmlMail("<b><i>x</b></i>"), "m/en/email.html:1:4", []string{"<i> is still open where </b>"}},
		{"an attribute that stands twice", htmlMail(`<p class="a" id="b" class="c">x</p>`), "m/en/email.html:1:21", []string{"class twice"}},
		{"a slash that closes nothing", htmlMail("<table><tr><td><div/></td></tr></table>"), "m/en/email.html:1:16", []string{"<div></div>"}},
		{"a script link", htmlMail("<a href=' java\tscript:alert(1)'>x</a>"), "m/en/email.html:1:10", []string{"javascript:"}},
		{"a script link in a branch that no sample takes", htmlMail("{{if .data.a}}<a href='vbscript:x'>x</a>{{end}}", "m/template.yaml", "samples: {default: {a: ''}}"), "m/en/email.html:1:24", []string{"vbscript:"}},
		{"a value that makes a script link", htmlMail("x\n<a href='{{.data.u}}'>x</a>", "m/template.yaml", "samples: {default: {u: 'javascript:alert(1)'}}"), "m/en/email.html:2:10", []string{"comes out dead"}},
		{"an element that a value's branch leaves open", htmlMail("{{if .data.a}}<div>{{end}}x", "m/template.yaml", "samples: {default: {a: true}}"), "m/en/email.html:1:15", []string{"<div> is never closed"}},
		{"a fault in a partial", htmlMail("<p>x</p>\n{{template \"p\" .}}", "_partials/p.html", "<p>\n <b>x</p>"), "_partials/p.html:2:2", []string{"<b> is still open"}},
		{"a fault in a layout, after its comments", htmlMail("x", "m/template.yaml", "layout: l", "_layouts/l.html", "<!-- one\ntwo -->\n<p>{{template \"content\" .}}</p> <!-- x --> </u>"), "_layouts/l.html:3:44", []string{"</u> closes nothing"}},
		{"a fault after a comment within a text", htmlMail("<p>a</p><!-- c\n -->\n<p>b</p> </i>"), "m/en/email.html:3:10", []string{"</i> closes nothing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := findings(t, c.fsys)
			if found.Err() == nil {
				t.Error("the catalogue is not refused")
			}
			wantFault(t, found, c.place, c.words...)
		})
	}
}

func TestGoodHTMLIsNotWarnedOf(t *testing.T) {
	for _, text := range []string{
		"<!doctype html>\n<html><head><title>1 < 2</title><meta charset=utf-8></head><body><p>a<p>b<br><br/><ul><li>a<li>b</ul></body></html>",
		`<a href="https://x.example/?a={{.data.a}}&amp;b">x</a> <a href="mailto:a@b.example">m</a> <a href="#top">t</a> <a href="{{.unsubscribe_url}}">u</a>`,
		`<img alt="" src="https://x.example/{{.data.a}}.png"><img src="cid:logo" alt="logo">`,
		`<table><tr><td {{if .data.a}}class="a"{{else}}class="b"{{end}}>x</table>`,
		`<svg><path d="M0 0"/></svg><style>a > b { color: red }</style>`,
		`<p>{{range .data.l}}<b>{{.}}</b>{{end}} &lt; </p><a href="app://open/{{.data.a}}">x</a>`,
	} {
		found := findings(t, htmlMail(text, "m/template.yaml", "samples: {default: {a: x, l: [1, 2]}}"))
		if len(found) > 0 {
			t.Errorf("%s\n%v", text, found)
		}
	}
}
