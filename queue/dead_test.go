package queue_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// die buries one notification's delivery and returns its id.
func (w *world) die(user, reason string) string {
	w.t.Helper()
	_, l, d := w.planned(user)
	w.settle(&queue.Settlement{Kind: queue.Bury, Lease: l, Delivery: d, Reason: reason,
		Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDead, Detail: "kaput"}})
	return d.ID
}

func (w *world) deadCount(c notice.Channel) int {
	w.t.Helper()
	counts, err := w.DeadCounts(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return counts[c]
}

// buryInbox puts something unreadable on the inbox and buries it.
func (w *world) buryInbox(event string) {
	w.t.Helper()
	w.rdb.XAdd(w.t.Context(), &redis.XAddArgs{Stream: "t:inbox", Values: map[string]any{"event": event, "tenant": "acme"}})
	entries, err := w.InboxReader("c1").Read(w.t.Context(), 10)
	if err != nil || len(entries) != 1 {
		w.t.Fatalf("%d inbox entries: %v", len(entries), err)
	}
	if err := w.BuryInbox(w.t.Context(), entries[0], "malformed", "no JSON"); err != nil {
		w.t.Fatal(err)
	}
}

func TestDeadLettersAreCountedByChannelThroughEveryTransition(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		check := func(when string, webhook, inbox int) {
			t.Helper()
			if a, b := w.deadCount(notice.ChannelWebhook), w.deadCount(notice.ChannelInbox); a != webhook || b != inbox {
				t.Errorf("%s: %d webhook and %d inbox letters, want %d and %d", when, a, b, webhook, inbox)
			}
		}
		check("at first", 0, 0)
		ids := []string{w.die("a", "attempts"), w.die("b", "attempts"), w.die("c", "render")}
		w.buryInbox("{")
		check("after four deaths", 3, 1)
		if n, err := w.Redrive(t.Context(), "acme", ids[0]); n != 1 || err != nil {
			t.Fatalf("redriven %d: %v", n, err)
		}
		check("after one is redriven", 2, 1)
		if n, err := w.Purge(t.Context(), queue.DeadFilter{Reason: "render"}); n != 1 || err != nil {
			t.Fatalf("purged %d: %v", n, err)
		}
		check("after one is purged", 1, 1)
		if n, err := w.RedriveAll(t.Context(), queue.DeadFilter{Channel: notice.ChannelInbox}); n != 1 || err != nil {
			t.Fatalf("redriven %d: %v", n, err)
		}
		check("after the inbox is redriven", 1, 0)
	})
}

func TestDeadLettersAreFilteredByTheirTime(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	start := w.clock.Now()
	var ids []string
	for i := range 4 {
		w.clock.Advance(time.Minute)
		ids = append(ids, w.die(fmt.Sprint("u", i), "attempts"))
	}
	found, _, err := w.DeadList(t.Context(), queue.DeadFilter{Since: start.Add(2 * time.Minute), Until: start.Add(3 * time.Minute)})
	if err != nil || len(found) != 2 {
		t.Fatalf("%d letters of two minutes: %v", len(found), err)
	}
	for _, d := range found {
		if d.ID != ids[1] && d.ID != ids[2] {
			t.Errorf("%s died at %s, which is not between", d.ID, d.At)
		}
	}
	if n, err := w.Purge(t.Context(), queue.DeadFilter{Until: start.Add(time.Minute)}); n != 1 || err != nil {
		t.Errorf("purged %d of the first minute: %v", n, err)
	}
	if n, err := w.RedriveAll(t.Context(), queue.DeadFilter{Since: start.Add(4 * time.Minute)}); n != 1 || err != nil {
		t.Errorf("redrove %d of the last minute: %v", n, err)
	}
}

func TestRedrivingAllKeepsToItsRate(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	for i := range 30 {
		w.die(fmt.Sprint("u", i), "attempts")
	}
	began := time.Now()
	n, err := w.RedriveAll(t.Context(), queue.DeadFilter{Rate: 100})
	if n != 30 || err != nil {
		t.Fatalf("redrove %d: %v", n, err)
	}
	if took := time.Since(began); took < 250*time.Millisecond {
		t.Errorf("30 letters at 100 a second took %v", took)
	}
}

// TestAnInboxLetterPutBackTwiceIsAdmittedOnce plays a death between putting an
// entry back and dropping its letter, and the redrive after it.
func TestAnInboxLetterPutBackTwiceIsAdmittedOnce(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	w.buryInbox("{")
	found, _, err := w.DeadList(t.Context(), queue.DeadFilter{Channel: notice.ChannelInbox})
	if err != nil || len(found) != 1 {
		t.Fatalf("%d letters: %v", len(found), err)
	}
	if _, err := w.Redrive(t.Context(), "", found[0].ID); err != nil {
		t.Fatal(err)
	}
	first := w.rdb.XRange(t.Context(), "t:inbox", "-", "+").Val()
	time.Sleep(2 * time.Millisecond) // the second stands at another millisecond of the server's
	w.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: "t:inbox", Values: first[0].Values})
	entries, err := w.InboxReader("c1").Read(t.Context(), 10)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d inbox entries: %v", len(entries), err)
	}
	var got []queue.Admitted
	for _, e := range entries {
		got = append(got, w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada"), Identity: e.Identity, ReadAt: e.At}))
	}
	if got[0].ID != got[1].ID || got[0].Duplicate || !got[1].Duplicate {
		t.Errorf("admitted as %+v, want one of them to be a duplicate", got)
	}
}
