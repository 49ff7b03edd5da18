package queue_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// clock is a settable time, since tests do not wait.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now().Truncate(time.Millisecond)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// world is a queue over a server.
type world struct {
	*queue.Queue
	t     *testing.T
	rdb   redis.UniversalClient
	clock *clock
}

func testConfig() config.Queue {
	return config.Queue{Namespace: "t", Partitions: 2, Visibility: config.Duration(50 * time.Millisecond),
		Retention: config.Duration(time.Hour), MaxBacklog: 1000}
}

func open(t *testing.T, rdb redis.UniversalClient, cfg config.Queue) *world {
	t.Helper()
	c := newClock()
	q, err := queue.Open(t.Context(), rdb, rdb, cfg, queue.WithClock(c.Now))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return &world{q, t, rdb, c}
}

// onBoth runs a test on a real redis-server and on the embedded one.
func onBoth(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("redis-server", func(t *testing.T) { test(t, open(t, queuetest.Redis(t), testConfig())) })
	t.Run("miniredis", func(t *testing.T) {
		m := miniredis.RunT(t)
		rdb := redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true})
		t.Cleanup(func() { rdb.Close() })
		test(t, open(t, rdb, testConfig()))
	})
	t.Run("cluster", func(t *testing.T) { test(t, open(t, connectTo(t, sharedCluster.Cluster(t)), testConfig())) })
}

// sharedCluster is started by the first test that needs it.
var sharedCluster queuetest.Lazy

// TestMain ends what the tests share.
func TestMain(m *testing.M) {
	logging.Disable() // servers go down on purpose here
	code := m.Run()
	sharedCluster.Stop()
	os.Exit(code)
}

// connectTo connects to a cluster as the gateway does.
func connectTo(t *testing.T, c *queuetest.Cluster) redis.UniversalClient {
	t.Helper()
	cfg := config.Redis{}
	for _, a := range c.Addrs() {
		cfg.URLs = append(cfg.URLs, config.NewURL("redis://"+a))
	}
	rdb, err := queue.Connect(cfg, 32)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// keys are those of every master.
func (w *world) keys(pattern string) (out []string) {
	w.t.Helper()
	cluster, ok := w.rdb.(*redis.ClusterClient)
	if !ok {
		return w.rdb.Keys(w.t.Context(), pattern).Val()
	}
	var mu sync.Mutex
	err := cluster.ForEachMaster(w.t.Context(), func(ctx context.Context, node *redis.Client) error {
		found, err := node.Keys(ctx, pattern).Result()
		mu.Lock()
		defer mu.Unlock()
		out = append(out, found...)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func notification(user string) notice.Notification {
	return notice.Notification{Template: "ping", To: notice.Recipient{User: user}, Priority: notice.LaneNormal,
		Data: jsontext.Value(`{"n":1}`), Category: "test"}
}

func (w *world) admit(a queue.Admission) queue.Admitted {
	w.t.Helper()
	got, err := w.Admit(w.t.Context(), a)
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

// leaseEvents reads until want events are leased.
func (w *world) leaseEvents(want int) ([]*queue.Lease, []*notice.Event) {
	w.t.Helper()
	leases := w.lease(w.EventReader("c1", notice.LaneNormal), want)
	var events []*notice.Event
	for _, l := range leases {
		var ev notice.Event
		if err := ev.UnmarshalBinary(l.Payload); err != nil {
			w.t.Fatal(err)
		}
		events = append(events, &ev)
	}
	return leases, events
}

type reader interface {
	Read(ctx context.Context, room int) ([]*queue.Lease, error)
}

func (w *world) lease(r reader, want int) []*queue.Lease {
	w.t.Helper()
	var out []*queue.Lease
	for range 5 {
		if got, err := r.Read(w.t.Context(), 100); err != nil {
			w.t.Fatal(err)
		} else if out = append(out, got...); len(out) >= want {
			break
		}
	}
	if len(out) != want {
		w.t.Fatalf("leased %d entries, want %d", len(out), want)
	}
	return out
}

func deliveryOf(ev *notice.Event, ordinal int) notice.Delivery {
	return notice.Delivery{ID: notice.DeliveryID(ev.ID, ordinal), Tenant: ev.Tenant, Template: ev.Notification.Template,
		Lane: notice.LaneNormal, To: notice.Person{User: ev.Notification.To.User}, AcceptedAt: ev.AcceptedAt, Keyed: ev.Keyed,
		Address: notice.Address{Channel: notice.ChannelWebhook, To: "https://example.com/secret-path"}}
}

// planned admits and plans one notification with one webhook delivery, and
// leases the delivery.
func (w *world) planned(user string) (*notice.Event, *queue.Lease, *notice.Delivery) {
	w.t.Helper()
	w.admit(queue.Admission{Tenant: "acme", Notification: notification(user)})
	leases, events := w.leaseEvents(1)
	if err := w.Plan(w.t.Context(), []*queue.Planned{{Lease: leases[0], Event: events[0],
		Deliveries: []queue.PlannedDelivery{{Delivery: deliveryOf(events[0], 1)}}}}); err != nil {
		w.t.Fatal(err)
	}
	l := w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 1)[0]
	var d notice.Delivery
	if err := d.UnmarshalBinary(l.Payload); err != nil {
		w.t.Fatal(err)
	}
	return events[0], l, &d
}

func (w *world) settle(s *queue.Settlement) bool {
	w.t.Helper()
	mine, err := w.Settle(w.t.Context(), "c1", []*queue.Settlement{s})
	if err != nil {
		w.t.Fatal(err)
	}
	return mine[0]
}

func (w *world) record(id string) queue.Record {
	w.t.Helper()
	r, err := w.Record(w.t.Context(), "acme", id)
	if err != nil {
		w.t.Fatalf("record %s: %v", id, err)
	}
	return r
}

func entry(w *world, s notice.Status) queue.Entry { return queue.Entry{At: w.clock.Now(), Status: s} }

func TestAnAcceptedNotificationIsOnRecordAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := notification("ada")
		n.ExpiresAt = w.clock.Now().Add(time.Hour)
		got := w.admit(queue.Admission{Tenant: "acme", Notification: n})
		r := w.record(got.ID)
		want := queue.Record{ID: got.ID, Tenant: "acme", User: "ada", Template: "ping", Category: "test", Lane: notice.LaneNormal,
			AcceptedAt: w.clock.Now().UTC(), ExpiresAt: n.ExpiresAt.UTC()}
		if r.ID != want.ID || r.User != want.User || r.Template != want.Template || r.Category != want.Category ||
			!r.AcceptedAt.Equal(want.AcceptedAt) || !r.ExpiresAt.Equal(want.ExpiresAt) || !r.Open() {
			t.Fatalf("record %+v, want %+v", r, want)
		}
		if _, err := w.Record(t.Context(), "other", got.ID); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("another tenant reads it: %v", err)
		}
	})
}

func TestTheSameKeyAnswersWithTheFirstId(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		first := w.admit(queue.Admission{Tenant: "acme", Key: "k", Digest: 7, Notification: notification("ada")})
		again := w.admit(queue.Admission{Tenant: "acme", Key: "k", Digest: 7, Notification: notification("ada")})
		if first.Duplicate || !again.Duplicate || again.ID != first.ID {
			t.Fatalf("first %+v, again %+v", first, again)
		}
		if _, err := w.Admit(t.Context(), queue.Admission{Tenant: "acme", Key: "k", Digest: 8, Notification: notification("bob")}); !errors.Is(err, queue.ErrKeyReused) {
			t.Errorf("another body under the same key: %v", err)
		}
		other := w.admit(queue.Admission{Tenant: "other", Key: "k", Digest: 7, Notification: notification("ada")})
		if other.Duplicate {
			t.Error("another tenant's key answered")
		}
		w.leaseEvents(2)
	})
}

func TestManyAtOnceWithOneKeyAdmitOne(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	as := make([]queue.Admission, 300)
	for i := range as {
		as[i] = queue.Admission{Tenant: "acme", Key: "k", Digest: 1, Notification: notification("ada")}
	}
	out := w.AdmitAll(t.Context(), as)
	fresh := 0
	for _, a := range out {
		if a.Err != nil || a.ID != out[0].ID {
			t.Fatalf("%+v beside %+v", a, out[0])
		}
		if !a.Duplicate {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d admissions count as the first", fresh)
	}
	w.leaseEvents(1)
}

// A crash between claiming the key and admitting leaves a claim without a
// notification: the next try with the same key must admit it.
func TestAClaimWithoutItsNotificationIsHealed(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	first := w.admit(queue.Admission{Tenant: "acme", Key: "k", Digest: 1, Notification: notification("ada")})
	leases, events := w.leaseEvents(1)
	for _, key := range w.keys("*") {
		if !strings.Contains(key, ":i:") {
			w.rdb.Del(t.Context(), key)
		}
	}
	again := w.admit(queue.Admission{Tenant: "acme", Key: "k", Digest: 1, Notification: notification("ada")})
	if again.ID != first.ID {
		t.Fatalf("healed under %s, first %s", again.ID, first.ID)
	}
	_, healed := w.leaseEvents(1)
	if healed[0].ID != events[0].ID || len(leases) != 1 {
		t.Errorf("healed event %+v", healed[0])
	}
}

func TestReadingAnInboxEntryTwiceAdmitsItOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := queue.Admission{Tenant: "acme", Identity: "inbox:1-1", ReadAt: w.clock.Now(), Notification: notification("ada")}
		first, again := w.admit(a), w.admit(a)
		if first.ID != again.ID || first.Duplicate || !again.Duplicate {
			t.Fatalf("first %+v, again %+v", first, again)
		}
		w.leaseEvents(1)
	})
}

func TestAScheduledNotificationWaitsForItsTime(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := notification("ada")
		n.SendAt = w.clock.Now().Add(time.Hour)
		w.admit(queue.Admission{Tenant: "acme", Notification: n})
		promoted, next, err := w.Promote(t.Context())
		if err != nil || promoted != 0 || !next.Equal(n.SendAt) {
			t.Fatalf("before its time: promoted %d, next %v (want %v), %v", promoted, next, n.SendAt, err)
		}
		w.clock.Advance(time.Hour)
		if promoted, next, err = w.Promote(t.Context()); err != nil || promoted != 1 || !next.IsZero() {
			t.Fatalf("at its time: promoted %d, next %v, %v", promoted, next, err)
		}
		if _, events := w.leaseEvents(1); events[0].Notification.To.User != "ada" {
			t.Errorf("promoted %+v", events[0])
		}
	})
}

func TestPlanningAnEventTwiceMakesItsDeliveriesOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
		leases, events := w.leaseEvents(1)
		plan := []*queue.Planned{{Lease: leases[0], Event: events[0], Deliveries: []queue.PlannedDelivery{{Delivery: deliveryOf(events[0], 1)}, {Delivery: deliveryOf(events[0], 2)}}}}
		for range 2 {
			if err := w.Plan(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
		}
		w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 2)
		if r := w.record(events[0].ID); len(r.Deliveries) != 2 || r.Deliveries[0].Status != notice.StatusQueued || r.Deliveries[0].Address != "example.com" {
			t.Errorf("record %+v", r)
		}
	})
}

func TestADeliveredNotificationLeavesOnlyItsRecordForItsRetention(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ev, l, d := w.planned("ada")
		w.clock.Advance(2 * time.Second)
		done := &queue.Settlement{Lease: l, Delivery: d, Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered, Attempt: 1, Code: "204", ProviderID: "p\t1"}}
		if !w.settle(done) {
			t.Fatal("the settlement was not ours")
		}
		if w.settle(done) {
			t.Error("settled twice")
		}
		r := w.record(ev.ID)
		got := r.Deliveries[0]
		if got.Status != notice.StatusDelivered || got.Attempt != 1 || r.Open() {
			t.Fatalf("record %+v", r)
		}
		last := got.Timeline[len(got.Timeline)-1]
		if last.Code != "204" || last.ProviderID != "p 1" || !last.At.Equal(w.clock.Now()) {
			t.Errorf("last entry %+v", last)
		}
		w.nothingWithoutTTL()
	})
}

// nothingWithoutTTL fails for a key that would stay for ever, but for the
// streams and the namespace's own settings.
func (w *world) nothingWithoutTTL() {
	w.t.Helper()
	for _, key := range w.keys("*") {
		kind := w.rdb.Type(w.t.Context(), key).Val()
		if kind == "stream" {
			if n := w.rdb.XLen(w.t.Context(), key).Val(); n != 0 {
				w.t.Errorf("%s still holds %d entries", key, n)
			}
			continue
		}
		if ttl := w.rdb.PTTL(w.t.Context(), key).Val(); ttl <= 0 && key != "t:meta" {
			w.t.Errorf("%s (%s) has no TTL", key, kind)
		}
	}
}

func TestARecordOfOneFinishedDeliveryIsCompact(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	ev, l, d := w.planned("user-0123456789")
	w.settle(&queue.Settlement{Lease: l, Delivery: d, Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered, Attempt: 1, Code: "204"}})
	for _, key := range w.keys("*:n:*") {
		used := w.rdb.MemoryUsage(t.Context(), key).Val()
		t.Logf("record of %s: %d bytes of memory, value %q", ev.ID, used, w.rdb.Get(t.Context(), key).Val())
		if used > 250 {
			t.Errorf("a finished record takes %d bytes, more than 250", used)
		}
	}
}

func TestTheRecordOfTwoDeliveriesStaysOpenUntilBothHaveEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
		leases, events := w.leaseEvents(1)
		ev := events[0]
		if err := w.Plan(t.Context(), []*queue.Planned{{Lease: leases[0], Event: ev, Deliveries: []queue.PlannedDelivery{{Delivery: deliveryOf(ev, 1)}, {Delivery: deliveryOf(ev, 2)}}}}); err != nil {
			t.Fatal(err)
		}
		for i, l := range w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 2) {
			d := deliveryOf(ev, i+1)
			w.settle(&queue.Settlement{Lease: l, Delivery: &d, Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered, Attempt: 1}})
			key := w.keys("*:n:*")[0]
			ttl := w.rdb.PTTL(t.Context(), key).Val()
			if closed := ttl <= time.Hour; closed != (i == 1) {
				t.Errorf("after %d of 2 deliveries the record lives for %v", i+1, ttl)
			}
		}
		if r := w.record(ev.ID); r.Open() {
			t.Errorf("record %+v is still open", r)
		}
	})
}

func TestADeliveryForLaterComesBackWhenItIsDue(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ev, l, d := w.planned("ada")
		d.Attempt = 1
		due := w.clock.Now().Add(30 * time.Second)
		w.settle(&queue.Settlement{Kind: queue.Later, Lease: l, Delivery: d, Due: due,
			Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusRetrying, Attempt: 1, Code: "503", Detail: "try\nlater", Until: due}})
		got := w.record(ev.ID).Deliveries[0]
		if got.Status != notice.StatusRetrying || !got.Timeline[1].Until.Equal(due) || got.Timeline[1].Detail != "try later" {
			t.Fatalf("delivery %+v", got)
		}
		w.clock.Advance(30 * time.Second)
		if n, _, err := w.Promote(t.Context()); n != 1 || err != nil {
			t.Fatalf("promoted %d, %v", n, err)
		}
		again := w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 1)[0]
		var back notice.Delivery
		if err := back.UnmarshalBinary(again.Payload); err != nil || back.Attempt != 1 || back.ID != d.ID {
			t.Errorf("came back as %+v, %v", back, err)
		}
	})
}

func TestWhatADeadConsumerHeldIsReclaimed(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		_, _, d := w.planned("ada") // leased by c1, which is never heard of again
		r := w.DeliveryReader("c2", notice.ChannelWebhook, notice.LaneNormal)
		var got []*queue.Lease
		for deadline := time.Now().Add(5 * time.Second); len(got) == 0 && time.Now().Before(deadline); {
			var err error
			if got, err = r.Reclaim(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
		}
		if len(got) != 1 || got[0].Lost != 1 {
			t.Fatalf("reclaimed %+v", got)
		}
		mine, err := w.Settle(t.Context(), "c2", []*queue.Settlement{{Lease: got[0], Delivery: d, Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered, Attempt: 1}}})
		if err != nil || !mine[0] {
			t.Fatalf("settled %v, %v", mine, err)
		}
	})
}

// A consumer that was frozen past its lease must not have a delivery sent
// again that its successor is sending.
func TestAConsumerThatLostItsLeaseCannotParkTheDelivery(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	_, l, d := w.planned("ada")
	r := w.DeliveryReader("c2", notice.ChannelWebhook, notice.LaneNormal)
	var taken []*queue.Lease
	for deadline := time.Now().Add(5 * time.Second); len(taken) == 0 && time.Now().Before(deadline); {
		taken, _ = r.Reclaim(t.Context(), 10)
	}
	late := &queue.Settlement{Kind: queue.Later, Lease: l, Delivery: d, Due: w.clock.Now(), Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusRetrying}}
	if w.settle(late) {
		t.Fatal("the consumer that lost its lease parked the delivery")
	}
	if lost, err := w.Renew(t.Context(), "c1", []*queue.Lease{l}); err != nil || len(lost) != 1 {
		t.Fatalf("renewing told of %d lost leases, %v", len(lost), err)
	}
	mine, err := w.Settle(t.Context(), "c2", []*queue.Settlement{{Kind: queue.Later, Lease: taken[0], Delivery: d, Due: w.clock.Now(), Entry: late.Entry}})
	if err != nil || !mine[0] {
		t.Errorf("renewing took the lease back from its new holder: %v, %v", mine, err)
	}
}

func TestARenewedLeaseIsNotReclaimed(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	_, l, _ := w.planned("ada")
	r := w.DeliveryReader("c2", notice.ChannelWebhook, notice.LaneNormal)
	for end := time.Now().Add(4 * testConfig().Visibility.Std()); time.Now().Before(end); {
		if lost, err := w.Renew(t.Context(), "c1", []*queue.Lease{l}); err != nil || len(lost) != 0 {
			t.Fatalf("renewing told of %d lost leases, %v", len(lost), err)
		}
		if got, err := r.Reclaim(t.Context(), 10); err != nil || len(got) != 0 {
			t.Fatalf("reclaimed %v, %v", got, err)
		}
	}
}

func TestWhatIsHandedBackIsReadAgainAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		_, l, _ := w.planned("ada")
		w.settle(&queue.Settlement{Kind: queue.Requeue, Lease: l})
		again := w.lease(w.DeliveryReader("c2", notice.ChannelWebhook, notice.LaneNormal), 1)[0]
		if string(again.Payload) != string(l.Payload) || again.Lost != 0 {
			t.Errorf("handed back as %s", again.Payload)
		}
	})
}

// chained plans one notification whose link of a chain has n deliveries, and
// leases them.
func (w *world) chained(n int) (ev *notice.Event, leases []*queue.Lease, ds []*notice.Delivery) {
	w.t.Helper()
	w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
	planned, events := w.leaseEvents(1)
	ev = events[0]
	rest := *ev
	rest.Planned, rest.Notification.Channels = n, []notice.Medium{notice.MediumEmail}
	plan := &queue.Planned{Lease: planned[0], Event: ev}
	for i := range n {
		d := deliveryOf(ev, i+1)
		d.Chain = &notice.Chain{First: 1, Last: n, Rest: rest}
		plan.Deliveries = append(plan.Deliveries, queue.PlannedDelivery{Delivery: d})
	}
	if err := w.Plan(w.t.Context(), []*queue.Planned{plan}); err != nil {
		w.t.Fatal(err)
	}
	leases = w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), n)
	for _, l := range leases {
		d := new(notice.Delivery)
		if err := d.UnmarshalBinary(l.Payload); err != nil {
			w.t.Fatal(err)
		}
		ds = append(ds, d)
	}
	return ev, leases, ds
}

func TestAChainGoesOnWhenEveryDeliveryOfItsLinkHasFailed(t *testing.T) {
	fails := func(w *world, l *queue.Lease, d *notice.Delivery) {
		w.settle(&queue.Settlement{Kind: queue.Next, Lease: l, Delivery: d, Entry: entry(w, notice.StatusFailed)})
	}
	onBoth(t, func(t *testing.T, w *world) {
		ev, leases, ds := w.chained(2)
		fails(w, leases[0], ds[0])
		if r := w.record(ev.ID); !r.Open() || len(r.Timeline) != 0 {
			t.Fatalf("with one still open: %+v", r)
		}
		fails(w, leases[1], ds[1])
		r := w.record(ev.ID)
		if !r.Open() || len(r.Timeline) != 1 || r.Timeline[0].Status != notice.StatusQueued {
			t.Fatalf("with all failed: %+v", r)
		}
		planned, events := w.leaseEvents(1)
		if got := events[0]; got.ID != ev.ID || got.Planned != 2 || !slices.Equal(got.Notification.Channels, []notice.Medium{notice.MediumEmail}) {
			t.Fatalf("goes on as %+v", got)
		}
		last := deliveryOf(ev, 3)
		if err := w.Plan(t.Context(), []*queue.Planned{{Lease: planned[0], Event: events[0], Deliveries: []queue.PlannedDelivery{{Delivery: last}}}}); err != nil {
			t.Fatal(err)
		}
		l := w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 1)[0]
		last.Alone = true
		w.settle(&queue.Settlement{Lease: l, Delivery: &last, Entry: entry(w, notice.StatusDelivered)})
		if r := w.record(ev.ID); r.Open() || len(r.Deliveries) != 3 {
			t.Errorf("ended as %+v", r)
		}
		w.nothingWithoutTTL()
	})
}

func TestAChainStopsWhenOneOfItsLinkArrivedOrMayHave(t *testing.T) {
	for name, other := range map[string]func(w *world, l *queue.Lease, d *notice.Delivery){
		"arrived": func(w *world, l *queue.Lease, d *notice.Delivery) {
			w.settle(&queue.Settlement{Lease: l, Delivery: d, Entry: entry(w, notice.StatusDelivered)})
		},
		"is held": func(w *world, l *queue.Lease, d *notice.Delivery) {
			w.settle(&queue.Settlement{Kind: queue.Bury, Lease: l, Delivery: d, Reason: "unknown-outcome", Entry: entry(w, notice.StatusDead)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, w *world) {
				ev, leases, ds := w.chained(2)
				other(w, leases[0], ds[0])
				w.settle(&queue.Settlement{Kind: queue.Next, Lease: leases[1], Delivery: ds[1], Entry: entry(w, notice.StatusFailed)})
				if r := w.record(ev.ID); r.Open() {
					t.Errorf("still open: %+v", r)
				}
				w.leaseEvents(0)
			})
		})
	}
}

func TestAChainThatWaitsForItsNextLinkCanBeCanceled(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ev, leases, ds := w.chained(1)
		w.settle(&queue.Settlement{Kind: queue.Next, Lease: leases[0], Delivery: ds[0], Entry: entry(w, notice.StatusFailed)})
		if c, err := w.Cancel(t.Context(), "acme", ev.ID); err != nil || !slices.Equal(c.Canceled, []string{ev.ID}) {
			t.Fatalf("canceled %+v, %v", c, err)
		}
		next, events := w.leaseEvents(1)
		w.settle(queue.CanceledEvent(next[0], events[0], entry(w, notice.StatusCanceled)))
		if r := w.record(ev.ID); r.Open() || r.Deliveries[0].Status != notice.StatusFailed {
			t.Errorf("ended as %+v", r)
		}
		w.nothingWithoutTTL()
		w.noneCanceled()
	})
}

func TestADeadLetterIsListedShownRedrivenAndPurged(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		bury := func(user, reason string) *notice.Delivery {
			_, l, d := w.planned(user)
			w.settle(&queue.Settlement{Kind: queue.Bury, Lease: l, Delivery: d, Reason: reason,
				Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDead, Attempt: 9, Code: "500", Detail: "kaput"}})
			return d
		}
		a, b := bury("ada", "attempts"), bury("bob", "unknown-outcome")
		if found, _, err := w.DeadList(t.Context(), queue.DeadFilter{Tenant: "acme"}); err != nil || len(found) != 2 {
			t.Fatalf("listed %+v, %v", found, err)
		}
		found, _, err := w.DeadList(t.Context(), queue.DeadFilter{Reason: "attempts"})
		if err != nil || len(found) != 1 || found[0].ID != a.ID || found[0].Detail != "kaput" {
			t.Fatalf("listed by reason %+v, %v", found, err)
		}
		if _, err := w.DeadShow(t.Context(), "other", a.ID); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("another tenant sees it: %v", err)
		}
		if n, err := w.Redrive(t.Context(), "acme", a.ID); n != 1 || err != nil {
			t.Fatalf("redriven %d, %v", n, err)
		}
		l := w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 1)[0]
		r := w.record(a.ID)
		if last := r.Deliveries[0].Timeline; r.Deliveries[0].Status != notice.StatusQueued || last[len(last)-1].Detail != "redriven" {
			t.Errorf("redriven record %+v", r)
		}
		w.settle(&queue.Settlement{Lease: l, Delivery: a, Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered, Attempt: 1}})
		if n, err := w.Purge(t.Context(), queue.DeadFilter{Tenant: "acme"}); n != 1 || err != nil {
			t.Fatalf("purged %d, %v", n, err)
		}
		if _, err := w.DeadShow(t.Context(), "acme", b.ID); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("purged, but still shown: %v", err)
		}
		w.nothingWithoutTTL()
	})
}

func TestDeadLettersArePaged(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	want := map[string]bool{}
	for range 25 {
		_, l, d := w.planned("ada")
		w.settle(&queue.Settlement{Kind: queue.Bury, Lease: l, Delivery: d, Reason: "attempts", Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDead}})
		want[d.ID] = true
	}
	f := queue.DeadFilter{Limit: 10}
	for page := 0; ; page++ {
		found, after, err := w.DeadList(t.Context(), f)
		if err != nil || page > 3 {
			t.Fatalf("page %d: %v", page, err)
		}
		for _, d := range found {
			if !want[d.ID] {
				t.Errorf("%s listed twice, or never buried", d.ID)
			}
			delete(want, d.ID)
		}
		if f.After = after; after == "" {
			break
		}
	}
	if len(want) != 0 {
		t.Errorf("%d dead letters were on no page", len(want))
	}
}

func TestAnUnreadableInboxEntryIsBuriedOnceAndCanBeRedriven(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.rdb.XAdd(ctx, &redis.XAddArgs{Stream: "t:inbox", Values: []string{"event", "{not json", "tenant", "acme"}})
		r := w.InboxReader("c1")
		entries, err := r.Read(ctx, 10)
		if err != nil || len(entries) != 1 || entries[0].Event != "{not json" || entries[0].Tenant != "acme" {
			t.Fatalf("read %+v, %v", entries, err)
		}
		for range 2 { // as if the first finishing had been lost
			if err := w.BuryInbox(ctx, entries[0], "malformed", "offset 1"); err != nil {
				t.Fatal(err)
			}
		}
		found, _, err := w.DeadList(ctx, queue.DeadFilter{Channel: notice.ChannelInbox})
		if err != nil || len(found) != 1 || !strings.Contains(found[0].Payload, "{not json") {
			t.Fatalf("buried %+v, %v", found, err)
		}
		if n := w.rdb.XLen(ctx, "t:inbox").Val(); n != 0 {
			t.Fatalf("%d entries left on the inbox", n)
		}
		if n, err := w.Redrive(ctx, "", found[0].ID); n != 1 || err != nil {
			t.Fatalf("redriven %d, %v", n, err)
		}
		again, err := r.Read(ctx, 10)
		if err != nil || len(again) != 1 || again[0].Event != "{not json" || again[0].Identity != "redrive:"+found[0].ID {
			t.Fatalf("redriven as %+v, %v", again, err)
		}
	})
}

func TestCancelingEndsWhatIsParked(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		n := notification("ada")
		n.SendAt = w.clock.Now().Add(time.Hour)
		got := w.admit(queue.Admission{Tenant: "acme", Notification: n})
		if c, err := w.Cancel(t.Context(), "acme", got.ID); len(c.Canceled) != 1 || err != nil {
			t.Fatalf("canceled %v, %v", c, err)
		}
		w.clock.Advance(2 * time.Hour)
		if p, _, _ := w.Promote(t.Context()); p != 0 {
			t.Error("a canceled notification was promoted")
		}
		r := w.record(got.ID)
		if r.Open() || !slices.ContainsFunc(r.Timeline, func(e queue.Entry) bool { return e.Status == notice.StatusCanceled }) {
			t.Errorf("record %+v", r)
		}
		if _, err := w.Cancel(t.Context(), "acme", got.ID); !errors.Is(err, queue.ErrFinished) {
			t.Errorf("canceled twice: %v", err)
		}
		w.nothingWithoutTTL()
	})
}

// TestCancelingEndsWhatNobodyHasRead is about an event and about deliveries:
// the record says so at once, and who reads them later knows.
func TestCancelingEndsWhatNobodyHasRead(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		got := w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
		if c, err := w.Cancel(t.Context(), "acme", got.ID); err != nil || !slices.Equal(c.Canceled, []string{got.ID}) || len(c.TooLate) != 0 {
			t.Fatalf("canceled %+v, %v", c, err)
		}
		if r := w.record(got.ID); r.Open() || len(r.Timeline) != 1 || r.Timeline[0].Status != notice.StatusCanceled {
			t.Fatalf("before anybody read it: %+v", r)
		}
		if _, err := w.Cancel(t.Context(), "acme", got.ID); !errors.Is(err, queue.ErrFinished) {
			t.Errorf("canceled twice: %v", err)
		}
		leases, events := w.leaseEvents(1)
		if !w.Canceled(events[0].ID) || w.Canceled(notice.NewID(0, w.clock.Now())) {
			t.Fatal("its reader does not know, or knows of more")
		}
		w.settle(queue.CanceledEvent(leases[0], events[0], entry(w, notice.StatusCanceled)))
		if r := w.record(got.ID); len(r.Timeline) != 1 {
			t.Errorf("told twice: %+v", r.Timeline)
		}
		w.nothingWithoutTTL()
		w.noneCanceled()
	})
}

// Whoever ends what waits in its lanes looked only when it had learned of a
// cancel by asking itself: one that a reading had taught before was never acted
// on, and what waited for a paused channel stayed until the pause was over.
func TestACancelThatAReadingTaughtIsCountedAsLearned(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
		leases, events := w.leaseEvents(1)
		if err := w.Plan(t.Context(), []*queue.Planned{{Lease: leases[0], Event: events[0], Deliveries: []queue.PlannedDelivery{{Delivery: deliveryOf(events[0], 1)}}}}); err != nil {
			t.Fatal(err)
		}
		w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 1)
		before, err := w.LearnCancels(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Cancel(t.Context(), "acme", events[0].ID); !errors.Is(err, queue.ErrFinished) {
			t.Fatalf("%v, want it to be too late for what somebody holds", err)
		}
		w.admit(queue.Admission{Tenant: "acme", Notification: notification("bob")})
		w.leaseEvents(1)
		if !w.Canceled(events[0].ID) {
			t.Fatal("a reading after the cancel does not tell of it")
		}
		if after, err := w.LearnCancels(t.Context()); err != nil || after != before+1 {
			t.Errorf("%d cancels are learned, %d before one (%v); want one more", after, before, err)
		}
	})
}

func TestCancelingEndsDeliveriesThatNobodyHasReadAndSaysWhichSomebodyHolds(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
		leases, events := w.leaseEvents(1)
		id := events[0].ID
		mail := deliveryOf(events[0], 3)
		mail.Address.Channel = notice.ChannelEmail
		if err := w.Plan(t.Context(), []*queue.Planned{{Lease: leases[0], Event: events[0], Deliveries: []queue.PlannedDelivery{
			{Delivery: deliveryOf(events[0], 1)},
			{Delivery: deliveryOf(events[0], 2), Due: w.clock.Now().Add(time.Hour), Why: entry(w, notice.StatusDeferred)}, {Delivery: mail}}}}); err != nil {
			t.Fatal(err)
		}
		l := w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 1)[0]
		held := deliveryOf(events[0], 1)
		c, err := w.Cancel(t.Context(), "acme", id)
		slices.Sort(c.Canceled)
		if err != nil || !slices.Equal(c.Canceled, []string{id + "-2", id + "-3"}) || !slices.Equal(c.TooLate, []string{id + "-1"}) {
			t.Fatalf("canceled %+v, %v", c, err)
		}
		if known, err := w.LearnCancels(t.Context()); err != nil || known == 0 || !w.Canceled(held.ID) {
			t.Fatalf("who holds a part does not learn of it: %v, %v", known, err)
		}
		w.settle(&queue.Settlement{Lease: l, Delivery: &held, Entry: entry(w, notice.StatusDelivered)})
		m := w.lease(w.DeliveryReader("c1", notice.ChannelEmail, notice.LaneNormal), 1)[0]
		w.settle(&queue.Settlement{Kind: queue.Cancel, Lease: m, Delivery: &mail, Entry: entry(w, notice.StatusCanceled)})
		var ended []notice.Status
		for _, d := range w.record(id).Deliveries {
			ended = append(ended, d.Status)
		}
		if !slices.Equal(ended, []notice.Status{notice.StatusDelivered, notice.StatusCanceled, notice.StatusCanceled}) {
			t.Errorf("ended as %v", ended)
		}
		w.nothingWithoutTTL()
		w.noneCanceled()
	})
}

// noneCanceled checks that the canceled are forgotten once all of them is over.
func (w *world) noneCanceled() {
	w.t.Helper()
	if left := w.keys("*}:canceled"); len(left) > 0 {
		w.t.Errorf("still among the canceled: %v", left)
	}
}

// A consumer knew of cancels by their number, and did not see that a server
// which had lost its data began to count again.
func TestCancelsAreLearnedAfterTheServerLostItsData(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for range 3 {
			if _, err := w.Cancel(t.Context(), "acme", w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")}).ID); err != nil {
				t.Fatal(err)
			}
		}
		w.leaseEvents(3)
		for _, key := range w.keys("*") {
			w.rdb.Del(t.Context(), key)
		}
		_, _ = w.EventReader("c1", notice.LaneNormal).Read(t.Context(), 1) // makes the groups again
		got := w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
		if _, err := w.Cancel(t.Context(), "acme", got.ID); err != nil {
			t.Fatal(err)
		}
		if _, events := w.leaseEvents(1); !w.Canceled(events[0].ID) {
			t.Error("its reader does not know that it was canceled")
		}
	})
}

func TestALostGroupIsMadeAgainAndNothingIsSentTwice(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	ev, l, d := w.planned("ada")
	for _, key := range w.keys("*webhook*") {
		w.rdb.XGroupDestroy(t.Context(), key, "carillon")
	}
	if !w.settle(&queue.Settlement{Lease: l, Delivery: d, Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered, Attempt: 1}}) {
		t.Fatal("the group's loss made the delivery's outcome be forgotten")
	}
	if got, err := w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal).Read(t.Context(), 10); err != nil || len(got) != 0 {
		t.Fatalf("read %v, %v", got, err)
	}
	if w.record(ev.ID).Open() {
		t.Error("the record is open")
	}
	w.planned("bob") // the groups are there again
}

func TestAFlushedServerIsWorkedOnWithoutARestart(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	w.planned("ada")
	w.rdb.FlushAll(t.Context())
	w.rdb.ScriptFlush(t.Context())
	if got, err := w.EventReader("c1", notice.LaneNormal).Read(t.Context(), 10); err != nil || len(got) != 0 {
		t.Fatalf("read %v, %v", got, err)
	}
	w.planned("bob")
}

func TestAnotherNumberOfPartitionsIsRefusedWithTheStoredOne(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	cfg := testConfig()
	cfg.Partitions = 5
	_, err := queue.Open(t.Context(), w.rdb, w.rdb, cfg)
	var wrong *queue.PartitionsError
	if !errors.As(err, &wrong) || wrong.Stored != 2 || !strings.Contains(err.Error(), "queue.partitions: 5") {
		t.Fatalf("opened with other partitions: %v", err)
	}
}

func TestAnUnreachableServerIsUnavailableAndNothingIsAccepted(t *testing.T) {
	s := queuetest.Start(t)
	w := open(t, s.Client(), testConfig())
	s.Kill()
	got, err := w.Admit(t.Context(), queue.Admission{Tenant: "acme", Notification: notification("ada")})
	if !errors.Is(err, queue.ErrUnavailable) || got.ID != "" {
		t.Fatalf("admitted %+v, %v", got, err)
	}
	if _, err := w.Record(t.Context(), "acme", "0-00000000000000000000"); !errors.Is(err, queue.ErrUnavailable) {
		t.Errorf("record: %v", err)
	}
	s.Restart()
	if got := w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")}); got.ID == "" {
		t.Error("no id after the server came back")
	}
}

func TestWithoutAReplicaNothingIsAcceptedThatPromisesOne(t *testing.T) {
	cfg := testConfig()
	cfg.Durability = config.DurabilityReplica
	w := open(t, queuetest.Redis(t), cfg) // a server without replicas
	_, err := w.Admit(t.Context(), queue.Admission{Tenant: "acme", Notification: notification("ada")})
	if !errors.Is(err, queue.ErrUnavailable) || !strings.Contains(err.Error(), "durab") {
		t.Fatalf("accepted without a replica: %v", err)
	}
}

func TestPressureFollowsTheBacklog(t *testing.T) {
	cfg := testConfig()
	cfg.MaxBacklog = 3
	w := open(t, queuetest.Redis(t), cfg)
	for range 3 {
		w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
	}
	waitFor(t, "pressure", func() bool {
		w.clock.Advance(time.Millisecond)
		r, full := w.Pressure("acme", &notice.Notification{Priority: notice.LaneNormal})
		return full && r.RetryAfter >= time.Second && strings.Contains(r.Why, "queue.max_backlog")
	})
	depths, err := w.Depths(t.Context())
	if err != nil || depths[1].Stage != "events" || depths[1].Lane != notice.LaneNormal || depths[1].Length != 3 {
		t.Errorf("depths %+v, %v", depths, err)
	}
}

// waitFor polls until done, and fails after a minute.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no %s within a minute", what)
		}
	}
}

func TestAConsumerThatIsGoneIsForgottenButNotWhatItHolds(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		_, l, d := w.planned("ada") // c1 holds the delivery and nothing of the events
		if err := w.Retire(ctx, "c1"); err != nil {
			t.Fatal(err)
		}
		names := func() (out []string) {
			for _, key := range w.keys("*:normal") {
				for _, c := range w.rdb.XInfoConsumers(ctx, key, "carillon").Val() {
					out = append(out, key+" "+c.Name)
				}
			}
			return out
		}
		if got := names(); len(got) != 1 || !strings.Contains(got[0], "webhook") {
			t.Fatalf("consumers left: %v", got)
		}
		w.settle(&queue.Settlement{Lease: l, Delivery: d, Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered}})
		if err := w.Retire(ctx, "c1"); err != nil {
			t.Fatal(err)
		}
		if got := names(); len(got) != 0 {
			t.Errorf("consumers left: %v", got)
		}
	})
}

func TestWithAReplicaWhatPromisesOneIsAccepted(t *testing.T) {
	master := queuetest.Start(t)
	host, port, _ := strings.Cut(master.Addr, ":")
	replica := queuetest.Redis(t, "--replicaof", host, port)
	waitFor(t, "link to the master", func() bool {
		return strings.Contains(replica.Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	cfg := testConfig()
	cfg.Durability = config.DurabilityReplica
	w := open(t, master.Client(), cfg)
	got := w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
	// It was waited for: no poll.
	held := replica.Keys(t.Context(), "*:n:*").Val()
	if len(held) != 1 || !strings.HasSuffix(held[0], got.ID[2:]) {
		t.Errorf("the replica holds %v after the acceptance of %s", held, got.ID)
	}
}

// Redis refuses a script's first write when it is out of memory, and none after
// it: each of ours does all of its work, or none.
func TestAServerOutOfMemoryRefusesAdmissionsAndHalvesNoTransition(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	_, parked, d := w.planned("eve")
	w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
	leases, events := w.leaseEvents(1)
	if err := w.rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Admit(t.Context(), queue.Admission{Tenant: "acme", Notification: notification("bob")}); !errors.Is(err, queue.ErrUnavailable) {
		t.Errorf("admitted %+v, %v", got, err)
	}
	plan := []*queue.Planned{{Lease: leases[0], Event: events[0], Deliveries: []queue.PlannedDelivery{{Delivery: deliveryOf(events[0], 1)}}}}
	later := &queue.Settlement{Kind: queue.Later, Lease: parked, Delivery: d, Due: w.clock.Now(), Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusRetrying}}
	planErr := w.Plan(t.Context(), plan)
	_, settleErr := w.Settle(t.Context(), "c1", []*queue.Settlement{later})
	t.Logf("out of memory, planning says %v and settling %v", planErr, settleErr)
	w.rdb.ConfigSet(t.Context(), "maxmemory", "0")
	// Both may be repeated, and neither has lost anything.
	if err := w.Plan(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Settle(t.Context(), "c1", []*queue.Settlement{later}); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Second)
	if n, _, err := w.Promote(t.Context()); n != 1 || err != nil {
		t.Errorf("promoted %d, %v; want the delivery that was parked", n, err)
	}
	w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 2)
}

func TestWhatAConsumerHoldsWithoutKnowingIsItsOwn(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		inbox, events := w.InboxReader("c1"), w.EventReader("c1", notice.LaneNormal)
		if got, err := inbox.Own(ctx, 10); err != nil || len(got) != 0 {
			t.Fatalf("an empty inbox has %v, %v", got, err)
		}
		if got, err := events.Own(ctx); err != nil || len(got) != 0 {
			t.Fatalf("empty streams have %v, %v", got, err)
		}
		w.rdb.XAdd(ctx, &redis.XAddArgs{Stream: "t:inbox", Values: []string{"event", "{}"}})
		w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
		if _, err := inbox.Read(ctx, 10); err != nil {
			t.Fatal(err)
		}
		w.lease(events, 1)
		if got, err := inbox.Own(ctx, 10); err != nil || len(got) != 1 || got[0].Event != "{}" {
			t.Errorf("the inbox entry that was read is not there: %v, %v", got, err)
		}
		if got, err := events.Own(ctx); err != nil || len(got) != 1 || got[0].Lost != 0 {
			t.Errorf("the event that was read is not there: %v, %v", got, err)
		}
		if got, err := w.EventReader("c2", notice.LaneNormal).Own(ctx); err != nil || len(got) != 0 {
			t.Errorf("another consumer owns %v, %v", got, err)
		}
	})
}

// What a dead process of the same name held was taken for what this one leased
// and never saw, and would have been sent again where unknown outcomes are held.
func TestWhatADeadProcessOfTheSameNameHeldMayHaveBeenSent(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
		w.leaseEvents(1)
		waitUntil(t, func() bool {
			p := w.rdb.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: w.streamWithPending(), Group: "carillon", Start: "-", End: "+", Count: 1}).Val()
			return len(p) == 1 && p[0].Idle > 5*time.Millisecond
		})
		next := w.EventReader("c1", notice.LaneNormal)
		first, err := next.Own(t.Context())
		if err != nil || len(first) != 1 || first[0].Lost != 1 {
			t.Fatalf("the predecessor's: %+v, %v", first, err)
		}
		again, err := next.Own(t.Context())
		if err != nil || len(again) != 1 || again[0].Lost != 0 {
			t.Fatalf("its own: %+v, %v", again, err)
		}
	})
}

// streamWithPending is the stream of events that has something leased.
func (w *world) streamWithPending() string {
	for _, key := range w.keys("*}:events:*") {
		if w.rdb.XLen(w.t.Context(), key).Val() > 0 {
			return key
		}
	}
	return ""
}
