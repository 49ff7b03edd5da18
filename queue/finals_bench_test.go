package queue_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// BenchmarkWhatFinalStatesCostRedis settles deliveries, and reports what the
// server spent on each settlement in microseconds of processor time,
// with and without a stream of final states.
func BenchmarkWhatFinalStatesCostRedis(b *testing.B) {
	for _, keep := range []int{0, 10_000} {
		for _, size := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("finals=%d/batch=%d", keep, size), func(b *testing.B) { benchFinals(b, keep, size) })
		}
	}
}

func benchFinals(b *testing.B, keep, size int) {
	rdb := queuetest.Redis(b)
	cfg := testConfig()
	cfg.Partitions, cfg.MaxBacklog, cfg.Finals = 8, 1<<30, keep
	q, err := queue.Open(b.Context(), rdb, rdb, cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	var spent float64
	for done := 0; done < b.N; done += size {
		batch := plannedBatch(b, q, size)
		before := serverTime(b, rdb)
		if _, err := q.Settle(b.Context(), "c1", batch); err != nil {
			b.Fatal(err)
		}
		spent += serverTime(b, rdb) - before
	}
	b.ReportMetric(spent/float64((b.N+size-1)/size*size), "redis-µs/op")
}

// serverTime is the processor time that the server has taken, in microseconds:
// of itself, whatever else the machine does.
func serverTime(b *testing.B, rdb *redis.Client) (total float64) {
	b.Helper()
	for line := range strings.Lines(rdb.Info(b.Context(), "cpu").Val()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user_main_thread" || name == "used_cpu_sys_main_thread" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			total += 1e6 * seconds
		}
	}
	return total
}

// plannedBatch admits, plans and leases size deliveries, and returns their
// settlements.
func plannedBatch(b *testing.B, q *queue.Queue, size int) (batch []*queue.Settlement) {
	b.Helper()
	ctx := b.Context()
	admissions := make([]queue.Admission, size)
	for i := range admissions {
		admissions[i] = queue.Admission{Tenant: "acme", Notification: notification(fmt.Sprint("u", i))}
	}
	q.AdmitAll(ctx, admissions)
	var planned []*queue.Planned
	for _, l := range readAll(b, q.EventReader("c1", notice.LaneNormal), size) {
		var ev notice.Event
		if err := ev.UnmarshalBinary(l.Payload); err != nil {
			b.Fatal(err)
		}
		planned = append(planned, &queue.Planned{Lease: l, Event: &ev, Deliveries: []queue.PlannedDelivery{{Delivery: deliveryOf(&ev, 1)}}})
	}
	if err := q.Plan(ctx, planned); err != nil {
		b.Fatal(err)
	}
	for _, l := range readAll(b, q.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), size) {
		var d notice.Delivery
		if err := d.UnmarshalBinary(l.Payload); err != nil {
			b.Fatal(err)
		}
		batch = append(batch, &queue.Settlement{Kind: queue.Done, Lease: l, Delivery: &d,
			Entry: queue.Entry{At: d.AcceptedAt, Status: notice.StatusDelivered, Attempt: 1, Code: "200", ProviderID: "p-1234567890"}})
	}
	return batch
}

func readAll(b *testing.B, r reader, want int) (out []*queue.Lease) {
	b.Helper()
	for len(out) < want {
		got, err := r.Read(b.Context(), want)
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, got...)
	}
	return out
}
