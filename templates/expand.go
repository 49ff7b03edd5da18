package templates

import (
	"errors"
	"fmt"
	"text/template/parse"
)

// maxExpanded bounds the calls that one part may have in the place of what it
// calls; partials that call each other twice would double them without end.
const maxExpanded = 1000

var errExpanded = errors.New("calls partials that write dates, numbers or money more than 1000 times in all: call them less often")

// expander gives the reader functions their reader. They find it at the root of
// what a part sees; a partial that is given something else ({{template "item"
// .}} in a range) has lost the root, so such a partial is put in the place of
// its call, where $ is the root:
//
//	{{range $, $1 := once DOT}} … with $1 for its $ … {{end}}
type expander struct {
	trees map[string]*parse.Tree
	needs map[string]bool // whether a tree calls a reader function, itself or below
	calls int
	err   error
}

// readerRoot is the root's name for the reader.
const readerRoot = "reader"

// expandCalls rewrites a linked part, whose trees stay as they are: it works
// on copies. The check has seen to it that no partial calls itself.
func (l linked) expandCalls() (linked, error) {
	e := expander{trees: l.trees, needs: map[string]bool{}}
	out := linked{file: l.file, entry: l.entry.Copy(), trees: map[string]*parse.Tree{}}
	e.list(out.entry.Root, "$")
	for name, tree := range l.trees {
		if !e.needsReader(name) {
			out.trees[name] = tree
			continue
		}
		out.trees[name] = tree.Copy() // unreachable now, or a layout's "content"
	}
	return out, e.err
}

// needsReader reports whether a tree calls a reader function.
func (e *expander) needsReader(name string) bool {
	if known, ok := e.needs[name]; ok {
		return known
	}
	e.needs[name] = false
	tree, ok := e.trees[name]
	found := false
	if ok {
		visit(tree.Root, func(n parse.Node) {
			switch n := n.(type) {
			case *parse.IdentifierNode:
				found = found || isReaderFunction(n.Ident)
			case *parse.TemplateNode:
				found = found || e.needsReader(n.Name)
			}
		})
	}
	e.needs[name] = found
	return found
}

// list rewrites the nodes of a list, in which dollar stands for $.
func (e *expander) list(list *parse.ListNode, dollar string) {
	if list == nil {
		return
	}
	for i, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			e.pipe(n.Pipe, dollar)
		case *parse.IfNode:
			e.branch(&n.BranchNode, dollar)
		case *parse.WithNode:
			e.branch(&n.BranchNode, dollar)
		case *parse.RangeNode:
			e.branch(&n.BranchNode, dollar)
		case *parse.TemplateNode:
			e.pipe(n.Pipe, dollar)
			if e.needsReader(n.Name) && e.err == nil {
				list.Nodes[i] = e.inPlace(n)
			}
		}
	}
}

func (e *expander) branch(b *parse.BranchNode, dollar string) {
	e.pipe(b.Pipe, dollar)
	e.list(b.List, dollar)
	e.list(b.ElseList, dollar)
}

// inPlace is a call's body, as a loop of one round over what it was given. The
// nodes that it makes know no source, so the engine takes their position for
// one in the part's own, which may be shorter: they have none.
func (e *expander) inPlace(call *parse.TemplateNode) parse.Node {
	if e.calls++; e.calls > maxExpanded {
		e.err = errExpanded
		return call
	}
	dollar := fmt.Sprintf("$%d", e.calls) // no author's variable begins with a digit
	body := e.trees[call.Name].Root.CopyList()
	e.list(body, dollar)
	var given parse.Node = &parse.NilNode{NodeType: parse.NodeNil}
	if call.Pipe != nil {
		given = call.Pipe
	}
	once := &parse.CommandNode{NodeType: parse.NodeCommand, Args: []parse.Node{parse.NewIdentifier("once"), given}}
	variable := &parse.VariableNode{NodeType: parse.NodeVariable, Ident: []string{dollar}}
	return &parse.RangeNode{BranchNode: parse.BranchNode{
		NodeType: parse.NodeRange, Line: call.Line, List: body,
		Pipe: &parse.PipeNode{NodeType: parse.NodePipe, Line: call.Line, Decl: []*parse.VariableNode{variable}, Cmds: []*parse.CommandNode{once}},
	}}
}

// pipe rewrites the calls of reader functions, and $ where it is not the root.
func (e *expander) pipe(pipe *parse.PipeNode, dollar string) {
	if pipe == nil {
		return
	}
	for _, cmd := range pipe.Cmds {
		for i, arg := range cmd.Args {
			cmd.Args[i] = e.operand(arg, dollar)
		}
		if call, ok := cmd.Args[0].(*parse.IdentifierNode); ok && isReaderFunction(call.Ident) {
			who := &parse.VariableNode{NodeType: parse.NodeVariable, Ident: []string{"$", readerRoot}}
			renamed := call.Copy().(*parse.IdentifierNode) // which knows its source
			renamed.Ident = readerCall(call.Ident)
			cmd.Args = append([]parse.Node{renamed, who}, cmd.Args[1:]...)
		}
	}
}

func (e *expander) operand(n parse.Node, dollar string) parse.Node {
	switch n := n.(type) {
	case *parse.PipeNode:
		e.pipe(n, dollar)
	case *parse.ChainNode:
		n.Node = e.operand(n.Node, dollar)
	case *parse.VariableNode:
		if n.Ident[0] == "$" {
			n.Ident[0] = dollar
		}
	case *parse.IdentifierNode:
		// A function without arguments may stand bare as an argument; none of
		// the reader's does.
	}
	return n
}

// once is a list of one element: a loop over it is a call that keeps $.
func once(v any) []any { return []any{v} }

// visit calls f for every node below list.
func visit(n parse.Node, f func(parse.Node)) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, c := range n.Nodes {
				visit(c, f)
			}
		}
		return
	case *parse.ActionNode:
		visit(n.Pipe, f)
	case *parse.IfNode:
		visitBranch(&n.BranchNode, f)
	case *parse.WithNode:
		visitBranch(&n.BranchNode, f)
	case *parse.RangeNode:
		visitBranch(&n.BranchNode, f)
	case *parse.TemplateNode:
		visit(n.Pipe, f)
	case *parse.PipeNode:
		if n == nil {
			return
		}
		for _, cmd := range n.Cmds {
			visit(cmd, f)
		}
	case *parse.CommandNode:
		for _, arg := range n.Args {
			visit(arg, f)
		}
	case *parse.ChainNode:
		visit(n.Node, f)
	}
	f(n)
}

func visitBranch(b *parse.BranchNode, f func(parse.Node)) {
	visit(b.Pipe, f)
	visit(b.List, f)
	visit(b.ElseList, f)
}
