package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Print writes c as the file that would give it: every key that has a value,
// defaults included, secrets and the passwords in URLs hidden. Absent sections
// are left out. Load reads it back, apart from what is hidden.
func Print(w io.Writer, c *Config) error {
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(sectionNode(reflect.ValueOf(c).Elem())); err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	return enc.Close()
}

// sectionNode is section v as a YAML mapping.
func sectionNode(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(v.Type()) {
		fv := v.FieldByIndex(f.index)
		if fv.Kind() == reflect.Pointer {
			if fv.IsNil() {
				continue
			}
			fv = fv.Elem()
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.key}, valueNode(fv))
	}
	return n
}

// valueNode is v as YAML.
func valueNode(v reflect.Value) *yaml.Node {
	switch shapeOf(v.Type()) {
	case shapeSection:
		return sectionNode(v)
	case shapeList:
		return listNode(v)
	case shapeTable:
		return tableNode(v.Interface().(RateTable))
	}
	return textNode(v)
}

// listNode is list v; one of scalars stands on one line.
func listNode(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	if v.Len() == 0 || shapeOf(v.Type().Elem()) == shapeText {
		n.Style = yaml.FlowStyle
	}
	for i := range v.Len() {
		n.Content = append(n.Content, valueNode(v.Index(i)))
	}
	return n
}

// textNode is scalar v, as the loader reads it: text is tagged as such, so
// that the encoder quotes what would read as something else.
func textNode(v reflect.Value) *yaml.Node {
	text := redactURL(textOf(v))
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: strings.ReplaceAll(text, "${", "$${")}
	switch v.Kind() {
	case reflect.Bool:
		n.Tag = "!!bool"
	case reflect.Int:
		n.Tag = "!!int"
	default:
		n.Tag = "!!str"
		if strings.Trim(text, "0123456789:") == "" {
			// 22:00 is the number 1320 to a reader of YAML 1.1.
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	return n
}
