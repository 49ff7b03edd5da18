package delivery_test

import (
	"fmt"
	"testing"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// TestAChannelFollowsHowManyMayBeInFlight raises a bound while everything that
// it lets hangs, and lowers it again: what is in flight stays, and nothing
// begins until less is.
func TestAChannelFollowsHowManyMayBeInFlight(t *testing.T) {
	eitherWay(t, setup{slots: 2}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		g := newGate(func(channels.Message) bool { return true })
		w.webhook.script(g.send)
		r := w.start("c1")
		var as []queue.Admission
		for i := range 40 {
			as = append(as, queue.Admission{Tenant: "acme", Notification: to(fmt.Sprintf("https://h.example/%d", i))})
		}
		var ids []string
		for _, got := range w.queue.AdmitAll(t.Context(), as) {
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			ids = append(ids, got.ID)
		}
		w.await("two in flight", func() bool { return g.holding() == 2 })
		r.Resize(notice.ChannelEmail, 30, 0)
		r.Resize(notice.ChannelWebhook, 9, 0)
		w.await("nine in flight, of which none has ended", func() bool { return g.holding() == 9 })
		r.Resize(notice.ChannelWebhook, 3, 1)
		for range 5 {
			g.let <- struct{}{}
		}
		w.await("four in flight, which is more than may be", func() bool { return g.holding() == 4 })
		g.let <- struct{}{}
		g.let <- struct{}{}
		// One of three slots is kept for what is critical.
		w.await("two in flight again", func() bool { return g.holding() == 2 && r.slots[notice.ChannelWebhook].InUse() == 2 })
		if n := len(w.webhook.all()); n != 9 {
			t.Errorf("%d were begun, want the nine and none beside too many", n)
		}
		close(g.let)
		for _, id := range ids {
			w.ended(id)
		}
		w.nothingLeft()
	})
}

func TestAChannelThatIsResizedWhileItStopsStops(t *testing.T) {
	w := newWorld(t, setup{slots: 1})
	r := w.start("c1")
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.stop()
	}()
	for n := 1; ; n++ {
		r.Resize(notice.ChannelWebhook, 1+n%50, 0)
		select {
		case <-stopped:
			r.Resize(notice.ChannelWebhook, 100, 0)
			return
		default:
		}
	}
}
