package e2e_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// namedRate is a rate by name as `throttle show` and `throttle try` tell it.
type namedRate struct {
	By      string    `json:"by"`
	Name    string    `json:"name"`
	Rule    string    `json:"rule"`
	Rate    string    `json:"rate"`
	Waiting int       `json:"waiting"`
	PutOff  time.Time `json:"put_off_until"`
	Turn    time.Time `json:"turn_of_another"`
}

// named reads the rate by name of a kind out of an answer.
func named(rates []namedRate, by, name string) (out namedRate) {
	for _, r := range rates {
		if r.By == by && r.Name == name {
			return r
		}
	}
	return out
}

// TestRatesByNameAreShownAndTriedWithoutATrace floods a host that has a rate,
// and asks what waits for it, while its consumer works, and when nobody does.
func TestRatesByNameAreShownAndTriedWithoutATrace(t *testing.T) {
	t.Parallel()
	g := newGateway(t, sections{"channels": `{webhook: {timeout: 10s, allow_networks: ["127.0.0.0/8"], concurrency: 16, rate: 500/s,
  rates: {hosts: {"*": 2/s, quiet.example: 7/s}, tenants: {default: 400/s}}}}`})
	path := g.config(nil)
	ingest := g.ingest()
	consumer := start(t, "consume", "--config", path, "--name", "a")
	newClient(t, ingest.api).postBatch(g.pings(1, 60))
	look := func(into any, args ...string) {
		t.Helper()
		got := run(t, append(append([]string{"throttle"}, args...), "--config", path, "--format", "json")...)
		if err := json.Unmarshal([]byte(got.stdout), into); err != nil || got.code != 0 {
			t.Fatalf("throttle %v: %d, %v: %s%s", args, got.code, err, got.stdout, got.stderr)
		}
	}
	var channel struct {
		Rates []namedRate `json:"rates"`
	}
	eventually(t, patience, "what was put off for the host is shown", func() bool {
		look(&channel, "show", "channel", "webhook")
		return !named(channel.Rates, "host", "127.0.0.1").PutOff.IsZero()
	}, func() any { return channel })
	host := named(channel.Rates, "host", "127.0.0.1")
	if host.Rule != "*" || host.Rate != "2/s" || time.Until(host.Turn) < time.Second {
		t.Errorf("the host under the pattern is %+v", host)
	}
	for _, want := range [][2]string{{"host", ""}, {"host", "quiet.example"}, {"tenant", "default"}} {
		if named(channel.Rates, want[0], want[1]).Rate == "" {
			t.Errorf("the rate of %s %q is not shown: %+v", want[0], want[1], channel.Rates)
		}
	}
	consumer.kill()
	ingest.kill()

	before, writes := g.dump(), g.writes()
	var tried []struct {
		Deliveries []struct {
			Outcome string      `json:"outcome"`
			Rule    string      `json:"rule"`
			Detail  string      `json:"detail"`
			Until   time.Time   `json:"until"`
			Rates   []namedRate `json:"rates"`
		} `json:"deliveries"`
	}
	text, err := json.Marshal(g.ping(99))
	if err != nil {
		t.Fatal(err)
	}
	event := g.write("event.json", string(text))
	look(&tried, "try", "--event", event)
	d := tried[0].Deliveries[0]
	if d.Outcome != "wait" || d.Rule != "rate" || !strings.HasPrefix(d.Detail, "rate webhook host 127.0.0.1 2/s (by *)") || time.Until(d.Until) < time.Second {
		t.Errorf("an event to the host is said to %s by %s (%s) until %v", d.Outcome, d.Rule, d.Detail, d.Until)
	}
	if tenant := named(d.Rates, "tenant", "default"); tenant.Rate != "400/s" || time.Until(tenant.Turn) > time.Second || len(d.Rates) != 2 {
		t.Errorf("the rates that count it are %+v, want the host's, and the tenant's, whose turn is now", d.Rates)
	}
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"try", "--event", event}, []string{"would wait until ", "rule rate", "channel rate", "rate webhook host 127.0.0.1 2/s (by *)", "rate webhook tenant default 400/s"}},
		{[]string{"show", "host", "http://127.0.0.1:80"}, []string{"RATE BY", "127.0.0.1", "2/s"}},
		{[]string{"show", "host", "quiet.example"}, []string{"quiet.example", "7/s", "none is", "now"}},
		{[]string{"show", "channel", "webhook"}, []string{"each", "TURN OF ANOTHER", "500/s, of which"}},
	} {
		got := run(t, append(append([]string{"throttle"}, c.args...), "--config", path)...)
		for _, words := range c.says {
			if got.code != 0 || !strings.Contains(got.stdout, words) {
				t.Errorf("throttle %v ends with %d and does not say %q:\n%s%s", c.args, got.code, words, got.stdout, got.stderr)
			}
		}
	}
	if after := g.writes(); after != writes {
		t.Errorf("%d commands wrote, want none", after-writes)
	}
	after := g.dump()
	maps.DeleteFunc(before, func(key, _ string) bool { return after[key] == "" && g.rdb.Exists(t.Context(), key).Val() == 0 }) // it has expired
	if !maps.Equal(before, after) {
		t.Error("what Redis holds is another than before")
	}
}

// TestAUsersOpenDigestsAreShown collects a digest, and reads of it what a support
// desk would.
func TestAUsersOpenDigestsAreShown(t *testing.T) {
	t.Parallel()
	g, path := digesting(t, "1/1h", 3)
	inbox := newReader(t)
	ingest := g.ingest()
	api := newClient(t, ingest.api)
	consumer := start(t, "consume", "--config", path, "--name", "a")
	var ids []string
	for n := 1; n <= 5; n++ {
		ids = append(ids, api.post(noteTo(inbox, n)))
		api.awaitStatus(ids[n-1], []string{"", "delivered", "deferred", "capped", "capped", "capped"}[n])
	}
	consumer.stop()
	ingest.stop()
	before, writes := g.dump(), g.writes()
	got := run(t, "throttle", "show", "user", "ada", "--config", path, "--format", "json")
	var state struct {
		Digests []struct {
			Template string    `json:"template"`
			Rule     string    `json:"rule"`
			Carrier  string    `json:"carrier"`
			Items    int       `json:"items"`
			More     int       `json:"more"`
			Bytes    int       `json:"bytes"`
			Goes     time.Time `json:"goes"`
		} `json:"digests"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &state); err != nil || got.code != 0 || len(state.Digests) != 1 {
		t.Fatalf("%d, %v: %s%s", got.code, err, got.stdout, got.stderr)
	}
	d := state.Digests[0]
	if d.Template != "notes" || d.Rule != "few" || d.Carrier != ids[1]+"-1" || d.Items != 3 || d.More != 1 || d.Bytes == 0 ||
		time.Until(d.Goes) < 50*time.Minute || time.Until(d.Goes) > time.Hour {
		t.Errorf("the digest is %+v", d)
	}
	for _, words := range []string{"OPEN DIGEST", "notes", "ONLY COUNTED", d.Carrier, "never"} {
		if got := run(t, "throttle", "show", "user", "ada", "--config", path); !strings.Contains(got.stdout, words) {
			t.Errorf("it does not say %q:\n%s%s", words, got.stdout, got.stderr)
		}
	}
	if after := g.writes(); after != writes || !maps.Equal(before, g.dump()) {
		t.Errorf("%d commands wrote, want none, and every key as it was", after-writes)
	}
}
