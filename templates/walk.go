package templates

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"

	"github.com/bojanz/currency"

	"github.com/carillonhq/carillon/notice"
)

// place is where a value comes from: a path from the root of what a part sees,
// with "*" for the elements of a list. A value that a function made has no
// known place.
type place struct {
	known bool
	path  []string
}

func (p place) field(names ...string) place {
	if !p.known {
		return p
	}
	return place{true, append(slices.Clip(p.path), names...)}
}

func (p place) isRoot() bool { return p.known && len(p.path) == 0 }

func (p place) key() string {
	if !p.known {
		return "?"
	}
	return strings.Join(p.path, "/")
}

// scope is what names mean at one point of a part.
type scope struct {
	dot, dollar place
	vars        []variable
	guards      []string // keys of places that are known to be there
}

type variable struct {
	name  string
	value place
}

func (s scope) lookup(name string) place {
	if name == "$" {
		return s.dollar
	}
	for _, v := range slices.Backward(s.vars) {
		if v.name == name {
			return v.value
		}
	}
	return place{}
}

// unguarded forgets what is known to be at or within a place.
func (s scope) unguarded(p place) scope {
	if p.known {
		key := p.key()
		s.guards = slices.DeleteFunc(slices.Clone(s.guards), func(g string) bool { return g == key || strings.HasPrefix(g, key+"/") })
	}
	return s
}

func (s scope) guarded(keys []string) scope {
	s.guards = append(slices.Clip(s.guards), keys...)
	return s
}

// walker reads what a linked part uses: every path into the notification's
// data, whether it may be absent there, and what is wrong without any data.
type walker struct {
	part   linked
	texts  *translator
	dates  *zones
	faults *Faults
	refs   *contract
	called map[string]bool // trees that the part reaches
	seen   map[string]bool // calls walked already
	nodes  int             // how much was walked
	stack  []string        // calls being walked
	tree   *parse.Tree     // the tree being walked
	// usesMessages: some text comes from _locales, so the version depends on it.
	// translated: a text of the part itself does, not only of a partial or layout.
	usesMessages, translated bool
	assets                   *assetIndex
	usesAssets               map[string]bool // by path in the catalogue
}

// What bounds the walk over partials that call partials.
const (
	maxCalls = 5000
	maxNodes = 1_000_000
)

func (w *walker) run() {
	root := scope{dot: place{known: true}, dollar: place{known: true}}
	w.tree = w.part.entry
	w.list(root, w.tree.Root)
}

func (w *walker) at(n parse.Node) position {
	location, _ := w.tree.ErrorContext(n)
	at := located(location)
	at.column = max(at.column-lead(n), 1)
	return at
}

// located reads a place as the parser writes it, FILE:LINE:COLUMN with columns
// from 0.
func located(location string) position {
	file, rest, _ := strings.Cut(location, ":")
	line, column, _ := strings.Cut(rest, ":")
	l, _ := strconv.Atoi(line)
	c, _ := strconv.Atoi(column)
	return position{file, l, c + 1}
}

// lead is how far before its position a node begins: the parser places a
// chain like .data.order at its second field.
func lead(n parse.Node) int {
	switch n := n.(type) {
	case *parse.FieldNode:
		if len(n.Ident) > 1 {
			return len(n.Ident[0]) + 1
		}
	case *parse.VariableNode:
		if len(n.Ident) > 1 {
			return len(n.Ident[0])
		}
	}
	return 0
}

func (w *walker) list(s scope, list *parse.ListNode) {
	if list == nil {
		return
	}
	w.nodes += len(list.Nodes)
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			w.action(&s, n)
		case *parse.IfNode:
			w.branch(s, &n.BranchNode)
		case *parse.WithNode:
			w.branch(s, &n.BranchNode)
		case *parse.RangeNode:
			w.loop(s, n)
		case *parse.TemplateNode:
			w.call(s, n)
		}
	}
}

func (w *walker) action(s *scope, n *parse.ActionNode) {
	if len(n.Pipe.Decl) == 0 && path.Ext(w.tree.ParseName) == ".json" && !writesJSON(n.Pipe) {
		w.faults.add(w.at(n), "%s writes a bare value, which is no JSON: write {{json …}}", n)
	}
	w.pipe(s, n.Pipe, printed())
}

// writesJSON reports whether a pipeline's outcome is JSON whatever its values.
func writesJSON(p *parse.PipeNode) bool {
	switch last := p.Cmds[len(p.Cmds)-1].Args[0].(type) {
	case *parse.IdentifierNode:
		return last.Ident == "json" || last.Ident == "len"
	case *parse.NumberNode, *parse.BoolNode:
		return true
	}
	return false
}

// branch walks if and with, and what they say of the values they test.
func (w *walker) branch(s scope, n *parse.BranchNode) {
	if isCached(n.Pipe) {
		w.cachedBlock(s, n)
		return
	}
	value := w.pipe(&s, n.Pipe, tested())
	then := s.guarded(w.truths(s, n.Pipe))
	if n.NodeType == parse.NodeWith {
		then.dot = value
	}
	w.list(then, n.List)
	w.list(s.guarded(w.falsehoods(s, n.Pipe)), n.ElseList)
}

func (w *walker) loop(s scope, n *parse.RangeNode) {
	inner := s
	decl := n.Pipe.Decl
	value := w.pipeCommands(&inner, n.Pipe, tested())
	inner = inner.guarded(w.truths(s, n.Pipe))
	element := value.field("*")
	inner = inner.unguarded(element) // what an outer loop has tested is another element
	w.use(inner, element, n.Pipe, tested())
	for i, v := range decl {
		bound := place{}
		if i == len(decl)-1 {
			bound = element
		}
		inner.vars = append(slices.Clip(inner.vars), variable{v.Ident[0], bound})
	}
	inner.dot = element
	w.list(inner, n.List)
	w.list(s, n.ElseList)
}

// call walks a partial with what it is given.
func (w *walker) call(s scope, n *parse.TemplateNode) {
	var given place
	if n.Pipe != nil {
		given = w.pipe(&s, n.Pipe, tested())
	}
	tree, ok := w.part.trees[n.Name]
	switch {
	case !ok:
		w.faults.add(w.at(n), "no partial %q%s", n.Name, known(n.Name, keys(w.part.trees)))
		return
	case slices.Contains(w.stack, n.Name):
		w.faults.add(w.at(n), "%q calls itself in a circle: %s", n.Name, strings.Join(append(w.stack, n.Name), " → "))
		return
	case len(w.seen) > maxCalls, w.nodes > maxNodes:
		w.faults.add(w.at(n), "the partials call each other in too many ways to be checked")
		return
	}
	if key := n.Name + " " + given.key() + " " + strings.Join(s.guards, ","); !w.seen[key] {
		w.seen[key] = true
		w.enter(n.Name, tree, scope{dot: given, dollar: given, guards: s.guards})
	}
}

func (w *walker) enter(name string, tree *parse.Tree, s scope) {
	w.called[name] = true
	outer := w.tree
	w.tree, w.stack = tree, append(w.stack, name)
	w.list(s, tree.Root)
	w.tree, w.stack = outer, w.stack[:len(w.stack)-1]
}

// pipe walks a pipeline, binds what it declares, and tells its value's place.
func (w *walker) pipe(s *scope, p *parse.PipeNode, mode use) place {
	value := w.pipeCommands(s, p, mode)
	for _, v := range p.Decl {
		s.vars = append(slices.Clip(s.vars), variable{v.Ident[0], value})
	}
	return value
}

func (w *walker) pipeCommands(s *scope, p *parse.PipeNode, mode use) place {
	if len(p.Decl) > 0 {
		mode = tested() // what is done with the variable decides
	}
	var value place
	for i, cmd := range p.Cmds {
		m := mode
		if i+1 < len(p.Cmds) {
			m = w.pipedInto(p.Cmds[i+1:], mode)
		}
		value = w.command(*s, cmd, i > 0, m)
	}
	return value
}

// pipedInto is how the first of the commands uses what is piped into it.
func (w *walker) pipedInto(cmds []*parse.CommandNode, outcome use) use {
	f, ok := cmds[0].Args[0].(*parse.IdentifierNode)
	if !ok {
		return printed()
	}
	if len(cmds) > 1 {
		outcome = w.pipedInto(cmds[1:], outcome)
	}
	last := len(cmds[0].Args) - 1
	return w.argument(f.Ident, cmds[0].Args[1:], last, last+1, outcome)
}

func (w *walker) command(s scope, cmd *parse.CommandNode, piped bool, mode use) place {
	f, ok := cmd.Args[0].(*parse.IdentifierNode)
	if !ok {
		return w.operand(s, cmd.Args[0], mode)
	}
	args := cmd.Args[1:]
	given := args
	if piped {
		given = append(slices.Clip(args), &parse.NilNode{NodeType: parse.NodeNil}) // there is one, whatever it is
	}
	n := len(given)
	w.checkCall(s, f, given)
	for i, arg := range args {
		u := w.argument(f.Ident, args, i, n, mode)
		w.checkConstant(f, arg, u)
		w.operand(s, arg, u)
		switch f.Ident {
		case "and":
			s = s.guarded(w.truthOf(s, arg))
		case "or":
			s = s.guarded(w.falsehoodOf(s, arg))
		}
	}
	return w.outcome(s, f.Ident, args, mode)
}

// outcome is the place that a call leads to: index with names in it is a path.
func (w *walker) outcome(s scope, function string, args []parse.Node, mode use) place {
	if function != "index" || len(args) < 2 {
		return place{}
	}
	value := w.indexed(s, args)
	w.use(s, value, args[0], mode)
	return value
}

// indexed is the place that the arguments of index lead to.
func (w *walker) indexed(s scope, args []parse.Node) place {
	value := w.resolve(s, args[0])
	for _, arg := range args[1:] {
		switch key := arg.(type) {
		case *parse.StringNode:
			value = value.field(key.Text)
		case *parse.NumberNode:
			value = value.field(indexStep(int(key.Int64)))
		default:
			return place{}
		}
	}
	return value
}

// checkCall reports what can be known to be wrong with a call before any data.
func (w *walker) checkCall(s scope, f *parse.IdentifierNode, args []parse.Node) {
	if wrong := wrongCount(f.Ident, len(args)); wrong != "" {
		w.faults.add(w.at(f), "%s %s", f.Ident, wrong)
		return
	}
	switch f.Ident {
	case cachedCall:
		w.faults.add(w.at(f), `cached opens a block: {{cached "hero" .data.campaign}}…{{end}}`)
	case "t":
		w.usesMessages = true
		w.translated = w.translated || w.tree.ParseName == w.part.file
		w.checkMessage(f, args)
	case "asset":
		w.checkAsset(f, args)
	case "date":
		w.checkLayout(f, args, 0)
	case "dateIn":
		w.checkLayout(f, args, 1)
	case "money":
		w.checkCurrency(args)
	case "printf":
		w.checkPrintf(f, args)
	}
}

func (w *walker) checkMessage(f *parse.IdentifierNode, args []parse.Node) {
	if len(args) == 0 {
		w.faults.add(w.at(f), `t wants the message's key first: {{t "greeting"}}`)
		return
	}
	key, ok := args[0].(*parse.StringNode)
	if !ok {
		w.faults.add(w.at(f), "t wants a constant key, so that it can be checked here")
		return
	}
	m, ok := w.texts.find(key.Text)
	if !ok {
		w.faults.add(w.at(key), "no message %q in %s%s", key.Text, localesDir, known(key.Text, []string{w.texts.nearest(key.Text)}))
		return
	}
	w.checkArguments(key, m, args[1:])
}

// checkArguments holds a call of t against what its message reads.
func (w *walker) checkArguments(key *parse.StringNode, m message, args []parse.Node) {
	var given []string
	if m.byName {
		for i := 0; i < len(args); i += 2 {
			name, ok := args[i].(*parse.StringNode)
			if !ok || i+1 == len(args) {
				w.faults.add(w.at(key), "message %q has arguments by name: write {{t %q \"%s\" .data.value}}, each name with its value", key.Text, key.Text, keys(m.arguments())[0])
				return
			}
			if given = append(given, name.Text); !m.arguments()[name.Text] {
				w.faults.warn(w.at(name), "message %q reads no argument %q%s", key.Text, name.Text, known(name.Text, keys(m.arguments())))
			}
		}
	} else {
		for i := range args {
			given = append(given, strconv.Itoa(i+1))
		}
	}
	for _, name := range keys(m.arguments()) {
		switch {
		case slices.Contains(given, name):
		case name == m.by && m.plural && name == "1":
			w.faults.add(w.at(key), "message %q has plural forms: give it the number, {{t %q .data.count}}", key.Text, key.Text)
		default:
			w.faults.add(w.at(key), "message %q reads an argument %s that it is not given (%v)", key.Text, name, m.at)
		}
	}
}

func (w *walker) checkCurrency(args []parse.Node) {
	if len(args) == 0 {
		return // the engine says that there are too few
	}
	if code, ok := args[0].(*parse.StringNode); ok && !currency.IsValid(strings.ToUpper(code.Text)) {
		w.faults.add(w.at(code), "%q is no currency: write its code in ISO 4217, like EUR or JPY", code.Text)
	}
}

func (w *walker) checkLayout(f *parse.IdentifierNode, args []parse.Node, i int) {
	if i >= len(args) {
		w.faults.add(w.at(f), `%s wants a format: {{date "date" .now}}`, f.Ident)
		return
	}
	if layout, ok := args[i].(*parse.StringNode); ok {
		if _, err := w.dates.dateWriter(layout.Text); err != nil {
			w.faults.add(w.at(layout), "%v", err)
		}
	}
}

// operand walks one argument and tells its place.
func (w *walker) operand(s scope, n parse.Node, mode use) place {
	switch n := n.(type) {
	case *parse.PipeNode:
		return w.pipe(&s, n, mode)
	case *parse.IdentifierNode:
		w.checkCall(s, n, nil)
		return place{}
	case *parse.ChainNode:
		value := w.operand(s, n.Node, computed(0, "reads a field of it")).field(n.Field...)
		w.use(s, value, n, mode)
		return value
	}
	value := w.resolve(s, n)
	w.use(s, value, n, mode)
	return value
}

// resolve is the place that an operand names, without using it.
func (w *walker) resolve(s scope, n parse.Node) place {
	switch n := n.(type) {
	case *parse.DotNode:
		return s.dot
	case *parse.FieldNode:
		return s.dot.field(n.Ident...)
	case *parse.VariableNode:
		return s.lookup(n.Ident[0]).field(n.Ident[1:]...)
	case *parse.ChainNode:
		return w.resolve(s, n.Node).field(n.Field...)
	case *parse.PipeNode:
		if len(n.Cmds) == 1 {
			return w.outcomeOf(s, n.Cmds[0].Args)
		}
	}
	return place{}
}

// outcomeOf is the place that a command leads to.
func (w *walker) outcomeOf(s scope, args []parse.Node) place {
	f, isCall := args[0].(*parse.IdentifierNode)
	switch {
	case len(args) == 1 && !isCall:
		return w.resolve(s, args[0])
	case isCall && f.Ident == "index" && len(args) > 2:
		return w.indexed(s, args[1:])
	}
	return place{}
}

func rootNames() []string {
	return []string{"data", "to", "id", "category", "template", "now", "unsubscribe_url", "lang", "dir", "subject", "preheader"}
}

func personNames() []string { return []string{"user", "name", "email", "locale", "timezone"} }

// use records that a value is read, and reports a name that nothing has.
func (w *walker) use(s scope, p place, n parse.Node, mode use) {
	if !p.known || len(p.path) == 0 {
		return
	}
	switch name := p.path[0]; {
	case !slices.Contains(rootNames(), name):
		if near := notice.Nearest(name, rootNames()); near != "" {
			w.faults.add(w.at(n), "unknown name .%s: did you mean .%s?", name, near)
		} else {
			w.faults.add(w.at(n), "unknown name .%s: the notification's data is .data.%s; beside it there are .to, .id, .category, .template, .now and .unsubscribe_url", name, name)
		}
	case name == "data":
		w.refs.add(s, p.path[1:], mode, func() position { return w.at(n) })
	case name == "to" && len(p.path) > 1 && !slices.Contains(personNames(), p.path[1]):
		w.faults.add(w.at(n), "unknown name .to.%s%s", p.path[1], known(p.path[1], personNames()))
	case name == "to" && len(p.path) > 2, name != "to" && name != "now" && len(p.path) > 1:
		w.faults.add(w.at(n), ".%s has no fields", strings.Join(p.path[:len(p.path)-1], "."))
	}
}
