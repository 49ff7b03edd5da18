package templates

import (
	htmltemplate "html/template"
	"sort"
	"strings"
	"text/template/parse"
)

// trace is a rendering that knows where each of its bytes comes from. The
// engine hands a tree's static texts to the writer as they lie in the tree, so
// their address tells them from values; nothing is added to the template.
type trace struct {
	output
	engine   *htmltemplate.Template
	sources  map[string]string // path → text of the files
	statics  map[*byte]static
	segments []segment
}

// static is one text of a tree.
type static struct {
	tree *parse.Tree
	node *parse.TextNode
}

// segment is what one write has put from start on: a static text, or a value,
// whose last static text before it is what it is placed by.
type segment struct {
	start int
	from  static
	value bool
}

// engine is what executes an HTML part; nil for other parts.
func (p *program) engine() *htmltemplate.Template {
	t, _ := p.exec.(*htmltemplate.Template)
	return t
}

// newTrace prepares to follow a part's execution; nil when it is no HTML.
func newTrace(p *program, sources map[string]string) *trace {
	t := p.engine()
	if t == nil {
		return nil
	}
	tr := &trace{engine: t, sources: sources, statics: map[*byte]static{}}
	for _, one := range t.Templates() {
		if one.Tree != nil {
			tr.collect(one.Tree, one.Tree.Root)
		}
	}
	return tr
}

func (t *trace) collect(tree *parse.Tree, list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			if len(n.Text) > 0 {
				t.statics[&n.Text[0]] = static{tree, n}
			}
		case *parse.IfNode:
			t.branch(tree, &n.BranchNode)
		case *parse.WithNode:
			t.branch(tree, &n.BranchNode)
		case *parse.RangeNode:
			t.branch(tree, &n.BranchNode)
		}
	}
}

func (t *trace) branch(tree *parse.Tree, n *parse.BranchNode) {
	t.collect(tree, n.List)
	t.collect(tree, n.ElseList)
}

// Write implements io.Writer.
func (t *trace) Write(p []byte) (int, error) {
	if len(p) > 0 {
		s := segment{start: t.Len(), value: true}
		if from, ok := t.statics[&p[0]]; ok {
			s.from, s.value = from, false
		} else if n := len(t.segments); n > 0 {
			s.from = t.segments[n-1].from
		}
		t.segments = append(t.segments, s)
	}
	return t.output.Write(p)
}

func (t *trace) segment(offset int) int {
	return sort.Search(len(t.segments), func(i int) bool { return t.segments[i].start > offset }) - 1
}

// hasValue reports whether a value takes part in the bytes between two offsets.
func (t *trace) hasValue(from, to int) bool {
	for i := max(t.segment(from), 0); i < len(t.segments) && t.segments[i].start < to; i++ {
		if t.segments[i].value {
			return true
		}
	}
	return false
}

// at is the source of a byte of the output. A value's place is where the text
// before it ends: at its action.
func (t *trace) at(offset int) (position, bool) {
	i := t.segment(offset)
	if i < 0 || t.segments[i].from.node == nil {
		return position{}, false
	}
	s := t.segments[i]
	within := offset - s.start
	if s.value {
		within = len(s.from.node.Text)
	}
	return t.place(s.from, within), true
}

// place is where a byte of a static text stands in its file.
func (t *trace) place(s static, within int) position {
	location, _ := s.tree.ErrorContext(s.node) // of the node's own file: partials are put in place of their calls
	file, _, _ := strings.Cut(location, ":")
	if text, ok := t.sources[file]; ok && int(s.node.Pos) <= len(text) {
		if offset, ok := align(text[s.node.Pos:], s.node.Text, within); ok {
			return positionAt(file, text, int(s.node.Pos)+offset)
		}
	}
	// The file was rewritten before it was parsed, line by line.
	w := walker{tree: s.tree}
	at := w.at(s.node)
	before := string(s.node.Text[:within])
	if n := strings.Count(before, "\n"); n > 0 {
		return position{at.file, at.line + n, len(before) - strings.LastIndexByte(before, '\n')}
	}
	return position{at.file, at.line, at.column + within}
}

// align finds where the byte of written at an index lies in its source, which
// has comments that the HTML engine left out.
func align(source string, written []byte, index int) (offset int, ok bool) {
	for i := 0; ; {
		for strings.HasPrefix(source[offset:], "<!--") && (i == len(written) || !strings.HasPrefix(string(written[i:min(i+4, len(written))]), "<!--")) {
			end := strings.Index(source[offset:], "-->")
			if end < 0 {
				return 0, false
			}
			offset += end + len("-->")
		}
		if i == index {
			return offset, true
		}
		if offset >= len(source) || source[offset] != written[i] {
			return 0, false
		}
		i, offset = i+1, offset+1
	}
}
