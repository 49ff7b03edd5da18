package email

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/html"
)

func TestPlainTextOfHTML(t *testing.T) {
	for _, c := range []struct{ name, html, want string }{
		{"words", "Hello  <b>Ada</b>\n and all", "Hello Ada and all\n"},
		{"inline elements add no space", "un<b>believ</b>able", "unbelievable\n"},
		{"paragraphs", "<p>One</p><p>Two</p>", "One\n\nTwo\n"},
		{"nested blocks make no heaps of lines", "<div><div><p>One</p></div></div><div><p>Two</p></div>", "One\n\nTwo\n"},
		{"a heading", "<h1>Title</h1>text", "Title\n\ntext\n"},
		{"line breaks", "one<br>two<br/>three", "one\ntwo\nthree\n"},
		{"a list", "<ul><li>tea</li><li>milk</li></ul>", "- tea\n- milk\n"},
		{"a link", `see <a href="https://a.example/x">the order</a>.`, "see the order (https://a.example/x).\n"},
		{"a link whose text is its target", `<a href="https://a.example">https://a.example</a>`, "https://a.example\n"},
		{"a mail link", `<a href="mailto:a@b.example">write</a>`, "write (a@b.example)\n"},
		{"a link around an image", `<a href="https://a.example"><img src="x.png" alt="Our shop"></a>`, "Our shop (https://a.example)\n"},
		{"a link around nothing", `<a href="https://a.example"><img src="x.png"></a>`, "https://a.example\n"},
		{"a link within the page", `<a href="#top">up</a>`, "up\n"},
		{"an unclosed link", `<a href="https://a.example">text`, "text\n"},
		{"an end without a beginning", `</a>text</p>`, "text\n"},
		{"entities", "a &lt; b &amp;&nbsp;c &euro;", "a < b & c €\n"},
		{"styles and scripts", "<style>p{color:red}</style><script>alert(1)</script>text", "text\n"},
		{"the head", "<html><head><title>t</title><meta charset=utf-8></head><body>text</body></html>", "text\n"},
		{"a hidden preheader", `<div style="DISPLAY: none">preview <p>more</p></div>text`, "text\n"},
		{"a comment", "one<!-- two -->three", "onethree\n"},
		{"a table", "<table><tr><td>tea</td><td>3 €</td></tr><tr><td>milk</td><td>1 €</td></tr></table>", "tea 3 €\nmilk 1 €\n"},
		{"a numbered list", "<ol><li>tea</li><li>milk</li></ol>", "1. tea\n2. milk\n"},
		{"a numbered list that starts later", `<p>x</p><ol start="9"><li>tea<li>milk</ol>y`, "x\n\n9. tea\n10. milk\n\ny\n"},
		{"a numbered list that starts nowhere", `<ol start="-5"><li>tea</ol><ol start="99999999999999999999"><li>milk</ol>`, "1. tea\n\n1. milk\n"},
		{"a list in a list", "<ul><li>tea<ol><li>green</li><li>black</li></ol></li><li>milk</li></ul>x", "- tea\n  1. green\n  2. black\n- milk\n\nx\n"},
		{"an item with several lines", "<ul><li>a<ul><li>tea<br>green</li></ul></ul>x", "- a\n  - tea\n    green\n\nx\n"},
		{"an item without a list", "<li>tea", "- tea\n"},
		{"a list that ends twice", "<ul><li>tea</ul></ul></ol>x", "- tea\n\nx\n"},
		{"a table with headings", "<table><tr><th>what</th><th>price</th></tr><tr><td>tea</td><td>3 €</td></tr></table>", "what | price\ntea | 3 €\n"},
		{"a table with headings beside", "<table><tr><th>tea</th><td>3 €</td></tr><tr><th>milk</th><td></td></tr></table>", "tea | 3 €\nmilk |\n"},
		{"a table in one that only arranges", "<table><tr><td>a<table><tr><th>x</th><th>y</th></tr></table></td><td>b</td></tr></table>", "a\n\nx | y\n\nb\n"},
		{"text whose lines count", "<pre>one\n  two\n\n\n\nthree</pre>four five", "one\n  two\n\nthree\n\nfour five\n"},
		{"what is hidden by its attribute", `<p hidden>preview</p>text`, "text\n"},
		{"what is hidden over two lines", "<p style='display:\n none !important'>preview</p>text", "text\n"},
		{"an image in a link with a text", `<a href="https://a.example"><img alt="[x]" src=y> shop</a>`, "[x] shop (https://a.example)\n"},
		{"a rule", "one<hr>two", "one\n----\ntwo\n"},
		{"nothing", "", ""},
		{"only an image", `<img src="x.png">`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := plainText(c.html); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// What comes out has no tag: a "<" in it stood as a character in the source's
// text, in an image's alt, or in a link.
func FuzzPlainText(f *testing.F) {
	for _, seed := range []string{"<p>Hello <a href='x'>y</a></p>", "<div style=display:none><br></div></div><a href=x><a href=y>", strings.Repeat("<div>", 100) + "x", "<ol start=7><li>a<ul><li>b</ol>c</ul>",
		"<table><tr><th>a<th>b<tr><td>c<td>d<table><td>e", "<pre> a\n\n\n b</pre>", "a < b &lt;c> <img alt='<d>'>", "<textarea><b></textarea><title><i></title><xmp><u></xmp><plaintext><s>", "<<b>script>", "<a href='<b>'>x</a>", "\x00<p\x00>", "</p", "<!-->x", "<![CDATA[<b>]]>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		got := plainText(source)
		if utf8.ValidString(source) && !utf8.ValidString(got) {
			t.Errorf("%q became invalid UTF-8: %q", source, got)
		}
		if strings.Contains(got, "\n\n\n") {
			t.Errorf("%q grew empty lines: %q", source, got)
		}
		if has, may := strings.Count(got, "<"), angles(source); has > may {
			t.Errorf("%q has %d \"<\" that are not text: %q", source, has-may, got)
		}
		if len(got) > 8*len(source)+64 {
			t.Errorf("%d bytes became %d", len(source), len(got))
		}
	})
}

// angles counts the "<" that a source has as text, in alts and in links.
func angles(source string) (n int) {
	z := html.NewTokenizer(strings.NewReader(source))
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		token := z.Token()
		if kind == html.TextToken {
			n += strings.Count(token.Data, "<")
		}
		n += strings.Count(attribute(token, "alt"), "<") + strings.Count(attribute(token, "href"), "<")
	}
	return n
}

func TestDeepNestingIsReadInOneGo(t *testing.T) {
	got := plainText(strings.Repeat("<div><b>", 200_000) + "deep")
	if got != "deep\n" {
		t.Errorf("got %d bytes", len(got))
	}
}

func BenchmarkPlainText(b *testing.B) {
	source := strings.Repeat(`<tr><td><p>Hello <b>Ada</b>, <a href="https://acme.example/o/1">your order</a></p></td></tr>`, 55)
	b.SetBytes(int64(len(source)))
	for b.Loop() {
		plainText(source)
	}
}
