package templates

import (
	"encoding/json" // for json.Number, which yaml.go speaks

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// schemaText is a schema as JSON with the members in the order in which they
// were written, which is the order that a form asks in; nil without a schema,
// or for one that is at fault.
func schemaText(n *yaml.Node) jsontext.Value {
	if n == nil {
		return nil
	}
	if _, err := yamlValue(n); err != nil { // which bounds its size and depth as well
		return nil
	}
	text, err := appendYAML(nil, n)
	if err != nil {
		return nil
	}
	return text
}

// appendYAML appends n, which yamlValue has taken, as JSON.
func appendYAML(b []byte, n *yaml.Node) (_ []byte, err error) {
	switch n.Kind {
	case yaml.AliasNode:
		return appendYAML(b, n.Alias)
	case yaml.SequenceNode:
		return appendYAMLMembers(b, n, 1, "[]")
	case yaml.MappingNode:
		return appendYAMLMembers(b, n, 2, "{}")
	}
	value, err := convertScalar(n)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(value)
	return append(b, text...), err
}

// appendYAMLMembers appends a list (one node an element) or an object (two).
func appendYAMLMembers(b []byte, n *yaml.Node, step int, brackets string) (_ []byte, err error) {
	b = append(b, brackets[0])
	for i := 0; i+step <= len(n.Content); i += step {
		if i > 0 {
			b = append(b, ',')
		}
		if step == 2 {
			if b, err = jsontext.AppendQuote(b, n.Content[i].Value); err != nil {
				return nil, err
			}
			b = append(b, ':')
		}
		if b, err = appendYAML(b, n.Content[i+step-1]); err != nil {
			return nil, err
		}
	}
	return append(b, brackets[1]), nil
}
