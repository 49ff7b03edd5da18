package routing

import (
	"strings"
	"testing"
)

func TestGlobMatches(t *testing.T) {
	tests := []struct {
		name    string
		pattern string
		sep     byte
		text    string
		want    bool
	}{
		{"an exact pattern matches itself", "com.github.push", '.', "com.github.push", true},
		{"an exact pattern matches nothing longer", "com.github.push", '.', "com.github.push.v2", false},
		{"an exact pattern matches nothing shorter", "com.github.push", '.', "com.github", false},
		{"a star matches one segment", "com.github.issues.*", '.', "com.github.issues.opened", true},
		{"a star stops at a dot", "com.github.issues.*", '.', "com.github.issues.opened.v2", false},
		{"a star needs its separator", "com.github.issues.*", '.', "com.github.issues", false},
		{"a star matches part of a segment", "com.github.pull_*", '.', "com.github.pull_request", true},
		{"a star matches inside", "com.*.opened", '.', "com.issues.opened", true},
		{"a star inside does not cross a dot", "com.*.opened", '.', "com.github.issues.opened", false},
		{"a star matches no text at all", "com.github.*", '.', "com.github.", true},
		{"two stars cross dots", "com.**", '.', "com.github.issues.opened", true},
		{"two stars inside cross dots", "com.**.opened", '.', "com.github.issues.opened", true},
		{"two stars inside cross line breaks", "com.**.opened", '.', "com.a\nb.opened", true},
		{"two stars alone match everything", "**", '.', "anything at\nall", true},
		{"a star alone matches a type without dots", "*", '.', "ping", true},
		{"a star alone matches no dots", "*", '.', "com.ping", false},
		{"stars mix", "*.github.**", '.', "com.github.issues.opened", true},
		{"a source's star stops at a slash", "https://github.com/octo-org/*", '/', "https://github.com/octo-org/octo-repo", true},
		{"a source's star crosses a dot", "https://*/octo-org", '/', "https://github.com/octo-org", true},
		{"a source's star does not cross a slash", "https://github.com/*", '/', "https://github.com/octo-org/octo-repo", false},
		{"a source's two stars cross slashes", "https://github.com/octo-org/**", '/', "https://github.com/octo-org/a/b", true},
		{"a neighbour's prefix is no match", "https://github.com/octo-org/**", '/', "https://github.com/octo-organised/a", false},
		{"a question mark is itself", "/a?b", '/', "/a?b", true},
		{"a question mark is no wildcard", "/a?b", '/', "/acb", false},
		{"regexp syntax is literal", "a.(b|c)+*x", '/', "a.(b|c)+yx", true},
		{"regexp syntax matches nothing else", "a.(b|c)+*x", '/', "aXbyx", false},
		{"no text is not an exact pattern", "a", '.', "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := compileGlob(tt.pattern, tt.sep)
			if err != nil {
				t.Fatalf("compileGlob(%q): %v", tt.pattern, err)
			}
			if got := g.match(tt.text); got != tt.want {
				t.Errorf("%q matches %q: got %v, want %v", tt.pattern, tt.text, got, tt.want)
			}
		})
	}
}

func TestGlobRefusesWhatCanMatchNothing(t *testing.T) {
	for name, tt := range map[string]struct{ pattern, want string }{
		"an empty pattern":            {"", "is empty"},
		"three stars":                 {"com.***", `*** means nothing`},
		"a space":                     {"com.github push", "a space or a control character"},
		"a line break":                {"com.github.push\n", "a space or a control character"},
		"bytes that are not UTF-8":    {"com.\xff", "a space or a control character"},
		"a pattern beyond all reason": {strings.Repeat("a", maxPattern+1), "longer than 1024 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := compileGlob(tt.pattern, '.')
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("compileGlob(%q): got %v, want an error with %q", tt.pattern, err, tt.want)
			}
		})
	}
}

// FuzzGlob holds the compiled pattern against a matcher too simple to be
// wrong, and its literal segments against what it matches.
func FuzzGlob(f *testing.F) {
	f.Add("com.github.*", "com.github.push", byte('.'))
	f.Add("com.**.opened", "com.github.issues.opened", byte('.'))
	f.Add("https://*/**/x*", "https://a/b/c/xy", byte('/'))
	f.Add("**a*b", "aab", byte('.'))
	f.Add("a*", "a\xffb", byte('.'))
	f.Fuzz(func(t *testing.T, pattern, text string, sep byte) {
		if sep != '/' {
			sep = '.'
		}
		g, err := compileGlob(pattern, sep)
		if err != nil || len(pattern) > 12 || len(text) > 24 {
			return // the simple matcher takes exponential time
		}
		got := g.match(text)
		if want := simpleMatch(pattern, text, sep); got != want {
			t.Errorf("%q matches %q: got %v, want %v", pattern, text, got, want)
		}
		if lead := g.segments(); got && lead != "" && !strings.HasPrefix(text, lead+string(sep)) {
			t.Errorf("%q matches %q, which does not begin with its segments %q", pattern, text, lead)
		}
	})
}

func simpleMatch(pattern, text string, sep byte) bool {
	switch {
	case pattern == "":
		return text == ""
	case strings.HasPrefix(pattern, "**"):
		return simpleMatch(pattern[2:], text, sep) || text != "" && simpleMatch(pattern, text[1:], sep)
	case pattern[0] == '*':
		return simpleMatch(pattern[1:], text, sep) || text != "" && text[0] != sep && simpleMatch(pattern, text[1:], sep)
	}
	return text != "" && text[0] == pattern[0] && simpleMatch(pattern[1:], text[1:], sep)
}
