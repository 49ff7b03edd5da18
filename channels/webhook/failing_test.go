package webhook

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/channelstest"
	"github.com/carillonhq/carillon/config"
)

// memory is a Failures that says what it is told to.
type memory struct {
	since             time.Time
	err               error
	failed, succeeded int
}

func (m *memory) Failed(context.Context, string, string) (time.Time, error) {
	m.failed++
	return m.since, m.err
}

func (m *memory) Succeeded(context.Context, string, string) error {
	m.succeeded++
	return m.err
}

func TestFiveDaysOfNothingButFailuresDisableAnEndpoint(t *testing.T) {
	now := time.Date(2027, 1, 10, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name     string
		status   int
		memory   memory
		verdict  channels.Verdict
		disabled string
	}{
		{"four days and more are borne", 500, memory{since: now.Add(-failingFor + time.Second)}, channels.Retry, ""},
		{"five days are the end", 500, memory{since: now.Add(-failingFor)}, channels.Gone, "failing"},
		{"an answer of success is one, however long it failed", 204, memory{since: now.Add(-2 * failingFor)}, channels.Sent, ""},
		{"when nothing is known nothing is disabled", 500, memory{since: time.Time{}, err: errors.New("away")}, channels.Retry, ""},
		{"asking for less is no failure", 429, memory{since: now.Add(-2 * failingFor)}, channels.Throttled, ""},
		{"410 is the end at once", 410, memory{since: now}, channels.Gone, "410"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(c.status) }))
			defer srv.Close()
			var notices []Disabled
			memory := c.memory
			a := localAdapter(t, WithFailures(&memory), WithNotices(func(d Disabled) { notices = append(notices, d) }), WithClock(func() time.Time { return now }))
			m := messageTo(srv.URL+"/"+pathToken, "1-a-0")
			m.Tenant = "acme"
			r := a.Send(t.Context(), m)
			if r.Verdict != c.verdict {
				t.Errorf("got %v, %q, %v; want %v", r.Verdict, r.Code, r.Err, c.verdict)
			}
			channelstest.CheckResult(t, r, pathToken)
			switch {
			case c.disabled == "" && len(notices) != 0:
				t.Errorf("a notice says %+v", notices)
			case c.disabled != "" && (len(notices) != 1 || notices[0].Code != c.disabled || notices[0].Host != "127.0.0.1" || notices[0].Tenant != "acme" || notices[0].Delivery != m.ID):
				t.Errorf("notices %+v, want one of %s", notices, c.disabled)
			}
			if c.status == 204 && (memory.succeeded != 1 || memory.failed != 0) || c.status == 500 && memory.failed != 1 {
				t.Errorf("remembered: %d failures, %d successes", memory.failed, memory.succeeded)
			}
		})
	}
}

func TestASendThatIsBrokenOffSaysNothingOfTheEndpoint(t *testing.T) {
	var memory memory
	a := localAdapter(t, WithFailures(&memory))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := a.Send(ctx, messageTo("http://127.0.0.1:9/", "1-a-0")); r.Code != "canceled" || memory.failed != 0 {
		t.Errorf("got %q, and %d failures", r.Code, memory.failed)
	}
}

func TestAFailureQuotesTheEndpoint(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "upstream is on fire, wörld", http.StatusBadGateway)
	}))
	defer srv.Close()
	r := localAdapter(t).Send(t.Context(), messageTo(srv.URL, "1-a-0"))
	if r.Err == nil || !strings.Contains(r.Err.Error(), `"upstream is on fire, …"`) {
		t.Errorf("got %v", r.Err)
	}
}

// TestAHostThatHangsCostsAnotherNothing: as many senders as the channel has
// slots call a host that does not answer. Those over its share come back at
// once, and another host is called as if nothing were.
func TestAHostThatHangsCostsAnotherNothing(t *testing.T) {
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hangs.Close()
	rec := startReceiver(t)
	a, err := New(config.Webhook{Limits: config.Limits{Concurrency: 64}, Timeout: config.Duration(time.Minute), MaxResponse: 1 << 10, AllowNetworks: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	busy := make(chan channels.Result, 64)
	var senders sync.WaitGroup
	for range 64 {
		senders.Go(func() { busy <- a.Send(t.Context(), messageTo(hangs.URL, "1-a-0")) })
	}
	for range 64 - share(64) {
		if r := <-busy; r.Verdict != channels.Throttled || r.Code != "host_busy" || r.RetryAfter <= 0 {
			t.Errorf("got %v, %q, %v; want throttled", r.Verdict, r.Code, r.Err)
		}
	}
	mustSend(t, a, messageTo(rec.URL, "1-b-0"))
	close(release)
	senders.Wait()
	for range share(64) {
		if r := <-busy; r.Verdict != channels.Sent {
			t.Errorf("got %v, %q, %v; want sent", r.Verdict, r.Code, r.Err)
		}
	}
}

func TestADeadHostCostsFiveAttempts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens there now
	a := localAdapter(t)
	m := messageTo("http://"+l.Addr().String(), "1-a-0")
	for range downAfter {
		if r := a.Send(t.Context(), m); r.Verdict != channels.Retry || r.Code != "connect" {
			t.Fatalf("got %v, %q, %v; want a retry", r.Verdict, r.Code, r.Err)
		}
	}
	r := a.Send(t.Context(), m)
	if r.Verdict != channels.Throttled || r.Scope != channels.ScopeHost || r.Code != "host_down" || r.RetryAfter <= 0 || r.RetryAfter > downFirst {
		t.Errorf("got %+v, want it left alone", r)
	}
	channelstest.CheckResult(t, r, secretA)
	mustSend(t, a, messageTo(startReceiver(t).URL, "1-b-0"))
}
