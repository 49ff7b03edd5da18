package channels

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const ellipsis = '…'

// Shorten cuts s so that the sum of cost over its runes is at most most. What
// was cut is marked with an ellipsis, and no character as people see it
// (UAX #29: a letter with its accents, a flag, a family emoji) is cut in two.
// It is empty when not even one character and the ellipsis fit.
func Shorten(s string, most int, cost func(rune) int) string {
	room := most - cost(ellipsis)
	used, cut := 0, 0
	var seen cluster
	for i, r := range s {
		if seen.breaksBefore(r) && used <= room {
			cut = i
		}
		seen.add(r)
		if used += cost(r); used > most {
			return marked(s[:cut])
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

// cluster is what must be known of the runes before a place to tell whether a
// character may end there: the rules of UAX #29 that matter to messages,
// without its tables.
type cluster struct {
	last  rune
	flags int // regional indicators in a row before the place
}

func (c *cluster) add(r rune) {
	c.last = r
	if regional(r) {
		c.flags++
		return
	}
	c.flags = 0
}

func (c *cluster) breaksBefore(r rune) bool {
	switch {
	case c.last == '\u200d', extends(r), c.last == '\r' && r == '\n':
		return false
	case regional(r):
		return c.flags%2 == 0
	}
	return !hangulJoins(c.last, r)
}

// extends reports whether r belongs to the character before it: an accent, a
// variation selector, a joiner, a skin tone or a tag.
func extends(r rune) bool {
	return r >= 0x300 && (unicode.Is(unicode.M, r) || r == '\u200d' ||
		r >= 0x1F3FB && r <= 0x1F3FF || r >= 0xE0020 && r <= 0xE007F)
}

func regional(r rune) bool { return r >= 0x1F1E6 && r <= 0x1F1FF }

// hangulJoins reports whether two conjoining jamo make one syllable: anything
// after a leading consonant or a vowel, and a final consonant after any.
func hangulJoins(before, r rune) bool {
	const lead, vowel, final, end = 0x1100, 0x1160, 0x11A8, 0x1200
	switch {
	case r < lead || r >= end && (r < 0xAC00 || r > 0xD7A3):
		return false
	case before >= lead && before < vowel:
		return r < final || r >= end
	}
	syllable := before >= 0xAC00 && before <= 0xD7A3 || before >= vowel && before < end
	return syllable && r >= vowel && r < end
}
