package config

import (
	"reflect"
	"strings"
)

// field is one key of a section: its place in the struct and what its tags
// say. The loader, the rules, the schema, the reference and print all walk
// these, so that a new key is one struct field.
type field struct {
	key      string   // `yaml`
	doc      string   // `doc`
	def      string   // `default`, in YAML's spelling
	enum     []string // `enum`: the values that a word may have
	min, max string   // `min` and `max`, inclusive, in the value's own spelling
	pattern  string   // `pattern`: what the whole text must match
	want     string   // `want`: what is expected, for a fault
	path     string   // `path`: "file" or "dir" for a path that is made absolute
	required bool     // `required`
	live     bool     // `live`: may change while a process runs, with all that is below it
	index    []int
	typ      reflect.Type
}

// fieldsOf lists the keys of section type t, those of an inlined struct among
// them.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		sf := t.Field(i)
		key, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			for _, f := range fieldsOf(sf.Type) {
				f.index = append([]int{i}, f.index...)
				out = append(out, f)
			}
		case key != "":
			out = append(out, newField(sf, key))
		}
	}
	return out
}

func newField(sf reflect.StructField, key string) field {
	f := field{
		key: key, index: sf.Index, typ: sf.Type,
		doc:      sf.Tag.Get("doc"),
		def:      sf.Tag.Get("default"),
		min:      sf.Tag.Get("min"),
		max:      sf.Tag.Get("max"),
		pattern:  sf.Tag.Get("pattern"),
		want:     sf.Tag.Get("want"),
		path:     sf.Tag.Get("path"),
		required: sf.Tag.Get("required") == "true",
		live:     sf.Tag.Get("live") == "true",
	}
	if words := sf.Tag.Get("enum"); words != "" {
		f.enum = strings.Split(words, ",")
	}
	return f
}

// fieldNamed is the field of key among fields.
func fieldNamed(fields []field, key string) (field, bool) {
	for _, f := range fields {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

// keysOf lists the keys of fields.
func keysOf(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

// shape is how a value is written.
type shape int

const (
	shapeText    shape = iota // one scalar
	shapeSection              // a mapping of known keys
	shapeList
	shapeTable // a mapping of names to rates
)

// shapeOf tells how type t is written. A pointer to a section is a section
// that may be absent.
func shapeOf(t reflect.Type) shape {
	switch {
	case t == reflect.TypeFor[Secret](), t == reflect.TypeFor[URL](), t == reflect.TypeFor[Rate](), t == reflect.TypeFor[Bound]():
		return shapeText
	case t == reflect.TypeFor[RateTable]():
		return shapeTable
	case t.Kind() == reflect.Slice:
		return shapeList
	case t.Kind() == reflect.Struct, t.Kind() == reflect.Pointer:
		return shapeSection
	}
	return shapeText
}

// sectionType is the struct behind a section's type.
func sectionType(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// child is the path of key under parent.
func child(parent, key string) string {
	if parent == "" {
		return key
	}
	return parent + "." + key
}

// walkKeys calls visit with the path of every key under section type t that
// can be named without an index, a section before what it holds.
func walkKeys(t reflect.Type, parent string, visit func(path string, f field)) {
	for _, f := range fieldsOf(t) {
		path := child(parent, f.key)
		visit(path, f)
		if shapeOf(f.typ) == shapeSection {
			walkKeys(sectionType(f.typ), path, visit)
		}
	}
}

// envPrefix begins the name of every variable that sets a key.
const envPrefix = "CARILLON_"

// envName is the environment variable of the key at path.
func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}
