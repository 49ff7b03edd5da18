package openapi

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// schema is what the page shows of a JSON Schema.
type schema struct {
	Ref         string `yaml:"$ref"`
	Type        words
	Format      string
	Description markdown
	Enum        []yaml.Node
	Const       yaml.Node
	Default     yaml.Node
	OneOf       []*schema `yaml:"oneOf"`
	Items       *schema
	Properties  ordered[*schema]
	Required    []string
	Additional  extra `yaml:"additionalProperties"`
	Pattern     string
	Minimum     *int
	Maximum     *int
	MaxLength   int    `yaml:"maxLength"`
	MaxItems    int    `yaml:"maxItems"`
	Encoding    string `yaml:"contentEncoding"`
}

// words is a type: one word or several.
type words []string

// UnmarshalYAML reads a string or a list of them.
func (w *words) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*w = words{n.Value}
		return nil
	}
	return n.Decode((*[]string)(w))
}

// extra is additionalProperties: nil when it is a boolean.
type extra struct{ *schema }

// UnmarshalYAML reads a schema or a boolean.
func (x *extra) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return nil
	}
	x.schema = &schema{}
	return n.Decode(x.schema)
}

// Name is the name of the schema that s refers to, empty when s is one itself.
func (s *schema) Name() string {
	if s.Ref == "" {
		return ""
	}
	return lastPart(s.Ref)
}

// Needs reports whether a property is required.
func (s *schema) Needs(property string) bool { return slices.Contains(s.Required, property) }

// Of is what an array's elements or a map's values are; nil for anything else.
func (s *schema) Of() *schema {
	if s.Items != nil {
		return s.Items
	}
	return s.Additional.schema
}

// Kind says the type in words, without what it is of.
func (s *schema) Kind() string {
	switch {
	case s.Items != nil:
		return "array of"
	case s.Additional.schema != nil:
		return "object, each member"
	case s.Format != "":
		return strings.Join(s.Type, " or ") + ", " + s.Format
	case s.Encoding != "":
		return strings.Join(s.Type, " or ") + ", " + s.Encoding
	case len(s.OneOf) > 0:
		return "one of"
	case len(s.Enum) > 0 || !s.Const.IsZero():
		return ""
	case len(s.Type) == 0:
		return "any JSON"
	}
	return strings.Join(s.Type, " or ")
}

// Values are the only ones that s allows; none when there are more.
func (s *schema) Values() []string {
	var out []string
	for _, v := range s.Enum {
		out = append(out, v.Value)
	}
	if !s.Const.IsZero() {
		out = append(out, s.Const.Value)
	}
	return out
}

// Bounds says what else holds of a value, in words.
func (s *schema) Bounds() string {
	var out []string
	if s.MaxLength > 0 {
		out = append(out, fmt.Sprintf("at most %d characters", s.MaxLength))
	}
	if s.MaxItems > 0 {
		out = append(out, fmt.Sprintf("at most %d", s.MaxItems))
	}
	if s.Minimum != nil {
		out = append(out, fmt.Sprintf("%d or more", *s.Minimum))
	}
	if s.Maximum != nil {
		out = append(out, fmt.Sprintf("%d or less", *s.Maximum))
	}
	if !s.Default.IsZero() {
		out = append(out, "default "+s.Default.Value)
	}
	return strings.Join(out, ", ")
}
