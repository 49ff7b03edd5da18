package templates

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/carillonhq/carillon/notice"
)

// contract is what a template needs of a notification's data: its schema, and
// what its parts read, which holds even without a schema. Together they make a
// missing value a fault at the door, never a blank or a failure when it is sent.
type contract struct {
	schema *jsonschema.Schema // nil: none
	reads  []read
	seen   map[string]bool
}

// read is one path into the data that some part reads.
type read struct {
	path []string // "*" for the elements of a list
	// absent says, for each step of the path, whether the value may be absent
	// or null there, because the part tests it first or has a default.
	absent []bool
	at     position
}

func (c *contract) add(s scope, path []string, at position, mode use) {
	if len(path) == 0 {
		return
	}
	r := read{path: path, absent: make([]bool, len(path)), at: at}
	for i := range path {
		r.absent[i] = slices.Contains(s.guards, "data/"+strings.Join(path[:i+1], "/"))
	}
	if mode == tolerated {
		r.absent[len(path)-1] = true
	}
	key := strings.Join(path, "/") + fmt.Sprint(r.absent)
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	if !c.seen[key] {
		c.seen[key] = true
		c.reads = append(c.reads, r)
	}
}

// check compares what the parts read with what the schema promises.
func (c *contract) check(faults *Faults) {
	if c.schema == nil {
		return
	}
	for _, r := range c.reads {
		r.checkSchema(c.schema, faults)
	}
}

// checkSchema follows r through the schema as far as the schema is plain; what
// it leaves open is checked with each notification's data.
func (r read) checkSchema(schema *jsonschema.Schema, faults *Faults) {
	for i, name := range r.path {
		schema = target(schema)
		next, declared := stepSchema(schema, name)
		dotted := ".data." + strings.Join(r.path[:i+1], ".")
		switch {
		case !declared && closed(schema, name):
			faults.add(r.at, "%s is not in the schema%s: correct it, or declare it under properties", dotted, nearProperty(schema, name))
			return
		case next == nil:
			return
		case r.absent[i] || name == "*":
		case !slices.Contains(schema.Required, name):
			faults.add(r.at, "%s is optional in the schema: list %q under required, or write {{with %s}}…{{end}} or {{%s | default \"…\"}}", dotted, name, dotted, dotted)
			return
		case nullable(next):
			faults.add(r.at, "%s may be null by the schema: write {{with %s}}…{{end}} or {{%s | default \"…\"}}", dotted, dotted, dotted)
			return
		}
		schema = next
	}
}

// target follows $ref to where it leads.
func target(s *jsonschema.Schema) *jsonschema.Schema {
	for range maxNest {
		if s == nil || s.Ref == nil {
			return s
		}
		s = s.Ref
	}
	return s
}

// stepSchema is the schema of one property, or of a list's elements for "*".
func stepSchema(s *jsonschema.Schema, name string) (next *jsonschema.Schema, declared bool) {
	if s == nil {
		return nil, true
	}
	if name != "*" {
		next, declared = s.Properties[name]
		return next, declared
	}
	if len(s.PrefixItems) > 0 {
		return nil, true
	}
	if s.Items2020 != nil {
		return s.Items2020, true
	}
	next, _ = s.AdditionalProperties.(*jsonschema.Schema)
	return next, true
}

// closed reports whether s lists its properties, so that another name is a
// mistake: nothing in it lets other properties be.
func closed(s *jsonschema.Schema, name string) bool {
	if s == nil || name == "*" || len(s.Properties) == 0 {
		return false
	}
	_, open := s.AdditionalProperties.(*jsonschema.Schema)
	return !open && len(s.PatternProperties) == 0 && len(s.AllOf)+len(s.AnyOf)+len(s.OneOf)+len(s.DependentSchemas) == 0 &&
		s.If == nil && s.DynamicRef == nil
}

func nearProperty(s *jsonschema.Schema, name string) string {
	if near := notice.Nearest(name, keys(s.Properties)); near != "" {
		return " (did you mean " + near + "?)"
	}
	return ""
}

func nullable(s *jsonschema.Schema) bool {
	s = target(s)
	return s != nil && s.Types != nil && slices.Contains(s.Types.ToStrings(), "null")
}

// faults are the values that the parts need and data does not have.
func (c *contract) faults(data any) notice.Faults {
	in := inspection{tokens: make([]string, 0, 8)}
	for _, r := range c.reads {
		in.read = r
		in.follow(data, 0)
	}
	slices.SortStableFunc(in.faults, func(a, b notice.Fault) int { return strings.Compare(a.Pointer, b.Pointer) })
	return slices.CompactFunc(in.faults, func(a, b notice.Fault) bool { return a.Pointer == b.Pointer })
}

// inspection follows one read after the other through a notification's data.
// It keeps the way as tokens, so that data without a fault costs no pointer.
type inspection struct {
	read   read
	tokens []string
	faults notice.Faults
}

func (in *inspection) fault(format string, args ...any) {
	in.faults.Add("/data"+pointerOf(in.tokens), fmt.Sprintf(format, args...)+" ("+in.read.at.String()+")")
}

// follow checks v from the i-th step of the read on.
func (in *inspection) follow(v any, i int) {
	if i == len(in.read.path) {
		return
	}
	name := in.read.path[i]
	if name == "*" {
		in.followAll(v, i)
		return
	}
	object, ok := v.(map[string]any)
	if !ok {
		in.fault("is %s: send an object, the template reads %q of it", kindOf(v), name)
		return
	}
	next, there := object[name]
	in.step(name, next, there, i)
}

// followAll checks every element of a list.
func (in *inspection) followAll(v any, i int) {
	switch list := v.(type) {
	case []any:
		for n, item := range list {
			in.step(strconv.Itoa(n), item, true, i)
		}
	case map[string]any:
		for name, item := range list {
			in.step(name, item, true, i)
		}
	case int64, nil:
	default:
		in.fault("is %s: send an array, the template goes through it as a list", kindOf(v))
	}
}

// step checks the value that the i-th step has led to.
func (in *inspection) step(token string, v any, there bool, i int) {
	in.tokens = append(in.tokens, token)
	switch {
	case v != nil:
		in.follow(v, i+1)
	case in.read.absent[i]:
	case there:
		in.fault("is null, but the template needs a value")
	default:
		in.fault("is required: the template needs it")
	}
	in.tokens = in.tokens[:len(in.tokens)-1]
}

func escapePointer(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// belowData takes a pointer that starts with /data apart.
func belowData(pointer string) []string {
	tokens := strings.Split(strings.TrimPrefix(pointer, "/data"), "/")[1:]
	for i, token := range tokens {
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
	}
	return tokens
}

// optional lists the paths whose last step may be absent. The engine calls a
// missing key an error, so a rendering puts null there first.
func (c *contract) optional() [][]string {
	var paths [][]string
	for _, r := range c.reads {
		if last := len(r.path) - 1; r.absent[last] && r.path[last] != "*" {
			paths = append(paths, r.path)
		}
	}
	return paths
}

// putNull makes every value that may be absent at path null.
func putNull(v any, path []string) {
	for i, name := range path {
		if name == "*" {
			putNullInAll(v, path[i+1:])
			return
		}
		object, ok := v.(map[string]any)
		if !ok {
			return
		}
		if _, there := object[name]; !there {
			if i == len(path)-1 {
				object[name] = nil
			}
			return
		}
		v = object[name]
	}
}

func putNullInAll(v any, path []string) {
	switch list := v.(type) {
	case []any:
		for _, item := range list {
			putNull(item, path)
		}
	case map[string]any:
		for _, item := range list {
			putNull(item, path)
		}
	}
}

// CheckData decodes a notification's data and holds it against the template's
// schema and against what its parts read. The faults are all there are at
// once, each with its pointer from "/data"; none quotes a value.
func (t *Template) CheckData(data jsontext.Value) (any, notice.Faults) {
	v, err := decodeData(data, plainFloat)
	if err != nil {
		return nil, notice.Faults{{Pointer: "/data", Detail: err.Error()}}
	}
	if _, ok := v.(map[string]any); !ok {
		return nil, notice.Faults{{Pointer: "/data", Detail: "is " + kindOf(v) + ": send an object"}}
	}
	faults := validate(t.contract.schema, v)
	if len(faults) == 0 {
		faults = t.contract.faults(v)
	}
	return v, faults
}
