package config_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/carillonhq/carillon/config"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// compileSchema is Schema, ready to validate with.
func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("carillon.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("carillon.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func parseAny(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTheSchemaAgreesWithTheLoader(t *testing.T) {
	schema := compileSchema(t)
	good, err := os.ReadFile("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text string
		ok         bool
	}{
		{"the good file", string(good), true},
		{"nothing set", "{}", true},
		{"a number from a variable", `queue: {partitions: "${HOME}"}`, true},
		{"a size as a number", "ingest: {max_body: 65536}", true},
		{"a duration in days", "queue: {retention: 7d}", true},
		{"a compound duration", "queue: {retention: 1h30m}", true},
		{"no rate", `channels: {webhook: {rate: ""}}`, true},
		{"a rate in a unit", "channels: {webhook: {rate: 100/s}}", true},
		{"a rate in a window", "throttle: {per_user: [{limit: 3/24h}]}", true},
		{"an unknown section", "redsi: {}", false},
		{"an unknown key", "queue: {partition: 8}", false},
		{"an unknown key in a list", "auth: {keys: [{tenat: a, tenant: a, key: 0123456789abcdefg}]}", false},
		{"a missing key in a list", "auth: {keys: [{key: 0123456789abcdefg}]}", false},
		{"a word that is no choice", "queue: {durability: disc}", false},
		{"a number out of range", "queue: {partitions: 4097}", false},
		{"a duration without a unit", `queue: {visibility: "60"}`, false},
		{"a rate without a time", `channels: {webhook: {rate: "100"}}`, false},
		{"a list for text", "queue: {namespace: [a]}", false},
		{"text for a section", "queue: eight", false},
		{"text that breaks a pattern", `throttle: {quiet_hours: {from: "24:00"}}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := schema.Validate(parseAny(t, tt.text))
			if (err == nil) != tt.ok {
				t.Errorf("the schema says %v, want it to accept: %v", err, tt.ok)
			}
			environ := append(goodEnv, "HOME=16")
			if _, err := config.Parse("testdata/c.yaml", []byte(tt.text), environ); err != nil && tt.ok {
				t.Errorf("the loader says %v of what the schema accepts", err)
			} else if err == nil && !tt.ok {
				t.Error("the loader accepts what the schema refuses")
			}
		})
	}
}

func TestTheSchemaHasADescriptionAndATypeForEveryKey(t *testing.T) {
	text, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	root := parseAny(t, string(text)).(map[string]any)
	seen := 0
	var walk func(path string, node map[string]any)
	walk = func(path string, node map[string]any) {
		if items, ok := node["items"].(map[string]any); ok {
			walk(path+"[]", items)
		}
		properties, _ := node["properties"].(map[string]any)
		for key, value := range properties {
			seen++
			property := value.(map[string]any)
			if property["description"] == nil {
				t.Errorf("%s.%s has no description", path, key)
			}
			if property["type"] == nil && property["anyOf"] == nil {
				t.Errorf("%s.%s has no type", path, key)
			}
			walk(path+"."+key, property)
		}
		if node["type"] == "object" && node["additionalProperties"] != false {
			t.Errorf("%s lets unknown keys through", path)
		}
	}
	walk("", root)
	if seen < 100 {
		t.Errorf("found %d keys, want all of them", seen)
	}
}

func TestPrintIsReadBackAsTheSameConfiguration(t *testing.T) {
	tests := []struct{ name, text string }{
		{"the defaults", "{}"},
		{"text that YAML reads as something else", `{throttle: {per_user: [{name: "null", category: "0123", limit: 3/d}], quiet_hours: {from: "22:00", to: "08:00", except: ["true", "~", "1e3", "a: b", "#c"]}}}`},
		{"text with a dollar and a brace", "routes: [{type: '$${a}', source: '$$${b}', template: t, to: {user: '{{ $x }}'}}]"},
		{"text of several lines", "routes: [{type: t, when: \"a\\n  b\\n\", template: t, to: {user: ' u '}}]"},
		{"every channel without secrets", "channels: {webhook: {retry: {schedule: []}}, fcm: {project: p, endpoint: 'http://127.0.0.1:1', concurrency: 1}}"},
		{"sentinel and sizes", "{redis: {sentinel: {master: m, addresses: ['s:1', '[::1]:2']}}, ingest: {max_body: 1500}, queue: {retention: 90m}}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := config.Parse("c.yaml", []byte(tt.text), nil)
			if err != nil {
				t.Fatal(err)
			}
			first := printed(t, cfg)
			again, err := config.Parse("c.yaml", []byte(first), nil)
			if err != nil {
				t.Fatalf("what was printed is refused: %v\n%s", err, first)
			}
			if second := printed(t, again); first != second {
				t.Errorf("printed\n%s\nand, read back,\n%s", first, second)
			}
		})
	}
}

func printed(t *testing.T, cfg *config.Config) string {
	t.Helper()
	var b strings.Builder
	if err := config.Print(&b, cfg); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPrintShowsTheEffectiveValuesAndNoSecret(t *testing.T) {
	cfg := loadGood(t, "CARILLON_REDIS_URL=redis://u:correct-horse@127.0.0.1:6379/0", "CARILLON_CHANNELS_FCM_ENDPOINT=https://u:correct@localhost")
	golden(t, "testdata/good.printed", relative(t, printed(t, cfg)))
	text := printed(t, cfg)
	for _, secret := range []string{"correct", "0123456789abcdef", "BEGIN", "service_account"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is printed:\n%s", secret, text)
		}
	}
}
