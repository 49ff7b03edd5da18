package templates

import (
	"fmt"
	"slices"
	"strings"
	tree "text/template/parse"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Marks stand for actions in the text that a stylist reads. They are
// noncharacters, which no file should have; one that does is only styled less.
const (
	markAction = "\ufdd0"
	markOpen   = "\ufdd1" // {{if}}, {{with}}, {{range}}
	markElse   = "\ufdd2"
	markEnd    = "\ufdd3"
	marks      = markAction + markOpen + markElse + markEnd
)

// maxStyled bounds the calls of partials in one part; each gets styles of its
// own, because what its elements stand in decides which rules they match.
const maxStyled = 200

// stylist moves the rules of a mail's style elements into style attributes:
// many readers of mail know no others. It works when a catalogue is loaded, on
// the texts between actions and on copies of the trees, so that renderings cost
// nothing and faults keep their places.
type stylist struct {
	trees  map[string]*tree.Tree
	faults *Faults

	out    linked
	called map[string]bool
	text   strings.Builder // the part as one text, with marks for actions
	pieces []textPiece
	tooBig bool

	sheet sheet
	edits []edit
	open  []*html.Node   // the elements around the place that was reached
	saved [][]*html.Node // the same at the start of each branch that is open
}

// textPiece is where a text of the trees begins in the whole.
type textPiece struct {
	start int
	node  *tree.TextNode
	tree  *tree.Tree
}

// edit replaces a stretch of the whole text.
type edit struct {
	from, to int
	text     string
}

// inlineCSS is a linked part with its rules in attributes, and the trees that
// it calls.
func (l linked) inlineCSS(faults *Faults) (linked, map[string]bool) {
	s := stylist{trees: l.trees, faults: faults, called: map[string]bool{}}
	s.out = linked{file: l.file, entry: l.entry.Copy(), trees: map[string]*tree.Tree{}}
	s.flatten(s.out.entry, s.out.entry.Root)
	if s.tooBig {
		faults.add(position{l.file, 1, 1}, "css: the part calls partials more than %d times, too often to inline its styles: write css: keep", maxStyled)
		return l, nil
	}
	s.readSheets()
	if len(s.sheet.rules) > 0 {
		s.visitElements()
	}
	s.apply()
	return s.out, s.called
}

// flatten appends what a list writes to the whole, and copies what it calls.
func (s *stylist) flatten(in *tree.Tree, list *tree.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *tree.TextNode:
			s.pieces = append(s.pieces, textPiece{s.text.Len(), n, in})
			s.text.Write(n.Text)
		case *tree.ActionNode:
			if len(n.Pipe.Decl) == 0 {
				s.text.WriteString(markAction)
			}
		case *tree.IfNode:
			s.branch(in, &n.BranchNode)
		case *tree.WithNode:
			s.branch(in, &n.BranchNode)
		case *tree.RangeNode:
			s.branch(in, &n.BranchNode)
		case *tree.TemplateNode:
			s.call(n)
		}
	}
}

func (s *stylist) branch(in *tree.Tree, b *tree.BranchNode) {
	s.text.WriteString(markOpen)
	s.flatten(in, b.List)
	s.text.WriteString(markElse)
	s.flatten(in, b.ElseList)
	s.text.WriteString(markEnd)
}

func (s *stylist) call(n *tree.TemplateNode) {
	callee, ok := s.trees[n.Name]
	if s.tooBig = s.tooBig || len(s.called) >= maxStyled; s.tooBig || !ok {
		return
	}
	n.Name = fmt.Sprintf("%s·%d", n.Name, len(s.called))
	own := callee.Copy()
	own.Name = n.Name
	s.called[n.Name], s.out.trees[n.Name] = true, own
	s.flatten(own, own.Root)
}

// readSheets takes the rules out of the style elements.
func (s *stylist) readSheets() {
	text, depth, at := s.text.String(), 0, 0
	z := html.NewTokenizer(strings.NewReader(text))
	inStyle := false
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		raw := string(z.Raw())
		switch {
		case kind == html.StartTagToken:
			t := z.Token()
			inStyle = t.DataAtom == atom.Style && depth == 0 && isForEveryScreen(t)
		case kind == html.TextToken && inStyle:
			if kept := raw; !strings.ContainsAny(raw, marks) {
				kept = s.sheet.read(raw)
				s.edits = append(s.edits, edit{at, at + len(raw), kept})
			}
			inStyle = false
		default:
			inStyle = false
		}
		depth += strings.Count(raw, markOpen) - strings.Count(raw, markEnd)
		at += len(raw)
	}
}

// isForEveryScreen tells a style element that counts everywhere from one that
// is for some media, or that its author wants left alone (data-embed).
func isForEveryScreen(t html.Token) bool {
	for _, a := range t.Attr {
		if a.Key == "data-embed" || a.Key == "media" && a.Val != "all" && a.Val != "screen" || strings.ContainsAny(a.Key+a.Val, marks) {
			return false
		}
	}
	return true
}

// visitElements gives every element its style.
func (s *stylist) visitElements() {
	at := 0
	z := html.NewTokenizer(strings.NewReader(s.text.String()))
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		raw := string(z.Raw())
		switch kind {
		case html.StartTagToken, html.SelfClosingTagToken:
			s.start(z.Token(), raw, at, kind == html.SelfClosingTagToken)
		case html.EndTagToken:
			s.end(z.Token().DataAtom)
			s.branches(raw)
		default:
			s.branches(raw)
		}
		at += len(raw)
	}
}

// branches follows the marks between tags: each branch begins with the elements
// that were open before the first.
func (s *stylist) branches(raw string) {
	for _, r := range raw {
		switch string(r) {
		case markOpen:
			s.saved = append(s.saved, slices.Clone(s.open))
		case markElse:
			if n := len(s.saved); n > 0 {
				// What the first branch leaves open is what comes after; so the
				// two change places, and change back at the end.
				s.open, s.saved[n-1] = slices.Clone(s.saved[n-1]), s.open
			}
		case markEnd:
			if n := len(s.saved); n > 0 {
				s.open, s.saved = s.saved[n-1], s.saved[:n-1]
			}
		}
	}
}

func (s *stylist) start(t html.Token, raw string, at int, closed bool) {
	s.imply(t.DataAtom)
	n := &html.Node{Type: html.ElementNode, Data: t.Data, DataAtom: t.DataAtom}
	if len(s.open) > 0 {
		n.Parent = s.open[len(s.open)-1]
	}
	depth := 0
	for _, a := range t.Attr {
		depth += strings.Count(a.Key, markOpen)
		name := strings.Trim(a.Key, marks)
		if (name == "class" || name == "id") && (depth > 0 || strings.ContainsAny(a.Val, marks)) || name == "style" && depth > 0 {
			s.faults.add(s.position(at), "css: the %s of <%s> depends on an action, so that nobody can know here which rules it matches: write the element once in each branch, or css: keep", name, t.Data)
			return
		}
		if depth == 0 {
			n.Attr = append(n.Attr, html.Attribute{Key: a.Key, Val: a.Val})
		}
		depth -= strings.Count(a.Key, markEnd) + strings.Count(a.Val, markEnd)
	}
	if isStyled(t.DataAtom) {
		s.style(n, raw, at)
	}
	if !closed && !isVoidElement(t.DataAtom) {
		s.open = append(s.open, n)
	}
}

// isStyled leaves out what is never shown.
func isStyled(a atom.Atom) bool {
	switch a {
	case atom.Head, atom.Meta, atom.Title, atom.Style, atom.Script, atom.Link, atom.Base:
		return false
	}
	return true
}

func isVoidElement(a atom.Atom) bool {
	switch a {
	case atom.Area, atom.Base, atom.Br, atom.Col, atom.Embed, atom.Hr, atom.Img, atom.Input, atom.Link, atom.Meta, atom.Source, atom.Track, atom.Wbr:
		return true
	}
	return false
}

// imply closes what a start tag closes without saying so (HTML §13.1.2.4).
func (s *stylist) imply(a atom.Atom) {
	closes := map[atom.Atom][]atom.Atom{atom.Li: {atom.Li}, atom.Tr: {atom.Tr, atom.Td, atom.Th}, atom.Td: {atom.Td, atom.Th}, atom.Th: {atom.Td, atom.Th}, atom.P: {atom.P}}[a]
	for n := len(s.open); n > 0 && slices.Contains(closes, s.open[n-1].DataAtom); n = len(s.open) {
		s.open = s.open[:n-1]
	}
}

func (s *stylist) end(a atom.Atom) {
	for i, n := range slices.Backward(s.open) {
		if n.DataAtom == a && a != 0 {
			s.open = s.open[:i]
			return
		}
	}
}

// style writes what the rules say of an element before what it says itself,
// which wins.
func (s *stylist) style(n *html.Node, raw string, at int) {
	var matched []cssRule
	for _, r := range s.sheet.rules {
		if r.selector.Match(n) {
			matched = append(matched, r)
		}
	}
	if len(matched) == 0 {
		return
	}
	text := attributeText(styleText(cascade(matched)))
	offset, quote, found := findStyle(raw)
	switch {
	case !found:
		offset = 1 + len(n.Data)
		s.edits = append(s.edits, edit{at + offset, at + offset, ` style="` + text + `"`})
	case quote == 0:
		s.faults.add(s.position(at), "css: the style of <%s> is not quoted: write style=\"…\"", n.Data)
	default:
		s.edits = append(s.edits, edit{at + offset, at + offset, text + ";"})
	}
}

// attributeText is CSS as it stands between quotes of either kind.
func attributeText(css string) string {
	if !strings.Contains(css, "'") {
		css = strings.ReplaceAll(css, `"`, "'")
	}
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(css)
}

// findStyle finds where the value of a tag's style attribute begins. quote is 0
// when it has none.
func findStyle(raw string) (offset int, quote byte, found bool) {
	for at := 0; at < len(raw); at++ {
		switch c := raw[at]; {
		case c == '"' || c == '\'':
			n := strings.IndexByte(raw[at+1:], c)
			if n < 0 {
				return 0, 0, false
			}
			at += n + 1
		case (c == 's' || c == 'S') && at > 0 && strings.IndexByte(" \t\r\n\"'/", raw[at-1]) >= 0 && len(raw) > at+5 && strings.EqualFold(raw[at:at+5], "style"):
			rest := strings.TrimLeft(raw[at+5:], " \t\r\n")
			if rest == "" || rest[0] != '=' {
				continue
			}
			rest = strings.TrimLeft(rest[1:], " \t\r\n")
			if rest == "" || rest[0] != '"' && rest[0] != '\'' {
				return 0, 0, true
			}
			return len(raw) - len(rest) + 1, rest[0], true
		}
	}
	return 0, 0, false
}

// position is the place in the sources of an offset in the whole.
func (s *stylist) position(offset int) position {
	i, _ := slices.BinarySearchFunc(s.pieces, offset+1, func(p textPiece, at int) int { return p.start - at })
	if i == 0 {
		return position{s.out.file, 1, 1}
	}
	p := s.pieces[i-1]
	w := walker{tree: p.tree}
	at := w.at(p.node)
	before := string(p.node.Text)[:min(offset-p.start, len(p.node.Text))]
	if n := strings.Count(before, "\n"); n > 0 {
		return position{at.file, at.line + n, len(before) - strings.LastIndexByte(before, '\n')}
	}
	at.column += len(before)
	return at
}

// apply puts the edits into the texts of the trees. One that goes over several
// texts leaves its words in the first.
func (s *stylist) apply() {
	slices.SortStableFunc(s.edits, func(a, b edit) int { return a.from - b.from })
	whole := s.text.String()
	next := 0
	for _, p := range s.pieces {
		from, end := p.start, p.start+len(p.node.Text)
		var b strings.Builder
		for ; next < len(s.edits) && s.edits[next].from < end; next++ {
			e := s.edits[next]
			b.WriteString(whole[from:max(from, e.from)] + e.text)
			from = max(from, min(e.to, end))
			if e.to > end { // the rest is the next text's
				s.edits[next] = edit{end, e.to, ""}
				break
			}
		}
		b.WriteString(whole[from:end])
		p.node.Text = []byte(b.String())
	}
}
