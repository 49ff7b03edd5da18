package routing

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json/jsontext"
)

// issue is an event as code hosts send them.
func issue() notice.CloudEvent {
	return notice.CloudEvent{
		ID:      "e-1",
		Source:  "https://github.com/octo-org/octo-repo",
		Type:    "com.github.issues.opened",
		Subject: "42",
		Time:    time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC),
		Data: jsontext.Value(`{"action":"opened","number":12345678,"score":1.50,"draft":false,"milestone":null,"labels":[{"name":"bug"}],
			"issue":{"title":"It rings twice","user":{"login":"Octocat","type":"User"}}}`),
	}
}

// forUser is the least route there can be, for the given type.
func forUser(typ, template string) config.Route {
	return config.Route{Type: typ, Template: template, To: config.RouteTo{User: "u1"}}
}

func compile(t *testing.T, routes ...config.Route) *Table {
	t.Helper()
	table, err := Compile(routes)
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	return table
}

func TestRouteFillsEveryFieldOfTheNotification(t *testing.T) {
	table := compile(t, config.Route{
		Type:     "com.github.issues.*",
		Source:   "https://github.com/octo-org/**",
		When:     `data.issue.user.type == "User"`,
		Template: "issue",
		To: config.RouteTo{
			User:     "{{ .data.issue.user.login }}",
			Email:    "{{ lower .data.issue.user.login }}@users.example",
			Name:     "{{ .data.issue.user.login }}",
			Locale:   `{{ if eq .data.issue.user.login "Octocat" }}de{{ else }}en{{ end }}`,
			Timezone: "Europe/Vienna",
			Webhooks: []config.RouteWebhook{{URL: "https://hooks.example/{{ .subject }}", Secret: config.NewSecret("whsec_c2VjcmV0")}},
			Devices:  []config.RouteDevice{{Platform: "android", Token: "token-{{ .id }}"}},
		},
		Category:    "issues",
		Priority:    `{{ if .data.draft }}bulk{{ else }}critical{{ end }}`,
		CollapseKey: "{{ $labels := .data.labels }}{{ .source }}#{{ .data.number }}@{{ .time }}{{ with $labels }}!{{ end }}",
		Channels:    []string{"email", "webhook"},
	})
	got, err := table.Route(issue())
	if err != nil {
		t.Fatalf("Route: %v", err)
	}
	want := []notice.Notification{{
		Template: "issue",
		To: notice.Recipient{
			User: "Octocat", Email: "octocat@users.example", Name: "Octocat", Locale: "de", Timezone: "Europe/Vienna",
			Webhooks: []notice.Webhook{{URL: "https://hooks.example/42", Secret: "whsec_c2VjcmV0"}},
			Devices:  []notice.Device{{Platform: notice.PlatformAndroid, Token: "token-e-1"}},
		},
		Data:        issue().Data,
		Channels:    []notice.Medium{notice.MediumEmail, notice.MediumWebhook},
		Category:    "issues",
		Priority:    notice.LaneCritical,
		CollapseKey: "https://github.com/octo-org/octo-repo#12345678@2026-11-23T08:00:00Z!",
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestRouteLeavesEmptyOptionalFieldsOut(t *testing.T) {
	table := compile(t, config.Route{
		Type: "com.github.issues.opened", Template: "issue",
		To: config.RouteTo{
			User:     "u1",
			Email:    `{{ with index .data "email" }}{{ . }}{{ end }}`,
			Webhooks: []config.RouteWebhook{{URL: `{{ with .data.milestone }}https://x{{ end }}`}},
			Devices:  []config.RouteDevice{{Platform: "ios", Token: `{{ if .data.draft }}00{{ end }}`}},
		},
		Priority:    "\n  {{- if .data.draft }}bulk{{ end }}\n",
		CollapseKey: " ",
	})
	got, err := table.Route(issue())
	if err != nil {
		t.Fatalf("Route: %v", err)
	}
	want := []notice.Notification{{Template: "issue", To: notice.Recipient{User: "u1"}, Data: issue().Data}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestRouteTakesTheFirstMatchUnlessToldToContinue(t *testing.T) {
	also := func(r config.Route) config.Route { r.Continue = true; return r }
	when := func(r config.Route, expression string) config.Route { r.When = expression; return r }
	from := func(r config.Route, source string) config.Route { r.Source = source; return r }
	tests := []struct {
		name   string
		routes []config.Route
		want   []string
	}{
		{"no routes at all", nil, nil},
		{"a type that no route names", []config.Route{forUser("com.github.push", "a")}, nil},
		{"a pattern over the type's own parent", []config.Route{forUser("com.github.*", "a")}, nil},
		{"the first of two", []config.Route{forUser("com.github.issues.*", "a"), forUser("com.**", "b")}, []string{"a"}},
		{"order beats exactness", []config.Route{forUser("com.**", "a"), forUser("com.github.issues.opened", "b")}, []string{"a"}},
		{"continue takes the next one too", []config.Route{also(forUser("com.**", "a")), forUser("com.github.issues.opened", "b"), forUser("**", "c")}, []string{"a", "b"}},
		{"continue on the last is no harm", []config.Route{also(forUser("com.**", "a"))}, []string{"a"}},
		{"continue of a route that does not match is nothing", []config.Route{also(forUser("com.github.push", "a")), forUser("com.**", "b")}, []string{"b"}},
		{"a false condition moves on", []config.Route{when(forUser("com.**", "a"), "false"), forUser("com.**", "b")}, []string{"b"}},
		{"another source moves on", []config.Route{from(forUser("com.**", "a"), "https://gitlab.com/**"), forUser("com.**", "b")}, []string{"b"}},
		{"a matching source", []config.Route{from(forUser("com.**", "a"), "https://github.com/*/octo-repo")}, []string{"a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			notifications, err := compile(t, tt.routes...).Route(issue())
			if err != nil {
				t.Fatalf("Route: %v", err)
			}
			var got []string
			for _, n := range notifications {
				got = append(got, n.Template)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got templates %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCompileNamesEveryFaultOfEveryRoute(t *testing.T) {
	_, err := Compile([]config.Route{
		{Type: "com.***", Source: "a b", When: "data.x ==", Template: "", To: config.RouteTo{User: "{{ .data.user"}},
		forUser("com.fine", "fine"),
		{Type: "com.x", Template: "x", Priority: "urgent", Category: "{{ range .data.list }}x{{ end }}", Channels: []string{"email", "pish"}},
		{Type: "com.x", Template: "x", CollapseKey: `{{ printf "%s" .data.x }}`, To: config.RouteTo{
			Webhooks: []config.RouteWebhook{{}}, Devices: []config.RouteDevice{{Platform: "androyd", Token: "t"}},
		}},
	})
	if err == nil {
		t.Fatal("Compile took four bad routes")
	}
	want := []string{
		`routes[0].type: "com.***": *** means nothing; write * for any text within '.', ** for any text across it`,
		`routes[0].template: "": is empty; name a template of the catalogue`,
		`routes[0].to.user: "{{ .data.user": line 1: unclosed action`,
		`routes[0].source: "a b": holds a space or a control character, which no event's type or source does; take it out`,
		`routes[0].when: "data.x ==": line 1, column 10: Syntax error: mismatched input '<EOF>'`,
		`routes[2].to: "": names nobody; give at least user, as "{{ .data.user }}"`,
		`routes[2].category: "{{ range .data.list }}x{{ end }}": line 1: {{range}} has no place in a field`,
		`routes[2].priority: "urgent": is not one of critical, normal, bulk`,
		`routes[2].channels[1]: "pish": is not one of push, email, webhook; did you mean push?`,
		`routes[3].to.webhooks[0].url: "": is empty; write it, or leave the whole entry out`,
		`routes[3].to.devices[0].platform: "androyd": is not one of ios, android, web; did you mean android?`,
		`routes[3].collapse_key: "{{ printf \"%s\" .data.x }}": line 1: function "printf" not defined`,
	}
	got := strings.Split(err.Error(), "\n")
	if len(got) != len(want) {
		t.Errorf("%d faults, want %d:\n%s", len(got), len(want), err)
	}
	for i := range min(len(got), len(want)) {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("fault %d:\ngot  %s\nwant %s", i, got[i], want[i])
		}
	}
}

func TestRouteErrorsNameTheRouteAndHoldNothingOfTheEvent(t *testing.T) {
	const secret = "hunter2@private.example"
	data := `{"s":"` + secret + `","null":null,"list":["` + secret + `"],"object":{"` + secret + `":1},"n":5}`
	user := func(source string) config.Route {
		r := forUser("t", "x")
		r.To.User = source
		return r
	}
	with := func(change func(*config.Route)) config.Route {
		r := forUser("t", "x")
		change(&r)
		return r
	}
	when := func(source string) config.Route { return with(func(r *config.Route) { r.When = source }) }
	tests := []struct {
		name  string
		route config.Route
		data  string
		want  string
	}{
		{"a missing field", user("{{ .data.login }}"), data, `routes[1].to.user: line 1:8: <.data.login>: map has no entry for key "login"`},
		{"a null field", user("{{ .data.null }}"), data, "routes[1].to.user: {{.data.null}} is null or absent; ask with {{with}} where it may be"},
		{"a list", user("{{ .data.list }}"), data, "routes[1].to.user: {{.data.list}} is a list; take one element with `index`"},
		{"an object", user("{{ .data.object }}"), data, "routes[1].to.user: {{.data.object}} is an object; name one of its fields"},
		{"a field of a string", user("{{ .data.s.login }}"), data, "routes[1].to.user: line 1:8: <.data.s.login>: can't evaluate field login in type interface {}"},
		{"an element that is not there", user("{{ index .data.list 7 }}"), data, "routes[1].to.user: line 1:3: <index .data.list 7>: error calling index: index out of range: 7"},
		{"a number where text is wanted", user("{{ lower .data.n }}"), data, "routes[1].to.user: line 1:14: <.data.n>: wrong type for value; expected string; got int64"},
		{"nobody", user("{{ if false }}x{{ end }}"), data, "routes[1].to: comes out empty for this event; leave such events out with `when`"},
		{"a value without bound", user("{{ .data.s }}"), `{"s":"` + strings.Repeat("x", maxValue+1) + `"}`, "routes[1].to.user: comes out longer than 4096 bytes"},
		{"a priority that is none", with(func(r *config.Route) { r.Priority = "{{ .data.s }}" }), data, "routes[1].priority: is not one of critical, normal, bulk"},
		{"a platform that is none", with(func(r *config.Route) {
			r.To.Devices = []config.RouteDevice{{Platform: "{{ .data.s }}", Token: "t"}}
		}), data, "routes[1].to.devices[0].platform: is not one of ios, android, web"},
		{"a list for data", user("u"), `["` + secret + `"]`, "routes[1].data: the event's data is not a JSON object, so no template can use it"},
		{"data that is no JSON, in a template", user("{{ .data.s }}"), `{"s":"` + secret + `"`, "routes[1].to.user: the event's data is not JSON from byte"},
		{"data that is no JSON, in a condition", when("data.s == 'x'"), `{"s":"` + secret + `"`, "routes[1].when: the event's data is not JSON from byte"},
		{"data deeper than anybody means", when("data.s == 'x'"), strings.Repeat(`{"s":`, 70) + "1" + strings.Repeat("}", 70), "routes[1].when: the event's data nests deeper than 64 levels"},
		{"a number beyond all numbers", when("data.s == 1.0"), `{"s":1e999}`, "routes[1].when: the event's data holds a number that no computer keeps; send it as a string"},
		{"a condition that converts", when("int(data.s) > 1"), data, "routes[1].when: could not be evaluated for this event: type conversion error from 'string' to 'int'"},
		{"a condition that reads a time", when("timestamp(data.s) > time"), data, "routes[1].when: could not be evaluated for this event: invalid RFC 3339 timestamp"},
		{"a condition that adds apples to pears", when("data.s + data.n == data.s"), data, "routes[1].when: could not be evaluated for this event: no such overload"},
		{"a condition that is no condition", when("data.s"), data, "routes[1].when: gave a value of type string, not true or false"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table := compile(t, forUser("other", "y"), tt.route)
			got, err := table.Route(notice.CloudEvent{ID: "1", Type: "t", Time: time.Unix(1, 0), Data: jsontext.Value(tt.data)})
			var routeErr *Error
			if !errors.As(err, &routeErr) || routeErr.Route != 1 {
				t.Fatalf("got %v, want an *Error of route 1", err)
			}
			if !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error quotes the event: %s", err)
			}
			if got != nil {
				t.Errorf("notifications came with the error: %+v", got)
			}
		})
	}
}

func TestARouteWithoutDataGivesANotificationWithoutData(t *testing.T) {
	got, err := compile(t, forUser("t", "x")).Route(notice.CloudEvent{ID: "1", Type: "t"})
	if err != nil || len(got) != 1 || got[0].Data != nil {
		t.Errorf("got %+v, %v; want one notification without data", got, err)
	}
}

func TestWhatARouteDoesNotAskForIsNotDecoded(t *testing.T) {
	r := forUser("com.**", "x")
	r.When = `subject == "42" && type.startsWith("com.")`
	ev := issue()
	ev.Data = jsontext.Value("{ this would be a fault if anybody looked")
	got, err := compile(t, r).Route(ev)
	if err != nil || len(got) != 1 {
		t.Errorf("got %d notifications, %v; want 1 without looking at the data", len(got), err)
	}
}
