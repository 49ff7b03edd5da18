package notice

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// explain finds every reason why body is no value of type t, given that
// decoding it failed with cause. It is the slow way, so that the fast one
// need not collect anything.
func explain(body []byte, t reflect.Type, cause error) error {
	if err := checkSyntax(body); err != nil {
		return err
	}
	x := explainer{dec: jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true))}
	if err := x.value(t); err != nil {
		return syntaxError(body, err)
	}
	if len(x.faults) == 0 {
		x.fallback(cause)
	}
	return x.faults
}

// explainer walks a body beside the type it should have. Its methods return
// only errors of syntax; what is wrong otherwise goes into faults.
type explainer struct {
	dec    *jsontext.Decoder
	faults Faults
}

// here is the pointer of what was read last.
func (x *explainer) here() string { return string(x.dec.StackPointer()) }

func (x *explainer) value(t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	kind := x.dec.PeekKind()
	switch {
	case kind == 'n' && x.dec.StackDepth() > 0: // null is as good as absent
		return x.dec.SkipValue()
	case isLeaf(t):
		return x.leaf(t)
	case t.Kind() == reflect.Slice && kind == '[':
		return x.array(t)
	case t.Kind() == reflect.Struct && kind == '{':
		return x.object(fieldsOf(t))
	case t.Kind() == reflect.Map && kind == '{':
		return x.object(fields{rest: t.Elem()})
	}
	return x.wrongKind(t)
}

// isLeaf reports whether the JSON package reads t as a whole.
func isLeaf(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	switch {
	case t == reflect.TypeFor[time.Time](), t == reflect.TypeFor[jsontext.Value]():
		return true
	case p.Implements(reflect.TypeFor[json.Unmarshaler]()), p.Implements(reflect.TypeFor[json.UnmarshalerFrom]()):
		return true
	}
	return t.Kind() != reflect.Slice && t.Kind() != reflect.Struct && t.Kind() != reflect.Map
}

func (x *explainer) leaf(t reflect.Type) error {
	raw, err := x.dec.ReadValue()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, reflect.New(t).Interface(), jsontext.AllowDuplicateNames(false)); err != nil {
		x.faults.Add(x.here(), leafDetail(raw, t, err))
	}
	return nil
}

// leafDetail says why raw is no t.
func leafDetail(raw jsontext.Value, t reflect.Type, err error) string {
	var syntactic *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case errors.As(err, &syntactic) && errors.Is(err, jsontext.ErrDuplicateName):
		return fmt.Sprintf("the member %s stands twice: keep one", syntactic.JSONPointer)
	case t == reflect.TypeFor[time.Time]():
		if raw.Kind() == '"' {
			return noTime(unquote(raw))
		}
		return "want a time as a string (2027-01-01T09:00:00Z), got " + describe(raw)
	case errors.As(err, &semantic) && semantic.Err != nil && raw.Kind() == '"' && t.Kind() != reflect.String:
		return semantic.Err.Error()
	}
	return "want " + wantName(t) + ", got " + describe(raw)
}

func noTime(s string) string {
	return fmt.Sprintf("%q is no RFC 3339 time: write it as 2027-01-01T09:00:00Z", clip(s))
}

func (x *explainer) wrongKind(t reflect.Type) error {
	raw, err := x.dec.ReadValue()
	if err != nil {
		return err
	}
	x.faults.Add(x.here(), "want "+wantName(t)+", got "+describe(raw))
	return nil
}

func (x *explainer) array(t reflect.Type) error {
	if _, err := x.dec.ReadToken(); err != nil {
		return err
	}
	for x.dec.PeekKind() != ']' {
		if err := x.value(t.Elem()); err != nil {
			return err
		}
	}
	_, err := x.dec.ReadToken()
	return err
}

func (x *explainer) object(f fields) error {
	if _, err := x.dec.ReadToken(); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for x.dec.PeekKind() != '}' {
		tok, err := x.dec.ReadToken()
		if err != nil {
			return err
		}
		name := tok.String()
		if seen[name] {
			x.faults.Add(x.here(), fmt.Sprintf("the member %q stands twice: keep one", clip(name)))
		}
		seen[name] = true
		if err := x.member(f, name); err != nil {
			return err
		}
	}
	_, err := x.dec.ReadToken()
	return err
}

// member reads the value of a member whose name was read.
func (x *explainer) member(f fields, name string) error {
	if t, ok := f.byName[name]; ok {
		return x.value(t)
	}
	if f.rest != nil {
		return x.value(f.rest)
	}
	x.faults.Add(x.here(), unknownField(name, f.names))
	return x.dec.SkipValue()
}

func unknownField(name string, known []string) string {
	if near := Nearest(name, known); near != "" {
		return fmt.Sprintf("unknown field %q: did you mean %q?", clip(name), near)
	}
	return fmt.Sprintf("unknown field %q: known here are %s", clip(name), strings.Join(known, ", "))
}

// fallback reports what the JSON package found and explain did not.
func (x *explainer) fallback(cause error) {
	var semantic *json.SemanticError
	if errors.As(cause, &semantic) {
		x.faults.Add(string(semantic.JSONPointer), "cannot be read as "+wantName(semantic.GoType))
		return
	}
	x.faults.Add("", "cannot be read")
}

// fields are the members that an object may have.
type fields struct {
	names  []string // in the order of the struct
	byName map[string]reflect.Type
	rest   reflect.Type // of any other member; nil: no other
}

// fieldsOf reads the members of a struct from its tags.
func fieldsOf(t reflect.Type) fields {
	f := fields{byName: make(map[string]reflect.Type)}
	for i := range t.NumField() {
		field := t.Field(i)
		name, opts, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case !field.IsExported() || name == "-":
		case slices.Contains(strings.Split(opts, ","), "embed"):
			f.rest = field.Type.Elem()
		default:
			if name == "" {
				name = field.Name
			}
			f.names = append(f.names, name)
			f.byName[name] = field.Type
		}
	}
	return f
}

// wantName is what values of t look like in JSON, for an error.
func wantName(t reflect.Type) string {
	if t == nil {
		return "another value"
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Struct, reflect.Map:
		if t == reflect.TypeFor[time.Time]() {
			return "a time"
		}
		return "an object"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// describe names a value that stands where it should not.
func describe(raw jsontext.Value) string {
	switch kind := raw.Kind(); kind {
	case '{', '[', 'n':
		return kindName(kind)
	case '"':
		return "the string " + strconv.Quote(clip(unquote(raw)))
	case '0':
		return "the number " + clip(string(raw))
	}
	return clip(string(raw))
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	}
	return "nothing"
}

// unquote is the text of a JSON string.
func unquote(raw jsontext.Value) string {
	s, err := jsontext.AppendUnquote(nil, []byte(raw))
	if err != nil {
		return string(raw)
	}
	return string(s)
}

// escapePointer writes a name as a token of an RFC 6901 pointer.
func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
