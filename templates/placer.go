package templates

import (
	"slices"
	"strconv"
	"text/template/parse"
)

// runName is the variable under which a part with fragments finds its run. No
// author can write it.
const runName = "$·run"

// placer divides a compiled part into fragments. It works on the tree after
// the HTML engine has escaped it: every value is then written by functions
// that were chosen for its place, so any run of nodes may be cut out, also one
// that begins in the middle of a tag.
//
// The nodes are shared with the tree that it is given, which stays as it is.
type placer struct {
	sharing   *sharing
	fragments []*fragment
	blocks    bool // there are {{cached}} blocks
}

// divided is a part with its fragments marked.
type divided struct {
	root      *parse.ListNode // nil: it has none
	fragments []*fragment
	blocks    bool
	stitch    *stitch // nil: it is for the engine
}

// divide marks the fragments of a part. One without any has no root.
func divide(entry *parse.Tree, s *sharing) *divided {
	p := placer{sharing: s}
	spans := p.spans(entry.Root.Nodes)
	d := &divided{stitch: newStitch(spans)}
	nodes := p.place(spans)
	if len(p.fragments) > 0 {
		d.root, d.fragments, d.blocks = framed(nodes), p.fragments, p.blocks
	}
	return d
}

// span is some nodes in a row that are shared, or one that is not.
type span struct {
	nodes    []parse.Node
	fragment int // the number of the fragment that they are; -1: none
}

// spans divides a list into fragments as long as they can be, and what is
// personal between them.
func (p *placer) spans(nodes []parse.Node) []span {
	pinned := make([]bool, len(nodes))
	for i, n := range nodes {
		pinned[i] = p.sharing.verdicts[n].has(onPerson)
	}
	pinEscaping(nodes, pinned)
	var spans []span
	for at := 0; at < len(nodes); {
		end := at + 1
		for !pinned[at] && end < len(nodes) && !pinned[end] {
			end++
		}
		spans = append(spans, span{nodes[at:end], p.fragment(nodes[at:end], pinned[at])})
		at = end
	}
	return spans
}

// pinEscaping keeps out of fragments the variables that something beyond their
// fragment reads: skipping the fragment would leave them undeclared.
func pinEscaping(nodes []parse.Node, pinned []bool) {
	for again := true; again; {
		again = false
		for i, n := range nodes {
			if pinned[i] || !readBeyond(n, nodes[i+1:], pinned[i+1:]) {
				continue
			}
			pinned[i], again = true, true
		}
	}
}

// readBeyond reports whether what n declares is read after the end of its
// fragment.
func readBeyond(n parse.Node, after []parse.Node, pinned []bool) bool {
	a, ok := n.(*parse.ActionNode)
	if !ok || len(a.Pipe.Decl) == 0 {
		return false
	}
	end := slices.Index(pinned, true)
	if end < 0 {
		return false
	}
	return slices.ContainsFunc(after[end:], func(later parse.Node) bool { return reads(later, a.Pipe.Decl) })
}

func reads(n parse.Node, declared []*parse.VariableNode) (found bool) {
	inspect(n, func(below parse.Node) {
		if v, ok := below.(*parse.VariableNode); ok {
			found = found || slices.ContainsFunc(declared, func(d *parse.VariableNode) bool { return d.Ident[0] == v.Ident[0] })
		}
	})
	return found
}

// fragment numbers a span of nodes as a fragment, -1 when it is none: it is
// personal, or mere text.
func (p *placer) fragment(nodes []parse.Node, personal bool) int {
	if personal || !slices.ContainsFunc(nodes, func(n parse.Node) bool { return n.Type() != parse.NodeText }) {
		return -1
	}
	var needs deps
	for _, n := range nodes {
		needs |= p.sharing.verdicts[n]
	}
	return p.add(&fragment{needs: needs})
}

func (p *placer) add(f *fragment) int {
	p.fragments = append(p.fragments, f)
	return len(p.fragments) - 1
}

// place makes nodes that ask for the fragments.
func (p *placer) place(spans []span) []parse.Node {
	var placed []parse.Node
	for _, s := range spans {
		if s.fragment < 0 {
			for _, n := range s.nodes {
				placed = append(placed, p.within(n))
			}
			continue
		}
		placed = append(placed, entering(s.fragment, nil, p.withinEach(s.nodes, p.onlyBlocks)))
	}
	return placed
}

// within finds the fragments inside a node that is personal itself. In the
// body of a loop there are only blocks, which say what tells its rounds apart.
func (p *placer) within(n parse.Node) parse.Node {
	switch n := n.(type) {
	case *parse.IfNode:
		if isCached(n.Pipe) {
			return p.onlyBlocks(n)
		}
		return &parse.IfNode{BranchNode: p.branches(n.BranchNode, p.spanned)}
	case *parse.WithNode:
		return &parse.WithNode{BranchNode: p.branches(n.BranchNode, p.spanned)}
	case *parse.RangeNode:
		if onceOver(n) != nil {
			return &parse.RangeNode{BranchNode: p.branches(n.BranchNode, p.spanned)}
		}
	}
	return p.onlyBlocks(n)
}

func (p *placer) spanned(list *parse.ListNode) *parse.ListNode {
	return listOf(list, p.place(p.spans(list.Nodes)))
}

// onlyBlocks finds the {{cached}} blocks inside a node.
func (p *placer) onlyBlocks(n parse.Node) parse.Node {
	switch n := n.(type) {
	case *parse.IfNode:
		if needs := p.sharing.verdicts[n]; isCached(n.Pipe) && !needs.has(onPerson) {
			p.blocks = true
			i := p.add(&fragment{block: true, needs: needs})
			return entering(i, n.Pipe.Cmds[0].Args[1:], p.withinEach(n.List.Nodes, p.onlyBlocks))
		}
		return &parse.IfNode{BranchNode: p.branches(n.BranchNode, p.unspanned)}
	case *parse.WithNode:
		return &parse.WithNode{BranchNode: p.branches(n.BranchNode, p.unspanned)}
	case *parse.RangeNode:
		return &parse.RangeNode{BranchNode: p.branches(n.BranchNode, p.unspanned)}
	}
	return n
}

func (p *placer) unspanned(list *parse.ListNode) *parse.ListNode {
	return listOf(list, p.withinEach(list.Nodes, p.onlyBlocks))
}

func (p *placer) withinEach(nodes []parse.Node, place func(parse.Node) parse.Node) []parse.Node {
	placed := make([]parse.Node, len(nodes))
	for i, n := range nodes {
		placed[i] = place(n)
	}
	return placed
}

// branches is b with its lists placed.
func (p *placer) branches(b parse.BranchNode, place func(*parse.ListNode) *parse.ListNode) parse.BranchNode {
	b.List = place(b.List)
	if b.ElseList != nil {
		b.ElseList = place(b.ElseList)
	}
	return b
}

func listOf(was *parse.ListNode, nodes []parse.Node) *parse.ListNode {
	return &parse.ListNode{NodeType: parse.NodeList, Pos: was.Pos, Nodes: nodes}
}

// entering is {{if $run.Enter i args…}}body{{if $run.Leave}}{{end}}{{end}}.
// What is made here has no place in any source, and says it is at the start.
func entering(i int, args []parse.Node, body []parse.Node) parse.Node {
	number := &parse.NumberNode{NodeType: parse.NodeNumber, IsInt: true, Int64: int64(i), Text: strconv.Itoa(i)}
	leave := condition(pipe(0, variableNode(0, runName, "Leave")), nil)
	enter := pipe(0, append([]parse.Node{variableNode(0, runName, "Enter"), number}, args...)...)
	return condition(enter, append(slices.Clip(body), leave))
}

func condition(p *parse.PipeNode, then []parse.Node) parse.Node {
	list := &parse.ListNode{NodeType: parse.NodeList, Nodes: then}
	return &parse.IfNode{BranchNode: parse.BranchNode{NodeType: parse.NodeIf, Pipe: p, List: list}}
}

// framed lets nodes that expect the root run over a frame: the run gets its
// name, and with the root as dot, $ is declared anew.
func framed(nodes []parse.Node) *parse.ListNode {
	field := func(name string) parse.Node {
		return &parse.FieldNode{NodeType: parse.NodeField, Ident: []string{name}}
	}
	run, root := pipe(0, field("Run")), pipe(0, field("Root"))
	run.Decl = []*parse.VariableNode{variableNode(0, runName)}
	root.Decl = []*parse.VariableNode{variableNode(0, "$")}
	return &parse.ListNode{NodeType: parse.NodeList, Nodes: []parse.Node{
		&parse.ActionNode{NodeType: parse.NodeAction, Pipe: run},
		&parse.WithNode{BranchNode: parse.BranchNode{NodeType: parse.NodeWith, Pipe: root,
			List: &parse.ListNode{NodeType: parse.NodeList, Nodes: nodes}}},
	}}
}
