package templates

import (
	"fmt"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

// bomb is a schema of n definitions, each of which names the next one twice.
func bomb(n int, twice string) string {
	var b strings.Builder
	b.WriteString("schema:\n  $ref: \"#/$defs/d0\"\n  $defs:\n")
	for i := range n {
		fmt.Fprintf(&b, "    d%d: %s\n", i, strings.ReplaceAll(twice, "NEXT", fmt.Sprintf(`{$ref: "#/$defs/d%d"}`, i+1)))
	}
	fmt.Fprintf(&b, "    d%d: {type: object}\n", n)
	return b.String()
}

func TestASchemaThatWouldTakeForEverIsRefused(t *testing.T) {
	for _, c := range []struct{ name, schema, want string }{
		{"allOf that doubles", bomb(40, "{allOf: [NEXT, NEXT]}"), "more than 1000000 steps"},
		{"anyOf that doubles", bomb(40, "{anyOf: [NEXT, NEXT]}"), "more than 1000000 steps"},
		{"a member that doubles with its depth", `schema: {$ref: "#/$defs/n", $defs: {n: {allOf: [{properties: {x: {$ref: "#/$defs/n"}}}, {properties: {x: {$ref: "#/$defs/n"}}}]}}}`, "more than 1000000 steps"},
		{"one that hides behind a wider member", `schema: {$ref: "#/$defs/n", $defs: {n: {properties: {w: {allOf: [{}, {}, {}, {}, {}]}}, allOf: [{properties: {x: {$ref: "#/$defs/n"}}}, {properties: {x: {$ref: "#/$defs/n"}}}]}}}`, "more than 1000000 steps"},
		{"a list that doubles with its depth", `schema: {$ref: "#/$defs/n", $defs: {n: {type: [array, object], allOf: [{items: {$ref: "#/$defs/n"}}, {items: {$ref: "#/$defs/n"}}]}}}`, "more than 1000000 steps"},
		{"a circle", `schema: {$ref: "#/$defs/a", $defs: {a: {$ref: "#/$defs/b"}, b: {$ref: "#/$defs/a"}}}`, ""},
		{"another address", `schema: {$ref: "http://169.254.169.254/latest"}`, "another file or address"},
		{"another file", `schema: {properties: {a: {$ref: "../../secret.json"}}}`, "another file or address"},
		{"another meta-schema", `schema: {$schema: "https://example.com/mine"}`, "another file or address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := mail("t", "m/template.yaml", c.schema)
			loaded, err := Load(fsys)
			if c.want == "" {
				if err == nil { // a circle says nothing of a value: what matters is that it ends
					m, _ := loaded.Template("m")
					m.CheckData(jsontext.Value(`{"a":1}`))
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestASchemaThatGrowsWithItsDataAloneIsTaken(t *testing.T) {
	for name, schema := range map[string]string{
		"a tree":    `schema: {$ref: "#/$defs/n", $defs: {n: {type: object, properties: {left: {$ref: "#/$defs/n"}, right: {$ref: "#/$defs/n"}, all: {type: array, items: {$ref: "#/$defs/n"}}}}}}`,
		"a grammar": `schema: {$ref: "#/$defs/e", $defs: {e: {oneOf: [{required: [left], properties: {left: {$ref: "#/$defs/e"}, right: {$ref: "#/$defs/e"}}}, {required: ["not"], properties: {"not": {$ref: "#/$defs/e"}}}, {required: [value]}]}}}`,
		"a wide one": "schema:\n  properties:\n" + func() string {
			var b strings.Builder
			for i := range 400 {
				fmt.Fprintf(&b, "    p%d: {type: object, properties: {a: {type: string}, b: {type: array, items: {type: number}}}}\n", i)
			}
			return b.String()
		}(),
	} {
		if _, err := Load(mail("t", "m/template.yaml", schema)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEverySchemaFaultHasAPointerAndNoValue(t *testing.T) {
	const secret = "s3cret-value"
	for _, c := range []struct{ name, schema, data, want string }{
		{"a missing member points at itself", `{required: [a], properties: {a: {type: string}}}`, `{}`, "/data/a: is required (string)"},
		{"an unknown member points at itself", `{properties: {order: {}}, additionalProperties: false}`, `{"odrer":1}`, "/data/odrer: is not known to the template: did you mean order?"},
		{"an unevaluated member points at itself", `{properties: {order: {}}, unevaluatedProperties: false}`, `{"odrer":1}`, "/data/odrer: is not allowed here: did you mean order?"},
		{"a member whose name is wrong points at itself", `{propertyNames: {pattern: "^[a-z]+$"}}`, `{"A1":1}`, "/data/A1: has a name that the schema does not allow"},
		{"a member that another asks for", `{dependentRequired: {a: [b]}}`, `{"a":1}`, `/data/b: is required where there is "a"`},
		{"a short text", `{properties: {a: {minLength: 20}}}`, `{"a":"` + secret + `"}`, "/data/a: has 12 characters: wants at least 20"},
		{"a long text", `{properties: {a: {maxLength: 2}}}`, `{"a":"` + secret + `"}`, "/data/a: has 12 characters: wants at most 2"},
		{"a pattern", `{properties: {a: {pattern: "^x"}}}`, `{"a":"` + secret + `"}`, "/data/a: does not match the pattern ^x"},
		{"a format", `{properties: {a: {format: uuid}}}`, `{"a":"` + secret + `"}`, "/data/a: is no valid uuid"},
		{"an enum", `{properties: {a: {enum: [x, y]}}}`, `{"a":"` + secret + `"}`, "/data/a: value must be one of 'x', 'y'"},
		{"a constant", `{properties: {a: {const: x}}}`, `{"a":"` + secret + `"}`, "/data/a: value must be 'x'"},
		{"few items", `{properties: {a: {minItems: 2}}}`, `{"a":["` + secret + `"]}`, "/data/a: has 1 items: wants at least 2"},
		{"items twice", `{properties: {a: {uniqueItems: true}}}`, `{"a":["` + secret + `","` + secret + `"]}`, "/data/a: has the same item at 0 and 1: wants each once"},
		{"no item of a kind", `{properties: {a: {contains: {type: number}}}}`, `{"a":["` + secret + `"]}`, "/data/a: has too few items of the kind that the schema wants in it"},
		{"what is ruled out", `{properties: {a: {not: {type: string}}}}`, `{"a":"` + secret + `"}`, "/data/a: is what the schema rules out"},
		{"two shapes at once", `{properties: {a: {oneOf: [{type: string}, {minLength: 1}]}}}`, `{"a":"` + secret + `"}`, "/data/a: has 2 shapes of the schema's at once, and may have one: leave out what belongs to the others"},
		{"a nullable object points into it", `{properties: {a: {anyOf: [{type: "null"}, {type: object, required: [b], properties: {b: {type: string}}}]}}}`, `{"a":{}}`, "/data/a/b: is required"},
		{"a tagged shape points into it", `{properties: {a: {oneOf: [{properties: {kind: {const: card}, number: {type: string}}}, {properties: {kind: {const: iban}, iban: {type: string}}, required: [iban]}]}}}`, `{"a":{"kind":"iban"}}`, "/data/a/iban: is required"},
		{"an item of a list points at itself", `{properties: {a: {items: {properties: {b: {type: integer}}}}}}`, `{"a":[{},{"b":"` + secret + `"}]}`, "/data/a/1/b: is a string: wants an integer"},
		{"a strange name is escaped", `{properties: {a: {additionalProperties: false}}}`, `{"a":{"x/y~z":1}}`, "/data/a/x~1y~0z: is not known to the template"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, _ := mustLoad(t, mail("t", "m/template.yaml", "schema: "+c.schema)).Template("m")
			_, faults := m.CheckData(jsontext.Value(c.data))
			if faults.Error() != c.want || strings.Contains(faults.Error(), secret) {
				t.Errorf("faults %q, want %q", faults.Error(), c.want)
			}
		})
	}
}

// drawSchema makes a schema as a designer could write it.
func drawSchema(t *rapid.T, depth int) map[string]any {
	s := map[string]any{}
	if depth == 0 {
		s["type"] = rapid.SampledFrom([]string{"string", "integer", "number", "boolean", "null"}).Draw(t, "type")
		return s
	}
	switch rapid.IntRange(0, 8).Draw(t, "shape") {
	case 0, 1, 2:
		properties, required := map[string]any{}, []any{}
		for _, name := range []string{"a", "b", "c"} {
			if rapid.Bool().Draw(t, "has") {
				properties[name] = drawSchema(t, depth-1)
			}
			if rapid.Bool().Draw(t, "needs") {
				required = append(required, name)
			}
		}
		s["type"], s["properties"], s["required"] = "object", properties, required
		if rapid.Bool().Draw(t, "closed") {
			s["additionalProperties"] = false
		}
	case 3:
		s["type"], s["items"] = "array", drawSchema(t, depth-1)
	case 4:
		s["anyOf"] = []any{drawSchema(t, depth-1), drawSchema(t, depth-1)}
	case 5:
		s["oneOf"] = []any{drawSchema(t, depth-1), drawSchema(t, depth-1)}
	case 6:
		s["type"] = []any{"null", rapid.SampledFrom([]string{"string", "integer", "object", "array"}).Draw(t, "nullable")}
	case 7:
		s["enum"] = []any{"x", 1.0, nil, true}
	default:
		s["minLength"], s["minimum"] = 2.0, 1.0
	}
	return s
}

func drawValue(t *rapid.T, depth int) any {
	if n := rapid.IntRange(0, 8).Draw(t, "value"); depth > 0 && n < 4 {
		if n == 0 {
			return []any{drawValue(t, depth-1), drawValue(t, depth-1)}
		}
		object := map[string]any{}
		for _, name := range []string{"a", "b", "c", "d"} {
			if rapid.IntRange(0, 3).Draw(t, "member") > 0 {
				object[name] = drawValue(t, depth-1)
			}
		}
		return object
	}
	return rapid.SampledFrom([]any{"x", "long", 0.0, 1.0, 2.5, true, nil, "", 1e300}).Draw(t, "scalar")
}

// What ingest accepts is what the validator accepts: neither the glance over
// the bytes nor the decoding nor the wording of faults changes the answer.
func TestIngestAgreesWithTheValidator(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted := drawSchema(t, 3)
		wanted["type"] = "object"
		text, err := jsonv2.Marshal(wanted)
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := Load(mail("t", "m/template.yaml", "schema: "+string(text)))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		compiler := jsonschema.NewCompiler()
		if err := compiler.AddResource("mem:///s", wanted); err != nil {
			t.Fatal(err)
		}
		validator, err := compiler.Compile("mem:///s")
		if err != nil {
			t.Fatal(err)
		}
		m, _ := loaded.Template("m")
		for range 5 {
			value := drawValue(t, 3)
			object, ok := value.(map[string]any)
			if !ok {
				continue
			}
			data, err := jsonv2.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			valid := validator.Validate(value) == nil
			faults := m.DataFaults(data)
			if valid != (len(faults) == 0) {
				t.Fatalf("schema %s, data %s: the validator says %v, ingest %v", text, data, valid, faults)
			}
			for _, f := range faults {
				if !strings.HasPrefix(f.Pointer, "/data") || f.Detail == "" {
					t.Fatalf("schema %s, data %s: fault %+v", text, data, f)
				}
			}
		}
	})
}
