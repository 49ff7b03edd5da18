package queue_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// BenchmarkSpend is what a rate costs each of sixty-four callers that send at
// once: processor time of this process and of Redis.
//
//	go test ./queue -run - -bench Spend -benchtime 50000x
func BenchmarkSpend(b *testing.B) {
	rdb := queuetest.Redis(b)
	q, err := queue.Open(b.Context(), rdb, rdb, config.Queue{Namespace: "b", Partitions: 8, Visibility: config.Duration(time.Minute),
		Retention: config.Duration(time.Hour), MaxBacklog: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(q.Close)
	account := &queue.Account{Tenant: "acme", Quotas: []queue.Quota{{Name: "key", Count: 1 << 30, Per: time.Second}}}
	before, _ := redisTime(b, rdb)
	own := processorTime(b)
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if s, err := q.Spend(b.Context(), account, 1); err != nil || s.Granted != 1 {
				b.Errorf("%+v, %v", s, err)
				return
			}
		}
	})
	b.StopTimer()
	after, _ := redisTime(b, rdb)
	b.ReportMetric((after-before)/float64(b.N), "redis-µs/op")
	b.ReportMetric(float64((processorTime(b)-own).Nanoseconds())/1000/float64(b.N), "own-µs/op")
}

// processorTime is what this process has spent so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
