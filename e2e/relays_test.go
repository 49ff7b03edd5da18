package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// mails are so many mails to an address.
func mails(to string, n int) (out []object) {
	for range n {
		out = append(out, order(to))
	}
	return out
}

// TestARelaysRateIsShownTriedAndFollowed floods two relays, of which each has a
// rate, with two consumers; asks what waits for them; and raises the rates in the
// file.
func TestARelaysRateIsShownTriedAndFollowed(t *testing.T) {
	t.Parallel()
	eu, us := newRelay(t), newRelay(t)
	at := func(first, second string) sections {
		return sections{"channels": fmt.Sprintf(`{email: {from: "no-reply@acme.example", relays: [
  {host: %q, port: %s, tls: none, account: ses-eu, rate: %s}, {host: %q, port: %s, tls: none, rate: %s}]}}`, eu.host, eu.port, first, us.host, us.port, second)}
	}
	g := newGateway(t, at("1/s", "2/s"))
	path := g.config(nil)
	consumers := []*process{start(t, "consume", "--config", path, "--name", "a"), start(t, "consume", "--config", path, "--name", "b")}
	api := newClient(t, g.ingest().api)
	const n = 100
	ids := api.postBatch(mails("ada@example.com", n))
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
	eventually(t, patience, "what was put off for each relay is shown", func() bool {
		look(&channel, "show", "channel", "email")
		return !named(channel.Rates, "relay", "ses-eu").PutOff.IsZero() && !named(channel.Rates, "relay", us.host+":"+us.port).PutOff.IsZero()
	}, func() any { return channel })
	if first, second := named(channel.Rates, "relay", "ses-eu"), named(channel.Rates, "relay", us.host+":"+us.port); first.Rate != "1/s" || second.Rate != "2/s" {
		t.Errorf("the relays are shown as %+v and %+v", first, second)
	}
	checkTriedRelays(t, g, path, us, look)
	if got := len(eu.to("ada@example.com")) + len(us.to("ada@example.com")); got > n/2 {
		t.Fatalf("%d mails of %d went before a rate was raised", got, n)
	}

	raised := time.Now()
	g.reloaded(path, at("20/s", "30/s"))
	for _, c := range consumers {
		awaitReloads(t, c, "applied", 1)
	}
	eventually(t, patience, "every mail has come", func() bool { return len(eu.to("ada@example.com"))+len(us.to("ada@example.com")) == n }, consumers[0].state)
	if took := time.Since(raised); took > 20*time.Second {
		t.Errorf("all had come %v after the rates were raised to what takes two seconds", took)
	}
	for _, id := range ids {
		api.awaitStatus(id, "delivered")
	}
	if put := scrape(t, consumers[0])[`carillon_throttled_total{action="defer",scope="relay"}`]; put == 0 {
		t.Error("nothing is counted as put off for a relay's rate")
	}
}

// checkTriedRelays tries a mail: it would go by the relay that lets it go first.
func checkTriedRelays(t *testing.T, g *gateway, path string, other *relay, look func(any, ...string)) {
	t.Helper()
	var tried []struct {
		Deliveries []struct {
			Outcome string      `json:"outcome"`
			Rule    string      `json:"rule"`
			Detail  string      `json:"detail"`
			Until   time.Time   `json:"until"`
			Rates   []namedRate `json:"rates"`
		} `json:"deliveries"`
	}
	text, err := json.Marshal(order("bob@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	event := g.write("event.json", string(text))
	look(&tried, "try", "--event", event)
	d := tried[0].Deliveries[0]
	first, second := named(d.Rates, "relay", "ses-eu"), named(d.Rates, "relay", other.host+":"+other.port)
	soonest := first.Turn
	if second.Turn.Before(soonest) {
		soonest = second.Turn
	}
	if d.Outcome != "wait" || d.Rule != "rate" || !strings.HasPrefix(d.Detail, "rate email relay ") || !d.Until.Equal(soonest) {
		t.Errorf("a mail is said to %s by %s (%s) until %v, want for the first of %+v and %+v", d.Outcome, d.Rule, d.Detail, d.Until, first, second)
	}
	got := run(t, "throttle", "try", "--event", event, "--config", path)
	for _, words := range []string{"would wait until ", "rate email relay ses-eu 1/s", "rate email relay " + other.host + ":" + other.port + " 2/s"} {
		if got.code != 0 || !strings.Contains(got.stdout, words) {
			t.Errorf("throttle try ends with %d and does not say %q:\n%s%s", got.code, words, got.stdout, got.stderr)
		}
	}
}
