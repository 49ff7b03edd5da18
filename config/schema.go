package config

import (
	"fmt"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// Schema is the JSON Schema (2020-12) of the configuration file, for editors
// and for checks in CI. It knows every key, type, default and choice; the
// rules between values are Validate's alone.
func Schema() ([]byte, error) {
	root, err := sectionSchema(reflect.TypeFor[Config]())
	if err != nil {
		return nil, fmt.Errorf("describe the configuration: %w", err)
	}
	root.Dialect = "https://json-schema.org/draft/2020-12/schema"
	root.Title = "Carillon configuration"
	root.Defs = properties{{"reference", &schema{
		Type: "string", Pattern: referencePattern,
		Description: "text with an environment variable in it, as ${NAME}",
	}}}
	text, err := json.Marshal(root, jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("write the configuration's schema: %w", err)
	}
	return append(text, '\n'), nil
}

// referencePattern matches what expand replaces.
const referencePattern = `\$\{[A-Za-z_][A-Za-z0-9_]*\}`

// schema is the part of JSON Schema that a configuration needs.
type schema struct {
	Dialect              string         `json:"$schema,omitzero"`
	Title                string         `json:"title,omitzero"`
	Description          string         `json:"description,omitzero"`
	Ref                  string         `json:"$ref,omitzero"`
	Type                 string         `json:"type,omitzero"`
	Enum                 []string       `json:"enum,omitempty"`
	Pattern              string         `json:"pattern,omitzero"`
	MinLength            int            `json:"minLength,omitzero"`
	MinItems             int            `json:"minItems,omitzero"`
	MaxItems             int            `json:"maxItems,omitzero"`
	Minimum              *int64         `json:"minimum,omitzero"`
	Maximum              *int64         `json:"maximum,omitzero"`
	Items                *schema        `json:"items,omitzero"`
	AnyOf                []*schema      `json:"anyOf,omitempty"`
	Properties           properties     `json:"properties,omitempty"`
	Required             []string       `json:"required,omitempty"`
	PatternProperties    properties     `json:"patternProperties,omitempty"`
	AdditionalProperties *bool          `json:"additionalProperties,omitzero"`
	Default              jsontext.Value `json:"default,omitzero"`
	Defs                 properties     `json:"$defs,omitempty"`
}

// properties are named schemas, in the order in which they are declared.
type properties []property

type property struct {
	name   string
	schema *schema
}

// MarshalJSONTo writes an object.
func (p properties) MarshalJSONTo(enc *jsontext.Encoder) error {
	if err := enc.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for _, one := range p {
		if err := enc.WriteToken(jsontext.String(one.name)); err != nil {
			return err
		}
		if err := json.MarshalEncode(enc, one.schema); err != nil {
			return err
		}
	}
	return enc.WriteToken(jsontext.EndObject)
}

// sectionSchema describes section type t. A required key is not in "required"
// when the environment can set it too: the file is then complete without it.
func sectionSchema(t reflect.Type) (*schema, error) {
	closed := false
	s := &schema{Type: "object", AdditionalProperties: &closed}
	for _, f := range fieldsOf(t) {
		value, err := valueSchema(f.typ, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.key, err)
		}
		value.Description = f.doc
		if value.Default, err = defaultJSON(f.def); err != nil {
			return nil, fmt.Errorf("%s: default: %w", f.key, err)
		}
		s.Properties = append(s.Properties, property{f.key, value})
	}
	return s, nil
}

// defaultJSON is a default tag as JSON.
func defaultJSON(def string) (jsontext.Value, error) {
	if def == "" {
		return nil, nil
	}
	var value any
	if err := yaml.Unmarshal([]byte(def), &value); err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// valueSchema describes a value of type t under the tags of f.
func valueSchema(t reflect.Type, f field) (*schema, error) {
	switch shapeOf(t) {
	case shapeSection:
		return sectionSchema(sectionType(t))
	case shapeList:
		return listSchema(t, f)
	case shapeTable:
		return tableSchema(), nil
	}
	return textSchema(t, f), nil
}

// listSchema describes a list, whose elements its field's tags are about.
func listSchema(t reflect.Type, f field) (*schema, error) {
	required := f.required
	f.required = false
	items, err := valueSchema(t.Elem(), f)
	if err != nil {
		return nil, err
	}
	if items.Type == "object" {
		// Nothing but the list itself can set what is in one.
		items.Required = requiredKeys(t.Elem())
	}
	s := &schema{Type: "array", Items: items}
	if required {
		s.MinItems = 1
	}
	return s, nil
}

// requiredKeys lists the keys of section type t that have to be set.
func requiredKeys(t reflect.Type) []string {
	var keys []string
	for _, f := range fieldsOf(t) {
		if f.required && f.def == "" {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// textSchema describes a scalar: as itself, or with a ${NAME} in its place.
func textSchema(t reflect.Type, f field) *schema {
	s := scalarSchema(t, f)
	if s.Type == "string" && s.Enum == nil && s.Pattern == "" {
		return s
	}
	return &schema{AnyOf: []*schema{s, {Ref: "#/$defs/reference"}}}
}

// The spellings that ParseDuration, ParseSize and ParseRate read.
const (
	durationPattern = `(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+|[0-9]+d`
	sizePattern     = `[0-9]+ ?(B|KiB|MiB|GiB|KB|MB|GB)?`
	sharePattern    = `([1-9][0-9]?|100)%`
	ratePattern     = `[1-9][0-9]* ?/ ?(ns|us|µs|ms|s|m|h|d|` + durationPattern + `)`
)

func scalarSchema(t reflect.Type, f field) *schema {
	switch {
	case t == reflect.TypeFor[Duration]():
		return &schema{Type: "string", Pattern: "^(" + durationPattern + ")$"}
	case t == reflect.TypeFor[Size]():
		return &schema{AnyOf: []*schema{{Type: "string", Pattern: "^(" + sizePattern + ")$"}, {Type: "integer", Minimum: new(int64(0))}}}
	case t == reflect.TypeFor[Rate]():
		return &schema{Type: "string", Pattern: "^(" + ratePattern + ")?$"}
	case t == reflect.TypeFor[Bound]():
		return &schema{AnyOf: []*schema{{Type: "string", Pattern: "^(" + sharePattern + "|" + sizePattern + ")?$"}, {Type: "integer", Minimum: new(int64(1))}}}
	case t.Kind() == reflect.Bool:
		return &schema{Type: "boolean"}
	case t.Kind() == reflect.Int:
		return intSchema(t, f)
	case f.enum != nil:
		return &schema{Type: "string", Enum: f.enum}
	}
	s := &schema{Type: "string", Pattern: f.pattern}
	if f.required && f.pattern == "" {
		s.MinLength = 1
	}
	return s
}

func intSchema(t reflect.Type, f field) *schema {
	s := &schema{Type: "integer"}
	if f.min != "" {
		s.Minimum = new(limit(f.min, t))
	}
	if f.max != "" {
		s.Maximum = new(limit(f.max, t))
	}
	return s
}
