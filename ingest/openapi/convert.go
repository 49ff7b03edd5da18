package openapi

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// toJSON writes a YAML node as JSON, indented, members in the order in which
// they stand. Aliases become what they stand for.
func toJSON(n *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	if err := writeNode(jsontext.NewEncoder(&out, jsontext.WithIndent("  ")), n); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func writeNode(e *jsontext.Encoder, n *yaml.Node) error {
	switch n.Kind {
	case yaml.DocumentNode:
		return writeNode(e, n.Content[0])
	case yaml.AliasNode:
		return writeNode(e, n.Alias)
	case yaml.MappingNode:
		return writeNodes(e, n, jsontext.BeginObject, jsontext.EndObject)
	case yaml.SequenceNode:
		return writeNodes(e, n, jsontext.BeginArray, jsontext.EndArray)
	}
	return writeScalar(e, n)
}

// writeNodes writes a mapping, whose content is keys and values in turn, or a
// sequence.
func writeNodes(e *jsontext.Encoder, n *yaml.Node, begin, end jsontext.Token) error {
	if err := e.WriteToken(begin); err != nil {
		return err
	}
	for _, child := range n.Content {
		if err := writeNode(e, child); err != nil {
			return err
		}
	}
	return e.WriteToken(end)
}

func writeScalar(e *jsontext.Encoder, n *yaml.Node) error {
	var err error
	switch tag := n.ShortTag(); tag {
	case "!!str", "!!timestamp":
		err = e.WriteToken(jsontext.String(n.Value))
	case "!!int", "!!float", "!!bool", "!!null":
		err = e.WriteValue(jsontext.Value(n.Value))
	default:
		err = fmt.Errorf("the tag %s has no JSON", tag)
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	return nil
}
