package templates

import (
	"math"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxSchemaWork bounds how many schemas the validator may hold against the
// values on one way down into the data, from its top to the deepest value that
// data may have. A few allOf that name each other twice would be 2^64.
const maxSchemaWork = 1_000_000

// work is how many that are, at the worst.
func work(s *jsonschema.Schema) float64 {
	w := effort{applied: map[*jsonschema.Schema]map[*jsonschema.Schema]float64{}, reached: map[reach]float64{}, left: 10 * maxSchemaWork}
	level := map[*jsonschema.Schema]float64{s: 1}
	total := 0.0
	for depth := maxDataDepth; depth > 0; depth-- {
		now := map[*jsonschema.Schema]float64{}
		for one, times := range level {
			for sub, n := range w.apply(one, 0) {
				now[sub] += times * n
				total += times * n
			}
		}
		if level = w.below(now, depth-1); len(level) == 0 || total > maxSchemaWork || w.left < 0 {
			break
		}
	}
	if w.left < 0 {
		return math.Inf(1)
	}
	return total
}

// effort counts what applies to a value.
type effort struct {
	applied map[*jsonschema.Schema]map[*jsonschema.Schema]float64
	reached map[reach]float64
	left    int // of the counting's own steps
}

// reach is a schema that is applied to a value which is so deep.
type reach struct {
	schema *jsonschema.Schema
	depth  int
}

// apply is every schema that is held against a value because s is, and how
// many times.
func (w *effort) apply(s *jsonschema.Schema, depth int) map[*jsonschema.Schema]float64 {
	if counts, ok := w.applied[s]; ok {
		return counts
	}
	counts := map[*jsonschema.Schema]float64{s: 1}
	if depth > 1000 {
		w.left = -1
		return counts
	}
	w.applied[s] = counts // a circle is refused by the validator
	for _, sub := range inPlace(s) {
		for one, n := range w.apply(sub, depth+1) {
			counts[one] = min(counts[one]+n, math.MaxFloat32)
			w.left--
		}
	}
	return counts
}

// inPlace are the schemas that s applies to the value itself.
func inPlace(s *jsonschema.Schema) []*jsonschema.Schema {
	all := append(append(append([]*jsonschema.Schema{s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else}, s.AllOf...), s.AnyOf...), s.OneOf...)
	for _, sub := range s.DependentSchemas {
		all = append(all, sub)
	}
	if s.DynamicRef != nil {
		all = append(all, s.DynamicRef.Ref)
	}
	return dropNil(all)
}

// below is what applies to one member or element of a value to which now
// applies: of the names that the schemas speak of, the one that leads to most.
func (w *effort) below(now map[*jsonschema.Schema]float64, depth int) map[*jsonschema.Schema]float64 {
	anywhere := map[*jsonschema.Schema]float64{}
	named := map[string]map[*jsonschema.Schema]float64{}
	for s, n := range now {
		for _, sub := range everyChild(s) {
			anywhere[sub] += n
			w.left--
		}
		for name, sub := range s.Properties {
			if named[name] == nil {
				named[name] = map[*jsonschema.Schema]float64{}
			}
			named[name][sub] += n
			w.left--
		}
	}
	var most map[*jsonschema.Schema]float64
	heaviest := -1.0
	for _, one := range named {
		if sum := w.weight(one, depth); sum > heaviest {
			most, heaviest = one, sum
		}
	}
	for s, n := range most {
		anywhere[s] += n
	}
	return anywhere
}

// weight is how much the schemas can lead to in a value that is so deep.
func (w *effort) weight(level map[*jsonschema.Schema]float64, depth int) float64 {
	sum := 0.0
	for s, n := range level {
		sum += n * w.most(s, depth)
	}
	return sum
}

// most is how much a schema can lead to at the very most: as if each of those
// that apply to a value could choose its own member to go on with.
func (w *effort) most(s *jsonschema.Schema, depth int) float64 {
	if depth == 0 || w.left < 0 {
		return 1
	}
	key := reach{s, depth}
	if known, ok := w.reached[key]; ok {
		return known
	}
	sum := 0.0
	for one, times := range w.apply(s, 0) {
		w.left--
		worst := 0.0
		for _, sub := range one.Properties {
			worst = max(worst, w.most(sub, depth-1))
		}
		for _, sub := range everyChild(one) {
			worst += w.most(sub, depth-1)
		}
		sum = min(sum+times*(1+worst), math.MaxFloat32)
	}
	w.reached[key] = sum
	return sum
}

// everyChild are the schemas that s may apply to any member or element.
func everyChild(s *jsonschema.Schema) []*jsonschema.Schema {
	additional, _ := s.AdditionalProperties.(*jsonschema.Schema)
	all := append([]*jsonschema.Schema{additional, s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.Items2020, s.UnevaluatedItems}, s.PrefixItems...)
	for _, sub := range s.PatternProperties {
		all = append(all, sub)
	}
	return dropNil(all)
}

func dropNil(all []*jsonschema.Schema) []*jsonschema.Schema {
	kept := all[:0]
	for _, s := range all {
		if s != nil {
			kept = append(kept, s)
		}
	}
	return kept
}
