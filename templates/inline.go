package templates

import "text/template/parse"

// maxInlined bounds how many partials are put in place of their calls in one
// part; further ones stay calls.
const maxInlined = 64

// inliner puts the text of a partial in the place of a call that hands it the
// root, {{template "footer" .}}, so that what is personal in it divides the
// part no further than it must. A partial's variables stay its own.
type inliner struct {
	trees map[string]*parse.Tree
	count int
}

// inline is l with its partials in their places; any is false when there is
// none to put there.
func (l linked) inline() (_ linked, any bool) {
	in := inliner{trees: l.trees}
	entry := l.entry.Copy()
	in.list(entry.Root, true)
	l.entry = entry
	return l, in.count > 0
}

// list works on the nodes of one list. rootDot says that dot is the root
// there.
func (in *inliner) list(list *parse.ListNode, rootDot bool) {
	if list == nil {
		return
	}
	nodes := make([]parse.Node, 0, len(list.Nodes))
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.TemplateNode:
			nodes = append(nodes, in.call(n, rootDot)...)
			continue
		case *parse.IfNode:
			in.list(n.List, rootDot)
			in.list(n.ElseList, rootDot)
		case *parse.WithNode:
			in.list(n.List, rootDot && isDot(n.Pipe))
			in.list(n.ElseList, rootDot)
		case *parse.RangeNode:
			in.list(n.List, false)
			in.list(n.ElseList, rootDot)
		}
		nodes = append(nodes, n)
	}
	list.Nodes = nodes
}

func (in *inliner) call(n *parse.TemplateNode, rootDot bool) []parse.Node {
	tree := in.trees[n.Name]
	if tree == nil || in.count >= maxInlined || !(isDollar(n.Pipe) || rootDot && isDot(n.Pipe)) {
		return []parse.Node{n}
	}
	in.count++
	body := tree.Root.CopyList()
	in.list(body, true)
	if rootDot && !declares(body) {
		return body.Nodes
	}
	return []parse.Node{&parse.WithNode{BranchNode: parse.BranchNode{NodeType: parse.NodeWith, Line: n.Line,
		Pipe: pipe(0, variableNode(0, "$")), List: body}}}
}

// declares reports whether variables of a list would be seen after it.
func declares(list *parse.ListNode) bool {
	for _, n := range list.Nodes {
		if a, ok := n.(*parse.ActionNode); ok && len(a.Pipe.Decl) > 0 {
			return true
		}
	}
	return false
}

// soleOperand is what a pipeline consists of, when that is one operand.
func soleOperand(p *parse.PipeNode) parse.Node {
	if p == nil || len(p.Decl) > 0 || len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 {
		return nil
	}
	return p.Cmds[0].Args[0]
}

func isDot(p *parse.PipeNode) bool {
	_, ok := soleOperand(p).(*parse.DotNode)
	return ok
}

func isDollar(p *parse.PipeNode) bool {
	v, ok := soleOperand(p).(*parse.VariableNode)
	return ok && len(v.Ident) == 1 && v.Ident[0] == "$"
}

// pipe makes a pipeline of one command.
func pipe(pos parse.Pos, args ...parse.Node) *parse.PipeNode {
	return &parse.PipeNode{NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{{NodeType: parse.NodeCommand, Pos: pos, Args: args}}}
}

func variableNode(pos parse.Pos, names ...string) *parse.VariableNode {
	return &parse.VariableNode{NodeType: parse.NodeVariable, Pos: pos, Ident: names}
}
