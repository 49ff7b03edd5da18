package templates

import (
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// promise is what a schema says of one value, with $ref, allOf, anyOf, oneOf
// and if worked in: the value keeps at least one of the alternatives.
type promise []alternative

// alternative is schemas that a value keeps all at once.
type alternative struct {
	all []*jsonschema.Schema
	// open: something is said of the value that this does not follow, so that
	// it may have properties beside those that are listed.
	open bool
}

// maxAlternatives bounds a promise; beyond it nothing is known of a value
// before there is one.
const maxAlternatives = 64

func unknown() promise { return promise{{open: true}} }

// promised is what a value that keeps all the schemas is.
func promised(all ...*jsonschema.Schema) promise {
	p := promise{{}}
	for _, s := range all {
		p = p.and(expand(s, 0))
	}
	return slices.DeleteFunc(p, func(a alternative) bool { return a.kinds() == 0 })
}

func expand(s *jsonschema.Schema, depth int) promise {
	switch {
	case s.Bool != nil && *s.Bool:
		return promise{{}}
	case s.Bool != nil:
		return nil
	case depth > maxNest || s.DynamicRef != nil || s.RecursiveRef != nil:
		return unknown()
	}
	p := promise{{all: []*jsonschema.Schema{s}}}
	if s.Ref != nil {
		p = p.and(expand(s.Ref, depth+1))
	}
	for _, sub := range s.AllOf {
		p = p.and(expand(sub, depth+1))
	}
	p = p.andOneOf(s.AnyOf, depth).andOneOf(s.OneOf, depth)
	if s.If != nil {
		p = p.and(append(expandOr(s.Then, depth), expandOr(s.Else, depth)...))
	}
	for _, sub := range s.DependentSchemas {
		p = p.and(append(promise{{}}, expand(sub, depth+1)...))
	}
	return p
}

// expandOr is expand, and a schema that is not there asks for nothing.
func expandOr(s *jsonschema.Schema, depth int) promise {
	if s == nil {
		return promise{{}}
	}
	return expand(s, depth+1)
}

func (p promise) andOneOf(branches []*jsonschema.Schema, depth int) promise {
	if len(branches) == 0 {
		return p
	}
	var either promise
	for _, s := range branches {
		either = append(either, expand(s, depth+1)...)
	}
	return p.and(either)
}

// and is what holds of a value that keeps both.
func (p promise) and(q promise) promise {
	if len(p)*len(q) > maxAlternatives {
		return unknown()
	}
	var both promise
	for _, a := range p {
		for _, b := range q {
			both = append(both, alternative{slices.Concat(a.all, b.all), a.open || b.open})
		}
	}
	return both
}

// kinds are what a value that keeps the promise can be.
func (p promise) kinds() kinds {
	var k kinds
	for _, a := range p {
		k |= a.kinds()
	}
	return k
}

func (a alternative) kinds() kinds {
	k := anyKind
	for _, s := range a.all {
		k &= allows(s)
	}
	return k
}

// narrowed leaves out the alternatives that are none of the kinds. Those that
// say nothing of a kind stay.
func (p promise) narrowed(to kinds) promise {
	return slices.DeleteFunc(slices.Clone(p), func(a alternative) bool { return a.kinds()&to == 0 })
}

// typed reports whether every alternative says what the value can be.
func (p promise) typed() bool {
	return len(p) > 0 && !slices.ContainsFunc(p, func(a alternative) bool { return a.kinds() == anyKind })
}

// member is what a promise says of one member of an object, or of one or all
// elements of a list.
type member struct {
	value    promise
	declared bool // some alternative has it
	certain  bool // it is there whatever alternative holds
	unknown  bool // some alternative leaves open what it is
}

// member follows one step of a path.
func (p promise) member(name string) member {
	m := member{certain: true}
	for _, a := range p {
		one := a.property(name)
		switch i, isIndex := indexOf(name); {
		case name == "*":
			one = a.elements()
		case isIndex:
			one = a.element(i)
		}
		m.declared = m.declared || one.declared
		m.certain = m.certain && one.certain
		m.unknown = m.unknown || one.unknown
		m.value = append(m.value, one.value...)
	}
	if len(m.value) > maxAlternatives {
		m.unknown = true
	}
	return m
}

// property is one member of an object that keeps a.
func (a alternative) property(name string) member {
	var found []*jsonschema.Schema
	var m member
	lists, open := false, a.open
	for _, s := range a.all {
		at := len(found)
		if p := s.Properties[name]; p != nil {
			found = append(found, p)
		}
		for pattern, p := range s.PatternProperties {
			if pattern.MatchString(name) {
				found = append(found, p)
			}
		}
		lists = lists || len(s.Properties) > 0
		m.certain = m.certain || slices.Contains(s.Required, name)
		switch additional := s.AdditionalProperties.(type) {
		case bool:
			if !additional && len(found) == at {
				return member{}
			}
			open = open || additional
		case *jsonschema.Schema:
			if len(found) == at {
				found = append(found, additional)
			}
		}
		open = open || s.UnevaluatedProperties != nil && s.UnevaluatedProperties.Bool == nil
	}
	switch {
	case len(found) > 0:
		m.declared, m.value = true, promised(found...)
	case open || !lists:
		m.declared, m.unknown = true, true
	default:
		return member{} // a schema that lists its properties means to list them all
	}
	return m
}

// elements are all that a range over a value that keeps a goes through.
func (a alternative) elements() member {
	m := member{declared: true, certain: true}
	k := a.kinds()
	if k&kindArray != 0 {
		m.join(a.items(-1))
	}
	if k&kindObject != 0 && k != anyKind {
		m.join(a.values())
	}
	if k&kindInteger != 0 && k != anyKind {
		m.value = append(m.value, alternative{all: []*jsonschema.Schema{{Types: integerType()}}})
	}
	return m
}

func integerType() *jsonschema.Types {
	types := jsonschema.Types(0)
	types.Add("integer")
	return &types
}

func (m *member) join(p promise) {
	if p == nil {
		m.unknown = true
	}
	m.value = append(m.value, p...)
}

// element is one element of a list, by its number from 0.
func (a alternative) element(i int) member {
	m := member{declared: true}
	m.join(a.items(i))
	for _, s := range a.all {
		m.certain = m.certain || s.MinItems != nil && *s.MinItems > i
	}
	return m
}

// items is the i-th element of a list, or any for -1; nil when it is open.
func (a alternative) items(i int) promise {
	both := promise{{}}
	said := false
	for _, s := range a.all {
		var one promise
		for n, prefix := range s.PrefixItems {
			if i < 0 || i == n {
				one = append(one, promised(prefix)...)
			}
		}
		if i < 0 || i >= len(s.PrefixItems) {
			switch {
			case s.Items2020 != nil:
				one = append(one, promised(s.Items2020)...)
			case len(s.PrefixItems) > 0:
				return nil
			}
		}
		if one != nil {
			both, said = both.and(one), true
		}
	}
	if !said || a.open {
		return nil
	}
	return both
}

// values are all that an object can hold; nil when that is open.
func (a alternative) values() promise {
	var all promise
	for _, s := range a.all {
		for _, p := range s.Properties {
			all = append(all, promised(p)...)
		}
		for _, p := range s.PatternProperties {
			all = append(all, promised(p)...)
		}
		if p, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
			all = append(all, promised(p)...)
		} else if closed, isBool := s.AdditionalProperties.(bool); (!isBool || closed) && s.Ref == nil && len(s.AllOf) == 0 {
			return nil
		}
	}
	return all
}
