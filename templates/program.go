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
	exec executor

	// The same part with its fragments marked, which runs over a frame; nil
	// when nothing in it is shared.
	divided   executor
	fragments []*fragment
	blocks    bool    // some are {{cached}} blocks
	stitch    *stitch // the part without the engine; nil: it needs the engine
}

type executor interface {
	Execute(w io.Writer, dot any) error
}

// module is one parsed source file: its own text as a tree, and what it
// defines beside.
type module struct {
	main    *parse.Tree
	defines map[string]*parse.Tree
	yields  bool // a layout whose blocks give way to partials of their names
}

// parseModule parses one file, which may call the functions of the given names;
// ok is false when it has faults.
func parseModule(file, text string, names map[string]any, faults *Faults) (m module, ok bool) {
	text = openCached(text)
	if offset, err := checkSource(text); err != nil {
		faults.add(positionAt(file, text, offset), "%v", err)
		return m, false
	}
	trees := map[string]*parse.Tree{}
	tree := parse.New(file)
	if _, err := tree.Parse(text, "", "", trees, names); err != nil {
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
		for name, tree := range layout.defines {
			if _, taken := trees[name]; !taken || !layout.yields {
				trees[name] = tree
			}
		}
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
	funcs = maps.Clone(funcs)
	funcs[cachedCall] = renderAlways
	s := newSharing(entry, l.trees) // before the engine renames what is called
	if path.Ext(l.file) == ".html" {
		return l.compileHTML(entry, s, reachable, funcs)
	}
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
	p := &program{file: l.file, exec: t}
	if plain := newDirect(entry, t); plain != nil {
		p.exec = plain
	}
	if d := divide(entry, s); p.take(d) {
		tree := emptied(entry)
		tree.Root = d.root
		p.divided, err = t.AddParseTree(dividedName, tree)
	}
	return p, err
}

// dividedName is the template of a part with its fragments marked. No file has
// that name.
const dividedName = "$divided"

// compileHTML has the engine escape the part before it is divided. The
// divided tree then takes the place of one that was escaped while it was
// still empty, because the engine must not escape it once more.
func (l linked) compileHTML(entry *parse.Tree, s *sharing, reachable map[string]bool, funcs map[string]any) (*program, error) {
	t := htmltemplate.New(l.file).Option("missingkey=error").Funcs(funcs)
	for name := range reachable {
		if _, err := t.AddParseTree(name, instrument(l.trees[name].Copy())); err != nil {
			return nil, err
		}
	}
	empty := emptied(entry)
	slot, err := t.AddParseTree(dividedName, empty)
	if err != nil {
		return nil, err
	}
	if t, err = t.AddParseTree(l.file, entry); err != nil {
		return nil, err
	}
	p := &program{file: l.file, exec: t}
	if err := p.prepare(); err != nil {
		return nil, err
	}
	if d := divide(entry, s); p.take(d) {
		err = slot.Execute(io.Discard, nil)
		p.divided, empty.Root = slot, d.root
	}
	return p, err
}

// emptied is a tree without nodes that still knows its source, by which the
// engine places its faults.
func emptied(t *parse.Tree) *parse.Tree {
	empty := t.Copy()
	empty.Root = &parse.ListNode{NodeType: parse.NodeList}
	return empty
}

// take notes what was found of a part, and reports whether it has fragments.
func (p *program) take(d *divided) bool {
	p.fragments, p.blocks, p.stitch = d.fragments, d.blocks, d.stitch
	return d.root != nil
}

// instrument makes a tree safe: an empty text at the head of the tree and of
// every range body, and after many calls, whose write is what the step budget
// counts (see output).
func instrument(t *parse.Tree) *parse.Tree {
	new(pacer).list(t.Root)
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
