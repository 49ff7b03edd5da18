package templates

import (
	"fmt"
	"strings"
)

// The safety floor of a source file. The standard library's parser recurses
// once a nested block or parenthesis and crashes the process when its stack
// ends, so both are capped before it sees the text.
const (
	maxSource = 256 << 10 // bytes of one file
	maxNest   = 64        // blocks within blocks, parentheses within parentheses
)

// checkNesting reports the offset of the first action that nests too deep; ok
// is true when there is none. It counts generously where the text is no valid
// template, which the parser then says.
func checkNesting(text string) (offset int, ok bool) {
	var open []int // for each open block, how deep its else-ifs made it
	depth := 0
	for at := 0; ; {
		start := strings.Index(text[at:], "{{")
		if start < 0 {
			return 0, true
		}
		start += at
		action, end := scanAction(text, start+2)
		if action.parens > maxNest {
			return start, false
		}
		switch action.word {
		case "if", "range", "with", "block", "define":
			open, depth = append(open, 1), depth+1
		case "else":
			if action.chained && len(open) > 0 {
				open[len(open)-1]++
				depth++
			}
		case "end":
			if len(open) > 0 {
				depth -= open[len(open)-1]
				open = open[:len(open)-1]
			}
		}
		if depth > maxNest {
			return start, false
		}
		at = end
	}
}

// action is what the nesting check needs to know of one {{…}}.
type action struct {
	word    string // the first word
	chained bool   // "else" followed by another word
	parens  int    // the deepest parenthesis
}

// scanAction reads one action from after its "{{" and returns the offset after
// its "}}", or the end of the text.
func scanAction(text string, at int) (action, int) {
	var a action
	words, depth := 0, 0
	for at < len(text) {
		rest := text[at:]
		switch c := rest[0]; {
		case strings.HasPrefix(rest, "}}"):
			return a, at + 2
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest, "*/")
			if end < 0 {
				return a, len(text)
			}
			at += end + 2
		case c == '"' || c == '`' || c == '\'':
			at += quoted(rest)
			words++
		case c == '(':
			depth++
			a.parens = max(a.parens, depth)
			at++
		case c == ')':
			depth--
			at++
		case isLetter(c):
			n := 1
			for n < len(rest) && isLetter(rest[n]) {
				n++
			}
			if words == 0 {
				a.word = rest[:n]
			}
			words++
			at += n
		default:
			at++
		}
		a.chained = words > 1
	}
	return a, at
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }

// quoted is the length of the string constant that text starts with.
func quoted(text string) int {
	q := text[0]
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && q != '`':
			i++
		case text[i] == q:
			return i + 1
		}
	}
	return len(text)
}

// checkSource refuses what must not reach the parser.
func checkSource(text string) (offset int, err error) {
	if len(text) > maxSource {
		return 0, fmt.Errorf("the file has %d bytes, more than the %d that a part may have: move what repeats into a partial", len(text), maxSource)
	}
	if offset, ok := checkNesting(text); !ok {
		return offset, fmt.Errorf("nested more than %d deep: split the part into partials", maxNest)
	}
	return 0, nil
}
