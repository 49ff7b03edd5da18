package templates

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"text/template/parse"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
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
	letters := false
	outsideProtected(core, func(s string) string {
		letters = letters || strings.ContainsFunc(s, unicode.IsLetter)
		return s
	})
	if !letters {
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

// Pseudo is a catalogue of one template in a pseudo-locale and its default
// locale, for previews and tests. It is made anew with each call, and no reader
// ever gets it.
func (c *Catalogue) Pseudo(name, locale string) (*Catalogue, error) {
	src, ok := c.src.templates[name]
	switch {
	case !isPseudo(locale):
		return nil, fmt.Errorf("%q is no pseudo-locale: there are %s", locale, strings.Join(PseudoLocales(), " and "))
	case !ok:
		return nil, fmt.Errorf("there is no template %q in the catalogue%s", name, known(name, c.Names()))
	}
	var faults Faults
	compile := newCompiler(c.src, c.options, &faults)
	compile.pseudo = locale
	b := compile.template(src)
	if err := append(faults, *b.faults...).Err(); err != nil {
		return nil, err
	}
	return &Catalogue{defaultLocale: c.defaultLocale, templates: map[string]*Template{name: b.out}, texts: c.texts, src: c.src}, nil
}

// inPseudo is a linked part with its texts in a pseudo-locale, and the trees
// that it calls. Tags, styles and what stands in attributes stay.
func (l linked) inPseudo(locale string) (linked, map[string]bool) {
	s := stylist{trees: l.trees, called: map[string]bool{}}
	s.out = linked{file: l.file, entry: l.entry.Copy(), trees: map[string]*parse.Tree{}}
	s.flatten(s.out.entry, s.out.entry.Root)
	if s.tooBig {
		return l, nil
	}
	if path.Ext(l.file) == ".html" {
		s.pseudoHTML(locale)
	} else {
		s.pseudoRun(locale, s.text.String(), 0)
	}
	s.apply()
	return s.out, s.called
}

func (s *stylist) pseudoHTML(locale string) {
	at, silent := 0, false
	z := html.NewTokenizer(strings.NewReader(s.text.String()))
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		raw := string(z.Raw())
		switch {
		case kind == html.StartTagToken:
			tag := z.Token().DataAtom
			silent = tag == atom.Style || tag == atom.Script
		case kind == html.TextToken && !silent:
			s.pseudoRun(locale, raw, at)
		default:
			silent = false
		}
		at += len(raw)
	}
}

// pseudoRun changes the stretches of text between the marks of actions.
func (s *stylist) pseudoRun(locale, text string, at int) {
	for text != "" {
		n := strings.IndexAny(text, marks)
		if n < 0 {
			n = len(text)
		}
		if changed := pseudoText(locale, text[:n]); changed != text[:n] {
			s.edits = append(s.edits, edit{at, at + n, changed})
		}
		if n == len(text) {
			return
		}
		_, size := utf8.DecodeRuneInString(text[n:])
		text, at = text[n+size:], at+n+size
	}
}
