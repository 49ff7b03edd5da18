package templates

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/carillonhq/carillon/notice"
)

// pushDefaults are what `push` of template.yaml says: push options that hold
// wherever push.options.json does not say otherwise. Renderings share them, so
// nobody changes them once they are read.
type pushDefaults struct {
	raw     jsontext.Value // the options as they were written
	options *notice.PushOptions
}

// readPush reads push options over those of the catalogue's defaults.
func readPush(doc document, value *yaml.Node, under *pushDefaults, faults *Faults) *pushDefaults {
	if value.Kind != yaml.MappingNode {
		faults.add(doc.at(value), "push: wants push options, like {apns: {thread_id: orders}}: docs/push.md lists them")
		return under
	}
	v, err := yamlValue(value)
	var raw jsontext.Value
	if err == nil {
		raw, err = appendJSON(nil, v, 0)
	}
	if err != nil {
		faults.add(doc.at(value), "push: %v", err)
		return under
	}
	if under != nil {
		raw = mergeJSON(under.raw, raw)
	}
	options, wrong := decodePushOptions(raw)
	for _, f := range wrong {
		faults.add(doc.at(child(value, tokensOf(f.Pointer))), "push: %s: %s", f.Pointer, f.Detail)
	}
	if len(wrong) > 0 {
		return under
	}
	return &pushDefaults{raw, options}
}

// decodePushOptions reads push options and holds them to what they may be. The
// faults' pointers begin at the options; their details may quote values.
func decodePushOptions(raw jsontext.Value) (*notice.PushOptions, notice.Faults) {
	options := &notice.PushOptions{}
	var faults notice.Faults
	if err := notice.Decode(raw, options); err == nil {
		options.Check("", &faults)
	} else if !errors.As(err, &faults) {
		faults.Add("", "cannot be push options")
	}
	return options, faults
}

// checkPushDefaults refuses push options of a template that sends no push.
func (b *builder) checkPushDefaults() {
	root := b.settings.doc.root
	if root == nil || len(b.out.groups[notice.MediumPush]) > 0 {
		return
	}
	if n := step(root, "push"); n != nil {
		b.faults.add(b.settings.doc.at(n), "push: the template has no parts for push: add %s/%s/push.title.txt, or delete push", b.src.name, b.out.defaultLocale)
	}
}

// over is what push.options.json came to, with the members that it leaves out
// taken from d.
func (d *pushDefaults) over(raw jsontext.Value) jsontext.Value {
	if d == nil {
		return raw
	}
	return mergeJSON(d.raw, raw)
}

// mergeJSON puts the members of one object over those of another, and so on
// within the objects that both have. What is no object, null too, wins whole.
func mergeJSON(under, over jsontext.Value) jsontext.Value {
	if under.Kind() != '{' || over.Kind() != '{' {
		return over
	}
	var low, high map[string]jsontext.Value
	if json.Unmarshal(under, &low) != nil || json.Unmarshal(over, &high) != nil {
		return over // a name that stands twice: for who decodes it to say
	}
	for name, value := range high {
		if below, both := low[name]; both {
			value = mergeJSON(below, value)
		}
		low[name] = value
	}
	merged, err := json.Marshal(low, json.Deterministic(true))
	if err != nil {
		return over
	}
	return merged
}

// tokensOf takes a JSON pointer (RFC 6901) apart.
func tokensOf(pointer string) []string {
	tokens := strings.Split(pointer, "/")[1:]
	for i, token := range tokens {
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
	}
	return tokens
}

// pushOptions runs the part that is held to what notice.PushOptions may be,
// over what template.yaml says. A fault names the options that are wrong, and
// not what they hold.
func (e *execution) pushOptions() *notice.PushOptions {
	constant := e.now.template.push
	raw := e.json(partPushOptions)
	if e.err != nil {
		return nil
	}
	if raw == nil {
		if constant == nil {
			return nil
		}
		return constant.options
	}
	options, faults := decodePushOptions(constant.over(raw))
	if len(faults) > 0 {
		e.err = Fault{File: e.group.parts[partPushOptions].file,
			What: fmt.Sprintf("the result cannot be push options, at %s: docs/push.md lists what each may be", places(faults))}
	}
	return options
}

// places quotes the pointers of faults.
func places(faults notice.Faults) string {
	quoted := make([]string, len(faults))
	for i, f := range faults {
		quoted[i] = fmt.Sprintf("%q", f.Pointer)
	}
	return strings.Join(quoted, ", ")
}
