package delivery

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/throttle"
)

// TestACancelThatOvertakesWhatItEndsOnTheWayToItsLaneEndsIt has the promoter
// learn of a cancel, and look through the lanes, after a delivery was leased and
// before it is in its lane. Its channel is paused: nobody takes it out again.
func TestACancelThatOvertakesWhatItEndsOnTheWayToItsLaneEndsIt(t *testing.T) {
	q := emptyQueue(t)
	var ended []*queue.Settlement
	slots := throttle.NewSlots(1, time.Now)
	p := New(Options{Queue: q, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Channels: []Channel{{Adapter: silent(notice.ChannelWebhook), Slots: slots, Pace: throttle.NewPace(config.Rate{})}}})
	p.finish = func(s *queue.Settlement) { ended = append(ended, s) }
	slots.Pause(time.Now().Add(time.Hour))

	var leases []*queue.Lease
	var ids []string
	for range 2 {
		got, err := q.Admit(t.Context(), queue.Admission{Tenant: "acme", Notification: notice.Notification{Priority: notice.LaneNormal}})
		if err != nil {
			t.Fatal(err)
		}
		d := notice.Delivery{ID: got.ID + "-1", Tenant: "acme", Lane: notice.LaneNormal, Address: notice.Address{Channel: notice.ChannelWebhook, To: "https://a.example/"}}
		payload, err := d.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		ids, leases = append(ids, got.ID), append(leases, &queue.Lease{Payload: payload})
	}
	if _, err := q.Cancel(t.Context(), "acme", ids[0]); err != nil {
		t.Fatal(err)
	}
	if err := p.learnCancels(t.Context()); err != nil || !q.Canceled(ids[0]) || len(ended) != 0 {
		t.Fatalf("%v, %d ended, want the cancel to be learned and nothing to end yet", err, len(ended))
	}
	p.senders[0].leased(laneIndex(notice.LaneNormal), leases)
	if len(ended) != 1 || ended[0].Kind != queue.Cancel || ended[0].Delivery.ID != ids[0]+"-1" {
		t.Errorf("%+v ended, want what was canceled", ended)
	}
	if n := p.senders[0].lanes.atHand(); n != 1 {
		t.Errorf("%d wait in the lane, want the one that was not canceled", n)
	}
}
