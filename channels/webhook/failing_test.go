package webhook

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/channelstest"
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
