package templates

import (
	"slices"
	"strings"
	"text/template/parse"
)

// deps are what a value or a stretch of a part depends on; none is a constant
// of the compiled part.
type deps uint8

const (
	onData   deps = 1 << iota // the notification's data, or its category
	onZone                    // the reader's time zone
	onLocale                  // the reader's locale as the notification has it
	onManner                  // how numbers and times are written for the reader: a locale too
	onPerson                  // anything else of this one notification; also what is not known
)

func (d deps) has(other deps) bool { return d&other != 0 }

// pureFunctions depend on their arguments alone, and on what a part is
// compiled for. A function that is not listed counts as personal: nothing that
// calls it is shared.
func pureFunctions() []string {
	return []string{"and", "or", "not", "len", "slice", "eq", "ne", "lt", "le", "gt", "ge",
		"default", "upper", "lower", "truncate", "join", "json", "t", "asset", "index",
		"print", "println", "printf", "html", "js", "urlquery", "isolate", "once", cachedCall}
}

// readerDeps are what the functions depend on that are given the reader (see
// readerFunctions).
func readerDeps(name string) deps {
	switch name {
	case readerCall("date"):
		return onZone | onManner
	case readerCall("dateIn"), readerCall("number"), readerCall("percent"), readerCall("money"), readerCall("list"), readerCall("listOr"):
		return onManner
	}
	return onPerson
}

// functionDeps is what a function adds to what its arguments depend on.
func functionDeps(name string) deps {
	if slices.Contains(pureFunctions(), name) || strings.HasPrefix(name, "_html_template_") || name == "_eval_args_" {
		return 0
	}
	return readerDeps(name)
}

// origin is what a value is made of. The root and .to are worth more than
// that: their fields differ in what they depend on.
type origin struct {
	kind originKind
	deps deps
}

type originKind uint8

const (
	ofValue originKind = iota
	ofRoot
	ofPerson // .to
	ofReader // what the functions that write for a reader are given
)

// whole is what reading all of a value depends on.
func (o origin) whole() deps {
	if o.kind != ofValue {
		return onPerson
	}
	return o.deps
}

func (o origin) field(names []string) origin {
	for _, name := range names {
		switch {
		case o.kind == ofRoot && (name == "data" || name == "category"):
			o = origin{deps: onData}
		case o.kind == ofRoot && (name == "template" || name == "lang" || name == "dir"):
			o = origin{} // the part's own
		case o.kind == ofRoot && name == readerRoot:
			o = origin{kind: ofReader}
		case o.kind == ofRoot && name == "to":
			o = origin{kind: ofPerson}
		case o.kind == ofPerson && name == "timezone":
			o = origin{deps: onZone}
		case o.kind == ofPerson && name == "locale":
			o = origin{deps: onLocale}
		case o.kind != ofValue:
			o = origin{deps: onPerson}
		}
	}
	return o
}

// sharing works out what each node of a part depends on.
type sharing struct {
	trees    map[string]*parse.Tree
	mutable  map[string]bool // variables that are assigned to somewhere: they count as personal
	calls    map[sharedCall]deps
	verdicts map[parse.Node]deps // of the nodes of every list of the entry
}

type sharedCall struct {
	name  string
	given origin
}

// meaning is what names mean at one point.
type meaning struct {
	dot, dollar origin
	vars        []namedOrigin
}

type namedOrigin struct {
	name  string
	value origin
}

func (m *meaning) bind(name string, o origin) {
	m.vars = append(slices.Clip(m.vars), namedOrigin{name, o})
}

// newSharing walks a part from its entry.
func newSharing(entry *parse.Tree, trees map[string]*parse.Tree) *sharing {
	s := &sharing{trees: trees, mutable: map[string]bool{}, calls: map[sharedCall]deps{}, verdicts: map[parse.Node]deps{}}
	s.noteAssignments(entry.Root)
	for _, t := range trees {
		s.noteAssignments(t.Root)
	}
	root := origin{kind: ofRoot}
	s.list(meaning{dot: root, dollar: root}, entry.Root)
	return s
}

func (s *sharing) noteAssignments(root parse.Node) {
	inspect(root, func(n parse.Node) {
		if p, ok := n.(*parse.PipeNode); ok && p.IsAssign {
			for _, v := range p.Decl {
				s.mutable[v.Ident[0]] = true
			}
		}
	})
}

func (s *sharing) list(m meaning, list *parse.ListNode) (all deps) {
	if list == nil {
		return 0
	}
	for _, n := range list.Nodes {
		d := s.node(&m, n)
		s.verdicts[n] = d
		all |= d
	}
	return all
}

func (s *sharing) node(m *meaning, n parse.Node) deps {
	switch n := n.(type) {
	case *parse.ActionNode:
		return s.pipe(m, n.Pipe).whole()
	case *parse.IfNode:
		inner := *m
		return s.pipe(&inner, n.Pipe).whole() | s.list(inner, n.List) | s.list(inner, n.ElseList)
	case *parse.WithNode:
		inner := *m
		value := s.pipe(&inner, n.Pipe)
		other := s.list(inner, n.ElseList)
		inner.dot = value
		tested := value.whole()
		if value.kind == ofRoot {
			tested = 0 // it is always there
		}
		return tested | s.list(inner, n.List) | other
	case *parse.RangeNode:
		return s.loop(*m, n)
	case *parse.TemplateNode:
		return s.call(m, n)
	case *parse.TextNode, *parse.CommentNode, *parse.BreakNode, *parse.ContinueNode:
		return 0
	}
	return onPerson
}

func (s *sharing) loop(m meaning, n *parse.RangeNode) deps {
	if given := onceOver(n); given != nil {
		m.dot = s.operand(&m, given)
		m.bind(n.Pipe.Decl[0].Ident[0], m.dot)
		return m.dot.deps | s.list(m, n.List)
	}
	value := s.commands(&m, n.Pipe).whole()
	element := origin{deps: value}
	other := s.list(m, n.ElseList)
	for _, v := range n.Pipe.Decl {
		m.bind(v.Ident[0], element)
	}
	if n.Pipe.IsAssign {
		value |= onPerson
	}
	m.dot = element
	return value | s.list(m, n.List) | other
}

// onceOver is what a loop of one round goes over, which stands for a call (see
// expander); nil for another loop.
func onceOver(n *parse.RangeNode) parse.Node {
	if len(n.Pipe.Decl) != 1 || len(n.Pipe.Cmds) != 1 || len(n.Pipe.Cmds[0].Args) != 2 || n.ElseList != nil {
		return nil
	}
	if f, ok := n.Pipe.Cmds[0].Args[0].(*parse.IdentifierNode); !ok || f.Ident != "once" {
		return nil
	}
	return n.Pipe.Cmds[0].Args[1]
}

// call is what a partial's text depends on, given what it is called with.
// Partials never call themselves: the walker has seen to it.
func (s *sharing) call(m *meaning, n *parse.TemplateNode) deps {
	var given origin
	if n.Pipe != nil {
		given = s.pipe(m, n.Pipe)
	}
	tree, ok := s.trees[n.Name]
	if !ok {
		return onPerson
	}
	key := sharedCall{n.Name, given}
	d, done := s.calls[key]
	if !done {
		d = given.deps | s.list(meaning{dot: given, dollar: given}, tree.Root)
		s.calls[key] = d
	}
	return d
}

// pipe is the origin of a pipeline's value; what it declares is bound to it.
func (s *sharing) pipe(m *meaning, p *parse.PipeNode) origin {
	value := s.commands(m, p)
	if p.IsAssign {
		return origin{deps: onPerson} // it must not be skipped
	}
	for _, v := range p.Decl {
		m.bind(v.Ident[0], value)
	}
	if len(p.Decl) > 0 {
		return origin{deps: value.deps} // nothing is written
	}
	return value
}

func (s *sharing) commands(m *meaning, p *parse.PipeNode) origin {
	if len(p.Cmds) == 1 && len(p.Cmds[0].Args) == 1 {
		if _, call := p.Cmds[0].Args[0].(*parse.IdentifierNode); !call {
			return s.operand(m, p.Cmds[0].Args[0])
		}
	}
	var all deps
	for _, cmd := range p.Cmds {
		for _, arg := range cmd.Args {
			o := s.operand(m, arg)
			if o.kind != ofReader { // the function says what it takes of it
				all |= o.whole()
			}
		}
	}
	return origin{deps: all}
}

func (s *sharing) operand(m *meaning, n parse.Node) origin {
	switch n := n.(type) {
	case *parse.DotNode:
		return m.dot
	case *parse.FieldNode:
		return m.dot.field(n.Ident)
	case *parse.VariableNode:
		return s.variable(m, n.Ident[0]).field(n.Ident[1:])
	case *parse.ChainNode:
		return s.operand(m, n.Node).field(n.Field)
	case *parse.PipeNode:
		inner := *m
		return s.commands(&inner, n)
	case *parse.IdentifierNode:
		return origin{deps: functionDeps(n.Ident)}
	case *parse.StringNode, *parse.NumberNode, *parse.BoolNode, *parse.NilNode:
		return origin{}
	}
	return origin{deps: onPerson}
}

func (s *sharing) variable(m *meaning, name string) origin {
	if name == "$" {
		return m.dollar
	}
	if !s.mutable[name] {
		for _, v := range slices.Backward(m.vars) {
			if v.name == name {
				return v.value
			}
		}
	}
	return origin{deps: onPerson}
}

// inspect visits a node and everything below it; called partials are another
// tree's.
func inspect(n parse.Node, visit func(parse.Node)) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
	case *parse.PipeNode:
		if n == nil {
			return
		}
	}
	visit(n)
	switch n := n.(type) {
	case *parse.ListNode:
		for _, below := range n.Nodes {
			inspect(below, visit)
		}
	case *parse.ActionNode:
		inspect(n.Pipe, visit)
	case *parse.TemplateNode:
		inspect(n.Pipe, visit)
	case *parse.IfNode:
		inspectBranch(&n.BranchNode, visit)
	case *parse.WithNode:
		inspectBranch(&n.BranchNode, visit)
	case *parse.RangeNode:
		inspectBranch(&n.BranchNode, visit)
	case *parse.PipeNode:
		inspectPipe(n, visit)
	case *parse.ChainNode:
		inspect(n.Node, visit)
	}
}

func inspectBranch(n *parse.BranchNode, visit func(parse.Node)) {
	inspect(n.Pipe, visit)
	inspect(n.List, visit)
	inspect(n.ElseList, visit)
}

func inspectPipe(p *parse.PipeNode, visit func(parse.Node)) {
	for _, v := range p.Decl {
		visit(v)
	}
	for _, cmd := range p.Cmds {
		for _, arg := range cmd.Args {
			inspect(arg, visit)
		}
	}
}
