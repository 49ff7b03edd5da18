package templates

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

// compiled compiles one text part as the catalogue does.
func compiled(t interface{ Fatal(...any) }, file, text string) *program {
	var faults Faults
	m, ok := parseModule(file, text, functionNames(), &faults)
	if !ok {
		t.Fatal(faults)
	}
	p, err := link(m, nil, nil).compile(nil, map[string]any{"json": writeJSON, "upper": strings.ToUpper})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWhatIsWrittenDirectlyIsWhatTheEngineWrites(t *testing.T) {
	p := compiled(t, "x/en/webhook.json", `{"a": {{json .data.a}}, "b": {{json .data.b.c}}, "id": {{json .id}}}`)
	q := compiled(t, "x/en/push.title.txt", "Hello {{.to.name}}, {{.data.a}}{{/* a comment */}} & {{.id}}\n")
	for _, part := range []*program{p, q} {
		plain, ok := part.exec.(*direct)
		if !ok {
			t.Fatalf("%s is not written directly", part.file)
		}
		rapid.Check(t, func(t *rapid.T) {
			root := map[string]any{"id": rapid.String().Draw(t, "id"), "to": map[string]any{"name": rapid.String().Draw(t, "name")}}
			data, err := json.Marshal(map[string]any{"a": anyJSON(t, "a"), "b": map[string]any{"c": anyJSON(t, "c")}})
			if err != nil {
				t.Fatal(err)
			}
			if root["data"], err = decodeData(data, readableFloat); err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "a is missing") {
				delete(root["data"].(map[string]any), "a")
			}
			var got, want output
			errDirect, errEngine := plain.Execute(&got, root), plain.engine.Execute(&want, root)
			if (errDirect == nil) != (errEngine == nil) || errEngine == nil && got.String() != want.String() {
				t.Errorf("directly %q, %v; the engine %q, %v", got.String(), errDirect, want.String(), errEngine)
			}
		})
	}
}

// anyJSON is a value of every kind that JSON has.
func anyJSON(t *rapid.T, name string) any {
	return rapid.OneOf(
		rapid.String().AsAny(), rapid.Int64().AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil),
		rapid.Float64Range(-1e9, 1e9).AsAny(), rapid.SliceOfN(rapid.String(), 0, 3).AsAny(),
		rapid.MapOfN(rapid.String(), rapid.Int().AsAny(), 0, 3).AsAny(),
	).Draw(t, name)
}

func TestWhatIsNotPlainIsLeftToTheEngine(t *testing.T) {
	for _, text := range []string{"{{if .data.a}}x{{end}}", "{{range .data.a}}x{{end}}", "{{upper .data.a}}", "{{.data.a | upper}}",
		"{{$x := .data.a}}{{$x}}", "{{with .data.a}}{{.}}{{end}}", "{{json .data.a | upper}}", "{{.}}"} {
		if _, direct := compiled(t, "x/en/push.title.txt", text).exec.(*direct); direct {
			t.Errorf("%s is written directly", text)
		}
	}
}

func TestADirectPartIsHeldToTheBoundOfItsOutput(t *testing.T) {
	p := compiled(t, "x/en/push.title.txt", "{{.a}}{{.a}}{{.a}}")
	var out output
	if err := p.exec.Execute(&out, map[string]any{"a": strings.Repeat("x", maxOutput/2)}); err != errOutput {
		t.Errorf("three halves of the bound: %v", err)
	}
}
