package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// TestABulkFloodIsToldToWaitWhileCriticalGoesThrough is pressure from the
// provider to the door: a receiver that takes fifty a second, a flood of bulk by
// one tenant, and another tenant's critical messages beside it.
func TestABulkFloodIsToldToWaitWhileCriticalGoesThrough(t *testing.T) {
	t.Parallel()
	const backlog, flooders, flood = 400, 4, 4 * time.Second
	g := newGateway(t, sections{
		"queue":    fmt.Sprintf("{partitions: 4, visibility: 30s, max_backlog: %d, max_memory: 64MiB}", backlog),
		"auth":     `{keys: [{tenant: acme, key: acme-key-0123456789}, {tenant: beta, key: beta-key-0123456789}]}`,
		"channels": `{webhook: {timeout: 10s, allow_networks: ["127.0.0.0/8"], concurrency: 16, rate: 50/s}}`,
	})
	api, consumer := g.ingest(), g.consume("a")
	d := &door{t: t, url: "http://" + api.api, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * flooders}, Timeout: patience}}
	var next, accepted, refused atomic.Int64
	var shortest, longest atomic.Int64
	shortest.Store(1 << 30)
	flooding := time.Now()
	var sending sync.WaitGroup
	for range flooders {
		sending.Go(func() {
			for time.Since(flooding) < flood {
				status, after := d.send("acme-key-0123456789", "bulk", g.ping(int(next.Add(1))))
				switch status {
				case 202:
					accepted.Add(1)
				case 429:
					refused.Add(1)
					shortest.Store(min(shortest.Load(), int64(after)))
					longest.Store(max(longest.Load(), int64(after)))
				default:
					t.Errorf("bulk is answered with %d", status)
					return
				}
				time.Sleep(2 * time.Millisecond) // each of four: some 2,000 a second
			}
		})
	}
	const criticalFrom, criticals = 1_000_000, 10
	eventually(t, patience, "bulk is refused", func() bool { return refused.Load() > 0 }, func() any { return accepted.Load() })
	var took []time.Duration
	for n := range criticals {
		sent := time.Now()
		if status, _ := d.send("beta-key-0123456789", "critical", g.ping(criticalFrom+n)); status != 202 {
			t.Errorf("critical is answered with %d while bulk floods", status)
			continue
		}
		accepted.Add(1)
		eventually(t, patience, "a critical one is delivered", func() bool { return len(g.receiver.idsFor(criticalFrom+n)) == 1 }, func() any { return time.Since(sent) })
		took = append(took, time.Since(sent))
	}
	// The flood's backlog alone is eight seconds: whoever waits for it does so
	// each time. A machine that stands still keeps one of them waiting.
	if slices.Sort(took); len(took) == 0 || took[len(took)/2] > 3*time.Second {
		t.Errorf("critical ones took %v beside the flood", took)
	}
	sending.Wait()
	t.Logf("%d accepted, %d told to wait %d to %d s; memory: ingest %d KiB, consumer %d KiB, Redis %d KiB",
		accepted.Load(), refused.Load(), shortest.Load(), longest.Load(), residentKiB(t, api), residentKiB(t, consumer), g.usedMemory()>>10)
	if shortest.Load() < 1 || longest.Load() > 60 {
		t.Errorf("told to wait %d to %d s, where %d entries go at 50 a second", shortest.Load(), longest.Load(), backlog)
	}
	for _, p := range []*process{api, consumer} {
		if kib := residentKiB(t, p); kib > 300<<10 {
			t.Errorf("a process holds %d KiB", kib)
		}
	}
	eventually(t, 3*patience, "everything that was accepted is delivered", func() bool { return g.receiver.distinct() == int(accepted.Load()) },
		func() any { return fmt.Sprint(g.receiver.distinct(), " of ", accepted.Load()) })
	if twice := g.receiver.duplicates(); len(twice) > 0 {
		t.Errorf("%d came more than once", len(twice))
	}
}

// door is the API to who sends by hand.
type door struct {
	t      *testing.T
	url    string
	client *http.Client
}

// send posts a notification of a lane, and returns the status and Retry-After
// in seconds, 0 when there is none.
func (d *door) send(key, lane string, n object) (status, after int) {
	n["priority"] = lane
	body, err := json.Marshal(n)
	if err != nil {
		d.t.Error(err)
		return 0, 0
	}
	r, err := http.NewRequestWithContext(d.t.Context(), "POST", d.url+"/v1/notifications", bytes.NewReader(body))
	if err != nil {
		d.t.Error(err)
		return 0, 0
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	got, err := d.client.Do(r)
	if err != nil {
		d.t.Error(err)
		return 0, 0
	}
	defer got.Body.Close()
	_, _ = io.Copy(io.Discard, got.Body) // so that the connection is used again
	after, _ = strconv.Atoi(got.Header.Get("Retry-After"))
	return got.StatusCode, after
}

// residentKiB is a process' memory by the kernel's account.
func residentKiB(t *testing.T, p *process) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatalf("VmRSS: %v", err)
	}
	return kib
}
