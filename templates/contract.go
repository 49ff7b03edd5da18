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
	path []string // "*" for the elements of a list, and see indexStep
	// absent says, for each step of the path, whether the value may be absent
	// or null there, because the part tests it first or has a default.
	absent []bool
	use    use
	at     position
}

// indexStep is the step of a path to one element of a list. No member of an
// object is confused with it.
func indexStep(i int) string { return "\x00" + strconv.Itoa(i) }

// indexOf is the number of an indexStep.
func indexOf(step string) (int, bool) {
	if !strings.HasPrefix(step, "\x00") {
		return 0, false
	}
	i, err := strconv.Atoi(step[1:])
	return i, err == nil
}

// dotted writes a path as templates do; elements of lists as [0] and [*].
func dotted(path []string) string {
	var b strings.Builder
	b.WriteString(".data")
	for _, step := range path {
		i, isIndex := indexOf(step)
		switch {
		case isIndex:
			fmt.Fprintf(&b, "[%d]", i)
		case step == "*":
			b.WriteString("[*]")
		default:
			b.WriteString("." + step)
		}
	}
	return b.String()
}

// add notes a read; at tells its place when it is a new one.
func (c *contract) add(s scope, path []string, u use, at func() position) {
	if len(path) == 0 {
		return
	}
	r := read{path: path, absent: make([]bool, len(path)), use: u}
	key := []byte{byte(u.want)}
	for i, step := range path {
		r.absent[i] = slices.Contains(s.guards, "data/"+strings.Join(path[:i+1], "/"))
		if i == len(path)-1 && u.absent {
			_, isIndex := indexOf(step)
			r.absent[i] = r.absent[i] || !isIndex // the engine has no element that is not there
		}
		key = strconv.AppendBool(append(append(key, step...), '/'), r.absent[i])
	}
	key = append(key, byte(u.form))
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	if !c.seen[string(key)] {
		c.seen[string(key)] = true
		r.at = at()
		c.reads = append(c.reads, r)
	}
}

// check compares what the parts read with what the schema promises.
func (c *contract) check(faults *Faults) {
	if c.schema == nil {
		return
	}
	data := promised(c.schema).narrowed(kindObject)
	for _, r := range c.reads {
		r.check(data, faults)
	}
}

// check follows r through the schema; what that leaves open is checked with
// each notification's data.
func (r read) check(p promise, faults *Faults) {
	for i, step := range r.path {
		if i > 0 && !r.checkWithin(p, i, faults) {
			return
		}
		p = p.narrowed(containers(step))
		if len(p) == 0 {
			return
		}
		m := p.member(step)
		if !r.checkMember(p, m, i, faults) {
			return
		}
		p = m.value
	}
	if bad := p.kinds() &^ (r.use.want | kindNull); r.use.want != 0 && bad != 0 && p.typed() {
		faults.add(r.at, "%s may be %s by the schema, and the template %s", dotted(r.path), bad, r.use.how)
	}
}

// containers are the kinds of values that have such a step.
func containers(step string) kinds {
	switch _, isIndex := indexOf(step); {
	case isIndex:
		return kindArray
	case step == "*":
		return kindArray | kindObject | kindInteger
	}
	return kindObject
}

// checkWithin checks that the value before the i-th step has such a step.
func (r read) checkWithin(p promise, i int, faults *Faults) bool {
	wanted := containers(r.path[i])
	bad := p.kinds() &^ (wanted | kindNull)
	if bad == 0 || !p.typed() {
		return true
	}
	what := fmt.Sprintf("reads %q of it", r.path[i])
	if n, isIndex := indexOf(r.path[i]); isIndex {
		what = fmt.Sprintf("reads its element %d", n)
	} else if wanted != kindObject {
		what = "goes through it as a list"
	}
	faults.add(r.at, "%s may be %s by the schema, and the template %s", dotted(r.path[:i]), bad, what)
	return false
}

// checkMember checks the value that the i-th step leads to; false when nothing
// more can be said.
func (r read) checkMember(p promise, m member, i int, faults *Faults) bool {
	name, whole := r.path[i], dotted(r.path[:i+1])
	n, isIndex := indexOf(name)
	switch {
	case !m.declared:
		faults.add(r.at, "%s is not in the schema%s: correct it, or declare it under properties", whole, nearProperty(p, name))
		return false
	case r.absent[i] || name == "*":
		return !m.unknown && len(m.value) > 0
	case isIndex && !m.certain:
		list := dotted(r.path[:i])
		faults.add(r.at, "%s may have fewer than %d elements by the schema: give it minItems: %d, or write {{if gt (len %s) %d}}…{{end}}", list, n+1, n+1, list, n)
		return false
	case m.unknown:
		return false
	case !m.certain:
		faults.add(r.at, "%s is optional in the schema: list %q under required, or write {{with %s}}…{{end}} or {{%s | default \"…\"}}", whole, name, whole, whole)
		return false
	case m.value.typed() && m.value.kinds()&kindNull != 0:
		faults.add(r.at, "%s may be null by the schema: write {{with %s}}…{{end}} or {{%s | default \"…\"}}", whole, whole, whole)
		return false
	}
	return len(m.value) > 0
}

func nearProperty(p promise, name string) string {
	declared := map[string]bool{}
	for _, a := range p {
		for _, s := range a.all {
			for property := range s.Properties {
				declared[property] = true
			}
		}
	}
	if near := notice.Nearest(name, keys(declared)); near != "" {
		return " (did you mean " + near + "?)"
	}
	return ""
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
	return s.Items2020, true
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
		in.usable(v)
		return
	}
	name := in.read.path[i]
	if name == "*" {
		in.followAll(v, i)
		return
	}
	if n, isIndex := indexOf(name); isIndex {
		in.followOne(v, n, i)
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

// usable checks the value that the whole path has led to.
func (in *inspection) usable(v any) {
	u := in.read.use
	switch text, isText := v.(string); {
	case u.want != 0 && kindsOf(v)&u.want == 0:
		in.fault("is %s, and the template %s", kindsOf(v), u.how)
	case isText && !u.form.fits(text):
		in.fault("does not read as the template %s: send %s", u.how, u.form)
	}
}

// followOne checks the n-th element of a list.
func (in *inspection) followOne(v any, n, i int) {
	list, ok := v.([]any)
	switch {
	case !ok:
		in.fault("is %s: send an array, the template reads its element %d", kindOf(v), n)
	case n < len(list):
		in.step(strconv.Itoa(n), list[n], true, i)
	default:
		in.step(strconv.Itoa(n), nil, false, i)
	}
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
	return tokensOf(strings.TrimPrefix(pointer, "/data"))
}

// optional lists the paths whose last step may be absent. The engine calls a
// missing key an error, so a rendering puts null there first.
func (c *contract) optional() [][]string {
	var paths [][]string
	for _, r := range c.reads {
		last := len(r.path) - 1
		if _, isIndex := indexOf(r.path[last]); r.absent[last] && r.path[last] != "*" && !isIndex {
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
		if n, isIndex := indexOf(name); isIndex {
			list, _ := v.([]any)
			if n >= len(list) {
				return
			}
			v = list[n]
			continue
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
