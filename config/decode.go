package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds how many YAML nodes are decoded, an alias's target each time
// that it is used: a few hundred bytes of aliases may stand for any number.
const maxNodes = 1 << 17

// setDefaults sets every field of section v that has a default tag, and those
// of the sections in it that cannot be absent.
func setDefaults(v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		fv := v.FieldByIndex(f.index)
		switch {
		case fv.Kind() == reflect.Struct && shapeOf(f.typ) == shapeSection:
			setDefaults(fv)
		case f.def != "":
			decodeDefault(f.def, fv)
		}
	}
}

// decodeDefault sets v to a default tag's value. A tag that cannot be read
// leaves v alone; TestEveryDefaultTagIsReadable finds it.
func decodeDefault(def string, v reflect.Value) Faults {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(def), &doc); err != nil {
		return Faults{{Detail: err.Error()}}
	}
	l := newLoader("", nil)
	l.decode("", doc.Content[0], v, field{})
	return l.faults
}

// decodeFile decodes the file's text into cfg. It is false when the text is
// no YAML, so that nothing else can be said about it.
func (l *loader) decodeFile(data []byte, cfg *Config) bool {
	l.from = l.file
	root, at, err := parseYAML(data)
	if err != nil {
		l.faults = append(l.faults, Fault{Source: l.file.name, Line: at.line, Column: at.column, Detail: err.Error()})
		return false
	}
	l.decode("", root, reflect.ValueOf(cfg).Elem(), field{})
	return true
}

// decode sets v, the value of key, to what n says.
func (l *loader) decode(key string, n *yaml.Node, v reflect.Value, f field) {
	if l.visited++; l.visited > maxNodes {
		return
	}
	l.mark(key, n)
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch shapeOf(v.Type()) {
	case shapeSection:
		l.decodeSection(key, n, v)
	case shapeList:
		l.decodeList(key, n, v, f)
	case shapeTable:
		l.decodeTable(key, n, v)
	default:
		l.decodeText(key, n, v, f)
	}
}

// mark notes where key is set.
func (l *loader) mark(key string, n *yaml.Node) {
	at := place{source: l.from.name}
	if l.from.isFile {
		at.line, at.column = n.Line, n.Column
	}
	l.places[key] = at
}

// fault adds a fault at node n.
func (l *loader) fault(key string, n *yaml.Node, value, detail string) {
	f := Fault{Source: l.from.name, Key: key, Value: value, Detail: detail}
	if l.from.isFile {
		f.Line, f.Column = n.Line, n.Column
	}
	l.faults = append(l.faults, f)
}

// isNull reports whether n says nothing.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// decodeSection sets the keys of v that mapping n has. A section that may be
// absent begins with its defaults.
func (l *loader) decodeSection(key string, n *yaml.Node, v reflect.Value) {
	optional := v.Kind() == reflect.Pointer
	switch {
	case isNull(n) && optional:
		l.fault(key, n, "", "is empty, which might mean on or off: write {} for every default, or delete the line")
		return
	case isNull(n):
		return
	case n.Kind != yaml.MappingNode:
		l.fault(key, n, "", fmt.Sprintf("is %s, want a section with the keys %s", kindOf(n), strings.Join(keysOf(fieldsOf(sectionType(v.Type()))), ", ")))
		return
	}
	l.decodeKeys(key, n, present(v))
}

// present is the section that v is or points to, made with its defaults when
// it is absent.
func present(v reflect.Value) reflect.Value {
	if v.Kind() != reflect.Pointer {
		return v
	}
	if v.IsNil() {
		v.Set(reflect.New(v.Type().Elem()))
		setDefaults(v.Elem())
	}
	return v.Elem()
}

// decodeKeys decodes each pair of mapping n into the fields of v.
func (l *loader) decodeKeys(parent string, n *yaml.Node, v reflect.Value) {
	fields := fieldsOf(v.Type())
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		path := child(parent, plainKey(k.Value))
		f, known := fieldNamed(fields, k.Value)
		switch {
		case k.Kind != yaml.ScalarNode:
			l.fault(parent, k, "", "a key here is not a word: the keys are "+strings.Join(keysOf(fields), ", "))
		case !known:
			l.fault(path, k, "", unknownKey(k.Value, keysOf(fields)))
		case seen[k.Value] > 0:
			l.fault(path, k, "", fmt.Sprintf("is set twice, first on line %d: keep one", seen[k.Value]))
		case l.overridden(path, f):
			// What is not used is not judged either: a secret's file need not
			// be there when the environment has the secret.
		default:
			l.decode(path, value, v.FieldByIndex(f.index), f)
		}
		seen[k.Value] = k.Line
	}
}

// overridden reports whether the environment sets the whole of the key that
// the file is about to set.
func (l *loader) overridden(path string, f field) bool {
	return l.from.isFile && shapeOf(f.typ) != shapeSection && !strings.Contains(path, "[") && l.env[envName(path)] != ""
}

// plainKey is a key for use in a fault: short and without control characters.
func plainKey(key string) string {
	if key == "" {
		return `""`
	}
	for _, r := range key {
		if r <= ' ' || r == '.' || r == '[' || r > '~' {
			return strconv.Quote(clip(key))
		}
	}
	return clip(key)
}

// unknownKey words a fault for a key that does not exist.
func unknownKey(key string, known []string) string {
	if key == "<<" {
		return "is not supported: repeat the keys"
	}
	if near := nearest(key, known); near != "" {
		return "is not a key here: did you mean " + near + "?"
	}
	return "is not a key here: the keys are " + strings.Join(known, ", ")
}

// decodeList sets v to the elements of sequence n.
func (l *loader) decodeList(key string, n *yaml.Node, v reflect.Value, f field) {
	switch {
	case isNull(n):
		v.SetZero()
		return
	case n.Kind != yaml.SequenceNode:
		l.fault(key, n, "", fmt.Sprintf("is %s, want a list: %s", kindOf(n), listForm(v.Type().Elem(), n)))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		element := list.Index(i)
		if element.Kind() == reflect.Struct && shapeOf(element.Type()) == shapeSection {
			setDefaults(element)
		}
		l.decode(key+"["+strconv.Itoa(i)+"]", item, element, f)
	}
	v.Set(list)
}

// listForm is how a list of elements is written, to who wrote n in its place.
func listForm(element reflect.Type, n *yaml.Node) string {
	switch {
	case shapeOf(element) != shapeSection:
		return "write it as [one, two]"
	case n.Kind == yaml.MappingNode:
		return "put a dash before it, or [ ] around it"
	}
	return "write it as [{" + strings.Join(keysOf(fieldsOf(sectionType(element))), ": …, ") + ": …}]"
}

// decodeText sets v to the scalar n, its ${NAME} replaced.
func (l *loader) decodeText(key string, n *yaml.Node, v reflect.Value, f field) {
	switch {
	case isNull(n):
		return
	case n.Kind != yaml.ScalarNode:
		l.fault(key, n, "", fmt.Sprintf("is %s, want %s", kindOf(n), textKind(v.Type())))
		return
	}
	text, wrong := l.expand(n.Value)
	if wrong == "" && v.Type() == reflect.TypeFor[Secret]() {
		text, wrong = l.readSecret(n.Value, text)
	}
	if wrong != "" {
		l.fault(key, n, "", wrong)
		return
	}
	if f.path != "" {
		text, wrong = l.resolvePath(text, f.path)
	}
	if wrong == "" {
		wrong = setText(v, text)
	}
	if wrong != "" {
		l.fault(key, n, redactURL(text), wrong)
	}
}

// resolvePath makes a path absolute, and checks that a file can be read now
// rather than when it is first needed.
func (l *loader) resolvePath(path, kind string) (resolved, wrong string) {
	resolved = l.from.resolve(path)
	if kind != "file" || path == "" {
		return resolved, ""
	}
	if _, err := readFile(resolved); err != nil {
		return resolved, err.Error()
	}
	return resolved, ""
}
