package e2e_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestRedisMayComeLater starts everything before its Redis.
func TestRedisMayComeLater(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	g.redis.Kill()
	ingest, consumer := g.ingest(), g.consume("early")
	api := newClient(t, ingest.api)
	for what, p := range map[string]*process{"ingest": ingest, "consume": consumer} {
		admin := newClient(t, p.admin)
		if a := admin.call("GET", "/healthz", nil); a.status != http.StatusOK {
			t.Errorf("%s: /healthz answers %d, want 200: it lives", what, a.status)
		}
		checkUnready(t, what, admin)
	}
	checkUnavailable(t, api.call("POST", "/v1/notifications", g.ping(1)))
	checkUnavailable(t, api.call("POST", "/v1/notifications/batch", g.pings(1, 2)))

	g.redis.Restart()
	awaitReady(t, ingest, consumer)
	id := api.post(g.ping(2))
	api.awaitStatus(id, "delivered")
	if ingest.hasEnded() || consumer.hasEnded() {
		t.Error("a process did not outlive the wait")
	}
}

// checkUnready fails unless /readyz is 503 and names Redis as the reason.
func checkUnready(t *testing.T, what string, admin *client) {
	t.Helper()
	a := admin.call("GET", "/readyz", nil)
	faults := read[struct {
		Faults map[string]string `json:"faults"`
	}](t, a).Faults
	if a.status != http.StatusServiceUnavailable || !strings.Contains(faults["redis"], "connect") {
		t.Errorf("%s: /readyz answers %d %s, want 503 and what is wrong with redis", what, a.status, a.body)
	}
}

// checkUnavailable fails unless an answer is a problem that says when to try
// again.
func checkUnavailable(t testing.TB, a answer) {
	t.Helper()
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != http.StatusServiceUnavailable || err != nil || wait < 1 || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answered %d %q, Retry-After %q, want a 503 problem with Retry-After: %s", a.status, a.header.Get("Content-Type"), a.header.Get("Retry-After"), a.body)
	}
}

// awaitReady waits until /readyz of each process is 200.
func awaitReady(t *testing.T, ps ...*process) {
	t.Helper()
	for _, p := range ps {
		admin := newClient(t, p.admin)
		eventually(t, patience, "the process is ready", func() bool { return admin.call("GET", "/readyz", nil).status == http.StatusOK },
			func() any { return fmt.Sprintf("%s\n%s", admin.call("GET", "/readyz", nil).body, p.log) })
	}
}

// TestNothingAcceptedIsLostWithRedis kills a Redis that keeps what it has
// acknowledged, while notifications come in and go out.
func TestNothingAcceptedIsLostWithRedis(t *testing.T) {
	t.Parallel()
	// What Redis handed out in the moment it died is nobody's until it is taken
	// over: the visibility is short so that the test need not wait long.
	g := newGateway(t, sections{
		"queue":    "{partitions: 4, visibility: 4s}",
		"channels": `{webhook: {timeout: 2s, allow_networks: ["127.0.0.0/8"], concurrency: 16}}`,
	}, "--appendonly", "yes", "--appendfsync", "always")
	ingest, consumer := g.ingest(), g.consume("steady")
	api := newClient(t, ingest.api)
	flow := startFlow(g, api)
	flow.await("notifications are accepted", func(accepted, _ int) bool { return accepted >= 300 })
	g.redis.Kill()
	flow.await("calls are refused while Redis is away", func(_, refused int) bool { return refused >= 12 })
	checkUnready(t, "ingest", newClient(t, ingest.admin))
	g.redis.Restart()
	before := flow.accepted()
	flow.await("notifications are accepted again", func(accepted, _ int) bool { return accepted >= before+300 })
	ids := flow.stop()
	awaitReady(t, ingest, consumer)
	g.awaitEmptyStreams()
	api.checkDelivered(ids)
	for n, id := range flow.ids {
		if came := g.receiver.idsFor(n); len(came) != 1 {
			t.Errorf("notification %d was accepted as %s and came under %v", n, id, came)
		}
	}
	if twice := g.receiver.duplicates(); len(twice) > 0 {
		t.Errorf("%d came twice, such as %s: the consumer lived on and knew what it had sent", len(twice), twice[0])
	}
	checkLogfmt(t, ingest)
	checkLogfmt(t, consumer)
	t.Logf("%d accepted, %d refused", len(ids), flow.refused())
}

// checkLogfmt fails when a process wrote anything but its own log: libraries
// have things to say in an outage, in forms that no collector reads.
func checkLogfmt(t *testing.T, p *process) {
	t.Helper()
	for line := range strings.Lines(p.log.String()) {
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("a line that is no log line: %s", line)
		}
	}
}

// flow posts notifications until it is stopped.
type flow struct {
	t    testing.TB
	quit chan struct{}
	done sync.WaitGroup
	mu   sync.Mutex
	ids  map[int]string // by n, of what was answered with 202
	no   int            // answered with 503
}

func startFlow(g *gateway, api *client) *flow {
	const senders = 4
	f := &flow{t: g.t, quit: make(chan struct{}), ids: map[int]string{}}
	for s := range senders {
		f.done.Go(func() { f.post(g, api, s, senders) })
	}
	g.t.Cleanup(func() { f.stop() })
	return f
}

// post sends every step-th notification, beginning with the first.
func (f *flow) post(g *gateway, api *client, first, step int) {
	for n := first; ; n += step {
		select {
		case <-f.quit:
			return
		default:
		}
		f.note(n, api.call("POST", "/v1/notifications", g.ping(n)))
	}
}

func (f *flow) note(n int, a answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch a.status {
	case http.StatusAccepted:
	case 0: // no answer: nothing was promised
		return
	default:
		checkUnavailable(f.t, a)
		f.no++
		return
	}
	f.ids[n] = read[struct {
		ID string `json:"id"`
	}](f.t, a).ID
}

func (f *flow) accepted() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ids)
}

func (f *flow) refused() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.no
}

func (f *flow) await(what string, done func(accepted, refused int) bool) {
	f.t.Helper()
	eventually(f.t, patience, what, func() bool { return done(f.accepted(), f.refused()) },
		func() any { return fmt.Sprintf("%d accepted, %d refused", f.accepted(), f.refused()) })
}

// stop ends the flow and returns the ids of what was accepted.
func (f *flow) stop() (ids []string) {
	f.mu.Lock()
	select {
	case <-f.quit:
	default:
		close(f.quit)
	}
	f.mu.Unlock()
	f.done.Wait()
	for _, id := range f.ids {
		ids = append(ids, id)
	}
	return ids
}
