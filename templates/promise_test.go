package templates

import (
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
)

// wide is a schema with every way of saying what a value is.
const wide = `schema:
  type: object
  required: [s, n, i, b, l, o, u, r, e, c, d, p, a, x, when, some]
  properties:
    s: {type: string}
    n: {type: number}
    i: {type: integer}
    b: {type: boolean}
    l: {type: array, items: {type: string}}
    o: {type: object, required: [k], properties: {k: {type: string}, q: {type: string}}}
    u: {}
    r: {$ref: "#/$defs/line"}
    e: {enum: [one, two]}
    c: {const: 5}
    d: {anyOf: [{type: object, required: [k], properties: {k: {type: string}}}, {type: object, required: [k, z], properties: {k: {type: string}, z: {type: string}}}]}
    p: {type: object, patternProperties: {"^x-": {type: array}}, additionalProperties: {type: string}}
    a: {allOf: [{$ref: "#/$defs/line"}, {required: [note], properties: {note: {type: string}}}]}
    x: {oneOf: [{type: string}, {type: object}]}
    z: {type: [string, "null"]}
    when: {type: string, format: date-time}
    some: {type: array, minItems: 2, items: {$ref: "#/$defs/line"}}
    t: {type: array, prefixItems: [{type: string}, {type: number}], items: false}
  $defs:
    line: {type: object, required: [sku], properties: {sku: {type: string}, qty: {type: integer}, next: {$ref: "#/$defs/line"}}}
`

func TestEveryReadIsHeldAgainstTheSchema(t *testing.T) {
	for _, c := range []struct{ name, part, place, words string }{
		{"scalars print", "{{.data.s}}{{.data.n}}{{.data.i}}{{.data.b}}{{.data.e}}{{.data.c}}", "", ""},
		{"what is left open is for the data", "{{.data.u}}{{.data.u.v}}{{range .data.u}}{{.}}{{end}}", "", ""},
		{"a list does not print", "a {{.data.l}}", "1:5", "may be an array"},
		{"an object does not print", "a\n{{ .data.o }}", "2:4", "may be an object"},
		{"a list behind a default does not print", `{{.data.l | default "x"}}`, "1:3", "may be an array"},
		{"a range over a text", "{{range .data.s}}x{{end}}", "1:9", "goes through it as a list"},
		{"a range over a fraction", "{{range .data.n}}x{{end}}", "1:9", "may be a number"},
		{"a range over a whole number", "{{range .data.i}}x{{end}}", "", ""},
		{"a range over an object", "{{range .data.o}}{{.}}{{end}}", "", ""},
		{"elements have their type", "{{range .data.l}}{{range .}}x{{end}}{{end}}", "1:26", ".data.l[*] may be a string"},
		{"a field of a text", "{{.data.s.k}}", "1:3", `may be a string by the schema, and the template reads "k" of it`},
		{"a field of what may be a text", "{{.data.x.k}}", "1:3", "may be a string"},
		{"the length of a number", "{{len .data.n}}", "1:7", "takes its length"},
		{"index into a text", `{{index .data.s "k"}}`, "1:9", "reads"},
		{"a joined text", `{{join ", " .data.s}}`, "1:13", "joins it"},
		{"a joined list", `{{join ", " .data.l}}`, "", ""},
		{"a piped list", `{{.data.l | join ", " | upper}}`, "", ""},
		{"a piped text that is taken for a list", `{{.data.s | join ", "}}`, "1:3", "joins it"},
		{"a text compared with a number", "{{if gt .data.s 3}}x{{end}}", "1:9", "compares it with 3"},
		{"a number compared with a text", `{{if eq .data.n "x"}}x{{end}}`, "1:9", `compares it with "x"`},
		{"a list compared", `{{if eq .data.l .data.s}}x{{end}}`, "1:9", "compares it"},
		{"numbers compare", "{{if gt .data.n 3}}x{{end}}{{if le .data.i 2.5}}y{{end}}", "", ""},
		{"a time", `{{date "date" .data.when}}`, "", ""},
		{"a list for a time", `{{date "date" .data.l}}`, "1:15", "takes it for a time"},
		{"a verb for another type", `{{printf "%d" .data.s}}`, "1:15", "prints it with %d"},
		{"a verb that is none", `{{printf "%y" .data.s}}`, "1:10", "no verb %y"},
		{"fewer values than verbs", `{{printf "%s %s" .data.s}}`, "1:3", "2 verbs and there are 1 values"},
		{"a piped value counts", `{{.data.s | printf "%s"}}`, "", ""},
		{"arguments in the wrong order", `{{truncate .data.s 5}}`, "1:12", "may be a string"},
		{"a constant of the wrong type", `{{truncate "x" .data.s}}`, "1:12", "truncate wants an integer"},
		{"too few arguments", `{{truncate 5}}`, "1:3", "truncate wants 2 arguments, not 1"},
		{"too many arguments", `{{upper .data.s .data.s}}`, "1:3", "wants 1 argument, not 2"},
		{"a property behind $ref", "{{.data.r.sku}}", "", ""},
		{"an optional one behind $ref", "{{.data.r.qty}}", "1:3", ".data.r.qty is optional"},
		{"one that is not there behind $ref", "{{.data.r.skew}}", "1:3", "did you mean sku?"},
		{"a recursive $ref", "{{with .data.r.next}}{{with .next}}{{.sku}}{{end}}{{end}}", "", ""},
		{"an optional one deep in a recursive $ref", "{{with .data.r.next}}{{with .next}}{{.qty}}{{end}}{{end}}", "1:38", ".data.r.next.next.qty is optional"},
		{"what all of allOf have", "{{.data.a.sku}}{{.data.a.note}}", "", ""},
		{"what none of allOf has", "{{.data.a.nota}}", "1:3", "did you mean note?"},
		{"what each of anyOf has", "{{.data.d.k}}", "", ""},
		{"what one of anyOf has", "{{.data.d.z}}", "1:3", ".data.d.z is optional"},
		{"what one of anyOf has, tested", "{{with .data.d.z}}{{.}}{{end}}", "", ""},
		{"a pattern's property", `{{with index .data.p "x-a"}}{{.}}{{end}}`, "1:31", "may be an array"},
		{"an additional property", `{{with index .data.p "other"}}{{.}}{{end}}`, "", ""},
		{"a nullable text", "{{.data.z}}", "1:3", "optional"},
		{"an element that is surely there", "{{(index .data.some 1).sku}}", "", ""},
		{"an element that may not be there", "{{index .data.l 0}}", "1:9", "minItems: 1"},
		{"an element of a tested list", "{{if .data.l}}{{index .data.l 0}}{{end}}", "", ""},
		{"a later element of a tested list", "{{if .data.l}}{{index .data.l 1}}{{end}}", "1:23", "minItems: 2"},
		{"a later element of a list that was measured", "{{if gt (len .data.l) 1}}{{index .data.l 1}}{{end}}", "", ""},
		{"a tuple's elements", "{{with .data.t}}{{index . 0}}{{end}}", "", ""},
		{"or stops at what is not there", "{{if or (not .data.z) (eq (len .data.z) 0)}}{{else}}{{.data.z}}{{end}}", "", ""},
		{"a test against nil", "{{if ne .data.z nil}}{{.data.z}}{{end}}", "", ""},
		{"a test against one of two constants", `{{if eq "a" "a" .data.z}}{{.data.z}}{{end}}`, "1:28", "optional"},
		{"an outer element's test says nothing of an inner one", "{{range .data.some}}{{if .qty}}{{range $.data.some}}{{.qty}}{{end}}{{end}}{{end}}", "1:55", "qty is optional"},
		{"a variable's field", "{{$x := .data.r}}\n {{ $x.qty }}", "2:5", ".data.r.qty is optional"},
		{"a partial's field", `{{template "p" .data.r}}`, "_partials/p.txt:2:4", ".data.r.qty is optional"},
		{"a partial of a pipeline", `{{template "p" (index .data.some 0)}}`, "_partials/p.txt:2:4", ".data.some[0].qty is optional"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := mail(c.part, "m/template.yaml", wide, "_partials/p.txt", "p\n {{.qty}}")
			_, err := Load(fsys)
			if c.place == "" {
				if err != nil {
					t.Errorf("faults: %v", err)
				}
				return
			}
			if !strings.HasPrefix(c.place, "_") {
				c.place = "m/en/email.txt:" + c.place
			}
			wantFault(t, loadFaults(t, fsys), c.place, c.words)
		})
	}
}

// What no schema has said is said by the first notification whose data is of
// no use to the parts.
func TestDataThatAPartCannotUseIsRefusedAtTheDoor(t *testing.T) {
	for _, c := range []struct{ name, part, data, want string }{
		{"an object that is printed", "{{.data.a}}", `{"a":{"b":1}}`, "/data/a: is an object, and the template prints it"},
		{"a list that is printed", "{{.data.a}}", `{"a":[1]}`, "/data/a: is an array"},
		{"a text that is no time", `{{date "date" .data.a}}`, `{"a":"soon"}`, "/data/a: does not read as the template takes it for a time"},
		{"a time", `{{date "date" .data.a}}`, `{"a":"2027-01-01T09:00:00Z"}`, ""},
		{"a day", `{{date "date" .data.a}}`, `{"a":"2027-01-01"}`, ""},
		{"seconds", `{{date "date" .data.a}}`, `{"a":1800000000}`, ""},
		{"a text that is no number", `{{number .data.a}}`, `{"a":"many"}`, "/data/a: does not read as the template writes it as a number"},
		{"a text of digits", `{{number .data.a}}`, `{"a":"1234.50"}`, ""},
		{"a fraction of money", `{{money "EUR" .data.a}}`, `{"a":12.5}`, "/data/a: is a number, and the template writes it as money"},
		{"a text that is ordered among numbers", `{{if gt .data.a 3}}x{{else}}y{{end}}`, `{"a":"4"}`, "/data/a: is a string, and the template compares it with 3"},
		{"a fraction among whole numbers", `{{if gt .data.a 3}}x{{else}}y{{end}}`, `{"a":3.5}`, ""},
		{"a whole number among fractions", `{{if gt .data.a 2.5}}x{{else}}y{{end}}`, `{"a":3}`, ""},
		{"a whole number printed as a fraction", `{{printf "%.2f" .data.a}}`, `{"a":3}`, ""},
		{"a fraction printed as a whole number", `{{printf "%d" .data.a}}`, `{"a":3.5}`, "/data/a: is a number, and the template prints it with %d"},
		{"an empty list whose first is read", `{{index .data.a 0}}`, `{"a":[]}`, "/data/a/0: is required"},
		{"a list whose first is read", `{{index .data.a 0}}`, `{"a":["x"]}`, ""},
		{"an element's field that is not there", `{{(index .data.a 1).b}}`, `{"a":[{},{}]}`, "/data/a/1/b: is required"},
		{"an element's field that may not be there", `-{{with (index .data.a 1).b}}{{.}}{{end}}`, `{"a":[{},{}]}`, ""},
		{"the first of a tested list that is empty", `-{{with .data.a}}{{index . 0}}{{end}}`, `{"a":[]}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			catalogue := mustLoad(t, mail(c.part))
			m, _ := catalogue.Template("m")
			faults := m.DataFaults(jsontext.Value(c.data))
			if c.want != "" {
				if !strings.HasPrefix(faults.Error(), c.want) {
					t.Errorf("faults %v, want %s", faults, c.want)
				}
				return
			}
			if len(faults) > 0 {
				t.Errorf("faults %v", faults)
			}
			r, err := catalogue.Render(request("m", notice.MediumEmail, c.data))
			if err != nil || strings.Contains(r.Content.Email.Text, "%!") || r.Content.Email.Text == "" {
				t.Errorf("rendered %q, %v", r.Content.Email, err)
			}
		})
	}
}

func TestNumbersCompareByValue(t *testing.T) {
	const part = `{{range .data.l}}{{if gt .a .b}}>{{else if lt .a .b}}<{{else if eq .a .b}}={{end}}{{if ne .a .b}}!{{end}}{{if le .a .b}}l{{end}}{{if ge .a .b}}g{{end}} {{end}}`
	got := renderText(t, mail(part), `{"l":[{"a":3,"b":3.5},{"a":3.5,"b":3},{"a":3,"b":3.0},{"a":9007199254740993,"b":9007199254740992},{"a":"a","b":"b"}]}`)
	if want := "<!l >!g =lg >!g <!l"; got != want && got != want+" " {
		t.Errorf("compared %q, want %q", got, want)
	}
}

// argumentCount says it without making the functions, so it must be told of
// every new one.
func TestArgumentCountsAreTheFunctions(t *testing.T) {
	for name, f := range functionNames() {
		least, most := argumentCount(name)
		typ := reflect.TypeOf(f)
		if typ.Kind() != reflect.Func {
			continue // the engine's own
		}
		given := typ.NumIn()
		if isReaderFunction(name) {
			given-- // the reader
		}
		switch {
		case !typ.IsVariadic() && (least != given || most != given):
			t.Errorf("%s takes %d arguments, not %d to %d", name, given, least, most)
		case typ.IsVariadic() && (least < given-1 || least > given):
			t.Errorf("%s takes at least %d arguments, not %d", name, given-1, least)
		}
	}
}
