package templates

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/carillonhq/carillon/notice"
)

// glance recognises data that surely keeps a contract, in one pass over its
// bytes that builds nothing. Nearly all data does, and building maps of it for
// the validator is most of what a check costs. What a glance does not settle
// is for CheckData, which alone finds faults and words them.
type glance struct {
	root  *shape
	blind bool      // the contract is beyond it
	eyes  sync.Pool // of *eye
}

// shape is what a glance wants of one value.
type shape struct {
	kinds  string            // the kinds it may be, see jsontext.Kind; empty: any
	whole  bool              // a number must be written as an integer
	form   form              // what a string must be
	filled bool              // it may not be null
	within string            // "{" or "[" when something is read within it, unless it is null; "" otherwise
	fields map[string]*shape // by name; another name may hold anything
	closed bool              // there may be no other name
	need   map[string]uint64 // a bit for each name that must be there
	items  *shape            // of a list's elements; nil: anything
}

// newGlance compiles a contract.
func newGlance(c *contract) *glance {
	g := &glance{root: &shape{}}
	g.eyes.New = func() any { return &eye{in: jsontext.NewDecoder(new(bytes.Buffer))} }
	g.blind = c.schema != nil && !g.root.addSchema(c.schema, 0)
	for _, r := range c.reads {
		g.blind = g.blind || !g.root.addRead(r)
	}
	g.blind = g.blind || !g.root.restrict("{")
	g.root.filled = true // data is an object
	return g
}

// isPlainKeyword reports whether a shape can hold a keyword, or whether the
// keyword says nothing of a value. The names are the validator's.
func isPlainKeyword(name string) bool {
	switch name {
	case "Types", "Properties", "Required", "AdditionalProperties", "Items2020",
		"DraftVersion", "Location", "ID", "Title", "Description", "Default", "Comment", "Examples", "Deprecated":
		return true
	}
	return false
}

// addSchema takes a schema in; false when a shape cannot hold
// what it says.
func (s *shape) addSchema(schema *jsonschema.Schema, depth int) bool {
	if schema.Bool != nil {
		return *schema.Bool // {} and true let everything be
	}
	open, isBool := schema.AdditionalProperties.(bool)
	if depth > maxNest || !isPlain(schema) || schema.AdditionalProperties != nil && !isBool {
		return false
	}
	s.closed = isBool && !open
	if schema.Types != nil && !s.addTypes(schema.Types.ToStrings()) {
		return false
	}
	for _, name := range schema.Required {
		if !s.require(name) {
			return false
		}
	}
	for name, property := range schema.Properties {
		if !s.field(name).addSchema(property, depth+1) {
			return false
		}
	}
	if schema.Items2020 == nil {
		return true
	}
	s.items = &shape{}
	return s.items.addSchema(schema.Items2020, depth+1)
}

func isPlain(schema *jsonschema.Schema) bool {
	v := reflect.ValueOf(schema).Elem()
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && !isPlainKeyword(f.Name) && !v.Field(i).IsZero() {
			return false
		}
	}
	return true
}

func (s *shape) addTypes(types []string) bool {
	kinds := map[string]string{"null": "n", "boolean": "tf", "string": `"`, "number": "0", "integer": "0", "array": "[", "object": "{"}
	for _, t := range types {
		s.kinds += kinds[t]
	}
	s.whole = slices.Contains(types, "integer") && !slices.Contains(types, "number")
	return s.kinds != ""
}

// addRead takes in what a part reads.
func (s *shape) addRead(r read) bool {
	for i, name := range r.path {
		if _, isIndex := indexOf(name); isIndex {
			return false
		}
		if name == "*" {
			if !s.restrict("[") {
				return false
			}
			if s.items == nil {
				s.items = &shape{}
			}
			s = s.items
		} else {
			if s.closed && s.fields[name] == nil || !s.restrict("{") || !r.absent[i] && !s.require(name) {
				return false
			}
			s = s.field(name)
		}
		s.filled = s.filled || !r.absent[i]
	}
	return s.addUse(r.use)
}

// addUse takes in what is done with the value that a read leads to.
func (s *shape) addUse(u use) bool {
	if u.form != formAny && s.form != formAny && s.form != u.form {
		return false
	}
	s.form = max(s.form, u.form)
	if u.want == 0 || u.want == kindNull {
		return true
	}
	wanted := "n" // whether it may be null is another question
	for i, letters := range [...]string{"", "tf", "0", "0", `"`, "[", "{"} {
		if u.want&(1<<i) != 0 {
			wanted += letters
		}
	}
	s.whole = s.whole || u.want&kindNumber == kindInteger
	if s.kinds != "" {
		wanted = strings.Map(func(r rune) rune {
			if strings.ContainsRune(s.kinds, r) {
				return r
			}
			return -1
		}, wanted)
	}
	s.kinds = wanted
	return s.kinds != ""
}

// restrict says that something is read within the value, as of kind.
func (s *shape) restrict(kind string) bool {
	if s.within != "" && s.within != kind {
		return false
	}
	s.within = kind
	return true
}

// field is the shape of a member.
func (s *shape) field(name string) *shape {
	if s.fields == nil {
		s.fields = map[string]*shape{}
	}
	if s.fields[name] == nil {
		s.fields[name] = &shape{}
	}
	return s.fields[name]
}

// require notes a name that must be there; false when there are too many.
func (s *shape) require(name string) bool {
	if s.need == nil {
		s.need = map[string]uint64{}
	}
	if _, there := s.need[name]; !there {
		s.need[name] = 1 << len(s.need)
	}
	return len(s.need) < 64
}

// fits reports whether data surely keeps the contract.
func (g *glance) fits(data jsontext.Value) bool {
	if g.blind {
		return false
	}
	e := g.eyes.Get().(*eye)
	defer g.eyes.Put(e)
	e.buf = *bytes.NewBuffer(data)
	e.in.Reset(&e.buf)
	fits := e.value(g.root, 0) && e.atEnd()
	e.buf = bytes.Buffer{} // keeps nothing of data
	return fits
}

// eye reads data token by token.
type eye struct {
	buf      bytes.Buffer
	in       *jsontext.Decoder
	anything shape // of what nobody asks about
}

func (e *eye) atEnd() bool {
	_, err := e.in.ReadToken()
	return errors.Is(err, io.EOF)
}

func (e *eye) value(s *shape, depth int) bool {
	kind := e.in.PeekKind()
	if depth > maxDataDepth || kind == 0 || s.kinds != "" && strings.IndexByte(s.kinds, byte(kind)) < 0 {
		return false
	}
	if kind == 'n' {
		return !s.filled && e.in.SkipValue() == nil
	}
	if s.within != "" && s.within[0] != byte(kind) {
		return false
	}
	switch kind {
	case '{':
		return e.object(s, depth)
	case '[':
		return e.list(s, depth)
	case '"':
		if s.form != formAny {
			text, err := e.in.ReadValue()
			return err == nil && s.form.fits(string(text[1:len(text)-1]))
		}
	case '0':
		number, err := e.in.ReadValue()
		return err == nil && isPlainNumber(number, s.whole)
	}
	return e.in.SkipValue() == nil
}

// isPlainNumber reports whether a number is surely within what a float64
// holds, and, when it must be, an integer.
func isPlainNumber(number []byte, whole bool) bool {
	const most = 300 // digits; a float64 goes to 10^308
	return len(number) < most && !bytes.ContainsAny(number, "eE") && !(whole && bytes.IndexByte(number, '.') >= 0)
}

func (e *eye) object(s *shape, depth int) bool {
	if _, err := e.in.ReadToken(); err != nil {
		return false
	}
	var seen uint64
	for e.in.PeekKind() == '"' {
		quoted, err := e.in.ReadValue()
		if err != nil || bytes.IndexByte(quoted, '\\') >= 0 {
			return false
		}
		name := quoted[1 : len(quoted)-1]
		seen |= s.need[string(name)]
		next := s.fields[string(name)]
		if next == nil {
			next = &e.anything
		}
		if s.closed && next == &e.anything || !e.value(next, depth+1) {
			return false
		}
	}
	_, err := e.in.ReadToken()
	return err == nil && seen == 1<<len(s.need)-1
}

func (e *eye) list(s *shape, depth int) bool {
	items := s.items
	if items == nil {
		items = &e.anything
	}
	if _, err := e.in.ReadToken(); err != nil {
		return false
	}
	for kind := e.in.PeekKind(); kind != ']'; kind = e.in.PeekKind() {
		if kind == 0 || !e.value(items, depth+1) {
			return false
		}
	}
	_, err := e.in.ReadToken()
	return err == nil
}

// DataFaults is CheckData for who needs the faults alone: data without any,
// which is nearly all there is, is not decoded for it.
func (t *Template) DataFaults(data jsontext.Value) notice.Faults {
	if t.glance.fits(data) {
		return nil
	}
	_, faults := t.CheckData(data)
	return faults
}
