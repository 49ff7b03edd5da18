package e2e_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// TestARecordThatIsReadWhileItIsDeliveredNeverGoesBack reads each record again
// and again from the moment that its 202 was written, while hundreds more come
// in and go out: what it says is never taken back.
func TestARecordThatIsReadWhileItIsDeliveredNeverGoesBack(t *testing.T) {
	t.Parallel()
	const total = 600
	g := newGateway(t, nil)
	api := newClient(t, g.ingest().api)
	g.consume("a")
	var reads atomic.Int64
	each(total, func(i int) {
		id := api.post(g.ping(i + 1))
		watch := watched{t: t, id: id}
		for end := time.Now().Add(patience); !watch.done(); {
			if time.Now().After(end) {
				t.Errorf("%s is %+v after %v", id, watch.last, patience)
				return
			}
			watch.see(api.record(id))
			reads.Add(1)
		}
	})
	t.Logf("%d records were read %d times", total, reads.Load())
}

// watched is a record as it was last seen.
type watched struct {
	t    *testing.T
	id   string
	last record
}

func (w *watched) done() bool { return w.last.Status == "done" }

// see fails when a record says less than it did.
func (w *watched) see(now record) {
	order := []string{"", "accepted", "processing", "done"}
	if slices.Index(order, now.Status) < slices.Index(order, w.last.Status) || len(now.Deliveries) < len(w.last.Deliveries) {
		w.t.Errorf("%s was %+v and is %+v", w.id, w.last, now)
	}
	for i, d := range w.last.Deliveries {
		if i < len(now.Deliveries) && (len(now.Deliveries[i].Timeline) < len(d.Timeline) || now.Deliveries[i].Attempt < d.Attempt) {
			w.t.Errorf("the delivery %s was %+v and is %+v", d.ID, d, now.Deliveries[i])
		}
	}
	w.last = now
}
