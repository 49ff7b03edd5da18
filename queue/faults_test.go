package queue_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// An entry's time was our own clock's when the server's was ahead of it, even
// by a millisecond. Its identity changed from one reading to the next with it,
// and the notification was admitted twice.
func TestAnInboxEntryIsAdmittedOnceWhenTheServersClockIsAhead(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	w.clock.Advance(-time.Minute)
	ctx := t.Context()
	for _, id := range []string{"*", "7-1", "18446744073709551615-1"} {
		w.rdb.Del(ctx, "t:inbox")
		w.rdb.XGroupCreateMkStream(ctx, "t:inbox", "carillon", "0")
		w.rdb.XAdd(ctx, &redis.XAddArgs{Stream: "t:inbox", ID: id, Values: []string{"event", "{}"}})
		var admitted []queue.Admitted
		for _, consumer := range []string{"c1", "c2"} {
			var entries []*queue.InboxEntry
			waitFor(t, "entry to read", func() (found bool) {
				var err error
				r := w.InboxReader(consumer)
				if entries, err = r.Read(ctx, 1); len(entries) == 0 && err == nil {
					entries, err = r.Reclaim(ctx, 1)
				}
				return err == nil && len(entries) == 1
			})
			admitted = append(admitted, w.admit(queue.Admission{Tenant: "acme", Identity: entries[0].Identity, ReadAt: entries[0].At, Notification: notification("ada")}))
			w.clock.Advance(2 * time.Minute)
		}
		if admitted[0].ID != admitted[1].ID || admitted[0].Duplicate || !admitted[1].Duplicate {
			t.Errorf("entry %s: admitted as %+v, then as %+v", id, admitted[0], admitted[1])
		}
	}
}

// A provider that answers in Latin-1 made a dead letter that could not be
// encoded. Its settlement was tried for ever, and every other one of its batch
// with it; a record with such words could not be shown.
func TestAProvidersWordsThatAreNoUTF8HoldUpNothing(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	ev, l, d := w.planned("ada")
	if !w.settle(&queue.Settlement{Kind: queue.Bury, Lease: l, Delivery: d, Reason: "attempts", Entry: queue.Entry{At: w.clock.Now(),
		Status: notice.StatusDead, Attempt: 9, Code: "5.1.1\xff" + strings.Repeat("x", 500), Detail: "bo\xeete pleine", ProviderID: "\xfe"}}) {
		t.Fatal("not buried")
	}
	dead, err := w.DeadShow(t.Context(), "acme", d.ID)
	if err != nil || dead.Detail != "bo\uFFFDte pleine" {
		t.Errorf("the dead letter says %q, %v", dead.Detail, err)
	}
	last := w.record(ev.ID).Deliveries[0].Timeline[1]
	for _, words := range []string{last.Code, last.Detail, last.ProviderID} {
		if !utf8.ValidString(words) || len(words) > 200 {
			t.Errorf("the record says %q", words)
		}
	}
}

// A settlement that asks who holds its entry failed without the group, again
// and again, while the readers that would have made the group anew waited for
// the settlers to make room.
func TestASettlementWithoutItsGroupLeavesTheDeliveryToWhoeverReadsItNext(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	_, l, d := w.planned("ada")
	_, other, od := w.planned("bob")
	for _, key := range w.keys("*webhook*") {
		w.rdb.XGroupDestroy(t.Context(), key, "carillon")
	}
	settled, err := w.Settle(t.Context(), "c1", []*queue.Settlement{
		{Kind: queue.Later, Lease: l, Delivery: d, Due: w.clock.Now(), Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusRetrying, Attempt: 1}},
		{Lease: other, Delivery: od, Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered, Attempt: 1}}})
	if err != nil || settled[0] || !settled[1] {
		t.Fatalf("settled %v, %v; want the delivered one alone", settled, err)
	}
	if lost, err := w.Renew(t.Context(), "c1", []*queue.Lease{l}); err != nil || len(lost) != 1 {
		t.Errorf("renewing told of %d lost leases, %v", len(lost), err)
	}
	again := w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 1)
	if string(again[0].Payload) != string(l.Payload) {
		t.Errorf("read again as %s", again[0].Payload)
	}
}

// Every consumer that worked a delivery which kills its process took it for
// the first attempt but one: it went round for ever.
func TestADeliveryThatKillsItsConsumersCountsEachOfThem(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	w.planned("ada")
	for want := 1; want <= 3; want++ {
		r := w.DeliveryReader("killed", notice.ChannelWebhook, notice.LaneNormal)
		waitFor(t, "reclaimed delivery", func() bool {
			got, err := r.Reclaim(t.Context(), 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == 1 && got[0].Lost != want {
				t.Fatalf("lost %d times, want %d", got[0].Lost, want)
			}
			return len(got) == 1
		})
	}
}

// A buried delivery that was its notification's only one was counted in again
// by each redrive and counted out by none, so that canceling what was redriven
// twice left a record that never closed.
func TestCancelingWhatWasRedrivenClosesItsRecord(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	ev, l, d := w.planned("ada")
	d.Alone = true
	for range 3 {
		w.settle(&queue.Settlement{Kind: queue.Bury, Lease: l, Delivery: d, Reason: "attempts", Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDead}})
		if n, err := w.Redrive(t.Context(), "acme", d.ID); n != 1 || err != nil {
			t.Fatalf("redriven %d, %v", n, err)
		}
		l = w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 1)[0]
	}
	w.settle(&queue.Settlement{Kind: queue.Later, Lease: l, Delivery: d, Due: w.clock.Now().Add(time.Hour), Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusRetrying}})
	if c, err := w.Cancel(t.Context(), "acme", ev.ID); len(c.Canceled) != 1 || err != nil {
		t.Fatalf("canceled %v, %v", c, err)
	}
	for _, key := range w.keys("*:n:*") {
		if ttl := w.rdb.PTTL(t.Context(), key).Val(); ttl > 26*time.Hour {
			t.Errorf("the record of a canceled notification lives for %v", ttl)
		}
	}
}

// One letter that is no delivery kept every other one from being redriven.
func TestALetterThatCannotBeRedrivenHoldsUpNoOther(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	_, l, _ := w.planned("ada")
	l.Payload = []byte("no JSON")
	w.settle(&queue.Settlement{Kind: queue.Unreadable, Lease: l, Reason: "malformed"})
	_, l, d := w.planned("bob")
	w.settle(&queue.Settlement{Kind: queue.Bury, Lease: l, Delivery: d, Reason: "attempts", Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDead}})
	if n, err := w.RedriveAll(t.Context(), queue.DeadFilter{}); n != 1 || err == nil || !strings.Contains(err.Error(), "dead letter") {
		t.Errorf("redriven %d, %v; want one, and word of the other", n, err)
	}
	w.lease(w.DeliveryReader("c1", notice.ChannelWebhook, notice.LaneNormal), 1)
	if left, _, err := w.DeadList(t.Context(), queue.DeadFilter{}); len(left) != 1 || left[0].Reason != "malformed" {
		t.Errorf("left %+v, %v", left, err)
	}
}
