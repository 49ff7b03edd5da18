package routing

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

// The longest template of a field, and the longest value that one may make,
// in bytes. A Web Push subscription, the longest address there is, takes about
// 600; the source's bound also bounds how deep it may nest.
const (
	maxTemplate = 4096
	maxValue    = 4096
)

// field is one compiled value of a route: a template over the event, or text
// that needs none.
type field struct {
	literal string
	tmpl    *template.Template // nil when literal says it all
}

// compileField compiles a field's template. What a field may do is kept small
// so that no event can make it spin: it has no loops.
func compileField(source string) (field, error) {
	if len(source) > maxTemplate {
		return field{}, fmt.Errorf("is %d bytes; a field has at most %d", len(source), maxTemplate)
	}
	if !strings.Contains(source, "{{") {
		return field{literal: strings.TrimSpace(source)}, nil
	}
	trees, err := parse.Parse("", source, "", "", allowed())
	if err != nil {
		return field{}, plainError(err)
	}
	if len(trees) > 1 {
		return field{}, errors.New("defines a template; a field is a single value, write it in place")
	}
	if err := restrict(trees[""].Root); err != nil {
		return field{}, err
	}
	t := template.New("").Option("missingkey=error").Funcs(functions())
	if t, err = t.AddParseTree("", trees[""]); err != nil {
		return field{}, plainError(err)
	}
	return field{tmpl: t}, nil
}

// allowed names the functions that a field may call. Left out of the standard
// ones are those that make text of anything (print, printf and println, which
// would hide a null), and those for HTML and JavaScript.
func allowed() map[string]any {
	names := map[string]any{}
	for _, name := range []string{
		"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "index", "len", "slice", "urlquery", "lower", "upper",
	} {
		names[name] = true
	}
	return names
}

// printer is the name of the function that every printed value passes through.
const printer = "_print"

func functions() template.FuncMap {
	return template.FuncMap{"lower": strings.ToLower, "upper": strings.ToUpper, printer: printValue}
}

// restrict refuses what loops and makes every printed value pass through
// printValue.
func restrict(node parse.Node) error {
	switch n := node.(type) {
	case *parse.ListNode:
		return restrictList(n)
	case *parse.IfNode:
		return restrictBranch(&n.BranchNode)
	case *parse.WithNode:
		return restrictBranch(&n.BranchNode)
	case *parse.ActionNode:
		printed(n)
	case *parse.RangeNode, *parse.TemplateNode:
		return fmt.Errorf("line %d: %s has no place in a field, which is a single value; use `index` for one element", lineOf(n), firstWord(n))
	}
	return nil
}

// printed ends an action's pipeline in printValue, which is told the pipeline's
// source for its errors. An assignment prints nothing.
func printed(n *parse.ActionNode) {
	if len(n.Pipe.Decl) > 0 {
		return
	}
	source := n.Pipe.String()
	n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{
		NodeType: parse.NodeCommand,
		Pos:      n.Pos,
		Args: []parse.Node{
			parse.NewIdentifier(printer).SetPos(n.Pos),
			&parse.StringNode{NodeType: parse.NodeString, Pos: n.Pos, Quoted: strconv.Quote(source), Text: source},
		},
	})
}

func restrictList(list *parse.ListNode) error {
	if list == nil {
		return nil
	}
	for _, n := range list.Nodes {
		if err := restrict(n); err != nil {
			return err
		}
	}
	return nil
}

func restrictBranch(b *parse.BranchNode) error {
	if err := restrictList(b.List); err != nil {
		return err
	}
	return restrictList(b.ElseList)
}

func lineOf(n parse.Node) int {
	switch n := n.(type) {
	case *parse.RangeNode:
		return n.Line
	case *parse.TemplateNode:
		return n.Line
	}
	return 1
}

func firstWord(n parse.Node) string {
	if n.Type() == parse.NodeRange {
		return "{{range}}"
	}
	return "{{template}}"
}

// printValue turns a value of the event into text. Null, lists and objects
// have none: printing them would put "<no value>" or Go's syntax into an
// address.
func printValue(source string, v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64, int, bool:
		return fmt.Sprint(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case nil:
		return "", &unprintable{source, "is null or absent; ask with {{with}} where it may be"}
	case []any:
		return "", &unprintable{source, "is a list; take one element with `index`"}
	}
	return "", &unprintable{source, "is an object; name one of its fields"}
}

// unprintable says why a value was not printed.
type unprintable struct{ source, why string }

func (u *unprintable) Error() string { return fmt.Sprintf("{{%s}} %s", u.source, u.why) }

// render makes the field's value for an event, without the white space around
// it that a template leaves.
func (f *field) render(e *event) (string, error) {
	if f.tmpl == nil {
		return f.literal, nil
	}
	fields, err := e.fields()
	if err != nil {
		return "", fmt.Errorf("the event's data %w", err)
	}
	var out bounded
	if err := f.tmpl.Execute(&out, fields); err != nil {
		return "", plainError(err)
	}
	return strings.TrimSpace(out.String()), nil
}

// bounded is a buffer that refuses to grow past maxValue.
type bounded struct{ strings.Builder }

var errTooLong = fmt.Errorf("comes out longer than %d bytes", maxValue)

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxValue {
		return 0, errTooLong
	}
	return b.Builder.Write(p)
}

// plainError words a template's error for somebody who wrote one line of
// configuration: without the package's prefix and the machinery's names.
func plainError(err error) error {
	var u *unprintable
	switch {
	case errors.Is(err, errTooLong):
		return errTooLong
	case errors.As(err, &u):
		return u
	}
	words := strings.TrimPrefix(err.Error(), "template: :")
	return errors.New("line " + strings.Replace(words, `executing "" at `, "", 1))
}
