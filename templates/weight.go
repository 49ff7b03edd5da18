package templates

import (
	"text/template/parse"
)

// maxHeld bounds the texts that a part may have made and still hold, as
// variables or as arguments of a call: each may be as long as maxOutput.
const maxHeld = 64

// callsPerStep is after how many calls of functions in a row a step is counted,
// so that a part without loops does not compute unseen either.
const callsPerStep = 32

// weigher counts the texts that a checked part can hold at once.
type weigher struct {
	trees    map[string]*parse.Tree
	faults   *Faults
	tree     *parse.Tree
	assigned map[string]bool // variables of the tree that get another value later
	peaks    map[string]int  // of the trees that were weighed
	heavy    bool            // some place was found at fault
}

// weigh finds where a part would hold too much.
func (l linked) weigh(faults *Faults) {
	w := weigher{trees: l.trees, faults: faults, peaks: map[string]int{}}
	w.of(l.entry)
}

// of is how many texts a tree holds at most, with those of what it calls.
func (w *weigher) of(t *parse.Tree) int {
	outer, assigned := w.tree, w.assigned
	w.tree, w.assigned = t, map[string]bool{}
	visit(t.Root, func(n parse.Node) {
		if p, ok := n.(*parse.PipeNode); ok && p != nil && p.IsAssign {
			w.assigned[p.Decl[0].Ident[0]] = true
		}
	})
	peak := w.list(t.Root, 0)
	w.tree, w.assigned = outer, assigned
	return peak
}

// list is the most that is held anywhere in a list, where held is held before.
func (w *weigher) list(list *parse.ListNode, held int) int {
	if list == nil {
		return held
	}
	peak := held
	for _, n := range list.Nodes {
		at := w.node(n, &held)
		if peak = max(peak, at); at > maxHeld && !w.heavy {
			w.heavy = true
			location, _ := w.tree.ErrorContext(n)
			w.faults.add(located(location), "holds more than %d texts at once that functions have made: use fewer variables and fewer calls in one action", maxHeld)
		}
	}
	return peak
}

// node is the most that is held in one node. What it declares is held by those
// after it.
func (w *weigher) node(n parse.Node, held *int) int {
	switch n := n.(type) {
	case *parse.ActionNode:
		peak := *held + callsIn(n.Pipe)
		*held += w.declared(n.Pipe)
		return max(peak, *held)
	case *parse.TemplateNode:
		return *held + callsIn(n.Pipe) + w.called(n.Name)
	case *parse.IfNode:
		return w.branch(&n.BranchNode, *held)
	case *parse.WithNode:
		return w.branch(&n.BranchNode, *held)
	case *parse.RangeNode:
		return w.branch(&n.BranchNode, *held)
	}
	return *held
}

func (w *weigher) branch(b *parse.BranchNode, held int) int {
	calls := callsIn(b.Pipe)
	inner := held + w.declared(b.Pipe)
	if b.NodeType != parse.NodeIf && calls > 0 {
		inner++ // its dot
	}
	return max(held+calls, w.list(b.List, inner), w.list(b.ElseList, inner))
}

// declared counts the variables of a pipeline that may hold a text of their
// own, and not only name a value of the data.
func (w *weigher) declared(p *parse.PipeNode) int {
	if p == nil || p.IsAssign {
		return 0
	}
	n := 0
	for _, v := range p.Decl {
		if callsIn(p) > 0 || w.assigned[v.Ident[0]] {
			n++
		}
	}
	return n
}

func (w *weigher) called(name string) int {
	if known, ok := w.peaks[name]; ok {
		return known
	}
	w.peaks[name] = 0 // the walk has refused circles
	if t := w.trees[name]; t != nil {
		w.peaks[name] = w.of(t)
	}
	return w.peaks[name]
}

// callsIn counts the calls of functions in a pipeline.
func callsIn(p *parse.PipeNode) int {
	if p == nil {
		return 0
	}
	n := 0
	visit(p, func(n2 parse.Node) {
		if _, ok := n2.(*parse.IdentifierNode); ok {
			n++
		}
	})
	return n
}

// pacer puts a step after every callsPerStep calls that follow each other
// without a loop.
type pacer struct{ calls int }

func (p *pacer) list(list *parse.ListNode) {
	if list == nil {
		return
	}
	nodes := make([]parse.Node, 0, len(list.Nodes))
	for _, n := range list.Nodes {
		if p.calls >= callsPerStep {
			p.calls = 0
			nodes = append(nodes, &parse.TextNode{NodeType: parse.NodeText})
		}
		p.node(n)
		nodes = append(nodes, n)
	}
	list.Nodes = nodes
}

func (p *pacer) node(n parse.Node) {
	switch n := n.(type) {
	case *parse.ActionNode:
		p.calls += callsIn(n.Pipe)
	case *parse.TemplateNode:
		p.calls += callsIn(n.Pipe)
	case *parse.IfNode:
		p.branch(&n.BranchNode)
	case *parse.WithNode:
		p.branch(&n.BranchNode)
	case *parse.RangeNode:
		p.branch(&n.BranchNode)
	}
}

func (p *pacer) branch(b *parse.BranchNode) {
	p.calls += callsIn(b.Pipe)
	p.list(b.List)
	p.list(b.ElseList)
}
