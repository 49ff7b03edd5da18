package openapi

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is what the page shows of the OpenAPI document.
type document struct {
	Info struct {
		Title       string
		Summary     string
		Description markdown
	}
	Tags       []tag
	Paths      ordered[*pathItem]
	Components struct {
		SecuritySchemes map[string]struct{ Description markdown } `yaml:"securitySchemes"`
		Parameters      map[string]*parameter
		Responses       map[string]*response
		Headers         map[string]*header
		Schemas         ordered[*schema]
	}
}

type tag struct {
	Name        string
	Description markdown
	Operations  []*operation `yaml:"-"`
}

// Anchor is the tag's id on the page.
func (t tag) Anchor() string {
	return "tag-" + strings.ToLower(strings.ReplaceAll(t.Name, " ", "-"))
}

// pathItem has the methods that a path takes.
type pathItem struct {
	Parameters []*parameter
	Get        *operation
	Put        *operation
	Post       *operation
	Patch      *operation
	Delete     *operation
}

// operations are the path's, in the order in which people think of them.
func (p *pathItem) operations(path string) []*operation {
	var all []*operation
	for _, m := range []struct {
		name string
		op   *operation
	}{{"GET", p.Get}, {"PUT", p.Put}, {"POST", p.Post}, {"PATCH", p.Patch}, {"DELETE", p.Delete}} {
		if m.op != nil {
			m.op.Method, m.op.Path = m.name, path
			m.op.Parameters = append(append([]*parameter(nil), p.Parameters...), m.op.Parameters...)
			all = append(all, m.op)
		}
	}
	return all
}

type operation struct {
	ID          string `yaml:"operationId"`
	Tags        []string
	Summary     string
	Description markdown
	Security    []map[string][]string
	Parameters  []*parameter
	RequestBody *body `yaml:"requestBody"`
	Responses   ordered[*response]

	Method string `yaml:"-"`
	Path   string `yaml:"-"`
}

// Scope is what the call's key needs; empty when it needs no key.
func (o *operation) Scope() string {
	for _, s := range o.Security {
		return strings.Join(s["key"], ", ")
	}
	return ""
}

type parameter struct {
	Ref         string `yaml:"$ref"`
	Name        string
	In          string
	Required    bool
	Description markdown
	Schema      *schema
	Example     yaml.Node
}

type header struct {
	Ref         string `yaml:"$ref"`
	Description markdown
	Required    bool
	Schema      *schema
}

type body struct {
	Required bool
	Content  ordered[*media]
}

type media struct {
	Schema   *schema
	Example  yaml.Node
	Examples ordered[example]
}

type example struct {
	Summary string
	Value   yaml.Node
}

// All are the examples by name; a single one has none.
func (m *media) All() ordered[example] {
	if m.Example.IsZero() {
		return m.Examples
	}
	return append(ordered[example]{{Value: example{Value: m.Example}}}, m.Examples...)
}

// JSON is the example as a client sends or gets it: text that is not JSON, as
// lines, stays as it is.
func (e example) JSON() (string, error) {
	if e.Value.Style == yaml.LiteralStyle {
		return strings.TrimSuffix(e.Value.Value, "\n"), nil
	}
	b, err := toJSON(&e.Value)
	return strings.TrimSuffix(string(b), "\n"), err
}

type response struct {
	Ref         string `yaml:"$ref"`
	Description markdown
	Headers     ordered[*header]
	Content     ordered[*media]
}

// named is a member of an object.
type named[T any] struct {
	Name  string
	Value T
}

// ordered is an object whose members keep the order in which they stand.
type ordered[T any] []named[T]

// UnmarshalYAML reads a mapping.
func (o *ordered[T]) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: want a mapping", n.Line)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		m := named[T]{Name: n.Content[i].Value}
		if err := n.Content[i+1].Decode(&m.Value); err != nil {
			return err
		}
		*o = append(*o, m)
	}
	return nil
}

// load reads the document, follows its references and sorts its operations
// under their tags.
func load(source []byte) (*document, error) {
	d := &document{}
	if err := yaml.Unmarshal(source, d); err != nil {
		return nil, fmt.Errorf("reading openapi.yaml: %w", err)
	}
	at := make(map[string]*tag, len(d.Tags))
	for i := range d.Tags {
		at[d.Tags[i].Name] = &d.Tags[i]
	}
	for _, p := range d.Paths {
		for _, op := range p.Value.operations(p.Name) {
			if err := d.resolve(op); err != nil {
				return nil, fmt.Errorf("%s %s: %w", op.Method, op.Path, err)
			}
			for _, t := range op.Tags {
				if at[t] == nil {
					return nil, fmt.Errorf("%s %s: no tag %q is described", op.Method, op.Path, t)
				}
				at[t].Operations = append(at[t].Operations, op)
			}
		}
	}
	return d, nil
}

// resolve puts what an operation refers to in the place of the references.
// Schemas stay references: the page links to them.
func (d *document) resolve(op *operation) error {
	for i, p := range op.Parameters {
		if p.Ref == "" {
			continue
		}
		if op.Parameters[i] = d.Components.Parameters[lastPart(p.Ref)]; op.Parameters[i] == nil {
			return fmt.Errorf("there is no %s", p.Ref)
		}
	}
	for i, r := range op.Responses {
		if r.Value.Ref != "" {
			r.Value = d.Components.Responses[lastPart(r.Value.Ref)]
		}
		if r.Value == nil {
			return fmt.Errorf("the response %s refers to nothing", r.Name)
		}
		op.Responses[i] = r
		if err := d.resolveHeaders(r.Value.Headers); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) resolveHeaders(headers ordered[*header]) error {
	for i, h := range headers {
		if h.Value.Ref == "" {
			continue
		}
		if headers[i].Value = d.Components.Headers[lastPart(h.Value.Ref)]; headers[i].Value == nil {
			return fmt.Errorf("there is no %s", h.Value.Ref)
		}
	}
	return nil
}

// lastPart is the name that a reference ends with.
func lastPart(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }
