package e2e_test

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestTenThousandAreDeliveredOnceAndLeaveNothingBehind drives batches and
// single calls through one ingest and two consumers.
func TestTenThousandAreDeliveredOnceAndLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	const warmUp, total = 500, 10_000
	g := newGateway(t, nil)
	api := newClient(t, g.ingest().api)
	g.consume("a")
	g.consume("b")
	api.postBatch(g.pings(total+1, total+warmUp/2))
	api.postSingly(g.pings(total+warmUp/2+1, total+warmUp)) // as many connections as there will be
	eventually(t, patience, "the warm-up is delivered", func() bool { return g.receiver.distinct() == warmUp }, func() any { return g.receiver.distinct() })
	g.awaitEmptyStreams()
	g.dropWhatExpires()
	before := g.usedMemory()

	began := time.Now()
	ids := api.postSingly(g.pings(1, 4000))
	for n := 4001; n < total; n += 500 {
		ids = append(ids, api.postBatch(g.pings(n, n+499))...)
	}
	accepted := time.Since(began)
	eventually(t, 2*patience, "all are delivered", func() bool { return g.receiver.distinct() == warmUp+total }, func() any { return g.receiver.distinct() })
	t.Logf("accepted in %v, delivered after %v", accepted, time.Since(began))
	g.awaitEmptyStreams()
	g.receiver.checkOnceEach(t, warmUp+total)
	api.checkDelivered(ids)
	g.checkEverythingExpires()

	full := g.usedMemory()
	g.dropWhatExpires()
	bound := before + before/5
	eventually(t, patience, "Redis' memory falls back to where it began", func() bool { return g.usedMemory() <= bound }, func() any { return g.usedMemory() })
	t.Logf("used_memory: %d before, %d with %d records, %d after", before, full, total, g.usedMemory())
}

// checkEverythingExpires fails when a key that is no stream has no end.
func (g *gateway) checkEverythingExpires() {
	g.t.Helper()
	for key, life := range g.lives() {
		if life == -1 && key != "carillon:meta" { // -2: it has gone meanwhile
			g.t.Errorf("%s never expires", key)
		}
	}
}

// dropWhatExpires makes every key that has a time to live reach it now: the
// shortest retention is a minute, which is longer than a test may wait.
func (g *gateway) dropWhatExpires() {
	g.t.Helper()
	pipe := g.rdb.Pipeline()
	for key, life := range g.lives() {
		if life >= 0 {
			pipe.Del(g.t.Context(), key)
		}
	}
	if _, err := pipe.Exec(g.t.Context()); err != nil {
		g.t.Fatalf("deleting what expires: %v", err)
	}
}

// usedMemory is Redis' own account, without what its allocator merely keeps.
func (g *gateway) usedMemory() int {
	g.t.Helper()
	if err := g.rdb.Do(g.t.Context(), "MEMORY", "PURGE").Err(); err != nil {
		g.t.Fatalf("MEMORY PURGE: %v", err)
	}
	for line := range strings.Lines(g.rdb.Info(g.t.Context(), "memory").Val()) {
		if used, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
			n, err := strconv.Atoi(used)
			if err != nil {
				g.t.Fatalf("used_memory: %v", err)
			}
			return n
		}
	}
	g.t.Fatal("INFO memory has no used_memory")
	return 0
}
