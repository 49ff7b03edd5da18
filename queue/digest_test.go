package queue_test

import (
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// noteFor admits a notification to ada, leases its event, and plans its one
// delivery as the carrier of a digest, or as collected in one.
func (w *world) noteFor(carrier string) *queue.Planned {
	w.t.Helper()
	w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")})
	leases, events := w.leaseEvents(1)
	d := deliveryOf(events[0], 1)
	d.Digest = "digest"
	digest := &queue.Digest{Name: queue.DigestName(&d, "digest", "hourly"), Carrier: carrier, Items: 10, Size: 1 << 16}
	pd := queue.PlannedDelivery{Delivery: d, Digest: digest}
	if carrier == "" {
		digest.Carrier, pd.Due, pd.Why = d.ID, w.clock.Now().Add(time.Hour), entry(w, notice.StatusDeferred)
	} else {
		pd.Ended, digest.Full = entry(w, notice.StatusCapped), entry(w, notice.StatusCapped)
	}
	return &queue.Planned{Lease: leases[0], Event: events[0], Deliveries: []queue.PlannedDelivery{pd}}
}

// plan plans one event, and fails unless it need not be decided anew.
func (w *world) plan(pl *queue.Planned, when string) {
	w.t.Helper()
	if err := w.Plan(w.t.Context(), []*queue.Planned{pl}); err != nil {
		w.t.Fatal(err)
	}
	if pl.Again {
		w.t.Errorf("%s is to be decided anew", when)
	}
}

// A planner whose reply is lost plans again what it has planned: it must not be
// told to decide anew because of the very digest that it has opened, which would
// go on until that is sent, nor because the one that it is in was closed since.
func TestAPlanWhoseReplyWasLostIsNotDecidedAnewForItsOwnDigest(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		first := w.noteFor("")
		w.plan(first, "what opens a digest")
		w.plan(first, "what has opened a digest")
		carrier := first.Deliveries[0].Delivery.ID
		second := w.noteFor(carrier)
		w.plan(second, "what is collected")
		if _, err := w.CloseDigest(t.Context(), carrier, "v1", w.clock.Now()); err != nil {
			t.Fatal(err)
		}
		w.plan(second, "what is in a digest that was closed since")
	})
}

// Who hands a digest on closes it, and knows no template: the version that it is
// sent with is that of its first attempt, and of every later one.
func TestADigestThatIsHandedOnKeepsTheVersionOfItsFirstAttempt(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		first := w.noteFor("")
		w.plan(first, "what opens a digest")
		carrier := first.Deliveries[0].Delivery
		second, third := w.noteFor(carrier.ID), w.noteFor(carrier.ID)
		w.plan(second, "the second")
		w.plan(third, "the third")
		w.clock.Advance(time.Hour)
		if n, _, err := w.Promote(t.Context()); n != 1 || err != nil {
			t.Fatalf("promoted %d, %v", n, err)
		}
		l := w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 1)[0]
		w.settle(&queue.Settlement{Kind: queue.Cancel, Lease: l, Delivery: &carrier, Entry: entry(w, notice.StatusCanceled)})
		heir := second.Deliveries[0].Delivery.ID
		for _, current := range []string{"v1", "v2"} {
			got, err := w.CloseDigest(t.Context(), heir, current, w.clock.Now())
			if err != nil || len(got.Items) != 1 || got.Items[0].ID != third.Deliveries[0].Delivery.ID {
				t.Fatalf("carries %+v, %v; want the third alone", got, err)
			}
			if got.Version != "v1" {
				t.Errorf("at a time when %s is current it is sent with %q, want v1", current, got.Version)
			}
		}
	})
}
