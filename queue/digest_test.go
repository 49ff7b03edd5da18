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
