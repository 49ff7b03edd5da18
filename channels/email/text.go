package email

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// plainText is the text of an HTML mail whose template has no text part: what
// a reader without HTML, a screen, or a watch shows. Links keep their target,
// as "text (url)"; blocks stand on lines of their own. It reads tokens and
// builds no tree, so that its cost is the source's length whatever is nested.
func plainText(source string) string {
	var p plainWriter
	z := html.NewTokenizer(strings.NewReader(source))
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken: // the end
			return p.String()
		case html.TextToken:
			if p.hidden == 0 {
				p.text(string(z.Text()))
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			p.open(z.Token(), kind == html.SelfClosingTagToken)
		case html.EndTagToken:
			p.end(z.Token())
		}
	}
}

// plainWriter gathers words, and the breaks that are due before the next one.
type plainWriter struct {
	out    strings.Builder
	breaks int         // line ends due before the next word
	space  bool        // a space due before the next word
	hidden int         // depth inside elements that are not shown
	within []atom.Atom // the hidden elements that are open
	target string      // of the link that is open
	label  int         // where the link's text began
}

// String is the text, with one line end at its end.
func (p *plainWriter) String() string {
	s := strings.TrimSpace(p.out.String())
	if s == "" {
		return ""
	}
	return s + "\n"
}

func (p *plainWriter) text(s string) {
	for i, word := range strings.Fields(s) {
		if i > 0 || startsWithSpace(s) {
			p.space = true
		}
		p.word(word)
	}
	if s != "" && strings.TrimRight(s, " \t\r\n") != s {
		p.space = true
	}
}

func startsWithSpace(s string) bool { return strings.TrimLeft(s, " \t\r\n") != s }

func (p *plainWriter) word(w string) {
	switch {
	case p.out.Len() == 0:
	case p.breaks > 0:
		p.out.WriteString(strings.Repeat("\n", min(p.breaks, 2)))
	case p.space:
		p.out.WriteByte(' ')
	}
	p.breaks, p.space = 0, false
	p.out.WriteString(w)
}

// line makes the next word begin after n line ends at least.
func (p *plainWriter) line(n int) { p.breaks = max(p.breaks, n) }

func (p *plainWriter) open(t html.Token, closed bool) {
	if p.hidden > 0 || isHidden(t) {
		p.hide(t, closed)
		return
	}
	switch t.DataAtom {
	case atom.Br:
		p.breaks++
	case atom.Li:
		p.line(1)
		p.word("-")
		p.space = true
	case atom.Td, atom.Th:
		p.space = true
	case atom.Img:
		p.text(attribute(t, "alt"))
	case atom.Hr:
		p.line(1)
		p.word("----")
		p.line(1)
	case atom.A:
		p.target, p.label = attribute(t, "href"), p.out.Len()
	default:
		p.line(linesAround(t.DataAtom))
	}
}

func (p *plainWriter) end(t html.Token) {
	if p.hidden > 0 {
		p.show(t)
		return
	}
	if t.DataAtom == atom.A {
		p.endLink()
		return
	}
	p.line(linesAround(t.DataAtom))
}

// endLink writes the link's target behind its text, unless the text is it.
func (p *plainWriter) endLink() {
	target, label := p.target, strings.TrimSpace(p.out.String()[p.label:])
	p.target, p.label = "", 0
	bare := strings.TrimPrefix(target, "mailto:")
	if bare == "" || label == bare || strings.HasPrefix(target, "#") {
		return
	}
	p.space = true
	if label == "" {
		p.word(bare)
		return
	}
	p.word("(" + bare + ")")
}

// hide follows what is open inside a hidden element; elements that have no end
// tag are not open.
func (p *plainWriter) hide(t html.Token, closed bool) {
	if closed || isVoid(t.DataAtom) {
		return
	}
	p.hidden++
	p.within = append(p.within, t.DataAtom)
}

// show closes the nearest open element of t's name inside a hidden one, and
// with it those left open inside.
func (p *plainWriter) show(t html.Token) {
	for i := len(p.within) - 1; i >= 0; i-- {
		if p.within[i] == t.DataAtom {
			p.within, p.hidden = p.within[:i], i
			return
		}
	}
}

// isHidden reports whether t begins something that no reader shows: scripts
// and styles, and the "preheader" that mails hide by style.
func isHidden(t html.Token) bool {
	switch t.DataAtom {
	case atom.Head, atom.Style, atom.Script, atom.Title, atom.Template, atom.Noscript, atom.Iframe, atom.Noframes, atom.Noembed:
		return true
	}
	style := strings.ReplaceAll(strings.ToLower(attribute(t, "style")), " ", "")
	return strings.Contains(style, "display:none")
}

func isVoid(a atom.Atom) bool {
	switch a {
	case atom.Area, atom.Base, atom.Br, atom.Col, atom.Embed, atom.Hr, atom.Img, atom.Input, atom.Link, atom.Meta, atom.Source, atom.Track, atom.Wbr:
		return true
	}
	return false
}

// linesAround is how many line ends stand before and after an element.
func linesAround(a atom.Atom) int {
	switch a {
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Ul, atom.Ol, atom.Table, atom.Blockquote, atom.Pre:
		return 2
	case atom.Div, atom.Tr, atom.Li, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Main, atom.Dt, atom.Dd, atom.Center, atom.Body:
		return 1
	}
	return 0
}

func attribute(t html.Token, name string) string {
	for _, a := range t.Attr {
		if a.Key == name {
			return strings.TrimSpace(a.Val)
		}
	}
	return ""
}
