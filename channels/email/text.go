package email

import (
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// plainText is the text of an HTML mail whose template has no text part: what
// a reader without HTML, a screen, or a watch shows. Links keep their target,
// as "text (url)"; blocks stand on lines of their own; lists are numbered and
// indented, and the cells of a table that has headings are told apart. It reads
// tokens and builds no tree, so that its cost is the source's length whatever
// is nested.
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
	lists  []list      // that are open, outermost first
	indent int         // spaces before the line that is due
	pre    int         // depth inside elements whose line ends count
	tables []table     // that are open, outermost first
}

// list is a list that is open. The items of one without numbers have number -1.
type list struct{ number int }

// table is a table that is open: one with headings is read as one, any other
// only puts things beside each other.
type table struct {
	headings bool
	cells    int // of the row
}

// What bounds a hostile source: a line is not indented for ever.
const maxIndent = 8

// String is the text, with one line end at its end.
func (p *plainWriter) String() string {
	s := strings.TrimSpace(p.out.String())
	if s == "" {
		return ""
	}
	return s + "\n"
}

func (p *plainWriter) text(s string) {
	if p.pre > 0 {
		p.verbatim(s)
		return
	}
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

// verbatim keeps the lines of s, but no more than one empty line in a row.
func (p *plainWriter) verbatim(s string) {
	for i, row := range strings.Split(s, "\n") {
		if i > 0 {
			p.breaks++
		}
		if row = strings.TrimRight(row, " \t\r"); row != "" {
			p.word(row)
		}
	}
}

func startsWithSpace(s string) bool { return strings.TrimLeft(s, " \t\r\n") != s }

func (p *plainWriter) word(w string) {
	switch {
	case p.out.Len() == 0:
	case p.breaks > 0:
		p.out.WriteString(strings.Repeat("\n", min(p.breaks, 2)) + strings.Repeat(" ", p.indent))
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
	case atom.Ul, atom.Ol, atom.Menu:
		p.openList(t)
	case atom.Li:
		p.item()
	case atom.Table:
		p.line(linesAround(t.DataAtom))
		p.tables = append(p.tables, table{})
	case atom.Tr:
		p.line(1)
		if n := len(p.tables); n > 0 {
			p.tables[n-1].cells = 0
		}
	case atom.Td, atom.Th:
		p.cell(t.DataAtom == atom.Th)
	case atom.Pre:
		p.line(linesAround(t.DataAtom))
		p.pre++
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
	switch t.DataAtom {
	case atom.A:
		p.endLink()
		return
	case atom.Ul, atom.Ol, atom.Menu:
		p.endList()
		return
	case atom.Table:
		p.tables = p.tables[:max(len(p.tables)-1, 0)]
	case atom.Pre:
		p.pre = max(p.pre-1, 0)
	}
	p.line(linesAround(t.DataAtom))
}

// openList begins a list: a list in another one belongs to its item.
func (p *plainWriter) openList(t html.Token) {
	p.line(p.aroundList())
	number := -1
	if t.DataAtom == atom.Ol {
		number = 1
		if start, err := strconv.ParseInt(attribute(t, "start"), 10, 32); err == nil && start >= 0 {
			number = int(start)
		}
	}
	p.lists = append(p.lists, list{number})
}

func (p *plainWriter) endList() {
	p.lists = p.lists[:max(len(p.lists)-1, 0)]
	p.line(p.aroundList())
	p.indent = 0
	if len(p.lists) > 0 {
		p.indent = p.depth() + 2
	}
}

func (p *plainWriter) aroundList() int {
	if len(p.lists) > 0 {
		return 1
	}
	return 2
}

// depth is how far the items of the list that is open stand in.
func (p *plainWriter) depth() int { return 2 * min(max(len(p.lists)-1, 0), maxIndent) }

func (p *plainWriter) item() {
	p.line(1)
	p.indent = p.depth()
	mark := "-"
	if n := len(p.lists); n > 0 && p.lists[n-1].number >= 0 {
		mark = strconv.Itoa(p.lists[n-1].number) + "."
		p.lists[n-1].number++
	}
	p.word(mark)
	p.space = true
	p.indent += 2 // of the item's other lines
}

// cell begins a cell. Headings are only seen where they stand, so they tell of
// the cells that follow.
func (p *plainWriter) cell(heading bool) {
	p.space = true
	n := len(p.tables)
	if n == 0 {
		return
	}
	t := &p.tables[n-1]
	t.headings = t.headings || heading
	if t.cells++; t.headings && t.cells > 1 {
		p.word("|")
		p.space = true
	}
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
	for _, a := range t.Attr {
		if a.Key == "hidden" {
			return true
		}
	}
	style := strings.Join(strings.Fields(strings.ToLower(attribute(t, "style"))), "")
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
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Table, atom.Blockquote, atom.Pre:
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
