package templates

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// maxYAMLNodes bounds what aliases can blow a file up to.
const maxYAMLNodes = 20_000

// document is one parsed YAML file, with the places of its nodes.
type document struct {
	file string
	root *yaml.Node // a mapping; nil when the file is empty
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// parseYAML reads a file whose top is a mapping.
func parseYAML(file, text string, faults *Faults) document {
	var top yaml.Node
	if len(text) > maxSource {
		faults.add(position{file, 1, 1}, "the file has %d bytes, more than %d", len(text), maxSource)
		return document{file: file}
	}
	if err := yaml.Unmarshal([]byte(text), &top); err != nil {
		line := 1
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			line, _ = strconv.Atoi(m[1])
		}
		faults.add(position{file, line, 1}, "is not readable YAML: %s", yamlLine.ReplaceAllString(err.Error(), ""))
		return document{file: file}
	}
	if len(top.Content) == 0 {
		return document{file: file}
	}
	root := top.Content[0]
	if root.Kind != yaml.MappingNode {
		faults.add(position{file, root.Line, root.Column}, "wants keys and values at the top, like \"category: shipping\"")
		return document{file: file}
	}
	return document{file, root}
}

func (d document) at(n *yaml.Node) position { return position{d.file, n.Line, n.Column} }

// each calls f for every key of a mapping, and reports a key that stands twice.
func (d document) each(n *yaml.Node, faults *Faults, f func(key, value *yaml.Node)) {
	if n == nil {
		return
	}
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if seen[key.Value] {
			faults.add(d.at(key), "%q stands twice: keep one", key.Value)
			continue
		}
		seen[key.Value] = true
		f(key, value)
	}
}

// text is a scalar's text; a fault when n is no scalar.
func (d document) text(key string, n *yaml.Node, faults *Faults) string {
	if n.Kind != yaml.ScalarNode {
		faults.add(d.at(n), "%s wants one value, not a list or a mapping", key)
		return ""
	}
	return n.Value
}

// child is the node that a JSON pointer's tokens lead to from n, or the last
// one on the way that exists.
func child(n *yaml.Node, tokens []string) *yaml.Node {
	for _, token := range tokens {
		next := step(n, token)
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

func step(n *yaml.Node, token string) *yaml.Node {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == token {
				return n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i]
		}
	}
	return nil
}

// yamlValue turns YAML into what JSON can say: a date stays the text that was
// written, and every key is a string.
func yamlValue(n *yaml.Node) (any, error) {
	budget := maxYAMLNodes
	return convertYAML(n, 0, &budget)
}

func convertYAML(n *yaml.Node, depth int, budget *int) (any, error) {
	if *budget--; *budget < 0 || depth > maxDataDepth {
		return nil, fmt.Errorf("is too large: at most %d values, nested at most %d deep", maxYAMLNodes, maxDataDepth)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return convertYAML(n.Alias, depth+1, budget)
	case yaml.SequenceNode:
		return convertSequence(n, depth, budget)
	case yaml.MappingNode:
		return convertMapping(n, depth, budget)
	}
	return convertScalar(n)
}

func convertSequence(n *yaml.Node, depth int, budget *int) (any, error) {
	list := make([]any, 0, len(n.Content))
	for _, c := range n.Content {
		v, err := convertYAML(c, depth+1, budget)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func convertMapping(n *yaml.Node, depth int, budget *int) (any, error) {
	object := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Kind != yaml.ScalarNode || n.Content[i].Tag == "!!merge" {
			return nil, errors.New("wants plain keys (no merge keys, no lists or mappings as keys)")
		}
		v, err := convertYAML(n.Content[i+1], depth+1, budget)
		if err != nil {
			return nil, err
		}
		object[n.Content[i].Value] = v
	}
	return object, nil
}

func convertScalar(n *yaml.Node) (any, error) {
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		var b bool
		err := n.Decode(&b)
		return b, err
	case "!!int":
		var i int64
		if n.Decode(&i) == nil {
			return i, nil
		}
		return json.Number(n.Value), nil
	case "!!float":
		var f float64
		if err := n.Decode(&f); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%q is no JSON number: quote it", n.Value)
		}
		return f, nil
	}
	return n.Value, nil
}
