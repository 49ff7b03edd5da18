package e2e_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// dump is every key's value as Redis would write it to disk, and its life.
func (g *gateway) dump() map[string]string {
	g.t.Helper()
	out := map[string]string{}
	for _, key := range g.scan("") {
		value, err := g.rdb.Dump(g.t.Context(), key).Result()
		if err != nil {
			g.t.Fatalf("DUMP %s: %v", key, err)
		}
		out[key] = value + "|" + g.rdb.PExpireTime(g.t.Context(), key).String()
	}
	return out
}

// TestAnEventIsTriedWithoutATrace uses a cap up, stops everything, and has
// events tried: what is said is what happened to the like before, and no key is
// any other afterwards.
func TestAnEventIsTriedWithoutATrace(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	path := g.config(sections{"throttle": "{per_user: [{name: few, category: test, limit: 1/1h, over: drop}, {name: ships, category: shipping, limit: 1/1h}]}"})
	ingest := g.ingest()
	api := newClient(t, ingest.api)
	consumer := start(t, "consume", "--config", path, "--name", "a")
	api.awaitStatus(api.post(g.ping(1)), "delivered")
	order := func(data object) object {
		return object{"template": "order-shipped", "to": object{"user": "u1", "webhooks": g.hooks()}, "data": data, "channels": []string{"webhook"}}
	}
	api.awaitStatus(api.post(order(object{"order": "A-1"})), "delivered")
	g.awaitEmptyStreams()
	consumer.stop()
	ingest.stop()

	before := g.dump()
	writes := g.writes()
	for _, c := range []struct {
		name  string
		event object
		code  int
		says  []string
	}{
		{"somebody who has room", g.ping(2), 0, []string{"would go now", "cap few", "applies", "h: 0 used", "counts category shipping, and this is test"}},
		{"a full cap that drops", g.ping(1), 0, []string{"would end as capped, rule few", "h: 1 used"}},
		{"a full cap that defers", order(object{"order": "A-2"}), 0, []string{"would wait until ", "rule ships"}},
		{"data that is wrong", order(object{}), 1, []string{"/data", "it would be refused"}},
		{"a template that there is not", object{"template": "order-shiped", "to": object{"user": "u1"}}, 1, []string{`did you mean "order-shipped"`}},
		{"a CloudEvent that no route takes", object{"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}, 0, []string{"ignored: no route"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := json.Marshal(c.event)
			if err != nil {
				t.Fatal(err)
			}
			got := run(t, "throttle", "try", "--config", path, "--event", g.write("event.json", string(text)))
			if got.code != c.code {
				t.Errorf("it ended with %d, want %d", got.code, c.code)
			}
			for _, words := range c.says {
				if !strings.Contains(got.stdout+got.stderr, words) {
					t.Errorf("it does not say %q:\n%s%s", words, got.stdout, got.stderr)
				}
			}
		})
	}
	for _, c := range []struct {
		text, says string
		code       int
	}{
		{" \n", "is empty: give a notification or a CloudEvent", 2},
		{"[]", "the event: want an object", 1},
		{`{"template":"` + strings.Repeat("x", 1<<20) + `"}`, "it has more than the 1MiB of ingest.max_body", 1},
	} {
		got := run(t, "throttle", "try", "--config", path, "--event", g.write("event.json", c.text))
		if got.code != c.code || !strings.Contains(got.stderr, c.says) {
			t.Errorf("%.20q ended with %d and %q, want %d and %q", c.text, got.code, got.stderr, c.code, c.says)
		}
	}
	for _, args := range [][]string{{"user", "u1"}, {"channel", "webhook"}} {
		if got := run(t, append(append([]string{"throttle", "show"}, args...), "--config", path)...); got.code != 0 {
			t.Errorf("throttle show %v ended with %d: %s", args, got.code, got.stderr)
		}
	}
	if after := g.writes(); after != writes {
		t.Errorf("%d commands wrote, want none", after-writes)
	}
	if !maps.Equal(before, g.dump()) {
		t.Error("what Redis holds is another than before")
	}
}

// writes counts what changed a key since the server started.
func (g *gateway) writes() (n int) {
	g.t.Helper()
	info, err := g.rdb.InfoMap(g.t.Context(), "persistence").Result()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, section := range info {
		for _, c := range section["rdb_changes_since_last_save"] {
			n = 10*n + int(c-'0')
		}
	}
	return n
}

// TestThrottleShowEndsAsItsHelpSays asks for what there is not.
func TestThrottleShowEndsAsItsHelpSays(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	path := g.config(nil)
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"a user of whom nothing is known", []string{"user", "nobody"}, 1, "nothing is known of the user nobody"},
		{"a channel that there is not", []string{"channel", "pigeon"}, 1, `"pigeon" is no channel`},
		{"a channel that is off", []string{"channel", "email"}, 1, "the channel email is off"},
		{"a host of which nothing is known", []string{"host", "quiet.example"}, 1, "nothing is known of the host quiet.example"},
		{"no kind at all", nil, 2, ""},
		{"a user without a name", []string{"user", ""}, 2, "the user is empty: name the user"},
		{"a user with a line break", []string{"user", "a\nb"}, 2, "characters that cannot be printed"},
		{"a tenant that cannot be one", []string{"user", "u1", "--tenant", "a b"}, 2, `--tenant: "a b" is no tenant`},
		{"a channel that is nearly one", []string{"channel", "EMIAL"}, 1, "did you mean email?"},
		{"push, which is three channels", []string{"channel", "push"}, 1, "apns, fcm and webpush"},
		{"a host that cannot be one", []string{"host", "a b"}, 2, `"a b" is no host`},
		{"a namespace that nobody uses", []string{"host", "quiet.example"}, 1, "no gateway has run with queue.namespace"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := run(t, append(append([]string{"throttle", "show"}, c.args...), "--config", path)...)
			if got.code != c.code || !strings.Contains(got.stderr, c.says) {
				t.Errorf("it ended with %d and %q, want %d and %q", got.code, got.stderr, c.code, c.says)
			}
		})
	}
	away := g.config(sections{"redis": `{url: "redis://127.0.0.1:1"}`})
	if got := run(t, "throttle", "show", "user", "u1", "--config", away); got.code != 3 {
		t.Errorf("without Redis it ended with %d, want 3: %s", got.code, got.stderr)
	}
}
