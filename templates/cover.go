package templates

import (
	"slices"
	"strings"
	"text/template/parse"
)

// cover checks that a {{cached}} block reads nothing that its key does not
// hold. It follows values, not places in the data: two rounds of one loop are
// at the same place, and different.
type cover struct {
	w     *walker
	keys  [][]string
	loops int // open inside the block
	calls int
}

// held is a value as a block sees it: the way to it from something that is
// bound outside ("$" for the root), or nil when the block made it out of what
// its key holds.
type held struct{ way []string }

func (h held) field(names []string) held {
	if h.way == nil {
		return h
	}
	return held{append(slices.Clip(h.way), names...)}
}

// sight is what names mean at one point of a block.
type sight struct {
	dot, dollar held
	made        []string // variables that the block declares
}

const rootWay = "$"

// cachedBlock walks a {{cached}} block: as what it is, and for what it reads.
func (w *walker) cachedBlock(s scope, n *parse.BranchNode) {
	call := n.Pipe.Cmds[0]
	args := call.Args[1:]
	at := w.at(call.Args[0])
	at.column -= len(cachedOpen) - len(cachedCall) // where the author has written cached
	switch {
	case len(args) == 0 || args[0].Type() != parse.NodeString:
		w.faults.add(at, `cached wants a name first, then what its text depends on: {{cached "hero" .data.campaign}}…{{end}}`)
		return
	case !s.dollar.isRoot():
		w.faults.add(at, "cached cannot be used in a partial that is given something else than the root: put {{cached}}…{{end}} around the call, or call it with {{template %q .}}", w.stack[len(w.stack)-1])
		return
	case n.ElseList != nil:
		w.faults.add(at, "cached has no else: its text is always there")
		return
	}
	c := cover{w: w}
	start := sight{dot: held{[]string{"."}}, dollar: held{[]string{rootWay}}}
	if s.dot.isRoot() {
		start.dot = start.dollar
	}
	for _, arg := range args[1:] {
		c.key(w.operand(s, arg, use{}), start, arg)
	}
	c.list(start, n.List)
	w.list(s, n.List)
}

// key takes an argument in. What differs for each reader makes no key.
func (c *cover) key(value place, s sight, arg parse.Node) {
	if value.known && isPersonal(value.path) {
		c.w.faults.add(c.w.at(arg), "cached: %s is another for each reader, so nothing would be shared: leave it out of the key and of the block", arg)
	}
	if h, ok := c.wayOf(s, arg); ok && h.way != nil {
		c.keys = append(c.keys, h.way)
	}
}

// isPersonal reports whether a path from the root leads to what only one
// delivery has. The languages and zones of readers are few.
func isPersonal(path []string) bool {
	if len(path) == 0 {
		return true
	}
	switch path[0] {
	case "data", "category", "template", "lang", "dir":
		return false
	case "to":
		return len(path) < 2 || path[1] != "locale" && path[1] != "timezone"
	}
	return true
}

// wayOf is the value that an operand names by itself; ok is false for what is
// computed.
func (c *cover) wayOf(s sight, n parse.Node) (h held, ok bool) {
	switch n := n.(type) {
	case *parse.DotNode:
		return s.dot, true
	case *parse.FieldNode:
		return s.dot.field(n.Ident), true
	case *parse.VariableNode:
		name := n.Ident[0]
		switch {
		case name == "$":
			h = s.dollar
		case !slices.Contains(s.made, name):
			h = held{[]string{name}}
		}
		return h.field(n.Ident[1:]), true
	case *parse.ChainNode:
		if h, ok = c.wayOf(s, n.Node); ok {
			return h.field(n.Field), true
		}
	case *parse.PipeNode:
		if sole := soleOperand(n); sole != nil {
			return c.wayOf(s, sole)
		}
	}
	return held{}, false
}

// read checks one value that the block reads.
func (c *cover) read(h held, n parse.Node) {
	if h.way == nil || len(h.way) > 1 && h.way[0] == rootWay && slices.Contains([]string{"template", "lang", "dir"}, h.way[1]) {
		return
	}
	for _, key := range c.keys {
		if len(h.way) >= len(key) && slices.Equal(h.way[:len(key)], key) {
			return
		}
	}
	if h.way[0] == rootWay && (len(h.way) == 1 || isPersonal(h.way[1:])) {
		c.w.faults.add(c.w.at(n), "cached: the block reads %s, which is another for each reader: end the block before it and begin one after it", n)
		return
	}
	c.w.faults.add(c.w.at(n), "cached: the block reads %s, which its key does not hold: add it after the name, {{cached \"…\" %s}}", n, wayText(h.way))
}

func wayText(way []string) string {
	switch {
	case way[0] == rootWay && len(way) > 1:
		return "$." + strings.Join(way[1:], ".")
	case way[0] == "." && len(way) > 1:
		return "." + strings.Join(way[1:], ".")
	}
	return strings.Join(way, ".")
}

func (c *cover) list(s sight, list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		c.node(&s, n)
	}
}

func (c *cover) node(s *sight, n parse.Node) {
	switch n := n.(type) {
	case *parse.ActionNode:
		c.pipe(s, n.Pipe)
	case *parse.IfNode:
		inner := *s
		c.pipe(&inner, n.Pipe)
		c.list(inner, n.List)
		c.list(inner, n.ElseList)
	case *parse.WithNode:
		inner := *s
		c.pipe(&inner, n.Pipe)
		c.list(inner, n.ElseList)
		inner.dot = held{}
		c.list(inner, n.List)
	case *parse.RangeNode:
		inner := *s
		c.pipe(&inner, n.Pipe)
		c.list(inner, n.ElseList)
		inner.dot = held{}
		c.loops++
		c.list(inner, n.List)
		c.loops--
	case *parse.TemplateNode:
		c.call(*s, n)
	case *parse.BreakNode, *parse.ContinueNode:
		if c.loops == 0 {
			c.w.faults.add(c.w.at(n), "cached: the block leaves a loop that is around it: put the whole loop into the block, or the condition around it")
		}
	}
}

// call follows a partial, with the root or with something that is covered.
func (c *cover) call(s sight, n *parse.TemplateNode) {
	given := held{}
	if n.Pipe != nil {
		h, ok := c.wayOf(s, n.Pipe)
		if ok && len(h.way) == 1 && h.way[0] == rootWay {
			given = h
		} else {
			c.pipe(&s, n.Pipe)
		}
	}
	tree, ok := c.w.part.trees[n.Name]
	if c.calls++; !ok || c.calls > maxCalls || given.way == nil || slices.Contains(c.w.stack, n.Name) {
		return // nothing that it could read is not covered
	}
	outer, loops := c.w.tree, c.loops
	c.w.tree, c.w.stack, c.loops = tree, append(c.w.stack, n.Name), 0
	c.list(sight{dot: given, dollar: given}, tree.Root)
	c.w.tree, c.w.stack, c.loops = outer, c.w.stack[:len(c.w.stack)-1], loops
}

func (c *cover) pipe(s *sight, p *parse.PipeNode) {
	for _, cmd := range p.Cmds {
		for _, arg := range cmd.Args {
			c.operand(s, arg)
		}
	}
	for _, v := range p.Decl {
		if p.IsAssign && !slices.Contains(s.made, v.Ident[0]) {
			c.w.faults.add(c.w.at(p), "cached: the block sets %s, which is declared outside of it: that would not happen when its text is known", v.Ident[0])
		}
		s.made = append(slices.Clip(s.made), v.Ident[0])
	}
}

func (c *cover) operand(s *sight, n parse.Node) {
	if h, ok := c.wayOf(*s, n); ok {
		c.read(h, n)
		return
	}
	switch n := n.(type) {
	case *parse.PipeNode:
		c.pipe(s, n)
	case *parse.ChainNode:
		c.operand(s, n.Node)
	}
}
