package openapi

import (
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestMarkdownBecomesHTMLAndNothingElseDoes(t *testing.T) {
	for says, tc := range map[string]struct{ in, want string }{
		"paragraphs":                         {"one\n\ntwo", "<p>one</p>\n<p>two</p>\n"},
		"a list":                             {"* one\n* `two`", "<ul><li>one</li><li><code>two</code></li></ul>\n"},
		"marks inside a line":                {"**a** [b](#c)", "<p><strong>a</strong> <a href=\"#c\">b</a></p>\n"},
		"nothing in code is a mark":          {"`**a** <b>`", "<p><code>**a** &lt;b&gt;</code></p>\n"},
		"markup is text":                     {"<script>", "<p>&lt;script&gt;</p>\n"},
		"a link that runs something is text": {"[a](javascript:b)", "<p>[a](javascript:b)</p>\n"},
		"nothing":                            {"", ""},
	} {
		if got := string(markdown(tc.in).HTML()); got != tc.want {
			t.Errorf("%s: got %q, want %q", says, got, tc.want)
		}
	}
}

// Whatever a description says, the page has only the elements that descriptions
// may have.
func FuzzMarkdownMakesNoOtherElements(f *testing.F) {
	for _, seed := range []string{"`a` **b** [c](#d)", "<img onerror=x>", "[`](#`\"onclick=)", "* a\n* b\n\n**`**`", "[a](https://x\" onclick=\"y)"} {
		f.Add(seed)
	}
	allowed := " p ul li code strong a html head body "
	f.Fuzz(func(t *testing.T, s string) {
		out := string(markdown(s).HTML())
		root, err := html.Parse(strings.NewReader(out))
		if err != nil {
			t.Fatalf("%q is no HTML: %v", out, err)
		}
		for n := range root.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			if !strings.Contains(allowed, " "+n.Data+" ") {
				t.Fatalf("%q made <%s>: %q", s, n.Data, out)
			}
			for _, a := range n.Attr {
				if n.Data != "a" || a.Key != "href" || !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "https://") {
					t.Fatalf("%q made %s=%q: %q", s, a.Key, a.Val, out)
				}
			}
		}
	})
}
