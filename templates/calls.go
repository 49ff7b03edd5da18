package templates

import "text/template/parse"

// calls are those of the functions that a linked part calls. An engine copies
// all that it is given for every part, which is most of a small part's cost.
func (l linked) calls(reachable map[string]bool, functions map[string]any) map[string]any {
	c := caller{all: functions, called: map[string]any{}}
	c.list(l.entry.Root)
	for name := range reachable {
		if tree := l.trees[name]; tree != nil {
			c.list(tree.Root)
		}
	}
	return c.called
}

type caller struct{ all, called map[string]any }

func (c caller) list(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			c.pipe(n.Pipe)
		case *parse.TemplateNode:
			c.pipe(n.Pipe)
		case *parse.IfNode:
			c.branch(&n.BranchNode)
		case *parse.WithNode:
			c.branch(&n.BranchNode)
		case *parse.RangeNode:
			c.branch(&n.BranchNode)
		}
	}
}

func (c caller) branch(n *parse.BranchNode) {
	c.pipe(n.Pipe)
	c.list(n.List)
	c.list(n.ElseList)
}

func (c caller) pipe(p *parse.PipeNode) {
	if p == nil {
		return
	}
	for _, cmd := range p.Cmds {
		for _, arg := range cmd.Args {
			c.node(arg)
		}
	}
}

func (c caller) node(n parse.Node) {
	switch n := n.(type) {
	case *parse.IdentifierNode:
		if f, ok := c.all[n.Ident]; ok {
			c.called[n.Ident] = f
		}
	case *parse.PipeNode:
		c.pipe(n)
	case *parse.ChainNode:
		c.node(n.Node)
	}
}
