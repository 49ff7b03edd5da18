package templates

import (
	"io"
	"strconv"
	texttemplate "text/template"
	"text/template/parse"
)

// direct is a text part without loops and conditions, as most titles, subjects
// and webhooks are: texts and values in a row. It is written out without the
// engine, whose reflection costs several times the rest. Whatever is not as
// plain as it expects (a value that is missing, or no text) it leaves to the
// engine, so that there is one place that decides how things print and fail.
type direct struct {
	steps  []directStep
	engine *texttemplate.Template
}

// directStep is a text, or where a value lies.
type directStep struct {
	text string
	path []string // nil: text
	json bool     // the value is written as JSON
}

// newDirect takes a part over from the engine, or returns nil when it is not
// plain.
func newDirect(tree *parse.Tree, engine *texttemplate.Template) *direct {
	d := &direct{engine: engine}
	for _, n := range tree.Root.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			if len(n.Text) > 0 {
				d.steps = append(d.steps, directStep{text: string(n.Text)})
			}
		case *parse.ActionNode:
			s, ok := plainAction(n.Pipe)
			if !ok {
				return nil
			}
			d.steps = append(d.steps, s)
		case *parse.CommentNode:
		default:
			return nil
		}
	}
	return d
}

// plainAction recognises {{.path}} and {{json .path}}.
func plainAction(pipe *parse.PipeNode) (s directStep, ok bool) {
	if len(pipe.Decl) > 0 || len(pipe.Cmds) != 1 {
		return s, false
	}
	args := pipe.Cmds[0].Args
	if call, is := args[0].(*parse.IdentifierNode); is && call.Ident == "json" && len(args) == 2 {
		s.json, args = true, args[1:]
	}
	field, is := args[0].(*parse.FieldNode)
	if !is || len(args) != 1 {
		return s, false
	}
	s.path = field.Ident
	return s, true
}

// Execute implements what program runs.
func (d *direct) Execute(w io.Writer, dot any) error {
	root, ok := dot.(map[string]any)
	if !ok {
		return d.engine.Execute(w, dot)
	}
	texts := make([]string, len(d.steps))
	for i, s := range d.steps {
		if texts[i], ok = s.evaluate(root); !ok {
			return d.engine.Execute(w, dot)
		}
	}
	for _, text := range texts {
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// evaluate is the text of a step; ok is false when the engine must see to it.
func (s *directStep) evaluate(root map[string]any) (text string, ok bool) {
	if s.path == nil {
		return s.text, true
	}
	v, ok := find(root, s.path)
	if !ok {
		return "", false
	}
	if s.json {
		text, err := writeJSON(v)
		return text, err == nil
	}
	switch v := v.(type) {
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	}
	return "", false
}

// find follows a path through objects.
func find(root map[string]any, path []string) (any, bool) {
	var v any = root
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = object[name]; !ok {
			return nil, false
		}
	}
	return v, true
}
