package templates

import (
	"strings"
	"text/template/parse"
	"unicode"
	"unicode/utf8"
)

// cachedCall is what the parser sees of {{cached "name" KEY…}}, which is
// rewritten to {{if  ƒ "name" KEY…}} before it is parsed: as long as before, so
// that every fault keeps its place, and a block that the HTML engine refuses
// when it does not end in the context in which it began.
const (
	cachedWord = "cached"
	cachedCall = "ƒ"
	cachedOpen = "if  " + cachedCall
)

// openCached rewrites the {{cached}} blocks of a source.
func openCached(text string) string {
	if !strings.Contains(text, cachedWord) {
		return text
	}
	var b strings.Builder
	copied := 0
	for at := 0; ; {
		start := strings.Index(text[at:], "{{")
		if start < 0 {
			b.WriteString(text[copied:])
			return b.String()
		}
		at += start + len("{{")
		if word := firstWord(text, at); startsCached(text[word:]) {
			b.WriteString(text[copied:word])
			b.WriteString(cachedOpen)
			copied = word + len(cachedWord)
		}
		_, at = scanAction(text, at)
	}
}

// firstWord is where an action's first word begins.
func firstWord(text string, at int) int {
	if strings.HasPrefix(text[at:], "- ") {
		at++
	}
	return len(text) - len(strings.TrimLeft(text[at:], " \t\r\n"))
}

func startsCached(text string) bool {
	rest, ok := strings.CutPrefix(text, cachedWord)
	if !ok {
		return false
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return r != '_' && r != '.' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
}

// isCached recognises the condition of a {{cached}} block.
func isCached(p *parse.PipeNode) bool {
	if p == nil || len(p.Decl) > 0 || len(p.Cmds) != 1 {
		return false
	}
	call, ok := p.Cmds[0].Args[0].(*parse.IdentifierNode)
	return ok && call.Ident == cachedCall
}

// renderAlways is what a {{cached}} block's condition calls where nothing is
// kept.
func renderAlways(...any) bool { return true }
