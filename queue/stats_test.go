package queue_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

func TestStatsSayWhatWaitsAndWhoHoldsIt(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	w.die("dead", "attempts")
	w.planned("held")
	n := notification("later")
	n.SendAt = w.clock.Now().Add(time.Hour)
	w.admit(queue.Admission{Tenant: "acme", Notification: n})
	w.admit(queue.Admission{Tenant: "acme", Notification: notification("waits")})
	s, err := w.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lane := func(stage string) queue.LaneStats {
		return s.Lanes[slices.IndexFunc(s.Lanes, func(l queue.LaneStats) bool { return l.Stage == stage && l.Lane == notice.LaneNormal })]
	}
	if e, h := lane("events"), lane("webhook"); e.Length != 1 || e.InFlight != 0 || h.Length != 1 || h.InFlight != 1 {
		t.Errorf("events %+v, webhook %+v", e, h)
	}
	if s.Parked.Scheduled != 1 || s.Parked.Total() != 1 || s.Dead[notice.ChannelWebhook] != 1 || s.Partitions != 2 {
		t.Errorf("stats %+v", s)
	}
	if len(s.Consumers) != 1 || s.Consumers[0].Name != "c1" || s.Consumers[0].InFlight != 1 {
		t.Errorf("consumers %+v", s.Consumers)
	}
}

func TestPeekingShowsTheOldestAndLeasesNothing(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	for i := range 5 {
		w.admit(queue.Admission{Tenant: "acme", Notification: notification(fmt.Sprint("u", i))})
	}
	found, err := w.Peek(t.Context(), "events", "", 3)
	if err != nil || len(found) != 3 {
		t.Fatalf("%d entries: %v", len(found), err)
	}
	for i, p := range found {
		if i > 0 && p.Since.Before(found[i-1].Since) || p.Template != "ping" || p.Tenant != "acme" {
			t.Errorf("entry %d is %+v", i, p)
		}
	}
	leases, _ := w.leaseEvents(5) // all are still there for a consumer
	w.planOne(leases[0])
	shown, err := w.Peek(t.Context(), "webhook", notice.LaneNormal, 10)
	if err != nil || len(shown) != 1 || shown[0].Address != "example.com" || strings.Contains(fmt.Sprint(shown), "secret-path") {
		t.Errorf("deliveries %+v: %v", shown, err)
	}
	if _, err := w.Peek(t.Context(), "smoke", "", 1); err == nil {
		t.Error("a stage that there is not was peeked at")
	}
}

// planOne plans a leased event's one webhook delivery.
func (w *world) planOne(l *queue.Lease) {
	w.t.Helper()
	var ev notice.Event
	if err := ev.UnmarshalBinary(l.Payload); err != nil {
		w.t.Fatal(err)
	}
	if err := w.Plan(w.t.Context(), []*queue.Planned{{Lease: l, Event: &ev, Deliveries: []queue.PlannedDelivery{{Delivery: deliveryOf(&ev, 1)}}}}); err != nil {
		w.t.Fatal(err)
	}
}
