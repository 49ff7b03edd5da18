package email

import (
	"strings"
	"testing"
	"unicode/utf8"
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

func FuzzPlainText(f *testing.F) {
	f.Add("<p>Hello <a href='x'>y</a></p>")
	f.Add("<div style=display:none><br></div></div><a href=x><a href=y>")
	f.Add(strings.Repeat("<div>", 100) + "x")
	f.Fuzz(func(t *testing.T, source string) {
		got := plainText(source)
		if utf8.ValidString(source) && !utf8.ValidString(got) {
			t.Errorf("%q became invalid UTF-8: %q", source, got)
		}
		if strings.Contains(got, "\n\n\n") && !strings.Contains(source, "<") {
			t.Errorf("%q grew empty lines: %q", source, got)
		}
	})
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
