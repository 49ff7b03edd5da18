package templates

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// glanced loads a template with that schema (flow YAML; empty: none) whose
// text is source.
func glanced(t testing.TB, schema, source string) *Template {
	settings := "channels: [webhook]\n"
	if schema != "" {
		settings += "schema: " + schema + "\n"
	}
	c, err := Load(folder("m/template.yaml", settings, "m/en/webhook.json", source))
	if err != nil {
		t.Fatal(err)
	}
	m, _ := c.Template("m")
	return m
}

const (
	orderSchema = `{type: object, required: [n, pad], properties: {n: {type: integer}, pad: {type: string}, tags: {type: array, items: {type: [string, "null"]}}}}`
	orderSource = `{"n":{{json .data.n}},"pad":{{json .data.pad}}}`
)

// TestTheUsualDataIsSettledAtAGlance fails when the short way is never taken.
func TestTheUsualDataIsSettledAtAGlance(t *testing.T) {
	for name, c := range map[string]struct{ schema, source, data string }{
		"flat":                          {orderSchema, orderSource, `{"n":1,"pad":"x"}`},
		"with spaces and other members": {orderSchema, orderSource, " { \"pad\" : \"x\" , \"n\" : -12 , \"more\" : {\"a\":[1.5,true,null]} }\n"},
		"with a list":                   {orderSchema, orderSource, `{"n":1,"pad":"x","tags":["a",null]}`},
		"without a schema":              {"", `{"a":{{json .data.o.a}}}`, `{"o":{"a":1}}`},
		"a list that is gone through":   {"", `[{{range .data.l}}{{json .a}}{{end}}]`, `{"l":[{"a":1},{"a":2}]}`},
		"a closed object":               {`{type: object, additionalProperties: false, properties: {a: {}}}`, `{}`, `{"a":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			m := glanced(t, c.schema, c.source)
			if m.glance.blind {
				t.Error("the contract is beyond a glance")
			}
			if !m.glance.fits(jsontext.Value(c.data)) {
				t.Errorf("%s is not settled", c.data)
			}
			if faults := m.DataFaults(jsontext.Value(c.data)); faults != nil {
				t.Error(faults)
			}
		})
	}
}

// TestAFaultIsNeverOverlooked wants of each that the faults are CheckData's own.
func TestAFaultIsNeverOverlooked(t *testing.T) {
	m := glanced(t, orderSchema, orderSource)
	closed := glanced(t, `{type: object, additionalProperties: false, properties: {a: {type: [integer, "null"]}}}`, `{}`)
	for name, c := range map[string]struct {
		m    *Template
		data string
	}{
		"a name missing":               {m, `{"n":1}`},
		"null where one is needed":     {m, `{"n":1,"pad":null}`},
		"another kind":                 {m, `{"n":"1","pad":"x"}`},
		"no integer":                   {m, `{"n":1.5,"pad":"x"}`},
		"another kind in a list":       {m, `{"n":1,"pad":"x","tags":["a",1]}`},
		"a list in place of an object": {m, `[]`},
		"null in place of an object":   {m, `null`},
		"a doubled name":               {m, `{"n":1,"pad":"x","n":2}`},
		"a name doubled in escapes":    {m, `{"n":1,"pad":"x","\u006e":2}`},
		"something behind the end":     {m, `{"n":1,"pad":"x"} {}`},
		"a space that is none in JSON": {m, "{\"n\":1,\"pad\":\"x\"}\v"},
		"cut short":                    {m, `{"n":1,"pad":"x"`},
		"a number beyond a float":      {m, `{"n":1,"pad":"x","more":1e400}`},
		"a long number beyond a float": {m, `{"n":1,"pad":"x","more":1` + strings.Repeat("0", 400) + `.5}`},
		"nested too deep":              {m, `{"n":1,"pad":"x","more":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`},
		"no UTF-8":                     {m, "{\"n\":1,\"pad\":\"\xff\"}"},
		"a name beside a closed set":   {closed, `{"b":1}`},
		"another kind in a closed set": {closed, `{"a":"1"}`},
		"a member of a missing object": {glanced(t, "", `{"a":{{json .data.o.a}}}`), `{"o":null}`},
		"null in a list":               {glanced(t, "", `[{{range .data.l}}{{json .a}}{{end}}]`), `{"l":[{"a":1},null]}`},
	} {
		t.Run(name, func(t *testing.T) {
			_, want := c.m.CheckData(jsontext.Value(c.data))
			got := c.m.DataFaults(jsontext.Value(c.data))
			if len(want) == 0 || len(got) != len(want) || got[0] != want[0] {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// TestAKeywordBeyondAGlanceLeavesItToTheValidator pins that a rule that a
// shape cannot hold is never left out.
func TestAKeywordBeyondAGlanceLeavesItToTheValidator(t *testing.T) {
	for keyword, bad := range map[string]string{
		`minLength: 3`: `"x"`, `pattern: "^a"`: `"b"`, `enum: [a]`: `"b"`, `const: 1`: `2`, `minimum: 3`: `1`, `format: email`: `"x"`,
		`maxItems: 0`: `[1]`, `uniqueItems: true`: `[1,1]`, `minProperties: 1`: `{}`, `not: {type: string}`: `"x"`, `anyOf: [{type: string}]`: `1`,
		`"$ref": "#/$defs/s"`: `1`, `additionalProperties: {type: string}`: `{"x":1}`, `patternProperties: {x: {type: string}}`: `{"x":1}`,
		`prefixItems: [{type: string}]`: `[1]`, `dependentRequired: {x: [y]}`: `{"x":1}`, `propertyNames: {maxLength: 1}`: `{"xx":1}`,
	} {
		t.Run(keyword, func(t *testing.T) {
			m := glanced(t, `{type: object, "$defs": {s: {type: string}}, properties: {v: {`+keyword+`}}}`, `{}`)
			if faults := m.DataFaults(jsontext.Value(`{"v":` + bad + `}`)); len(faults) != 1 {
				t.Errorf("%s of %s: %v", bad, keyword, faults)
			}
		})
	}
}

// FuzzGlance looks for data that a glance lets through and the check does not.
func FuzzGlance(f *testing.F) {
	for _, seed := range []string{`{"n":1,"pad":"x"}`, `{"n":1.0,"pad":"x","tags":[null,"a"]}`, `{"n":1e400}`, `null`, `{"n":1,"pad":"x","o":{"a":[1,{"b":null}]}}`, `{"o":{"a":[{"b":1}]}}`, "\xff", `{} `} {
		f.Add(seed)
	}
	contracts := []*Template{
		glanced(f, orderSchema, orderSource),
		glanced(f, "", `[{{range .data.o.a}}{{json .b}}{{end}}{{with .data.c}}{{json .d}}{{end}}]`),
		glanced(f, `{type: object, required: [o], additionalProperties: false, properties: {o: {type: [object, "null"], properties: {a: {type: array, items: {type: number}}}}}}`, `{}`),
	}
	f.Fuzz(func(t *testing.T, data string) {
		for i, m := range contracts {
			if !m.glance.fits(jsontext.Value(data)) {
				continue
			}
			if _, faults := m.CheckData(jsontext.Value(data)); len(faults) > 0 {
				t.Errorf("contract %d let %q through: %v", i, data, faults)
			}
		}
	})
}

func BenchmarkDataFaults(b *testing.B) {
	m := glanced(b, orderSchema, orderSource)
	data := jsontext.Value(`{"n":1,"pad":"` + strings.Repeat("x", 600) + `"}`)
	b.Run("at a glance", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.DataFaults(data)
		}
	})
	b.Run("in full", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.CheckData(data)
		}
	})
}
