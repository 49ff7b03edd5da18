package delivery_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/notice/routing"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/templates"
	"github.com/carillonhq/carillon/throttle"
)

// TestMain fails the package when a goroutine outlives its test. The tests
// wait for servers most of their time, so many run side by side.
func TestMain(m *testing.M) {
	logging.Disable() // servers go down on purpose here
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f != nil {
		_ = f.Value.Set("12")
	}
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		_ = f.Value.Set("25") // of a model on a real server; a long run names a number
	}
	goleak.VerifyTestMain(m)
}

// clock runs, from whenever it was told to start, and can be set on.
type clock struct {
	mu    sync.Mutex
	at    time.Time
	began time.Time
}

func newClock(at time.Time) *clock { return &clock{at: at, began: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at.Add(time.Since(c.began))
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// adapter is a provider that answers by a script, and remembers what it got.
type adapter struct {
	channel notice.Channel

	mu     sync.Mutex
	got    []channels.Message
	answer func(ctx context.Context, m channels.Message) channels.Result
}

// Channel and Send implement channels.Adapter.
func (a *adapter) Channel() notice.Channel { return a.channel }

func (a *adapter) Send(ctx context.Context, m channels.Message) channels.Result {
	a.mu.Lock()
	a.got = append(a.got, m)
	answer := a.answer
	a.mu.Unlock()
	if answer == nil {
		return channels.Result{Verdict: channels.Sent, Code: "200"}
	}
	return answer(ctx, m)
}

// script sets how the adapter answers; nil: it takes everything.
func (a *adapter) script(answer func(ctx context.Context, m channels.Message) channels.Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = answer
}

// results answers one result after the other, and the last one for good.
func (a *adapter) results(rs ...channels.Result) {
	i := 0
	var mu sync.Mutex
	a.script(func(context.Context, channels.Message) channels.Result {
		mu.Lock()
		defer mu.Unlock()
		r := rs[min(i, len(rs)-1)]
		i++
		return r
	})
}

// sent is every message that the adapter got for a notification's deliveries.
func (a *adapter) sent(id string) (out []channels.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.got {
		if m.ID == id || strings.HasPrefix(m.ID, id+"-") {
			out = append(out, m)
		}
	}
	return out
}

// all counts the sends of every delivery.
func (a *adapter) all() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]int{}
	for _, m := range a.got {
		out[m.ID]++
	}
	return out
}

// setup is what a world is made of; the zero value has defaults.
type setup struct {
	redis      []string // further arguments of the server
	store      *store   // in place of a single server
	durability config.Durability
	at         time.Time // when it is; now
	visibility time.Duration
	grace      time.Duration
	caps       []config.Cap
	quiet      *config.QuietHours
	retry      config.Retry
	slots      int
	patience   time.Duration                     // of planners; negative: nothing is handed over
	jitter     func(time.Duration) time.Duration // nil: all of it
	routes     []config.Route
	catalogue  map[string]string // files beside the common ones
}

// world is everything that a pipeline works with.
type world struct {
	t       *testing.T
	setup   setup
	server  *queuetest.Server
	rdb     *redis.Client
	clock   *clock
	queue   *queue.Queue
	people  *recipients.Store
	store   *templates.Store
	dir     string
	routes  *routing.Table
	caps    *throttle.Caps
	webhook *adapter
	email   *adapter
	apns    *adapter
}

// most is a jitter that takes all of it.
func most(d time.Duration) time.Duration { return d }

func newWorld(t *testing.T, s setup) *world {
	t.Helper()
	s.defaults()
	w := &world{t: t, setup: s, clock: newClock(s.at), dir: t.TempDir(),
		webhook: &adapter{channel: notice.ChannelWebhook}, email: &adapter{channel: notice.ChannelEmail}, apns: &adapter{channel: notice.ChannelAPNs}}
	client, err := queue.Connect(w.connect(), 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	w.queue = w.openQueue(client)
	w.people = recipients.New(client, "t", w.queue.Partition, recipients.WithClock(w.clock.Now))
	if w.caps, err = throttle.NewCaps(client, "t", w.queue.Partition, s.caps); err != nil {
		t.Fatal(err)
	}
	if w.routes, err = routing.Compile(s.routes); err != nil {
		t.Fatal(err)
	}
	w.writeCatalogue()
	if w.store, err = templates.OpenStore(w.dir, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	return w
}

// store is a cluster or a set of Sentinels.
type store struct {
	redis      config.Redis
	partitions int
}

// connect starts a server, unless there is something in its place.
func (w *world) connect() config.Redis {
	if w.setup.store != nil {
		return w.setup.store.redis
	}
	w.setup.store = &store{partitions: 2}
	w.server = queuetest.Start(w.t, w.setup.redis...)
	w.rdb = w.server.Client()
	return config.Redis{URL: config.NewURL(w.server.URL())}
}

// in is the world for a subtest, which is what fails then.
func (w *world) in(t *testing.T) *world {
	sub := *w
	sub.t = t
	return &sub
}

func (s *setup) defaults() {
	if s.at.IsZero() {
		s.at = time.Now()
	}
	if s.visibility == 0 {
		s.visibility = 10 * time.Second
	}
	if s.grace == 0 {
		s.grace = 5 * time.Second
	}
	if s.retry.Schedule == nil {
		s.retry.Schedule = []config.Duration{config.Duration(10 * time.Second), config.Duration(time.Minute)}
	}
	if s.slots == 0 {
		s.slots = 4
	}
	if s.jitter == nil {
		s.jitter = most
	}
}

// openQueue opens the world's queue over a client.
func (w *world) openQueue(client redis.UniversalClient) *queue.Queue {
	w.t.Helper()
	cfg := config.Queue{Namespace: "t", Partitions: w.setup.store.partitions, Durability: w.setup.durability, Visibility: config.Duration(w.setup.visibility),
		Retention: config.Duration(time.Hour), MaxBacklog: 100_000}
	q, err := queue.Open(w.t.Context(), client, client, cfg, queue.WithClock(w.clock.Now), queue.WithUnsent(w.giveBack))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(q.Close)
	return q
}

// writeCatalogue makes a template for every medium, and one that has only a
// mail. Both need data.n, which nothing here checks at the door.
func (w *world) writeCatalogue() {
	w.t.Helper()
	meta := "category: news\nschema: {type: object, required: [n], properties: {n: {type: integer}}}\nsamples: {default: {n: 1}}\n"
	files := map[string]string{
		"catalogue.yaml":            "default_locale: en\n",
		"ping/template.yaml":        meta,
		"ping/en/email.subject.txt": "ping {{.data.n}}",
		"ping/en/email.txt":         "number {{.data.n}}",
		"ping/en/push.title.txt":    "ping {{.data.n}}",
		"ping/en/push.body.txt":     "number {{.data.n}}",
		"ping/en/webhook.json":      `{"n": {{json .data.n}}}`,
		"mail/template.yaml":        meta,
		"mail/en/email.subject.txt": "mail {{.data.n}}",
		"mail/en/email.txt":         "number {{.data.n}}",
	}
	for name, text := range w.setup.catalogue {
		files[name] = text
	}
	for name, text := range files {
		path := filepath.Join(w.dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
}

// acceptor stands at the inbox: it validates, and completes the priority.
type acceptor struct{}

func (acceptor) Accept(n *notice.Notification, now time.Time) error {
	if faults := n.Validate(now); len(faults) > 0 {
		return faults
	}
	if n.Priority == "" {
		n.Priority = notice.LaneNormal
	}
	return nil
}

// running is a pipeline at work.
type running struct {
	*delivery.Pipeline
	w        *world
	registry *prometheus.Registry
	slots    map[notice.Channel]*throttle.Slots
	cancel   context.CancelFunc
	done     chan struct{}
}

// start runs a consumer until the test ends, or stop is called. change, when
// given, changes its options.
func (w *world) start(name string, change ...func(*delivery.Options)) *running {
	w.t.Helper()
	r := &running{w: w, registry: prometheus.NewRegistry(), slots: map[notice.Channel]*throttle.Slots{}, done: make(chan struct{})}
	o := delivery.Options{
		Consumer: name, Queue: w.queue, Directory: w.people, Catalogue: w.store, Caps: w.caps, QuietHours: w.setup.quiet,
		Accept: acceptor{}, Routes: w.routes, Tenant: "acme", Visibility: w.setup.visibility, Grace: w.setup.grace,
		Enabled: map[notice.Channel]bool{notice.ChannelWebhook: true, notice.ChannelEmail: true, notice.ChannelAPNs: true},
		Log:     slog.New(slog.NewTextHandler(testLog{w.t}, nil)), Metrics: r.registry, Now: w.clock.Now, Jitter: w.setup.jitter, Patience: w.setup.patience,
	}
	for _, a := range []*adapter{w.webhook, w.email, w.apns} {
		r.slots[a.channel] = throttle.NewSlots(w.setup.slots, w.clock.Now)
		o.Channels = append(o.Channels, delivery.Channel{Adapter: a, Slots: r.slots[a.channel], Pace: throttle.NewPace(config.Rate{}), Retry: w.setup.retry})
	}
	for _, f := range change {
		f(&o)
	}
	r.Pipeline = delivery.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		defer close(r.done)
		r.Run(ctx)
	}()
	w.t.Cleanup(r.stop)
	return r
}

// stop tells the consumer to stop and waits until it has.
func (r *running) stop() {
	r.cancel()
	select {
	case <-r.done:
	case <-time.After(patience):
		r.w.t.Error("the pipeline does not stop")
	}
}

// metric is the value of one series: metric("carillon_x_total", "channel", "email").
func (r *running) metric(name string, labels ...string) float64 {
	r.w.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.w.t.Fatal(err)
	}
	total := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			for i := 0; i < len(labels); i += 2 {
				if has[labels[i]] != labels[i+1] {
					continue series
				}
			}
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return total
}

// testLog writes what the pipeline logs to the test's log, which shows it when
// the test fails.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// to is a notification of the template ping to one webhook.
func to(url string) notice.Notification {
	return notice.Notification{Template: "ping", Category: "news", Priority: notice.LaneNormal, Data: jsontext.Value(`{"n":1}`),
		To: notice.Recipient{Webhooks: []notice.Webhook{{URL: url}}}, Channels: []notice.Medium{notice.MediumWebhook}}
}

// toUser is a notification of the template ping to a stored profile.
func toUser(user string, media ...notice.Medium) notice.Notification {
	return notice.Notification{Template: "ping", Category: "news", Priority: notice.LaneNormal, Data: jsontext.Value(`{"n":1}`),
		To: notice.Recipient{User: user}, Channels: media}
}

// admit puts a notification on the queue and returns its id.
func (w *world) admit(n notice.Notification) string {
	w.t.Helper()
	got, err := w.queue.Admit(w.t.Context(), queue.Admission{Tenant: "acme", Notification: n})
	if err != nil {
		w.t.Fatal(err)
	}
	return got.ID
}

func (w *world) profile(user string, p recipients.Profile) {
	w.t.Helper()
	if err := w.people.Put(w.t.Context(), "acme", user, &p); err != nil {
		w.t.Fatal(err)
	}
}

// record reads a record; the zero one while it cannot be read.
func (w *world) record(id string) queue.Record {
	r, err := w.queue.Record(context.Background(), "acme", id)
	if err != nil {
		return queue.Record{}
	}
	return r
}

// patience bounds every wait: it is for what hangs, on whatever machine.
const patience = 3 * time.Minute

// await polls until done, and fails when that does not come to pass.
func (w *world) await(what string, done func() bool) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// ended waits until nothing of a notification may happen any more, and returns
// its record.
func (w *world) ended(id string) queue.Record {
	w.t.Helper()
	var r queue.Record
	defer func() {
		if w.t.Failed() && r.Open() {
			w.t.Logf("its record is %+v", r)
		}
	}()
	w.await("the end of "+id, func() bool {
		r = w.record(id)
		return r.ID != "" && !r.Open()
	})
	return r
}

// became waits until the delivery of an ordinal has a status, and returns it.
func (w *world) became(id string, ordinal int, want notice.Status) queue.DeliveryRecord {
	w.t.Helper()
	var got queue.DeliveryRecord
	w.await(fmt.Sprintf("delivery %s-%d %s", id, ordinal, want), func() bool {
		for _, d := range w.record(id).Deliveries {
			if d.ID == notice.DeliveryID(id, ordinal) {
				got = d
			}
		}
		return got.Status == want
	})
	return got
}

// retrying waits until so many attempts of a delivery have failed.
func (w *world) retrying(id string, ordinal, attempts int) queue.DeliveryRecord {
	w.t.Helper()
	var got queue.DeliveryRecord
	w.await(fmt.Sprintf("attempt %d of delivery %s-%d", attempts, id, ordinal), func() bool {
		got = w.became(id, ordinal, notice.StatusRetrying)
		return got.Attempt == attempts
	})
	return got
}

// statuses are those of a record's deliveries, in order, with the code of each
// one's last entry: "suppressed preferences".
func statuses(r queue.Record) (out []string) {
	for _, d := range r.Deliveries {
		last := d.Timeline[len(d.Timeline)-1]
		out = append(out, strings.TrimSpace(string(d.Status)+" "+last.Code))
	}
	return out
}

// nothingLeft fails unless every stream, everything parked and every pending
// entry is gone, and every record will go.
func (w *world) nothingLeft() {
	w.t.Helper()
	ctx := context.Background()
	w.await("an empty queue", func() bool {
		for _, key := range w.rdb.Keys(ctx, "*").Val() {
			switch w.rdb.Type(ctx, key).Val() {
			case "stream":
				if w.rdb.XLen(ctx, key).Val() > 0 || pending(w.rdb, key) > 0 {
					return false
				}
			case "string":
				if strings.Contains(key, ":n:") && w.rdb.PTTL(ctx, key).Val() > 26*time.Hour {
					return false
				}
			case "zset", "hash":
				if strings.HasSuffix(key, ":later") || strings.HasSuffix(key, ":waiting") || strings.HasSuffix(key, ":waits") || strings.HasSuffix(key, ":parked") {
					return false
				}
			}
		}
		return true
	})
}

func pending(rdb *redis.Client, stream string) int64 {
	p, err := rdb.XPending(context.Background(), stream, "carillon").Result()
	if err != nil {
		return 0
	}
	return p.Count
}
