package delivery_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
)

// Through the queue, and whichever way a delivery came: what waits while the
// credential is refused is neither sent nor parked, but for the one that probes.
func TestABrokenChannelSendsAndParksOnlyWhatProbes(t *testing.T) {
	bothWays(t, setup{slots: 4, patience: 20 * time.Millisecond}, func(t *testing.T, s setup) {
		const n, probes = 300, 3
		w := newWorld(t, s)
		consumer := w.start("c1")
		slots := consumer.slots[notice.ChannelWebhook]
		var inFlight, most, sends atomic.Int64
		var mended atomic.Bool
		w.webhook.script(func(context.Context, channels.Message) channels.Result {
			most.Store(max(most.Load(), inFlight.Add(1)))
			defer inFlight.Add(-1)
			if mended.Load() {
				return channels.Result{Verdict: channels.Sent, Code: "200"}
			}
			sends.Add(1)
			return channels.Result{Verdict: channels.Broken, Code: "401", Err: errProvider}
		})
		ids := w.admitMany(n)
		idle := func() bool { return slots.InUse() == 0 }
		w.await("the first refusals", func() bool { return slots.Broken() && idle() })
		first := sends.Load()
		most.Store(0)
		for i := range int64(probes) {
			w.clock.Advance(time.Minute + time.Second)
			slots.Release(0) // lets whoever waits look at the clock again
			w.await("a probe", func() bool { return sends.Load() > first+i && idle() })
		}
		if got := sends.Load(); got != first+probes || first > 4 || most.Load() != 1 {
			t.Errorf("%d sends at first and %d in %d rests, %d at once; want at most 4, then one a rest, alone", first, got-first, probes, most.Load())
		}
		if consumer.metric("carillon_channel_broken", "channel", "webhook") != 1 || consumer.metric("carillon_channel_broken", "channel", "email") != 0 {
			t.Error("the metric does not tell the broken channel from the others")
		}
		mended.Store(true)
		w.clock.Advance(2 * time.Minute)
		slots.Release(0)
		deferred := 0
		for _, id := range ids {
			r := w.ended(id)
			if statuses(r)[0] != "delivered 200" || r.Deliveries[0].Attempt != 1 {
				t.Fatalf("ended as %+v, want it delivered with the first attempt", r)
			}
			for _, e := range r.Deliveries[0].Timeline {
				if e.Status == notice.StatusDeferred {
					deferred++
				}
			}
		}
		if int64(deferred) != first+probes {
			t.Errorf("parked %d times, want only the %d that were sent", deferred, first+probes)
		}
		if consumer.metric("carillon_channel_broken") != 0 || len(consumer.Paused()) != 0 {
			t.Errorf("called broken still: %v", consumer.Paused())
		}
		w.nothingLeft()
	})
}

// A consumer waits for the end of a rest with a delivery that is taken back
// meanwhile. It has claimed the right to probe by then, and makes no use of it:
// kept, the others' deliveries would wait until this one has another to send.
func TestTheRightToProbeIsGivenBackWhenWhatWaitedForItIsCanceled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	slots := w.start("c1").slots[notice.ChannelWebhook]
	var claimed, back atomic.Int64
	slots.Claim(func(context.Context) bool { claimed.Add(1); return true }, func() { back.Add(1) })
	w.webhook.results(channels.Result{Verdict: channels.Broken, Code: "401", Err: errProvider})
	w.admit(to("https://a.example/hook"))
	w.await("the channel to be broken", func() bool { return slots.Broken() && slots.InUse() == 0 })
	held := w.admit(to("https://b.example/hook"))
	w.await("the second to be held", func() bool { return pendingDeliveries(w) == 1 })
	if _, err := w.queue.Cancel(t.Context(), "acme", held); err != nil {
		t.Fatal(err)
	}
	w.ended(held)
	w.clock.Advance(11 * time.Second)
	slots.Release(0) // lets whoever waits look at the clock again
	w.await("a claim that is given back", func() bool { return claimed.Load() > 0 && back.Load() == claimed.Load() && slots.InUse() == 0 })
	if n := len(w.webhook.sent(held)); n != 0 {
		t.Errorf("what was canceled was sent %d times", n)
	}
}
