package templates

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	textmessage "golang.org/x/text/message"

	"github.com/carillonhq/carillon/notice"
)

// schemaURL names a template's schema inside the validator only.
const schemaURL = "template:///schema"

// sealed refuses what a schema would load from elsewhere: a catalogue reads
// no file and no network address beyond its own folder.
type sealed struct{}

func (sealed) Load(url string) (any, error) {
	return nil, errors.New("a schema may not refer to another file or address: put what it needs under $defs")
}

// compileSchema compiles `schema` of a template.yaml; nil when there is none
// or it is at fault.
func compileSchema(s settings, faults *Faults) *jsonschema.Schema {
	if s.schema == nil {
		return nil
	}
	at := s.doc.at(s.schema)
	value, err := yamlValue(s.schema)
	if err != nil {
		faults.add(at, "schema: %v", err)
		return nil
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(sealed{})
	c.AssertFormat()
	if err := c.AddResource(schemaURL, value); err != nil {
		faults.add(at, "schema: %v", err)
		return nil
	}
	schema, err := c.Compile(schemaURL)
	if err != nil {
		schemaFaults(s, err, faults)
		return nil
	}
	if work(schema) > maxSchemaWork {
		faults.add(at, "schema: one notification could take more than %d steps to check, as parts of it apply to one value many times over: say each thing once", maxSchemaWork)
		return nil
	}
	return schema
}

// schemaFaults puts what the validator says about a schema in its places.
func schemaFaults(s settings, err error, faults *Faults) {
	var invalid *jsonschema.SchemaValidationError
	var details *jsonschema.ValidationError
	if !errors.As(err, &invalid) || !errors.As(invalid.Err, &details) {
		what := strings.ReplaceAll(err.Error(), schemaURL, "")
		faults.add(s.doc.at(s.schema), "schema: %s", what)
		return
	}
	p := textmessage.NewPrinter(language.English)
	for _, leaf := range leaves(details, nil) {
		at := s.doc.at(child(s.schema, leaf.InstanceLocation))
		faults.add(at, "schema%s: %s", pointerOf(leaf.InstanceLocation), leaf.ErrorKind.LocalizedString(p))
	}
}

// leaves are the errors that have no cause of their own. Of the branches of
// anyOf and oneOf none is more to blame than another, so those stay whole,
// unless all but one are out of the question.
func leaves(e *jsonschema.ValidationError, found []*jsonschema.ValidationError) []*jsonschema.ValidationError {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		if branch := meant(e); branch != nil {
			return leaves(branch, found)
		}
		return append(found, e)
	case *kind.Contains, *kind.PropertyNames, *kind.Not:
		return append(found, e) // its causes are what other values lack
	}
	if len(e.Causes) == 0 {
		return append(found, e)
	}
	for _, cause := range e.Causes {
		found = leaves(cause, found)
	}
	return found
}

// meant is the one branch of anyOf or oneOf whose type, and whose constant
// members, the value has; nil when it is not one.
func meant(e *jsonschema.ValidationError) *jsonschema.ValidationError {
	var one *jsonschema.ValidationError
	for _, branch := range e.Causes {
		if isOtherShape(e, branch) {
			continue
		}
		if one != nil {
			return nil
		}
		one = branch
	}
	return one
}

// isOtherShape reports whether a branch fails because the value is of another
// type, or a member of it, like "kind", has another constant.
func isOtherShape(e, branch *jsonschema.ValidationError) bool {
	return slices.ContainsFunc(leaves(branch, nil), func(leaf *jsonschema.ValidationError) bool {
		depth := len(leaf.InstanceLocation) - len(e.InstanceLocation)
		switch leaf.ErrorKind.(type) {
		case *kind.Type:
			return depth == 0
		case *kind.Const, *kind.Enum:
			return depth <= 1
		}
		return false
	})
}

// validate holds decoded data against a schema.
func validate(schema *jsonschema.Schema, data any) notice.Faults {
	if schema == nil {
		return nil
	}
	err := schema.Validate(data)
	if err == nil {
		return nil
	}
	var details *jsonschema.ValidationError
	if !errors.As(err, &details) {
		return notice.Faults{{Pointer: "/data", Detail: err.Error()}}
	}
	var faults notice.Faults
	for _, leaf := range leaves(details, nil) {
		describe(schema, leaf, &faults)
	}
	slices.SortStableFunc(faults, func(a, b notice.Fault) int { return strings.Compare(a.Pointer, b.Pointer) })
	return slices.Compact(faults)
}

// describe turns one validation error into faults. It speaks of what is wanted
// and never quotes the data, which may be personal.
func describe(schema *jsonschema.Schema, e *jsonschema.ValidationError, faults *notice.Faults) {
	at := "/data" + pointerOf(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			faults.Add(at+"/"+escapePointer(name), "is required"+wantedType(schema, e.InstanceLocation, name))
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			faults.Add(at+"/"+escapePointer(name), "is not known to the template"+knownProperty(schema, e.InstanceLocation, name))
		}
	case *kind.Type:
		faults.Add(at, fmt.Sprintf("is %s: wants %s", article(k.Got), article(strings.Join(k.Want, " or "))))
	case *kind.Format:
		faults.Add(at, "is no valid "+k.Want)
	case *kind.Pattern:
		faults.Add(at, "does not match the pattern "+k.Want)
	case *kind.PropertyNames:
		faults.Add(at+"/"+escapePointer(k.Property), "has a name that the schema does not allow")
	case *kind.DependentRequired:
		for _, name := range k.Missing {
			faults.Add(at+"/"+escapePointer(name), fmt.Sprintf("is required where there is %q", k.Prop))
		}
	case *kind.FalseSchema:
		faults.Add(at, "is not allowed here"+knownHere(schema, e.InstanceLocation))
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			faults.Add(at, fmt.Sprintf("has %d shapes of the schema's at once, and may have one: leave out what belongs to the others", len(k.Subschemas)))
			return
		}
		faults.Add(at, noShape+alternatives(e))
	case *kind.AnyOf:
		faults.Add(at, noShape+alternatives(e))
	default:
		faults.Add(at, bound(k))
	}
}

const noShape = "matches none of the shapes that the schema allows"

// knownHere ends a fault about a member that no part of the schema has.
func knownHere(schema *jsonschema.Schema, location []string) string {
	if n := len(location); n > 0 {
		return knownProperty(schema, location[:n-1], location[n-1])
	}
	return ""
}

// bound says which bound a value does not keep, and nothing of the value.
func bound(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.MinLength:
		return fmt.Sprintf("has %d characters: wants at least %d", k.Got, k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("has %d characters: wants at most %d", k.Got, k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("has %d items: wants at least %d", k.Got, k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("has %d items: wants at most %d", k.Got, k.Want)
	case *kind.MinProperties:
		return fmt.Sprintf("has %d members: wants at least %d", k.Got, k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("has %d members: wants at most %d", k.Got, k.Want)
	case *kind.UniqueItems:
		return fmt.Sprintf("has the same item at %d and %d: wants each once", k.Duplicates[0], k.Duplicates[1])
	case *kind.Contains, *kind.MinContains:
		return "has too few items of the kind that the schema wants in it"
	case *kind.MaxContains:
		return "has too many items of the kind that the schema bounds"
	case *kind.Not:
		return "is what the schema rules out"
	case *kind.Enum, *kind.Const:
		return k.LocalizedString(textmessage.NewPrinter(language.English)) // of the schema's values alone
	}
	return numberBound(k)
}

func numberBound(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Minimum:
		return "must be at least " + k.Want.RatString()
	case *kind.Maximum:
		return "must be at most " + k.Want.RatString()
	case *kind.ExclusiveMinimum:
		return "must be more than " + k.Want.RatString()
	case *kind.ExclusiveMaximum:
		return "must be less than " + k.Want.RatString()
	case *kind.MultipleOf:
		return "must be a multiple of " + k.Want.RatString()
	}
	return "is not what the schema wants"
}

// alternatives lists what each branch of an anyOf or oneOf would have wanted.
func alternatives(e *jsonschema.ValidationError) string {
	var wants []string
	for _, leaf := range branchLeaves(e) {
		var f notice.Faults
		describe(nil, leaf, &f)
		for _, fault := range f {
			wants = append(wants, fault.Pointer+" "+fault.Detail)
		}
	}
	if len(wants) == 0 || len(wants) > 6 {
		return ""
	}
	return ": " + strings.Join(wants, "; or ")
}

func branchLeaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	var found []*jsonschema.ValidationError
	for _, cause := range e.Causes {
		found = leaves(cause, found)
	}
	return found
}

// schemaAt follows a place in the data through the schema; nil when the schema
// is not plain there.
func schemaAt(schema *jsonschema.Schema, location []string) *jsonschema.Schema {
	for _, token := range location {
		schema = target(schema)
		next, declared := stepSchema(schema, token)
		if !declared {
			if _, err := strconv.Atoi(token); err == nil {
				next, _ = stepSchema(schema, "*")
			}
		}
		schema = next
	}
	return target(schema)
}

func wantedType(schema *jsonschema.Schema, location []string, name string) string {
	parent := schemaAt(schema, location)
	if parent == nil {
		return ""
	}
	if s := target(parent.Properties[name]); s != nil && s.Types != nil && !s.Types.IsEmpty() {
		return " (" + strings.Join(s.Types.ToStrings(), " or ") + ")"
	}
	return ""
}

func knownProperty(schema *jsonschema.Schema, location []string, name string) string {
	parent := schemaAt(schema, location)
	if parent == nil {
		return ""
	}
	return known(name, keys(parent.Properties))
}

// pointerOf is a location as a JSON pointer.
func pointerOf(location []string) string {
	var b strings.Builder
	for _, token := range location {
		b.WriteString("/" + escapePointer(token))
	}
	return b.String()
}

func article(kind string) string {
	switch {
	case kind == "null":
		return kind
	case strings.HasPrefix(kind, "a"), strings.HasPrefix(kind, "i"), strings.HasPrefix(kind, "o"):
		return "an " + kind
	}
	return "a " + kind
}
