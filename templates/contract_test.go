package templates

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
)

// pointers are the pointers of faults, in order.
func pointers(faults notice.Faults) string {
	var all []string
	for _, f := range faults {
		all = append(all, f.Pointer)
	}
	return strings.Join(all, " ")
}

// Without a schema the contract is what the parts read. Each case says which
// data a part accepts, and renders it where it does: data that passes the
// check must never fail later, nor come out blank.
func TestWhatAPartReadsIsRequiredUnlessThePartTestsIt(t *testing.T) {
	for _, c := range []struct{ name, part, data, pointers string }{
		{"a printed value is required", "{{.data.a}}", `{}`, "/data/a"},
		{"a printed value may not be null", "{{.data.a}}", `{"a":null}`, "/data/a"},
		{"zero, false and empty are values", "{{.data.a}}{{.data.b}}{{.data.c}}", `{"a":0,"b":false,"c":""}`, ""},
		{"no data at all lacks what is read", "{{.data.a}}", ``, "/data/a"},
		{"every missing value is named at once", "{{.data.a}}{{.data.b.c}}", `{}`, "/data/a /data/b"},
		{"with makes its value optional", "-{{with .data.a}}{{.}}{{end}}", `{}`, ""},
		{"if makes its value optional inside", "-{{if .data.a}}{{.data.a}}{{end}}", `{}`, ""},
		{"but not after it", "{{if .data.a}}x{{end}}{{.data.a}}", `{}`, "/data/a"},
		{"nor in its else", "{{if .data.a}}x{{else}}{{.data.a}}{{end}}", `{}`, "/data/a"},
		{"else of not is guarded", "-{{if not .data.a}}x{{else}}{{.data.a}}{{end}}", `{}`, ""},
		{"a default makes its value optional", `{{.data.a | default "x"}}{{default "y" .data.b}}`, `{}`, ""},
		{"and guards what follows it", `-{{if and .data.a (gt .data.a 3)}}{{.data.a}}{{end}}`, `{}`, ""},
		{"an absent value is less than nothing", `{{if gt .data.a 3}}x{{end}}`, `{}`, "/data/a"},
		{"a comparison for equality tests", `-{{if eq .data.a "x"}}{{.data.a}}{{end}}`, `{}`, ""},
		{"the last of or is printed", `{{or .data.a .data.b}}`, `{}`, "/data/b"},
		{"or with a constant at its end needs nothing", `{{or .data.a "x"}}`, `{}`, ""},
		{"a range may be over nothing", "-{{range .data.a}}{{.b}}{{end}}", `{}`, ""},
		{"but its elements are read", "{{range .data.a}}{{.b}}{{end}}", `{"a":[{"b":1},{},{"b":null}]}`, "/data/a/1/b /data/a/2/b"},
		{"elements may be tested", "-{{range .data.a}}{{with .b}}{{.}}{{end}}{{end}}", `{"a":[{"b":1},{}]}`, ""},
		{"a printed element may not be null", "-{{range .data.a}}{{.}}{{end}}", `{"a":["x",null]}`, "/data/a/1"},
		{"a range over text cannot be", "{{range .data.a}}x{{end}}", `{"a":"text"}`, "/data/a"},
		{"a range over an object reads its values", "{{range $k, $v := .data.a}}{{$k}}{{$v.b}}{{end}}", `{"a":{"x":{"b":1},"y":{}}}`, "/data/a/y/b"},
		{"a field of a text cannot be", "{{.data.a.b}}", `{"a":"text"}`, "/data/a"},
		{"the object of a tested field is required", "{{if .data.a.b}}x{{end}}", `{}`, "/data/a"},
		{"unless it is tested too", "-{{with .data.a}}{{with .b}}{{.}}{{end}}{{end}}", `{}`, ""},
		{"a field of a guarded object is required when that is there", "-{{with .data.a}}{{.b}}{{end}}", `{"a":{"c":1}}`, "/data/a/b"},
		{"a variable is what it was made from", "{{$x := .data.a}}-{{if $x}}{{$x.b}}{{end}}", `{"a":{"c":1}}`, "/data/a/b"},
		{"dollar is the root inside with", "{{with .data.a}}{{$.data.b}}{{end}}", `{"a":1}`, "/data/b"},
		{"index with a name is a field", `{{index .data "a" "b"}}`, `{"a":{}}`, "/data/a/b"},
		{"len needs its value", "{{len .data.a}}", `{}`, "/data/a"},
		{"parentheses change nothing", "{{(.data.a).b}}", `{"a":{}}`, "/data/a/b"},
		{"a partial reads what it is given", `{{template "p" .data.a}}`, `{"a":{}}`, "/data/a/b"},
		{"a partial in with reads under its guard", `-{{with .data.a}}{{template "p" .}}{{end}}`, `{}`, ""},
		{"a name with a slash is escaped", `{{index .data "a/b~c"}}`, `{}`, "/data/a~1b~0c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			catalogue := mustLoad(t, mail(c.part, "_partials/p.txt", "{{.b}}"))
			m, _ := catalogue.Template("m")
			_, faults := m.CheckData(jsontext.Value(c.data))
			if got := pointers(faults); got != c.pointers {
				t.Fatalf("faults at %q, want %q: %v", got, c.pointers, faults)
			}
			if len(faults) > 0 {
				return
			}
			r, err := catalogue.Render(request("m", notice.MediumEmail, c.data))
			if err != nil {
				t.Fatalf("passed the check, but fails: %v", err)
			}
			if text := r.Content.Email.Text; text == "" || strings.Contains(text, "<no value>") {
				t.Errorf("passed the check, but comes out as %q", text)
			}
		})
	}
}

func TestDataIsHeldAgainstTheSchema(t *testing.T) {
	const schema = `schema:
  type: object
  required: [order, pad]
  additionalProperties: false
  properties:
    order: {type: string, pattern: "^A-"}
    pad: {type: string}
    mail: {type: string, format: email}
    count: {type: integer, minimum: 1, maximum: 10}
    kind: {enum: [a, b]}
    lines: {type: array, maxItems: 2, items: {$ref: "#/$defs/line"}}
    pay: {oneOf: [{type: object, required: [card]}, {type: object, required: [iban]}]}
  $defs:
    line: {type: object, required: [sku], additionalProperties: false, properties: {sku: {type: string}}}
`
	m, _ := mustLoad(t, mail("{{.data.order}}", "m/template.yaml", schema)).Template("m")
	for _, c := range []struct{ name, data, want string }{
		{"everything in order", `{"order":"A-1","pad":"x","count":3,"lines":[{"sku":"s"}]}`, ""},
		{"a missing property points at itself and tells its type", `{"order":"A-1"}`, "/data/pad: is required (string)"},
		{"every fault at once", `{"count":0,"kind":"c"}`, "/data/count: must be at least 1; /data/kind: value must be one of 'a', 'b'; /data/order: is required (string); /data/pad: is required (string)"},
		{"an unknown property names the nearest", `{"order":"A-1","pad":"","oder":1}`, "/data/oder: is not known to the template: did you mean order?"},
		{"a wrong type says both", `{"order":5,"pad":""}`, "/data/order: is a number: wants a string"},
		{"a fraction is no integer", `{"order":"A-1","pad":"","count":1.5}`, "/data/count: is a number: wants an integer"},
		{"a number with a zero fraction is one", `{"order":"A-1","pad":"","count":2.0}`, ""},
		{"a format is held to, without quoting the value", `{"order":"A-1","pad":"","mail":"nobody"}`, "/data/mail: is no valid email"},
		{"so is a pattern", `{"order":"B-secret","pad":""}`, "/data/order: does not match the pattern ^A-"},
		{"places inside lists", `{"order":"A-1","pad":"","lines":[{"sku":"s"},{"skus":"t"}]}`, "/data/lines/1/sku: is required (string); /data/lines/1/skus: is not known to the template: did you mean sku?"},
		{"a choice says what each branch wants", `{"order":"A-1","pad":"","pay":{}}`, "/data/pay: matches none of the shapes that the schema allows: /data/pay/card is required; or /data/pay/iban is required"},
		{"data that is no object", `[1]`, "/data: is an array: send an object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, faults := m.CheckData(jsontext.Value(c.data)); faults.Error() != c.want {
				t.Errorf("faults\n%s\nwant\n%s", faults.Error(), c.want)
			}
		})
	}
}

func TestDataOfAnyDepthIsRefusedBeforeItIsWalked(t *testing.T) {
	m, _ := mustLoad(t, mail("t")).Template("m")
	deep := jsontext.Value(`{"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`)
	if _, faults := m.CheckData(deep); pointers(faults) != "/data" || !strings.Contains(faults.Error(), "nested more than 64") {
		t.Errorf("deep data: %v", faults)
	}
	if _, faults := m.CheckData(jsontext.Value(`{"a":1} {}`)); pointers(faults) != "/data" {
		t.Errorf("two values: %v", faults)
	}
	if _, faults := m.CheckData(jsontext.Value(`{"a":1e999}`)); pointers(faults) != "/data" {
		t.Errorf("a number beyond floats: %v", faults)
	}
}

func TestDecodedDataIsWhatSchemasAndTemplatesRead(t *testing.T) {
	m, _ := mustLoad(t, mail("t")).Template("m")
	v, faults := m.CheckData(jsontext.Value(`{"n":12345678,"f":1.50,"b":true,"l":[null]}`))
	data, ok := v.(map[string]any)
	if len(faults) > 0 || !ok || data["n"] != int64(12345678) || data["f"] != 1.5 || data["b"] != true {
		t.Errorf("decoded %#v, faults %v", v, faults)
	}
}
