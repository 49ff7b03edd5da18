package templates

import (
	"text/template/parse"
)

// maxIndexGuard bounds how many elements a test of a list's length vouches for.
const maxIndexGuard = 16

// truths are the places that are there when a condition holds.
func (w *walker) truths(s scope, p *parse.PipeNode) []string {
	if len(p.Cmds) != 1 {
		return nil
	}
	args := p.Cmds[0].Args
	f, ok := args[0].(*parse.IdentifierNode)
	if !ok {
		return w.truthOf(s, args[0])
	}
	whole := args
	args = args[1:]
	switch f.Ident {
	case "and":
		return w.all(s, args, w.truthOf)
	case "index":
		return truthOfPlace(w.outcomeOf(s, whole))
	case "not":
		return w.all(s, args, w.falsehoodOf)
	case "eq":
		return append(w.equals(s, args), w.length(s, f.Ident, args)...)
	case "ne":
		return w.notNil(s, args)
	case "gt", "ge":
		return w.length(s, f.Ident, args)
	case "len":
		return w.all(s, args, w.truthOf)
	}
	return nil
}

// falsehoods are the places that are there when a condition does not hold.
func (w *walker) falsehoods(s scope, p *parse.PipeNode) []string {
	if len(p.Cmds) != 1 {
		return nil
	}
	f, ok := p.Cmds[0].Args[0].(*parse.IdentifierNode)
	if !ok {
		if len(p.Cmds[0].Args) == 1 {
			return w.falsehoodOf(s, p.Cmds[0].Args[0])
		}
		return nil
	}
	args := p.Cmds[0].Args[1:]
	switch f.Ident {
	case "or":
		return w.all(s, args, w.falsehoodOf)
	case "not":
		return w.all(s, args, w.truthOf)
	case "eq":
		return w.notNil(s, args)
	}
	return nil
}

func (w *walker) all(s scope, args []parse.Node, each func(scope, parse.Node) []string) []string {
	var found []string
	for _, arg := range args {
		found = append(found, each(s, arg)...)
	}
	return found
}

func (w *walker) truthOf(s scope, n parse.Node) []string {
	if p, ok := n.(*parse.PipeNode); ok {
		return w.truths(s, p)
	}
	return truthOfPlace(w.resolve(s, n))
}

func truthOfPlace(p place) []string {
	if !p.known || len(p.path) == 0 {
		return nil
	}
	return []string{p.key(), p.field(indexStep(0)).key()} // a list that is true has an element
}

func (w *walker) falsehoodOf(s scope, n parse.Node) []string {
	if p, ok := n.(*parse.PipeNode); ok {
		return w.falsehoods(s, p)
	}
	return nil
}

// equals are the places that are there because they equal a constant.
func (w *walker) equals(s scope, args []parse.Node) []string {
	if len(args) != 2 || isConstant(args[0]) == isConstant(args[1]) {
		return nil // one that equals one of several constants may be the first alone
	}
	return w.all(s, args, w.placeOf)
}

// notNil are the places that are there because they differ from nil.
func (w *walker) notNil(s scope, args []parse.Node) []string {
	if len(args) != 2 || args[0].Type() != parse.NodeNil && args[1].Type() != parse.NodeNil {
		return nil
	}
	return w.all(s, args, w.placeOf)
}

func (w *walker) placeOf(s scope, n parse.Node) []string {
	if value := w.resolve(s, n); value.known && len(value.path) > 0 {
		return []string{value.key()}
	}
	return nil
}

// length are the elements that are there when (len LIST) compares so with a
// constant.
func (w *walker) length(s scope, comparison string, args []parse.Node) []string {
	if len(args) != 2 {
		return nil
	}
	list, isPipe := args[0].(*parse.PipeNode)
	number, isNumber := args[1].(*parse.NumberNode)
	if !isPipe || !isNumber || !number.IsInt || len(list.Cmds) != 1 || len(list.Cmds[0].Args) != 2 || list.Cmds[0].Args[0].String() != "len" {
		return nil
	}
	n := int(min(number.Int64, maxIndexGuard))
	if comparison == "gt" {
		n++
	}
	var found []string
	if value := w.resolve(s, list.Cmds[0].Args[1]); value.known {
		for i := range max(n, 0) {
			found = append(found, value.field(indexStep(i)).key())
		}
	}
	return found
}

// isConstant tells what equals a constant from what may equal nothing.
func isConstant(n parse.Node) bool {
	t := n.Type()
	return t == parse.NodeString || t == parse.NodeNumber || t == parse.NodeBool
}
