package templates

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The pseudo-locales, by their CLDR names. They show what a translation will
// do to a template before there is one: texts that are longer, that have
// letters beyond ASCII, that run from right to left, and those that never
// pass through a translator. No catalogue can have them and no reader gets
// them: only Pseudo makes them.
const (
	pseudoLong = "en-XA" // [Ŝḣîƥƥéð one two]: accented, a third longer, in brackets
	pseudoRTL  = "ar-XB" // each word turned round, and the direction with it
)

// PseudoLocales lists the locales that Catalogue.Pseudo takes.
func PseudoLocales() []string { return []string{pseudoLong, pseudoRTL} }

func isPseudo(locale string) bool { return slices.Contains(PseudoLocales(), locale) }

// pseudoText is a text of an author's in a pseudo-locale. What stands in braces
// is for values, and stays.
func pseudoText(locale, text string) string {
	if strings.TrimSpace(text) == "" || !isPseudo(locale) {
		return text
	}
	lead := text[:len(text)-len(strings.TrimLeftFunc(text, unicode.IsSpace))]
	tail := text[len(strings.TrimRightFunc(text, unicode.IsSpace)):]
	core := text[len(lead) : len(text)-len(tail)]
	if !strings.ContainsFunc(core, unicode.IsLetter) {
		return text
	}
	if locale == pseudoRTL {
		return lead + turned(core) + tail
	}
	return lead + "[" + accented(core) + padding(core) + "]" + tail
}

// padding makes a text a third longer, as German is than English.
func padding(text string) string {
	words := []string{"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
	var b strings.Builder
	for i, missing := 0, utf8.RuneCountInString(text)/3; b.Len() < missing; i++ {
		b.WriteString(" " + words[i%len(words)])
	}
	return b.String()
}

// accented puts marks on letters.
func accented(text string) string {
	plain := []rune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	marked := []rune("åƀçðéƒĝĥîĵķļḿñöþǫŕšţûṽŵẋýžÅƁÇÐÉƑĜĤÎĴĶĻṀÑÖÞǪŔŠŢÛṼŴẊÝŽ")
	return outsideProtected(text, func(s string) string {
		return strings.Map(func(r rune) rune {
			if i := slices.Index(plain, r); i >= 0 {
				return marked[i]
			}
			return r
		}, s)
	})
}

// turned puts every word between marks that make it run from right to left, as
// CLDR's ar-XB does: U+200F U+202E … U+202C U+200F.
func turned(text string) string {
	return outsideProtected(text, func(s string) string {
		var b strings.Builder
		for s != "" {
			n := strings.IndexFunc(s, isWordRune)
			if n < 0 {
				break
			}
			b.WriteString(s[:n])
			s = s[n:]
			if n = strings.IndexFunc(s, func(r rune) bool { return !isWordRune(r) }); n < 0 {
				n = len(s)
			}
			b.WriteString("\u200f\u202e" + s[:n] + "\u202c\u200f")
			s = s[n:]
		}
		return b.String() + s
	})
}

func isWordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// outsideProtected changes a text, but leaves web and mail addresses, HTML's
// entities and what stands in braces as they are.
func outsideProtected(text string, change func(string) string) string {
	var b strings.Builder
	from := 0
	for at := 0; at < len(text); {
		n := protected(text[at:])
		if n == 0 {
			at++
			continue
		}
		b.WriteString(change(text[from:at]) + text[at:at+n])
		at += n
		from = at
	}
	return b.String() + change(text[from:])
}

// protected is the length of what must stay at the start of text.
func protected(text string) int {
	for _, start := range []string{"http://", "https://", "mailto:", "tel:", "www."} {
		if strings.HasPrefix(text, start) {
			return strings.IndexFunc(text+" ", unicode.IsSpace)
		}
	}
	end := map[byte]string{'{': "}", '&': ";"}[text[0]]
	if n := strings.Index(text, end); end != "" && n > 0 && n < 40 && !strings.ContainsAny(text[:n], " \t\n") {
		return n + 1
	}
	return 0
}
