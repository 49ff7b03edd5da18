package templates

import (
	htmltemplate "html/template"
	"io"
	"maps"
	"path"
	"strings"
	texttemplate "text/template"
	"text/template/parse"
)

// program is one part, compiled for one locale.
type program struct {
	file string
	exec interface {
		Execute(w io.Writer, dot any) error
	}
}

// module is one parsed source file: its own text as a tree, and what it
// defines beside.
type module struct {
	main    *parse.Tree
	defines map[string]*parse.Tree
}

// parseModule parses one file; ok is false when it has faults.
func parseModule(file, text string, faults *Faults) (m module, ok bool) {
	if offset, err := checkSource(text); err != nil {
		faults.add(positionAt(file, text, offset), "%v", err)
		return m, false
	}
	trees := map[string]*parse.Tree{}
	tree := parse.New(file)
	if _, err := tree.Parse(text, "", "", trees, functionNames()); err != nil {
		fault := engineFault(file, err)
		fault.Column = actionColumn(text, fault.Line)
		*faults = append(*faults, fault)
		return m, false
	}
	m.main = trees[file]
	delete(trees, file)
	m.defines = trees
	return m, true
}

// actionColumn is where the first action of a line starts: the parser's own
// errors know only the line.
func actionColumn(text string, line int) int {
	for range line - 1 {
		_, text, _ = strings.Cut(text, "\n")
	}
	text, _, _ = strings.Cut(text, "\n")
	return max(strings.Index(text, "{{"), 0) + 1
}

// linked is a program before compilation: its entry, and every tree that it
// may call, by name.
type linked struct {
	file  string // the part's own
	entry *parse.Tree
	trees map[string]*parse.Tree
}

// link puts a part together with its layout and the partials it may call.
func link(m module, layout *module, partials map[string]*parse.Tree) linked {
	trees := maps.Clone(partials)
	if trees == nil {
		trees = map[string]*parse.Tree{}
	}
	l := linked{file: m.main.ParseName, entry: m.main, trees: trees}
	if layout != nil {
		maps.Copy(trees, layout.defines)
		trees["content"] = m.main
		l.entry = layout.main
	}
	maps.Copy(trees, m.defines)
	return l
}

// compile makes a linked part executable. Only the trees named by reachable
// are taken in, each as a copy: the HTML engine rewrites what it is given.
func (l linked) compile(reachable map[string]bool, funcs map[string]any) (*program, error) {
	entry := instrument(l.entry.Copy())
	if path.Ext(l.file) != ".html" {
		t := texttemplate.New(l.file).Option("missingkey=error").Funcs(funcs)
		for name := range reachable {
			if _, err := t.AddParseTree(name, instrument(l.trees[name].Copy())); err != nil {
				return nil, err
			}
		}
		t, err := t.AddParseTree(l.file, entry)
		if err != nil {
			return nil, err
		}
		if plain := newDirect(entry, t); plain != nil {
			return &program{l.file, plain}, nil
		}
		return &program{l.file, t}, nil
	}
	t := htmltemplate.New(l.file).Option("missingkey=error").Funcs(funcs)
	for name := range reachable {
		if _, err := t.AddParseTree(name, instrument(l.trees[name].Copy())); err != nil {
			return nil, err
		}
	}
	t, err := t.AddParseTree(l.file, entry)
	return &program{l.file, t}, err
}

// instrument makes a tree safe: an empty text at the head of the tree and of
// every range body, whose write is what the step budget counts (see output).
func instrument(t *parse.Tree) *parse.Tree {
	tickLoops(t.Root)
	tick(t.Root)
	return t
}

func tick(list *parse.ListNode) {
	head := &parse.TextNode{NodeType: parse.NodeText, Pos: list.Pos}
	list.Nodes = append([]parse.Node{head}, list.Nodes...)
}

func tickLoops(list *parse.ListNode) {
	visit(list, func(n parse.Node) {
		if loop, ok := n.(*parse.RangeNode); ok {
			tick(loop.List)
		}
	})
}
