package routing

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// FuzzField runs whatever compiles over whatever event: no panic, no value
// beyond the bound, and never the engine's words for nothing.
func FuzzField(f *testing.F) {
	data := string(issue().Data)
	f.Add("{{ .data.issue.user.login }}", data)
	f.Add(`{{ if eq .data.number 12345678 }}{{ lower .type }}{{ else }}{{ .data.score }}{{ end }}`, data)
	f.Add(`{{ with index .data "labels" }}{{ index . 0 "name" }}{{ end }}`, data)
	f.Add(`{{ $x := .data.milestone }}{{ $x }}`, data)
	f.Add(`{{ slice .data.issue.title 1 3 | upper | urlquery }}{{ not .data.draft }}`, data)
	f.Add(strings.Repeat("{{if 1}}", 400), data)
	f.Add("{{"+strings.Repeat("(", 2000), data)
	f.Fuzz(func(t *testing.T, source, data string) {
		compiled, err := compileField(source)
		if err != nil {
			return
		}
		ev := issue()
		ev.Data = jsontext.Value(data)
		value, err := compiled.render(&event{CloudEvent: ev})
		switch {
		case err != nil && value != "":
			t.Errorf("a value came with the error: %q, %v", value, err)
		case len(value) > max(maxValue, len(source)):
			t.Errorf("%q makes %d bytes", source, len(value))
		case strings.Contains(value, "<no value>") && !strings.Contains(source+data, "no value"):
			t.Errorf("%q over %s makes %q", source, data, value)
		}
	})
}

// FuzzDecodeData holds what conditions and templates see against the standard
// library's reading of the same JSON.
func FuzzDecodeData(f *testing.F) {
	f.Add(string(issue().Data))
	f.Add(`[1, -0, 1.0, 1e3, 9223372036854775807, 9223372036854775808, "\u00e9\n", true, null, {}, []]`)
	f.Add(`{"a":{"b":[{"c":"d"}]},"":0}`)
	f.Add(`{"a":1,"a":2}`)
	f.Fuzz(func(t *testing.T, data string) {
		got, err := decodeData(jsontext.Value(data))
		if err != nil {
			return
		}
		var want any
		if err := json.NewDecoder(strings.NewReader(data)).Decode(&want); err != nil {
			t.Fatalf("took %q, which encoding/json refuses: %v", data, err)
		}
		if !reflect.DeepEqual(asFloats(got), want) {
			t.Errorf("%q: got %#v, want %#v", data, got, want)
		}
	})
}

// asFloats makes every number what encoding/json makes of it.
func asFloats(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case []any:
		for i := range v {
			v[i] = asFloats(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = asFloats(v[k])
		}
	}
	return v
}

func TestATableServesManyGoroutinesAtOnce(t *testing.T) {
	r := forUser("com.**", "x")
	r.When = `data.labels.exists(l, l.name == "bug")`
	r.To.User = "{{ .data.issue.user.login }}-{{ .id }}"
	table := compile(t, r)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			ev := issue()
			ev.ID = strings.Repeat("x", i+1)
			for range 50 {
				got, err := table.Route(ev)
				if err != nil || len(got) != 1 || got[0].To.User != "Octocat-"+ev.ID {
					t.Errorf("got %+v, %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
