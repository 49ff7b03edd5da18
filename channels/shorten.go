package channels

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

const ellipsis = '…'

// Shorten cuts s so that the sum of cost over its runes is at most most. What
// was cut is marked with an ellipsis, and no character as people see it
// (UAX #29: a letter with its accents, a flag, a family emoji) is cut in two.
// It is empty when not even one character and the ellipsis fit.
func Shorten(s string, most int, cost func(rune) int) string {
	room := most - cost(ellipsis)
	used, cut := 0, 0
	for rest, state := s, -1; rest != ""; {
		var cluster string
		cluster, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		for _, r := range cluster {
			if used += cost(r); used > most {
				return marked(s[:cut])
			}
		}
		if used <= room {
			cut = len(s) - len(rest)
		}
	}
	return s
}

func marked(s string) string {
	s = strings.TrimRightFunc(s, unicode.IsSpace)
	if s == "" {
		return ""
	}
	return s + string(ellipsis)
}

// JSONCost is how many bytes r takes inside a JSON string that is escaped for
// HTML and JavaScript too, as encoding/json does.
func JSONCost(r rune) int {
	switch r {
	case '"', '\\', '\b', '\f', '\n', '\r', '\t':
		return 2
	case '<', '>', '&', '\u2028', '\u2029':
		return 6
	}
	if r < ' ' {
		return 6
	}
	return utf8.RuneLen(r)
}
