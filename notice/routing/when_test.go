package routing

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json/jsontext"
)

func TestWhenReadsTheEvent(t *testing.T) {
	tests := []struct {
		name string
		when string
		want bool
	}{
		{"id", `id == "e-1"`, true},
		{"source", `source.endsWith("/octo-repo")`, true},
		{"type", `type.contains(".issues.")`, true},
		{"subject", `subject in ["41", "42"]`, true},
		{"time", `time > timestamp("2026-01-01T00:00:00Z")`, true},
		{"time of day", `time.getHours("Europe/Vienna") == 9`, true},
		{"a field", `data.issue.user.type == "User"`, true},
		{"a field with another value", `data.issue.user.type == "Bot"`, false},
		{"a whole number", `data.number == 12345678 && data.number > 5`, true},
		{"a fraction", `data.score < 2`, true},
		{"a boolean", `!data.draft`, true},
		{"null", `data.milestone == null`, true},
		{"a list", `data.labels.exists(l, l.name == "bug")`, true},
		{"a field that may be asked for", `has(data.issue.title) && !has(data.issue.body)`, true},
		{"a missing field is no match", `data.pull_request.merged`, false},
		{"a missing field is no match when denied either", `!data.pull_request.merged`, false},
		{"a missing field compared is no match", `data.sender.type != "Bot"`, false},
		{"a field of null is no match", `data.milestone.title == "1.0"`, false},
		{"an element past the end is no match", `data.labels[7].name == "bug"`, false},
		{"a missing field beside a true one", `data.nothing == 1 || data.number > 5`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := forUser("**", "x")
			r.When = tt.when
			got, err := compile(t, r).Route(issue())
			if err != nil {
				t.Fatalf("Route: %v", err)
			}
			if (len(got) == 1) != tt.want {
				t.Errorf("%s: matched %v, want %v", tt.when, len(got) == 1, tt.want)
			}
		})
	}
}

func TestWhenTakesAnAbsentTimeForMissing(t *testing.T) {
	r := forUser("**", "x")
	r.When = `time < timestamp("2030-01-01T00:00:00Z")`
	ev := issue()
	ev.Time = time.Time{}
	got, err := compile(t, r).Route(ev)
	if err != nil || len(got) != 0 {
		t.Errorf("got %d notifications, %v; want none, since the event has no time", len(got), err)
	}
}

func TestWhenIsRefusedWithItsColumn(t *testing.T) {
	env, err := newEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	for when, want := range map[string]string{
		`dat.x == 1`:                       "line 1, column 1: undeclared reference to 'dat'",
		"data.x == 1 &&\n  size(id)":       "line 2, column 7",
		`id == 1`:                          "line 1, column 4: found no matching overload for '_==_'",
		`data.x.matches("(")`:              "line 1, column 16: invalid matches argument",
		`data.x.matches(data.pattern)`:     "line 1, column 20: matches wants its pattern in quotes, not from the event",
		`id == "" || matches(id, subject)`: "line 1, column 25: matches wants its pattern in quotes",
		`1 + 1`:                            "gives a value of type int; write a comparison",
		strings.Repeat("!", 9000):          "expression code point size exceeds limit",
		strings.Repeat("(", 500):           "expression recursion limit exceeded",
	} {
		if _, err := compileWhen(env, when); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", when, err, want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: the error has several lines: %v", when, err)
		}
	}
}

// TestAHostileEventCannotMakeAConditionSpin feeds events made to cost the most
// to expressions that walk what the event brings.
func TestAHostileEventCannotMakeAConditionSpin(t *testing.T) {
	list := "[1" + strings.Repeat(",1", 20_000) + "]"
	text := strings.Repeat("a", 100_000)
	tests := []struct{ name, when, data string }{
		{"loops over loops", `data.l.all(a, data.l.all(b, data.l.all(c, a == b)))`, `{"l":` + list + `}`},
		{"loops that build lists", `data.l.map(a, data.l.map(b, data.l)).size() == 0`, `{"l":` + list + `}`},
		{"a search for each element", `data.l.all(a, !data.t.contains("b"))`, `{"l":` + list + `,"t":"` + text + `"}`},
		{"a pattern over a long text for each element", `data.l.all(a, !data.t.matches("a*b$"))`, `{"l":` + list + `,"t":"` + text + `"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := forUser("t", "x")
			r.When = tt.when
			table := compile(t, r)
			start := time.Now()
			_, err := table.Route(notice.CloudEvent{ID: "1", Type: "t", Data: jsontext.Value(tt.data)})
			if err == nil || !strings.Contains(err.Error(), "routes[0].when: could not be evaluated for this event: operation ") {
				t.Errorf("got %v, want the evaluation stopped", err)
			}
			// Milliseconds on an idle machine, hours without the limit: the
			// bound only has to tell the two apart under the race detector.
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func BenchmarkRoute(b *testing.B) {
	table := benchTable(b)
	ev := issue()
	ev.Data = padded(8 << 10)
	b.ReportAllocs()
	for b.Loop() {
		if n, err := table.Route(ev); err != nil || len(n) != 1 {
			b.Fatal(len(n), err)
		}
	}
}

// BenchmarkIgnored is an event of 8 KB that no route is for, with the routes
// of the GitHub example's size.
func BenchmarkIgnored(b *testing.B) {
	table := benchTable(b)
	for name, typ := range map[string]string{
		"another_root":     "org.shop.order.shipped",
		"the_same_root":    "com.github.watch.started",
		"under_a_wildcard": "com.github.issues.opened.v2",
	} {
		b.Run(name, func(b *testing.B) {
			ev := issue()
			ev.Type, ev.Data = typ, padded(8<<10)
			b.ReportAllocs()
			for b.Loop() {
				if n, err := table.Route(ev); err != nil || len(n) != 0 {
					b.Fatal(len(n), err)
				}
			}
		})
	}
}

func benchTable(b *testing.B) *Table {
	b.Helper()
	routes := []config.Route{forUser("com.github.push", "push"), forUser("com.github.release.*", "release")}
	for i := range 20 {
		routes = append(routes, forUser(fmt.Sprintf("com.github.kind_%d.*", i), "x"))
	}
	issues := forUser("com.github.issues.*", "issue")
	issues.When = `data.issue.user.type == "User"`
	issues.To.User = "{{ .data.issue.user.login }}"
	table, err := Compile(append(routes, issues))
	if err != nil {
		b.Fatal(err)
	}
	return table
}

func padded(size int) jsontext.Value {
	body := string(issue().Data)
	return jsontext.Value(fmt.Sprintf(`{"pad":%q,%s`, strings.Repeat("x", size-len(body)), strings.TrimPrefix(body, "{")))
}
