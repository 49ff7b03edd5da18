package queue_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// BenchmarkParked parks b.N notifications for one and the same moment, waits as
// a consumer does, and puts them back when they are due:
//
//	go test ./queue -run - -bench Parked -benchtime 1000000x
//
// It reports what each takes of Redis's memory, what Redis spends in a second of
// waiting, what it spends on putting one back, and the longest that another
// client waited for an answer meanwhile (wall-clock: of a loaded machine).
func BenchmarkParked(b *testing.B) {
	rdb := queuetest.Start(b).Client()
	cfg := testConfig()
	cfg.Partitions, cfg.MaxBacklog = 8, 10*b.N
	clock := newClock()
	q, err := queue.Open(b.Context(), rdb, rdb, cfg, queue.WithClock(clock.Now))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(q.Close)
	empty := info(b, rdb, "used_memory")
	batch := make([]queue.Admission, 0, 1000)
	for i := range b.N {
		n := notification("u" + strconv.Itoa(i))
		n.SendAt = clock.Now().Add(time.Hour)
		if batch = append(batch, queue.Admission{Tenant: "acme", Notification: n}); len(batch) == cap(batch) || i == b.N-1 {
			for _, a := range q.AdmitAll(b.Context(), batch) {
				if a.Err != nil {
					b.Fatal(a.Err)
				}
			}
			batch = batch[:0]
		}
	}
	b.ReportMetric((info(b, rdb, "used_memory")-empty)/float64(b.N), "B/parked")
	b.ReportMetric(1000*idle(b, q, rdb)/3, "redis-ms/s-waiting")
	clock.Advance(2 * time.Hour)
	cpu, worst := promoteAll(b, q, rdb)
	b.ReportMetric(cpu*1e6/float64(b.N), "redis-µs/promoted")
	b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ping-ms")
}

// idle does what a consumer does while it waits, for three seconds, and returns
// the seconds that Redis spent.
func idle(b *testing.B, q *queue.Queue, rdb *redis.Client) float64 {
	before := cpu(b, rdb)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 30 {
		<-tick.C
		if n, _, err := q.Promote(b.Context()); n != 0 || err != nil {
			b.Fatal(n, err)
		}
		if _, err := q.LearnCancels(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	return cpu(b, rdb) - before
}

func promoteAll(b *testing.B, q *queue.Queue, rdb *redis.Client) (spent float64, worst time.Duration) {
	before := cpu(b, rdb)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan time.Duration)
	go func() {
		var worst time.Duration
		for ctx.Err() == nil {
			began := time.Now()
			rdb.Ping(context.Background())
			worst = max(worst, time.Since(began))
		}
		done <- worst
	}()
	for left := b.N; left > 0; {
		n, _, err := q.Promote(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		left -= n
	}
	cancel()
	return cpu(b, rdb) - before, <-done
}

func cpu(b *testing.B, rdb *redis.Client) float64 {
	return info(b, rdb, "used_cpu_user") + info(b, rdb, "used_cpu_sys")
}

// info is one number that Redis tells of itself.
func info(b *testing.B, rdb *redis.Client, field string) float64 {
	b.Helper()
	for line := range strings.Lines(rdb.Info(b.Context(), "memory", "cpu").Val()) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatalf("Redis says nothing of %s", field)
	return 0
}
