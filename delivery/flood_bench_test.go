package delivery_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// stopwatch times what is not of the flood, from acceptance to sending. It
// takes a millisecond for each message, as a receiver nearby does.
type stopwatch struct {
	flood func(channels.Message) bool

	mu   sync.Mutex
	took []time.Duration
	left int // of the flood
}

func (*stopwatch) Channel() notice.Channel { return notice.ChannelWebhook }

func (s *stopwatch) Send(_ context.Context, m channels.Message) channels.Result {
	now := time.Now()
	s.mu.Lock()
	if s.flood(m) {
		s.left--
	} else {
		s.took = append(s.took, now.Sub(m.AcceptedAt))
	}
	s.mu.Unlock()
	time.Sleep(time.Millisecond)
	return channels.Result{Verdict: channels.Sent, Code: "204"}
}

func (s *stopwatch) sent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.took)
}

// BenchmarkBesideAFlood times b.N notifications, one each five milliseconds,
// beside nothing, another tenant's flood, and bulk of the same tenant. Each
// flood is longer than the measurement, or the benchmark fails. It tells the
// median and the slowest of a hundred.
func BenchmarkBesideAFlood(b *testing.B) {
	for _, bb := range []struct {
		name        string
		flood       int
		floodTenant string
		floodLane   notice.Lane
		lane        notice.Lane
	}{
		{"idle", 0, "acme", notice.LaneNormal, notice.LaneNormal},
		{"another tenant's flood", 120_000, "acme", notice.LaneNormal, notice.LaneNormal},
		{"critical beside bulk", 120_000, "beta", notice.LaneBulk, notice.LaneCritical},
	} {
		b.Run(bb.name, func(b *testing.B) {
			rdb := queuetest.Redis(b)
			q, err := queue.Open(b.Context(), rdb, rdb, config.Queue{Namespace: "b", Partitions: 8,
				Visibility: config.Duration(time.Minute), Retention: config.Duration(time.Hour), MaxBacklog: 1 << 30})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(q.Close)
			watch := &stopwatch{left: bb.flood, flood: func(m channels.Message) bool {
				return m.Tenant == bb.floodTenant && m.Lane == bb.floodLane && bb.flood > 0
			}}
			o := benchOptions(b, q, rdb, &counter{}, 0)
			o.Channels[0].Adapter, o.Channels[0].CriticalSlots = watch, o.Channels[0].Slots.Limit()/8
			for sent := 0; sent < bb.flood; sent += 1000 {
				batch := slices.Repeat([]queue.Admission{probe(bb.floodTenant, bb.floodLane)}, 1000)
				for i := range batch {
					batch[i].Notification.To.User = strconv.Itoa(i) // of every partition
				}
				q.AdmitAll(b.Context(), batch)
			}
			ctx, stop := context.WithCancel(b.Context())
			var running sync.WaitGroup
			running.Go(func() { delivery.New(o).Run(ctx) })
			b.Cleanup(func() { stop(); running.Wait() })
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			b.ResetTimer()
			for range b.N {
				<-tick.C
				if _, err := q.Admit(b.Context(), probe("beta", bb.lane)); err != nil {
					b.Fatal(err)
				}
			}
			for watch.sent() < b.N {
				<-tick.C
			}
			watch.report(b, bb.flood > 0)
		})
	}
}

func (s *stopwatch) report(b *testing.B, flooded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if flooded && s.left <= 0 {
		b.Fatalf("the flood was over before the %d were sent", b.N)
	}
	slices.Sort(s.took)
	b.ReportMetric(float64(s.took[len(s.took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(s.took[len(s.took)*99/100].Microseconds())/1000, "p99-ms")
}

func probe(tenant string, lane notice.Lane) queue.Admission {
	n := to("https://a.example/hook")
	n.Data, n.Priority, n.Category = []byte(`{"n":1,"pad":"x"}`), lane, "test"
	return queue.Admission{Tenant: tenant, Notification: n}
}
