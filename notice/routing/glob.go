package routing

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// The most bytes of a pattern; a CloudEvents type or source worth writing
// down is far shorter.
const maxPattern = 1024

// glob is a compiled pattern: literal text, * for any run of characters but
// the separator, ** for any run of characters. Every other character,
// including ? and [, stands for itself, since sources are URLs.
type glob struct {
	prefix string         // the literal text before the first wildcard; all of it when exact
	tail   tail           // what follows the prefix
	rest   *regexp.Regexp // of tailPattern: the whole pattern, matched in linear time
	sep    byte
}

// tail is how much of a pattern is left after its literal prefix. The first
// three cover nearly every pattern that is written, without a regexp.
type tail uint8

const (
	tailNone    tail = iota // nothing: the pattern is exact
	tailWithin              // a single *
	tailAcross              // a single **
	tailPattern             // anything else
)

// compileGlob compiles a pattern whose single * stops at sep.
func compileGlob(pattern string, sep byte) (glob, error) {
	if err := checkPattern(pattern, sep); err != nil {
		return glob{}, err
	}
	g := glob{prefix: pattern, sep: sep}
	star := strings.IndexByte(pattern, '*')
	if star < 0 {
		return g, nil
	}
	g.prefix = pattern[:star]
	switch pattern[star:] {
	case "*":
		g.tail = tailWithin
	case "**":
		g.tail = tailAcross
	default:
		g.tail = tailPattern
		g.rest = regexp.MustCompile(globRegexp(pattern, sep)) // quoted text and two fixed forms: always valid
	}
	return g, nil
}

// checkPattern refuses what can match nothing, or not what was meant.
func checkPattern(pattern string, sep byte) error {
	switch {
	case pattern == "":
		return errors.New("is empty; write the exact text, or use * and **")
	case len(pattern) > maxPattern:
		return fmt.Errorf("is longer than %d bytes", maxPattern)
	case strings.Contains(pattern, "***"):
		return fmt.Errorf("*** means nothing; write * for any text within %q, ** for any text across it", sep)
	case strings.ContainsFunc(pattern, neverMatches):
		return errors.New("holds a space or a control character, which no event's type or source does; take it out")
	}
	return nil
}

func neverMatches(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar
}

// globRegexp is pattern as a regular expression. Go's run in time linear in
// the text, whatever the pattern.
func globRegexp(pattern string, sep byte) string {
	within := `[^` + regexp.QuoteMeta(string(sep)) + `]*`
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i, across := range strings.Split(pattern, "**") {
		if i > 0 {
			b.WriteString(`.*`)
		}
		for j, literal := range strings.Split(across, "*") {
			if j > 0 {
				b.WriteString(within)
			}
			b.WriteString(regexp.QuoteMeta(literal))
		}
	}
	b.WriteString(`\z`)
	return b.String()
}

// match reports whether s is wholly what the pattern describes.
func (g *glob) match(s string) bool {
	rest, ok := strings.CutPrefix(s, g.prefix)
	if !ok {
		return false
	}
	switch g.tail {
	case tailNone:
		return rest == ""
	case tailWithin:
		return strings.IndexByte(rest, g.sep) < 0
	case tailAcross:
		return true
	}
	return g.rest.MatchString(s)
}

// exact reports whether the pattern has no wildcard.
func (g *glob) exact() bool { return g.tail == tailNone }

// segments is the pattern's literal text up to the last separator before its
// first wildcard: what every string that matches begins with, cut at a
// separator. Empty when there is no such text.
func (g *glob) segments() string {
	return g.prefix[:max(0, strings.LastIndexByte(g.prefix, g.sep))]
}
