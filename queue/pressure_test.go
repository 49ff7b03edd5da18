package queue_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// pressure is what a tenant's notification of a lane is told.
func (w *world) pressure(tenant string, lane notice.Lane) (queue.Refusal, bool) {
	return w.Pressure(tenant, &notice.Notification{Priority: lane})
}

// openLive is a queue by the real clock, whose refusals are not spread.
func openLive(t *testing.T, w *world, cfg config.Queue, options ...queue.Option) *queue.Queue {
	t.Helper()
	options = append(options, queue.WithRandom(func() float64 { return 0 }))
	q, err := queue.Open(t.Context(), w.rdb, w.rdb, cfg, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q
}

// park leases a delivery of a tenant and parks it for its provider's sake.
func (w *world) park(tenant, user string) *notice.Delivery {
	w.t.Helper()
	w.admit(queue.Admission{Tenant: tenant, Notification: notification(user)})
	w.planOne(w.lease(w.EventReader("c1", notice.LaneNormal), 1)[0])
	l := w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 1)[0]
	var d notice.Delivery
	if err := d.UnmarshalBinary(l.Payload); err != nil {
		w.t.Fatal(err)
	}
	w.settle(&queue.Settlement{Kind: queue.Later, Lease: l, Delivery: &d, Due: w.clock.Now().Add(time.Hour),
		Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusRetrying}})
	return &d
}

func (w *world) parkedNow() queue.Parked {
	w.t.Helper()
	p, err := w.Parked(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func TestWhatWaitsForItsProviderIsCountedByTurnAndApartFromWhatIsScheduled(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.park("acme", "ada")
		canceled := w.park("beta", "bob")
		w.park("beta", "carl")
		n := notification("dora")
		n.SendAt = w.clock.Now().Add(time.Hour)
		w.admit(queue.Admission{Tenant: "beta", Notification: n})
		if got, want := w.parkedNow(), (queue.Parked{Scheduled: 1, Waiting: 3, Turns: [queue.Turns]int{1, 2}}); got != want {
			t.Fatalf("parked: %+v, want %+v", got, want)
		}
		id, _, _ := strings.Cut(canceled.ID[2:], "-")
		if _, err := w.Cancel(t.Context(), "beta", canceled.ID[:2]+id); err != nil {
			t.Fatal(err)
		}
		if got, want := w.parkedNow(), (queue.Parked{Scheduled: 1, Waiting: 2, Turns: [queue.Turns]int{1, 1}}); got != want {
			t.Errorf("after a cancel: %+v, want %+v", got, want)
		}
		w.clock.Advance(2 * time.Hour)
		if n, _, err := w.Promote(t.Context()); n != 3 || err != nil {
			t.Errorf("%d promoted, %v, want 3", n, err)
		}
		if got := w.parkedNow(); got != (queue.Parked{}) {
			t.Errorf("after the promotion: %+v, want nothing", got)
		}
		if left := append(w.keys("*:waits"), w.keys("*:waiting")...); len(left) != 0 {
			t.Errorf("%q are left", left)
		}
	})
}

func TestADeadProvidersRetriesAreBoundedForTheirTenantFirst(t *testing.T) {
	cfg := testConfig()
	cfg.MaxWaiting = 8
	w := open(t, queuetest.Redis(t), cfg)
	w.park("beta", "bob")
	for i := range 5 {
		w.park("acme", fmt.Sprint("u", i))
	}
	var refusal queue.Refusal
	waitFor(t, "a refusal of acme's normal", func() (full bool) {
		refusal, full = w.pressure("acme", notice.LaneNormal)
		return full
	})
	if !strings.Contains(refusal.Why, "queue.max_waiting") || refusal.RetryAfter < time.Second {
		t.Errorf("refused with %+v", refusal)
	}
	if _, full := w.pressure("beta", notice.LaneNormal); full {
		t.Error("beta has 1 of 8 and is refused")
	}
	if _, full := w.pressure("acme", notice.LaneCritical); full {
		t.Error("6 of 8 wait and critical is refused")
	}
}

func TestTooMuchScheduledRefusesOnlyWhatIsScheduled(t *testing.T) {
	cfg := testConfig()
	cfg.MaxScheduled = 2
	w := open(t, queuetest.Redis(t), cfg)
	scheduled := notification("ada")
	scheduled.SendAt = w.clock.Now().Add(time.Hour)
	for range 2 {
		w.admit(queue.Admission{Tenant: "acme", Notification: scheduled})
	}
	waitFor(t, "a refusal", func() bool {
		r, full := w.Pressure("acme", &scheduled)
		return full && strings.Contains(r.Why, "queue.max_scheduled")
	})
	if r, full := w.pressure("acme", notice.LaneBulk); full {
		t.Errorf("what goes at once is refused too: %+v", r)
	}
}

func TestAListedTenantHasATurnOfItsOwnAndItsWeightOfTheBacklog(t *testing.T) {
	cfg := testConfig()
	cfg.MaxBacklog = 80
	w := open(t, queuetest.Redis(t), cfg)
	q := openLive(t, w, cfg, queue.WithTenants([]config.Tenant{{Tenant: "big", Weight: 3}}))
	waitFor(t, "the weight", func() bool { return q.Weights() == [queue.Turns]int{3, 1, 1, 1, 1, 1, 1, 1} })
	w.Queue = q
	w.admitMany("small", notice.LaneNormal, 20)
	w.admitMany("big", notice.LaneNormal, 59)
	full := func(tenant string) bool {
		_, full := q.Pressure(tenant, &notice.Notification{Priority: notice.LaneNormal})
		return full
	}
	waitFor(t, "a refusal of small at a quarter", func() bool { return full("small") })
	if full("big") {
		t.Error("big has 59 of its 60 and is refused")
	}
	w.admitMany("big", notice.LaneNormal, 1)
	waitFor(t, "a refusal of big at three quarters", func() bool { return full("big") })
	q.ReplaceTenants([]config.Tenant{{Tenant: "big", Weight: 7}})
	waitFor(t, "big's new weight", func() bool { return !full("big") })
}

// A real server and a sink that takes so many a second: who waits as long as it
// was told is taken.
func TestWhoWaitsAsLongAsToldIsTaken(t *testing.T) {
	const pace, most = 200, 400
	cfg := testConfig()
	cfg.MaxBacklog, cfg.Visibility = most, config.Duration(time.Minute)
	w := open(t, queuetest.Redis(t), cfg)
	q := openLive(t, w, cfg)
	w.admitMany("acme", notice.LaneBulk, 2*most)
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	working.Go(func() { drainSlowly(ctx, t, q, pace) })
	bulk := &notice.Notification{Priority: notice.LaneBulk}
	waitFor(t, "a pace", func() bool {
		r, full := q.Pressure("acme", bulk)
		return full && r.RetryAfter < 4*time.Second
	})
	told, _ := q.Pressure("acme", bulk)
	time.Sleep(told.RetryAfter) // it is what is tested
	if again, full := q.Pressure("acme", bulk); full {
		t.Errorf("told %v, and then %v: the backlog is %d", told.RetryAfter, again.RetryAfter, q.Backlog().Total)
	}
}

// drainSlowly ends so many events a second, without a delivery.
func drainSlowly(ctx context.Context, t *testing.T, q *queue.Queue, pace int) {
	const parts = 20
	r := q.EventReader("slow", notice.LaneBulk)
	tick := time.NewTicker(time.Second / parts)
	defer tick.Stop()
	var held []*queue.Lease
	for due := 0; ; due += pace / parts {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for len(held) < due && ctx.Err() == nil {
			got, err := r.Read(ctx, due-len(held))
			if err != nil || len(got) == 0 {
				break
			}
			held = append(held, got...)
		}
		n := min(due, len(held))
		var done []*queue.Planned
		for _, l := range held[:n] {
			var ev notice.Event
			if err := ev.UnmarshalBinary(l.Payload); err != nil {
				t.Error(err)
				return
			}
			done = append(done, &queue.Planned{Lease: l, Event: &ev, Note: queue.Entry{At: time.Now(), Status: notice.StatusSuppressed}})
		}
		if held, due = held[n:], due-n; len(done) > 0 {
			_ = q.Plan(ctx, done) // the test is over when it fails
		}
	}
}

// A flood between two looks at the backlog has it looked at again at once.
func TestAFloodDoesNotOvershootByHalfASecond(t *testing.T) {
	cfg := testConfig()
	cfg.MaxBacklog = 200
	w := open(t, queuetest.Redis(t), cfg)
	accepted := 0
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); accepted++ {
		if _, full := w.pressure("acme", notice.LaneNormal); full {
			break
		}
		w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
		time.Sleep(200 * time.Microsecond) // some 3000 a second
	}
	t.Logf("%d accepted where %d may wait", accepted, cfg.MaxBacklog)
	if accepted < 200 || accepted > 1000 { // half a second would be 1500
		t.Errorf("%d were accepted, want hardly more than %d", accepted, cfg.MaxBacklog)
	}
}

// big is a notification of so many bytes.
func big(user string, lane notice.Lane, size int) notice.Notification {
	n := notification(user)
	n.Priority, n.Data = lane, jsontext.Value(`{"order":"`+strings.Repeat("x", size)+`"}`)
	return n
}

func TestAFullRedisRefusesBulkFirstAndLosesNothing(t *testing.T) {
	cfg := testConfig()
	cfg.MaxBacklog, cfg.Visibility, cfg.MaxMemory = 1<<30, config.Duration(time.Minute), config.Bound{Percent: 70}
	w := open(t, queuetest.Redis(t, "--maxmemory", "14mb", "--maxmemory-policy", "noeviction"), cfg)
	accepted := map[notice.Lane]int{}
	order := []notice.Lane{}
	full := map[notice.Lane]bool{}
	for i := 0; len(full) < 3 && i < 20_000; i++ {
		time.Sleep(time.Millisecond) // a flood of three lanes, and not of the test's own speed
		for _, lane := range notice.Lanes() {
			r, refused := w.pressure("acme", lane)
			if refused && !full[lane] {
				full[lane], order = true, append(order, lane)
				if !strings.Contains(r.Why, "queue.max_memory") {
					t.Fatalf("%s is refused with %+v", lane, r)
				}
			}
			if !refused {
				w.admit(queue.Admission{Tenant: "acme", Notification: big(fmt.Sprint("u", i), lane, 20_000)})
				accepted[lane]++
			}
		}
	}
	t.Logf("accepted %v, refused in the order %v", accepted, order)
	if len(order) != 3 || order[0] != notice.LaneBulk || order[1] != notice.LaneNormal {
		t.Fatalf("refused in the order %v, want bulk, normal, critical", order)
	}
	// Now past what Redis itself takes: whoever works off what was accepted
	// must be able to.
	var last error
	for i := 0; last == nil && i < 20_000; i++ {
		_, last = w.Admit(t.Context(), queue.Admission{Tenant: "acme", Notification: big(fmt.Sprint("v", i), notice.LaneBulk, 20_000)})
		if last == nil {
			accepted[notice.LaneBulk]++
		}
	}
	if last == nil || !strings.Contains(last.Error(), queue.ErrFull.Error()) {
		t.Fatalf("Redis is full, and an admission says %v", last)
	}
	delivered := 0
	for _, lane := range notice.Lanes() {
		delivered += w.drainEvents(lane)
	}
	if want := accepted[notice.LaneCritical] + accepted[notice.LaneNormal] + accepted[notice.LaneBulk]; delivered != want {
		t.Errorf("of %d that were accepted %d came out", want, delivered)
	}
}

// drainEvents plans, parks, promotes and settles everything of a lane's events,
// and counts what was delivered.
func (w *world) drainEvents(lane notice.Lane) (delivered int) {
	w.t.Helper()
	events, sends := w.EventReader("c1", lane), w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal) // as planOne has it
	parked := map[string]bool{}
	for idle := false; !idle; {
		leases, err := events.Read(w.t.Context(), 64)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, l := range leases {
			w.planOne(l)
		}
		got, err := sends.Read(w.t.Context(), 64)
		if err != nil {
			w.t.Fatal(err)
		}
		var batch []*queue.Settlement
		for _, l := range got {
			var d notice.Delivery
			if err := d.UnmarshalBinary(l.Payload); err != nil {
				w.t.Fatal(err)
			}
			s := &queue.Settlement{Kind: queue.Done, Lease: l, Delivery: &d, Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered, Attempt: 1}}
			if delivered+len(parked) < 10 && !parked[d.ID] { // some go the long way
				parked[d.ID] = true
				s.Kind, s.Due, s.Entry.Status = queue.Later, w.clock.Now(), notice.StatusRetrying
			} else {
				delivered++
			}
			batch = append(batch, s)
		}
		if _, err := w.Settle(w.t.Context(), "c1", batch); err != nil {
			w.t.Fatalf("settling while the store is full: %v", err)
		}
		if _, _, err := w.Promote(w.t.Context()); err != nil {
			w.t.Fatalf("promoting while the store is full: %v", err)
		}
		idle = len(leases)+len(got) == 0
	}
	return delivered
}

// Several processes, each in a hurry, spend from one account.
func TestARateHoldsExactlyOverSeveralProcesses(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		const count = 500
		account := func() *queue.Account { // each process has its own
			return &queue.Account{Tenant: "acme", Quotas: []queue.Quota{{Name: "key", Count: count, Per: time.Hour}, {Name: "all", Count: 2 * count, Per: time.Hour}}}
		}
		var granted atomic.Int64
		var spending sync.WaitGroup
		for range 3 {
			q, mine := openLive(t, w, testConfig()), account()
			for range 8 {
				spending.Go(func() {
					for range 40 {
						s, err := q.Spend(t.Context(), mine, 1+int(granted.Load())%3)
						if err != nil {
							t.Error(err)
							return
						}
						granted.Add(int64(s.Granted))
					}
				})
			}
		}
		spending.Wait()
		if n := granted.Load(); n != count { // 7 s of the test's time give one more
			t.Errorf("%d were granted of %d an hour", n, count)
		}
		s, err := w.Spend(t.Context(), account(), 5)
		if err != nil || s.Granted != 0 || len(s.Quotas) != 2 || s.Quotas[0].Left != 0 || s.Quotas[1].Left != count {
			t.Errorf("afterwards %+v, %v: what one quota refused was taken from the other", s, err)
		}
		if after := account().Until(s, 1); after <= 0 || after > time.Hour/count {
			t.Errorf("one more after %v, want %v at most", after, time.Hour/count)
		}
		if after := account().Until(s, count); after < 59*time.Minute || after > time.Hour {
			t.Errorf("all again after %v, want an hour", after)
		}
	})
}

func TestARateThatIsCutDownHoldsNobodyUpByTheOldOne(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	day := &queue.Account{Tenant: "acme", Quotas: []queue.Quota{{Name: "key", Count: 1, Per: 24 * time.Hour}}}
	if s, err := w.Spend(t.Context(), day, 2); err != nil || s.Granted != 1 {
		t.Fatalf("%+v, %v: want one of two", s, err)
	}
	second := &queue.Account{Tenant: "acme", Quotas: []queue.Quota{{Name: "key", Count: 10, Per: time.Second}}}
	s, err := w.Spend(t.Context(), second, 1)
	if err != nil || s.Granted != 0 || second.Until(s, 1) > 100*time.Millisecond {
		t.Errorf("%+v, %v: want one within a tenth of a second", s, err)
	}
	for _, key := range w.keys("*:rate:*") {
		if w.rdb.PTTL(t.Context(), key).Val() <= 0 {
			t.Errorf("%s never expires", key)
		}
	}
}
