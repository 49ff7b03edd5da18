package queue_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// finalsConfig keeps so many final states in a single partition.
func finalsConfig(keep int) config.Queue {
	cfg := testConfig()
	cfg.Partitions, cfg.Finals = 1, keep
	return cfg
}

// finish plans one notification and delivers it.
func (w *world) finish(user string) string {
	w.t.Helper()
	ev, l, d := w.planned(user)
	w.settle(&queue.Settlement{Kind: queue.Done, Lease: l, Delivery: d,
		Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered, Attempt: 1, Code: "200"}})
	return ev.ID
}

func (w *world) finals(after queue.Mark) queue.Finals {
	w.t.Helper()
	page, err := w.Finals(w.t.Context(), 0, after, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	return page
}

func idsOf(records []queue.Record) (ids []string) {
	for _, r := range records {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestEveryWayToEndIsAFinalState(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w = open(t, w.rdb, withNamespace(finalsConfig(100), "f"))
		delivered := w.finish("ada")
		// Dead.
		ev, l, d := w.planned("bob")
		w.settle(&queue.Settlement{Kind: queue.Bury, Lease: l, Delivery: d, Reason: "attempts", Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDead}})
		dead := ev.ID
		// Ended while it was planned.
		w.admit(queue.Admission{Tenant: "acme", Notification: notification("cid")})
		leases, events := w.leaseEvents(1)
		if err := w.Plan(t.Context(), []*queue.Planned{{Lease: leases[0], Event: events[0], Note: queue.Entry{At: w.clock.Now(), Status: notice.StatusFailed}}}); err != nil {
			t.Fatal(err)
		}
		unplanned := events[0].ID
		// Canceled before its time.
		n := notification("dan")
		n.SendAt = w.clock.Now().Add(1e12)
		canceled := w.admit(queue.Admission{Tenant: "acme", Notification: n}).ID
		if _, err := w.Cancel(t.Context(), "acme", canceled); err != nil {
			t.Fatal(err)
		}
		open := w.admit(queue.Admission{Tenant: "acme", Notification: notification("eve")}).ID

		page := w.finals(queue.Mark{})
		if got, want := idsOf(page.Records), []string{delivered, dead, unplanned, canceled}; !slices.Equal(got, want) {
			t.Errorf("final states of %v, want %v (and not %s, which is open)", got, want, open)
		}
		if page.Next.Number != 4 || page.Missed != 0 || len(page.Expired) != 0 || page.Restarted {
			t.Errorf("page %+v", page)
		}
		if again := w.finals(page.Next); len(again.Records) != 0 || again.Next != page.Next {
			t.Errorf("read after its end: %+v", again)
		}
	})
}

func withNamespace(cfg config.Queue, ns string) config.Queue {
	cfg.Namespace = ns
	return cfg
}

func TestManyFinalStatesOfOneCommitAreOneEntry(t *testing.T) {
	w := open(t, queuetest.Redis(t), finalsConfig(100))
	const n = 20
	for i := range n {
		w.admit(queue.Admission{Tenant: "acme", Notification: notification(fmt.Sprint("u", i))})
	}
	leases, events := w.leaseEvents(n)
	var planned []*queue.Planned
	for i := range leases {
		planned = append(planned, &queue.Planned{Lease: leases[i], Event: events[i], Note: queue.Entry{At: w.clock.Now(), Status: notice.StatusFailed}})
	}
	if err := w.Plan(t.Context(), planned); err != nil {
		t.Fatal(err)
	}
	if entries := w.rdb.XLen(t.Context(), "{t:0}:finals").Val(); entries != 1 {
		t.Errorf("%d entries for one commit, want 1", entries)
	}
	if page := w.finals(queue.Mark{}); len(page.Records) != n || page.Next.Number != n {
		t.Errorf("%d records up to %+v, want %d", len(page.Records), page.Next, n)
	}
}

func TestWhatTheStreamDroppedIsCounted(t *testing.T) {
	w := open(t, queuetest.Redis(t, "--stream-node-max-entries", "1"), finalsConfig(5))
	w.finish("ada")
	mark := w.finals(queue.Mark{}).Next
	var ids []string
	for i := range 20 {
		ids = append(ids, w.finish(fmt.Sprint("u", i)))
	}
	page := w.finals(mark)
	kept := idsOf(page.Records)
	if len(kept) > 7 || len(kept) < 5 || !slices.Equal(kept, ids[20-len(kept):]) {
		t.Errorf("kept %d, want about the last 5: %v of %v", len(kept), kept, ids)
	}
	if int(page.Missed)+len(kept) != 20 {
		t.Errorf("%d missed and %d read, want 20 together", page.Missed, len(kept))
	}
	if fresh := w.finals(queue.Mark{}); fresh.Missed != 0 {
		t.Errorf("a new reader missed %d, want none", fresh.Missed)
	}
}

func TestARecordThatExpiredBeforeItWasReadIsNamed(t *testing.T) {
	w := open(t, queuetest.Redis(t), finalsConfig(100))
	gone, kept := w.finish("ada"), w.finish("bob")
	w.rdb.Del(t.Context(), "{t:0}:n:"+gone[2:])
	if page := w.finals(queue.Mark{}); !slices.Equal(page.Expired, []string{gone}) || !slices.Equal(idsOf(page.Records), []string{kept}) {
		t.Errorf("page %+v", page)
	}
}

func TestAStoreThatWentBackIsNoticed(t *testing.T) {
	w := open(t, queuetest.Redis(t), finalsConfig(100))
	for i := range 3 {
		w.finish(fmt.Sprint("u", i))
	}
	mark := w.finals(queue.Mark{}).Next
	w.rdb.Del(t.Context(), "{t:0}:finals")
	w.rdb.XGroupCreateMkStream(t.Context(), "{t:0}:finals", "carillon", "0") // as the readers would
	if page := w.finals(mark); page.Restarted {
		t.Error("an empty stream is no news yet")
	}
	w.finish("new")
	if page := w.finals(mark); !page.Restarted || page.Next != (queue.Mark{}) {
		t.Errorf("numbers below the mark: %+v, want a restart", page)
	}
	w.finish("new2")
	w.finish("new3")
	if page := w.finals(mark); !page.Restarted {
		t.Errorf("another state under the mark's number: %+v, want a restart", page)
	}
}

func TestWithoutFinalStatesNothingIsKept(t *testing.T) {
	w := open(t, queuetest.Redis(t), finalsConfig(0))
	w.finish("ada")
	if n := w.rdb.Exists(t.Context(), "{t:0}:finals").Val(); n != 0 {
		t.Error("a stream of final states was made")
	}
}

func TestAnEndThatCannotBeToldOfIsStillAnEnd(t *testing.T) {
	w := open(t, queuetest.Redis(t), finalsConfig(100))
	w.rdb.Set(t.Context(), "{t:0}:finals", "not a stream", 0)
	id := w.finish("ada")
	if r := w.record(id); r.Open() {
		t.Errorf("record %+v, want it closed", r)
	}
}
