package delivery_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/templates"
	"github.com/carillonhq/carillon/throttle"
)

// counter takes everything at once, and tells when it has taken enough.
type counter struct {
	left atomic.Int64
	done chan struct{}
}

func (*counter) Channel() notice.Channel { return notice.ChannelWebhook }

func (c *counter) Send(context.Context, channels.Message) channels.Result {
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
	return channels.Result{Verdict: channels.Sent, Code: "204"}
}

// BenchmarkDrain is everything that the gateway does for a notification but
// sending it: b.N are queued, then planned, rendered and settled. It reports
// the processor time that this process and a real redis-server spend on each.
func BenchmarkDrain(b *testing.B) {
	for _, caps := range []int{0, 1, 3} {
		b.Run(strconv.Itoa(caps)+" caps", func(b *testing.B) { benchmarkDrain(b, caps) })
	}
}

func benchmarkDrain(b *testing.B, caps int) {
	rdb := queuetest.Redis(b)
	q, err := queue.Open(b.Context(), rdb, rdb, config.Queue{Namespace: "b", Partitions: 8,
		Visibility: config.Duration(time.Minute), Retention: config.Duration(time.Hour), MaxBacklog: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(q.Close)
	sink := &counter{done: make(chan struct{})}
	sink.left.Store(int64(b.N))
	p := delivery.New(benchOptions(b, q, rdb, sink, caps))
	queueUp(b, q)
	before := redisCPU(b, rdb)
	b.ReportAllocs()
	b.ResetTimer()
	ctx, stop := context.WithCancel(b.Context())
	start, took := time.Now(), time.Duration(0)
	go func() {
		<-sink.done
		took = time.Since(start) // stopping waits for a blocked read, which is not the drain's
		stop()
	}()
	used := ownCPU(b)
	p.Run(ctx)
	b.ReportMetric(float64(ownCPU(b)-used)/float64(b.N)/1000, "cpu-µs/op")
	b.ReportMetric(float64(b.N)/took.Seconds(), "drained/s")
	b.ReportMetric(float64(redisCPU(b, rdb)-before)/float64(b.N)/1000, "redis-µs/op")
}

func benchOptions(b *testing.B, q *queue.Queue, rdb *redis.Client, sink *counter, caps int) delivery.Options {
	dir := b.TempDir()
	for name, text := range map[string]string{
		"catalogue.yaml":       "default_locale: en\n",
		"ping/template.yaml":   "category: test\nschema: {type: object, required: [n, pad], properties: {n: {type: integer}, pad: {type: string}}}\nsamples: {default: {n: 1, pad: x}}\n",
		"ping/en/webhook.json": `{"type":"ping","data":{"n":{{json .data.n}},"pad":{{json .data.pad}}}}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	catalogue, err := templates.OpenStore(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { catalogue.Close() })
	var rules []config.Cap
	for i := range caps {
		rules = append(rules, config.Cap{Name: "rule " + strconv.Itoa(i), Category: "*", Channel: "*", Limit: config.Rate{Count: 100, Per: 24 * time.Hour}, Over: config.OverDefer})
	}
	c, err := throttle.NewCaps(rdb, "b", q.Partition, rules)
	if err != nil {
		b.Fatal(err)
	}
	return delivery.Options{Consumer: "c", Queue: q, Directory: recipients.New(rdb, "b", q.Partition), Catalogue: catalogue, Caps: c,
		Accept: acceptor{}, Tenant: "acme", Enabled: map[notice.Channel]bool{notice.ChannelWebhook: true},
		Channels: []delivery.Channel{{Adapter: sink, Slots: throttle.NewSlots(64, time.Now), Pace: throttle.NewPace(config.Rate{}),
			Retry: config.Retry{Schedule: []config.Duration{config.Duration(time.Second)}}}},
		Visibility: time.Minute, Grace: 10 * time.Second, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
}

// queueUp admits b.N notifications of about 600 bytes.
func queueUp(b *testing.B, q *queue.Queue) {
	pad := strings.Repeat("x", 550)
	batch := make([]queue.Admission, 0, 1000)
	for i := range b.N {
		batch = append(batch, queue.Admission{Tenant: "acme", Notification: notice.Notification{
			Template: "ping", Category: "test", Priority: notice.LaneNormal, Channels: []notice.Medium{notice.MediumWebhook},
			To:   notice.Recipient{User: "u" + strconv.Itoa(i), Webhooks: []notice.Webhook{{URL: "http://127.0.0.1/h", Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}},
			Data: jsontext.Value(fmt.Sprintf(`{"n":%d,"pad":"%s"}`, i, pad))}})
		if len(batch) == cap(batch) || i == b.N-1 {
			for _, got := range q.AdmitAll(b.Context(), batch) {
				if got.Err != nil {
					b.Fatal(got.Err)
				}
			}
			batch = batch[:0]
		}
	}
}

// ownCPU is the processor time that this process has used, in nanoseconds.
func ownCPU(b *testing.B) int64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}

// redisCPU is the processor time that the server has used, in nanoseconds.
func redisCPU(b *testing.B, rdb *redis.Client) int64 {
	info, err := rdb.Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	var total float64
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			total += seconds
		}
	}
	return int64(total * 1e9)
}
