package queue_test

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// BenchmarkAdmit admits batches of 1000 notifications of about 600 bytes. It
// reports the processor time that the queue's side and a real redis-server
// spend on each, which a loaded machine changes little.
func BenchmarkAdmit(b *testing.B) {
	rdb := queuetest.Redis(b)
	q, err := queue.Open(b.Context(), rdb, rdb, config.Queue{Namespace: "b", Partitions: 8,
		Visibility: config.Duration(time.Minute), Retention: config.Duration(time.Hour), MaxBacklog: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	batch := make([]queue.Admission, 1000)
	pad := strings.Repeat("x", 600)
	for i := range batch {
		batch[i] = queue.Admission{Tenant: "acme", Notification: notice.Notification{
			Template: "ping", Category: "test", Priority: notice.LaneNormal, Channels: []notice.Medium{notice.MediumWebhook},
			To:   notice.Recipient{User: "u" + strconv.Itoa(i), Webhooks: []notice.Webhook{{URL: "http://127.0.0.1/h", Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}},
			Data: jsontext.Value(fmt.Sprintf(`{"n":%d,"pad":"%s"}`, i, pad))}}
	}
	b.ReportAllocs()
	redisBegan, ownBegan := redisCPU(b, rdb), ownCPU(b)
	b.ResetTimer()
	for done := 0; done < b.N; done += len(batch) {
		for _, got := range q.AdmitAll(b.Context(), batch[:min(len(batch), b.N-done)]) {
			if got.Err != nil {
				b.Fatal(got.Err)
			}
		}
	}
	b.ReportMetric(float64(redisCPU(b, rdb)-redisBegan)/float64(b.N)/1000, "redis-µs/op")
	b.ReportMetric(float64(ownCPU(b)-ownBegan)/float64(b.N)/1000, "own-µs/op")
}

// redisCPU is the processor time that the server has used, in nanoseconds.
func redisCPU(b *testing.B, rdb *redis.Client) (total time.Duration) {
	info, err := rdb.Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			spent, err := time.ParseDuration(value + "s")
			if err != nil {
				b.Fatal(err)
			}
			total += spent
		}
	}
	return total
}

// ownCPU is the processor time that this process has used.
func ownCPU(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
