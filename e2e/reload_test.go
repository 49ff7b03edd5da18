package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// reloaded replaces a configuration file by rename, as editors and mounts do.
func (g *gateway) reloaded(path string, override sections) {
	g.t.Helper()
	if err := os.Rename(g.config(override), path); err != nil {
		g.t.Fatal(err)
	}
}

// awaitReloads waits until a process has read its file so often with a result.
func awaitReloads(t *testing.T, p *process, result string, n float64) {
	t.Helper()
	name := `carillon_config_reloads_total{result="` + result + `"}`
	eventually(t, patience, "the configuration is read again", func() bool { return scrape(t, p)[name] >= n }, p.state)
}

// capOf is a cap on everything, by name.
func capOf(limit string) sections {
	return sections{"throttle": "{per_user: [{name: few, category: test, limit: " + limit + ", over: drop}]}"}
}

// TestACapThatIsRaisedWhileItRunsKeepsItsCount uses two of 3/1h, raises it to
// 4/1h in the file of a consumer that runs: two more go, and the next is capped.
func TestACapThatIsRaisedWhileItRunsKeepsItsCount(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	api := newClient(t, g.ingest().api)
	path := g.config(capOf("3/1h"))
	consumer := start(t, "consume", "--config", path, "--name", "a")
	for range 2 {
		api.awaitStatus(api.post(g.ping(1)), "delivered")
	}
	g.reloaded(path, capOf("4/1h"))
	awaitReloads(t, consumer, "applied", 1)
	for range 2 {
		api.awaitStatus(api.post(g.ping(1)), "delivered")
	}
	api.awaitStatus(api.post(g.ping(1)), "capped")

	shown := run(t, "throttle", "show", "user", "u1", "--config", path)
	if shown.code != 0 || !strings.Contains(shown.stdout, "few") || !strings.Contains(shown.stdout, "4/h") {
		t.Errorf("throttle show user ended with %d:\n%s%s", shown.code, shown.stdout, shown.stderr)
	}
}

// TestHowManyAreInFlightFollowsTheFile has a receiver that takes its time count
// how many it is sent at once: one, then more than one, then one again.
func TestHowManyAreInFlightFollowsTheFile(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	concurrency := func(n int) sections {
		return sections{"channels": fmt.Sprintf("{webhook: {allow_networks: [127.0.0.0/8], concurrency: %d, critical_slots: 0}}", n)}
	}
	var under, most atomic.Int64
	g.receiver.answer(func(_ int, w http.ResponseWriter) {
		n := under.Add(1)
		defer under.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		time.Sleep(20 * time.Millisecond) // a provider's own time, not a wait for something
		w.WriteHeader(http.StatusOK)
	})
	path := g.config(concurrency(1))
	consumer := start(t, "consume", "--config", path, "--name", "a")
	api := newClient(t, g.ingest().api)
	api.postBatch(g.pings(1, 1000))
	more := func(n int) {
		at := g.receiver.received()
		eventually(t, patience, "more has come", func() bool { return g.receiver.received() >= at+n }, consumer.state)
	}
	if more(10); most.Load() != 1 {
		t.Errorf("%d at once with concurrency 1", most.Load())
	}
	g.reloaded(path, concurrency(4))
	awaitReloads(t, consumer, "applied", 1)
	eventually(t, patience, "three at once with concurrency 4", func() bool { return most.Load() >= 3 }, consumer.state)
	if more(20); most.Load() > 4 {
		t.Errorf("%d at once with concurrency 4", most.Load())
	}
	g.reloaded(path, concurrency(1))
	awaitReloads(t, consumer, "applied", 2)
	more(5) // of which some were in flight
	most.Store(0)
	if more(10); most.Load() != 1 {
		t.Errorf("%d at once with concurrency 1 again", most.Load())
	}
}

// TestWhatARateHasPutOffComesSoonerWhenItIsRaised has a host's rate put off most
// of what would take it two minutes, and raises it.
func TestWhatARateHasPutOffComesSoonerWhenItIsRaised(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	rated := func(rate string) sections {
		return sections{"channels": "{webhook: {allow_networks: [127.0.0.0/8], rates: {hosts: {127.0.0.1: " + rate + "}}}}"}
	}
	path := g.config(rated("1/s"))
	consumer := start(t, "consume", "--config", path, "--name", "a")
	api := newClient(t, g.ingest().api)
	const n = 120
	ids := api.postBatch(g.pings(1, n))
	putOff := `carillon_throttled_total{action="defer",scope="host"}`
	eventually(t, patience, "most is put off", func() bool { return scrape(t, consumer)[putOff] > n/2 }, consumer.state)
	raised := time.Now()
	g.reloaded(path, rated("100/s"))
	awaitReloads(t, consumer, "applied", 1)
	eventually(t, patience, "everything has come", func() bool { return g.receiver.distinct() == n }, consumer.state)
	if took := time.Since(raised); took > 30*time.Second {
		t.Errorf("all had come %v after the rate was raised to what takes two seconds", took)
	}
	for _, id := range ids {
		api.awaitStatus(id, "delivered")
	}
	if log := consumer.log.String(); strings.Contains(log, "keeps its moments") {
		t.Errorf("it could not be called back:\n%s", log)
	}
}

// TestABrokenConfigurationIsRefusedAndTheOldOneStays breaks the file, mends it,
// and changes what takes a restart; SIGHUP reads it without a change.
func TestABrokenConfigurationIsRefusedAndTheOldOneStays(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	api := newClient(t, g.ingest().api)
	path := g.config(capOf("1/1h"))
	consumer := start(t, "consume", "--config", path, "--name", "a")
	g.reloaded(path, sections{"throttle": "{per_user: [{name: few, category: test, limit: lots}]}"})
	awaitReloads(t, consumer, "refused", 1)
	api.awaitStatus(api.post(g.ping(1)), "delivered")
	api.awaitStatus(api.post(g.ping(1)), "capped") // by the old limit
	if log := consumer.log.String(); !strings.Contains(log, "throttle.per_user[0].limit") || !strings.Contains(log, "lots") {
		t.Errorf("the log does not name the key and the value:\n%s", log)
	}

	wider := capOf("9/1h")
	wider["retry"] = "{schedule: [1s]}"
	g.reloaded(path, wider)
	awaitReloads(t, consumer, "applied", 1)
	api.awaitStatus(api.post(g.ping(1)), "delivered")
	ready := newClient(t, consumer.admin).call("GET", "/readyz", nil)
	if !strings.Contains(string(ready.body), "needs a restart") || !strings.Contains(string(ready.body), "retry.schedule") {
		t.Errorf("/readyz does not say what needs a restart: %s", ready.body)
	}

	if err := consumer.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	awaitReloads(t, consumer, "unchanged", 1)
}

// TestTheWarningOfABoundThatBindsNothingFollowsTheFile has a share of a
// maxmemory that is not set in the file, and then a size.
func TestTheWarningOfABoundThatBindsNothingFollowsTheFile(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	bound := func(most string) sections {
		return sections{"queue": "{partitions: 4, visibility: 30s, max_memory: " + most + "}"}
	}
	path := g.config(bound("70%"))
	consumer := start(t, "consume", "--config", path, "--name", "a")
	warned := func() bool {
		return strings.Contains(string(newClient(t, consumer.admin).call("GET", "/readyz", nil).body), "max_memory")
	}
	for i, step := range []struct {
		most string
		want bool
	}{{"1GiB", false}, {"60%", true}} {
		if warned() == step.want {
			t.Errorf("before the file says %s, /readyz speaks of max_memory: %v", step.most, step.want)
		}
		g.reloaded(path, bound(step.most))
		awaitReloads(t, consumer, "applied", float64(i+1))
		if warned() != step.want {
			t.Errorf("with max_memory: %s /readyz speaks of it: %v, want %v", step.most, !step.want, step.want)
		}
	}
}

// TestIngestFollowsItsKeys gives a key a rate, and another key, while it runs.
func TestIngestFollowsItsKeys(t *testing.T) {
	t.Parallel()
	const first, second = "first-key-0123456789", "second-key-0123456789"
	auth := func(keys string) sections { return sections{"auth": "{keys: [" + keys + "]}"} }
	g := newGateway(t, auth("{tenant: acme, key: "+first+"}"))
	path := g.config(nil)
	ingest := start(t, "ingest", "--config", path)
	api := newClient(t, ingest.api)
	post := func(key string) int {
		return api.call("POST", "/v1/notifications", g.ping(1), "Authorization", "Bearer "+key).status
	}
	if one, other := post(first), post(second); one != 202 || other != 401 {
		t.Fatalf("at first the keys are answered %d and %d, want 202 and 401", one, other)
	}
	g.reloaded(path, auth("{tenant: acme, key: "+first+", rate: 1/1h}, {tenant: acme, key: "+second+"}"))
	awaitReloads(t, ingest, "applied", 1)
	for key, want := range map[string][]int{first: {202, 429}, second: {202, 202}} {
		for i, status := range want {
			if got := post(key); got != status {
				t.Errorf("call %d with %s is answered %d, want %d", i+1, key, got, status)
			}
		}
	}
	if strings.Contains(ingest.log.String(), second) {
		t.Error("the log holds a key")
	}
}
