package queue_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// memoryOf is what one master has allocated.
func memoryOf(t *testing.T, s *queuetest.Server) (bytes int) {
	t.Helper()
	for line := range strings.Lines(s.Client().Info(t.Context(), "memory").Val()) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
			bytes, _ = strconv.Atoi(text)
		}
	}
	return bytes
}

// TestTheFullestMasterOfAClusterRefusesItsOwnAndIsTheOneThatIsShown fills one of
// three masters: queue.max_memory is each master's by itself.
func TestTheFullestMasterOfAClusterRefusesItsOwnAndIsTheOneThatIsShown(t *testing.T) {
	w, c := clusterWorld(t, testConfig())
	full := c.MasterOf("{t:0}")
	theirs, others := userOf(w, c, full, true), userOf(w, c, full, false)
	used := max(memoryOf(t, full), memoryOf(t, c.MasterOf("{t:1}")), memoryOf(t, c.MasterOf("{t:2}")))
	cfg := testConfig()
	cfg.Partitions, cfg.MaxMemory = 8, config.Bound{Bytes: config.Size(used + 8<<20)}
	q := openLive(t, w, cfg)
	registry := prometheus.NewRegistry()
	registry.MustRegister(queue.NewCollector(q))
	refused := func(user string) (queue.Refusal, bool) {
		return q.Pressure("acme", &notice.Notification{To: notice.Recipient{User: user}, Priority: notice.LaneNormal})
	}
	for _, user := range []string{theirs, others} {
		if r, no := refused(user); no {
			t.Errorf("with room everywhere %s is refused: %+v", user, r)
		}
	}
	if err := w.rdb.Set(t.Context(), "{t:0}:ballast", strings.Repeat("x", 12<<20), 0).Err(); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool { _, no := refused(theirs); return no })
	if r, _ := refused(theirs); !strings.Contains(r.Why, "queue.max_memory") || r.RetryAfter <= 0 {
		t.Errorf("who lives on the full master is refused with %+v", r)
	}
	if r, no := refused(others); no {
		t.Errorf("who lives on another master is refused: %+v", r)
	}
	shown := map[string]float64{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "carillon_store_memory_bytes" {
				shown[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	if shown["used"] < float64(12<<20) || shown["bound"] != float64(cfg.MaxMemory.Bytes) {
		t.Errorf("shown is %v, want the full master's, past %d", shown, 12<<20)
	}
	// What replicas may ask for again keeps the memory for a while, so it is the bound that gives way.
	cfg.MaxMemory.Bytes += 64 << 20
	q.ReplaceBounds(cfg)
	waitUntil(t, func() bool { _, no := refused(theirs); return !no })
}
