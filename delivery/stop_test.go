package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/recipients"
)

// hangs answers only once release closes, or the send is given up.
func hangs(release <-chan struct{}) func(context.Context, channels.Message) channels.Result {
	return func(ctx context.Context, _ channels.Message) channels.Result {
		select {
		case <-release:
			return channels.Result{Verdict: channels.Sent, Code: "200"}
		case <-ctx.Done():
			return channels.Result{Verdict: channels.Unknown, Code: "canceled"}
		}
	}
}

// admitMany admits n notifications to webhooks, and returns their ids.
func (w *world) admitMany(n int) (ids []string) {
	w.t.Helper()
	for i := range n {
		ids = append(ids, w.admit(to(fmt.Sprintf("https://h%d.example/hook", i))))
	}
	return ids
}

// sending waits until so many sends are under way.
func (r *running) sending(n int) {
	r.w.t.Helper()
	r.w.await(fmt.Sprintf("%d sends in flight", n), func() bool { return r.metric("carillon_inflight", "channel", "webhook") == float64(n) })
}

func TestAStopFinishesWhatIsBeingSentAndHandsTheRestBackAtOnce(t *testing.T) {
	bothWays(t, setup{visibility: time.Hour}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		release := make(chan struct{})
		w.webhook.script(hangs(release))
		first := w.start("c1")
		ids := w.admitMany(12)
		first.sending(w.setup.slots)
		first.cancel()
		w.await("the rest handed back", func() bool { return pendingDeliveries(w) == int64(w.setup.slots) })
		select {
		case <-first.done:
			t.Fatal("stopped with sends in flight")
		default:
		}
		close(release)
		first.stop()
		if got := len(w.webhook.all()); got != w.setup.slots {
			t.Errorf("%d deliveries were begun, want the %d that were in flight", got, w.setup.slots)
		}
		// No lease has run out, so what the second consumer gets was handed back.
		w.webhook.script(nil)
		w.start("c2")
		for _, id := range ids {
			if r := w.ended(id); statuses(r)[0] != "delivered 200" || r.Deliveries[0].Attempt != 1 {
				t.Errorf("ended as %+v", r)
			}
		}
		for id, n := range w.webhook.all() {
			if n != 1 {
				t.Errorf("%s was sent %d times", id, n)
			}
		}
		w.nothingLeft()
	})
}

// pendingDeliveries is how many webhook deliveries are leased, or their events.
func pendingDeliveries(w *world) (n int64) {
	for _, key := range w.workStreams() {
		n += pending(w.rdb, key)
	}
	return n
}

// workStreams are the streams of webhook deliveries and of events.
func (w *world) workStreams() []string {
	ctx := context.Background()
	return append(w.rdb.Keys(ctx, "*}:webhook:*").Val(), w.rdb.Keys(ctx, "*}:events:*").Val()...)
}

// bothWays runs a test with deliveries that are written to their channel's
// stream, and with deliveries that are handed over under their event's lease.
func bothWays(t *testing.T, s setup, test func(t *testing.T, s setup)) {
	t.Parallel()
	for _, way := range []struct {
		name     string
		patience time.Duration
	}{{"by the stream", -1}, {"handed over", time.Minute}} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			s := s // of this way alone
			s.patience = way.patience
			test(t, s)
		})
	}
}

func TestASendThatHangsPastTheGraceIsParked(t *testing.T) {
	bothWays(t, setup{visibility: time.Hour, grace: 50 * time.Millisecond}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		w.webhook.script(hangs(nil))
		first := w.start("c1")
		id := w.admit(to("https://a.example/hook"))
		first.sending(1)
		first.stop()
		if d := w.retrying(id, 1, 1); d.Timeline[len(d.Timeline)-1].Code != "canceled" {
			t.Errorf("parked as %+v", d)
		}
		w.webhook.script(nil)
		w.clock.Advance(10 * time.Second)
		w.start("c2")
		if got := statuses(w.ended(id))[0]; got != "delivered 200" {
			t.Errorf("ended as %s", got)
		}
	})
}

func TestAConsumerThatStopsLeavesNoNameBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	consumer := w.start("c1")
	w.ended(w.admit(to("https://a.example/hook")))
	consumer.stop()
	if left := w.consumers(); len(left) != 0 {
		t.Errorf("names left: %v", left)
	}
}

// consumers are the names in every group.
func (w *world) consumers() (names []string) {
	ctx := context.Background()
	for _, key := range w.rdb.Keys(ctx, "*").Val() {
		if w.rdb.Type(ctx, key).Val() != "stream" {
			continue
		}
		for _, c := range w.rdb.XInfoConsumers(ctx, key, "carillon").Val() {
			names = append(names, key+" "+c.Name)
		}
	}
	return names
}

// Each process has a name of its own. Those that were killed stayed in every
// group for ever.
func TestTheNameOfADeadConsumerIsTakenOffTheGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{visibility: 200 * time.Millisecond})
	w.rdb.XGroupCreateConsumer(t.Context(), "{t:0}:email:bulk", "carillon", "dead")
	if left := strings.Join(w.consumers(), " "); !strings.Contains(left, "dead") {
		t.Fatalf("names %s", left)
	}
	w.start("c1")
	w.await("its name gone", func() bool { return !strings.Contains(strings.Join(w.consumers(), " "), "dead") })
}

// What one consumer had taken over from another that died, and hands back, may
// have been sent. Its next consumer took it for untouched, and sent it again
// even where an unknown outcome is to be held.
func TestWhatIsHandedBackIsStillKnownToHaveBeenLost(t *testing.T) {
	t.Parallel()
	hold := config.Retry{OnUnknown: config.OnUnknownHold, Schedule: []config.Duration{config.Duration(time.Second)}}
	w := newWorld(t, setup{visibility: 300 * time.Millisecond, retry: hold})
	id := w.admit(to("https://a.example/hook"))
	w.planOnly(id)
	w.leaseAndDie(notice.ChannelWebhook, 1)
	paused := w.start("c2") // takes it over, and must wait with it
	paused.slots[notice.ChannelWebhook].Pause(w.clock.Now().Add(time.Hour))
	w.await("the delivery taken over", func() bool { return heldBy(w, "c2") == 1 })
	paused.stop()
	w.start("c3")
	if got := statuses(w.ended(id))[0]; got != "dead lease-expired" || len(w.webhook.sent(id)) != 0 {
		t.Errorf("ended as %s after %d sends", got, len(w.webhook.sent(id)))
	}
}

// heldBy is how many webhook deliveries, or their events, a consumer has leased.
func heldBy(w *world, consumer string) (n int64) {
	ctx := context.Background()
	for _, key := range w.workStreams() {
		for _, c := range w.rdb.XInfoConsumers(ctx, key, "carillon").Val() {
			if c.Name == consumer {
				n += c.Pending
			}
		}
	}
	return n
}

// With every read full, nobody looked for what a dead consumer had left: it
// waited until the queue was empty.
func TestALongQueueDoesNotKeepWhatADeadConsumerLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{visibility: 200 * time.Millisecond, slots: 1})
	lost := w.admitMany(2)
	w.planOnly(lost...)
	w.leaseAndDie(notice.ChannelWebhook, 2)
	many := w.admitMany(400)
	w.planOnly(many...)
	w.webhook.script(func(context.Context, channels.Message) channels.Result {
		time.Sleep(2 * time.Millisecond) // a provider that is slower than the queue
		return channels.Result{Verdict: channels.Sent, Code: "200"}
	})
	w.start("c2")
	for _, id := range lost {
		w.ended(id)
	}
	if n := len(w.webhook.all()); n > 350 {
		t.Errorf("what was lost came after %d others", n)
	}
}

// blind is a directory that cannot be asked.
type blind struct {
	delivery.Directory
	asked atomic.Int64
}

func (b *blind) Lookup(context.Context, []recipients.Query) ([]recipients.Found, error) {
	b.asked.Add(1)
	return nil, errors.New("no answer")
}

// A stop while Redis was away took the whole grace for events that anybody may
// plan again.
func TestAStopWhileRedisIsAwayWaitsOnlyForWhatWasSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{grace: time.Hour})
	directory := &blind{Directory: w.people}
	r := w.start("c1", func(o *delivery.Options) { o.Directory = directory })
	w.admit(to("https://a.example/hook"))
	w.await("the planning", func() bool { return directory.asked.Load() > 0 })
	w.server.Kill()
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}
