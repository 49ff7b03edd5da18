package delivery_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// admitAs admits n notifications of a tenant on a lane, and returns their ids.
func (w *world) admitAs(tenant string, lane notice.Lane, n int) []string {
	w.t.Helper()
	as := make([]queue.Admission, n)
	for i := range as {
		as[i] = queue.Admission{Tenant: tenant, Notification: to(fmt.Sprintf("https://%s.example/%d", tenant, i))}
		as[i].Notification.Priority = lane
	}
	ids := make([]string, n)
	for i, got := range w.queue.AdmitAll(w.t.Context(), as) {
		if got.Err != nil {
			w.t.Fatal(got.Err)
		}
		ids[i] = got.ID
	}
	return ids
}

// gate holds the sends of some messages back until they are let go.
type gate struct {
	holds func(channels.Message) bool
	let   chan struct{}

	mu   sync.Mutex
	held int
}

func newGate(holds func(channels.Message) bool) *gate {
	return &gate{holds: holds, let: make(chan struct{})}
}

func (g *gate) send(ctx context.Context, m channels.Message) channels.Result {
	if g.holds(m) {
		g.count(1)
		defer g.count(-1)
		select {
		case <-g.let:
		case <-ctx.Done():
		}
	}
	return channels.Result{Verdict: channels.Sent, Code: "200"}
}

func (g *gate) count(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held += n
}

func (g *gate) holding() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}

// sentAll awaits that every notification was handed to the adapter.
func (w *world) sentAll(what string, ids []string) {
	w.t.Helper()
	w.await(what, func() bool {
		for _, id := range ids {
			if len(w.webhook.sent(id)) == 0 {
				return false
			}
		}
		return true
	})
}

// eitherWay is bothWays with planners that have the patience of every day: what
// there is no room for is written to the streams.
func eitherWay(t *testing.T, s setup, test func(t *testing.T, s setup)) {
	t.Parallel()
	for name, patience := range map[string]time.Duration{"by the stream": -1, "handed over": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s // of this way alone
			s.patience = patience
			test(t, s)
		})
	}
}

func ofTenant(tenant string) func(channels.Message) bool {
	return func(m channels.Message) bool { return m.Tenant == tenant }
}

func TestATenantWhoseReceiversHangHoldsUpNoOther(t *testing.T) {
	eitherWay(t, setup{slots: 8}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		g := newGate(ofTenant("acme"))
		w.webhook.script(g.send)
		w.start("c1")
		w.sentAll("beta's first", w.admitAs("beta", notice.LaneNormal, 1))
		w.admitAs("acme", notice.LaneNormal, 300)
		w.await("six of eight slots that hang", func() bool { return g.holding() == 6 })
		w.sentAll("beta's, none of acme's having ended", w.admitAs("beta", notice.LaneNormal, 20))
		if n := g.holding(); n != 6 {
			t.Errorf("acme holds %d of 8 slots beside beta, want 6", n)
		}
		close(g.let)
		w.nothingLeft()
	})
}

func TestATenantThatIsNewWaitsForASlotAndNotForTheFlood(t *testing.T) {
	eitherWay(t, setup{slots: 8}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		g := newGate(ofTenant("acme"))
		w.webhook.script(g.send)
		w.start("c1")
		w.admitAs("acme", notice.LaneNormal, 300)
		w.await("every slot of a tenant that is alone", func() bool { return g.holding() == 8 })
		id := w.admitAs("beta", notice.LaneNormal, 1)[0]
		let := 0
		w.await("beta's first", func() bool {
			select {
			case g.let <- struct{}{}:
				let++
			default:
			}
			return len(w.webhook.sent(id)) > 0
		})
		// It may be on its way to the lanes while the first few go.
		if let > 150 {
			t.Errorf("%d of acme's 300 went before the only one of beta's", let)
		}
		close(g.let)
		w.nothingLeft()
	})
}

func TestWhatIsCriticalHasASlotWhileBulkHoldsAllOthers(t *testing.T) {
	eitherWay(t, setup{slots: 4}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		g := newGate(func(m channels.Message) bool { return m.Lane != notice.LaneCritical })
		w.webhook.script(g.send)
		w.start("c1", func(o *delivery.Options) {
			for i := range o.Channels {
				o.Channels[i].CriticalSlots = 1
			}
		})
		w.admitAs("acme", notice.LaneBulk, 50)
		w.admitAs("acme", notice.LaneNormal, 50)
		w.await("three slots that hang", func() bool { return g.holding() == 3 })
		w.sentAll("the critical ones", w.admitAs("acme", notice.LaneCritical, 10))
		if n := g.holding(); n != 3 {
			t.Errorf("%d of 4 slots are held by what is not critical, want 3", n)
		}
		close(g.let)
		w.nothingLeft()
	})
}

func TestBulkMovesOnUnderACriticalFloodWithoutEnd(t *testing.T) {
	eitherWay(t, setup{slots: 4}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		over := make(chan struct{})
		w.webhook.script(func(ctx context.Context, m channels.Message) channels.Result {
			select {
			case <-over:
			default:
				if m.Lane == notice.LaneCritical { // each brings another one
					_, _ = w.queue.Admit(ctx, queue.Admission{Tenant: "acme", Notification: critical()})
				}
			}
			return channels.Result{Verdict: channels.Sent, Code: "200"}
		})
		w.admitAs("acme", notice.LaneCritical, 200)
		bulk := w.admitAs("acme", notice.LaneBulk, 20)
		w.start("c1", func(o *delivery.Options) {
			for i := range o.Channels {
				o.Channels[i].CriticalSlots = 1
			}
		})
		w.sentAll("bulk beside a critical flood", bulk)
		close(over)
		w.nothingLeft()
	})
}

func critical() notice.Notification {
	n := to("https://acme.example/again")
	n.Priority = notice.LaneCritical
	return n
}

func TestMoreTenantsThanTurnsAreAllServed(t *testing.T) {
	eitherWay(t, setup{}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		w.start("c1")
		var ids []string
		for i := range 2*queue.Turns + 3 {
			ids = append(ids, w.admitAs(fmt.Sprint("tenant-", i), notice.LaneNormal, 5)...)
		}
		w.sentAll("every tenant's", ids)
		w.nothingLeft()
		for id, n := range w.webhook.all() {
			if n != 1 {
				t.Errorf("%s was sent %d times", id, n)
			}
		}
	})
}

func TestWhatIsHandedBackKeepsItsTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{slots: 1, patience: -1, grace: time.Millisecond})
	g := newGate(func(channels.Message) bool { return true })
	w.webhook.script(g.send)
	first := w.start("c1")
	w.admitAs("acme", notice.LaneNormal, 1)
	w.await("a slot that hangs", func() bool { return g.holding() == 1 })
	w.admitAs("beta", notice.LaneNormal, 7)
	w.await("beta's on the channel's streams", func() bool { return w.onStream("webhook:normal:1") == 7 })
	first.stop()
	if n := w.onStream("webhook:normal:1"); n != 7 {
		t.Errorf("%d of beta's seven stand in its turn after the stop", n)
	}
	close(g.let)
	w.start("c2")
	w.nothingLeft()
}

// onStream is how many entries the partitions' streams of a name hold.
func (w *world) onStream(name string) (n int64) {
	for p := range 2 {
		n += w.rdb.XLen(context.Background(), fmt.Sprintf("{t:%d}:%s", p, name)).Val()
	}
	return n
}
