package queue_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

// everything is all that the server keeps, keys and values, as text; what
// waits on streams aside.
func (w *world) everything() string {
	w.t.Helper()
	ctx, all := w.t.Context(), strings.Builder{}
	for _, key := range w.rdb.Keys(ctx, "*").Val() {
		switch w.rdb.Type(ctx, key).Val() {
		case "string":
			fmt.Fprintln(&all, key, w.rdb.Get(ctx, key).Val())
		case "hash":
			fmt.Fprintln(&all, key, w.rdb.HGetAll(ctx, key).Val())
		case "zset":
			fmt.Fprintln(&all, key, w.rdb.ZRange(ctx, key, 0, -1).Val())
		}
	}
	return all.String()
}

func TestAPersonIsErasedFromWhatTheirNotificationsLeft(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		until := w.clock.Now().Add(time.Hour)
		ev, l, d := w.planned("ada")
		w.settle(&queue.Settlement{Kind: queue.Later, Lease: l, Delivery: d, Due: until,
			Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusRetrying, Attempt: 1, Code: "421", Detail: "ada@example.com is busy", Until: until}})
		ended, l, d := w.planned("ada")
		w.settle(&queue.Settlement{Kind: queue.Done, Lease: l, Delivery: d,
			Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered, Attempt: 1, Code: "250", Detail: "to ada", ProviderID: "ada-1"}})
		w.die("ada", "attempts")
		w.buryInbox(`{"template":"ping","to":{"user":"ada"},"data":3}`)
		n := notification("ada")
		n.SendAt = until
		scheduled := w.admit(queue.Admission{Tenant: "acme", Notification: n})
		other := w.finish("adam")
		kept := w.admit(queue.Admission{Tenant: "other", Notification: notification("ada")})

		if err := w.Erase(t.Context(), "acme", "ada"); err != nil {
			t.Fatal(err)
		}
		left := w.everything()
		for _, line := range strings.Split(left, "\n") {
			if strings.Contains(strings.ReplaceAll(line, "adam", ""), "ada") && !strings.Contains(line, "\tother\tada") {
				t.Errorf("still there: %q", line)
			}
		}
		parked := w.record(ev.ID)
		if e := parked.Deliveries[0].Timeline; parked.User != queue.Erased || parked.Deliveries[0].Address != queue.Erased ||
			parked.Deliveries[0].Status != notice.StatusCanceled || e[1].Code != "421" || !e[1].Until.Equal(until) || e[1].Detail != "" {
			t.Errorf("the parked one's record is %+v", parked)
		}
		if r := w.record(ended.ID); r.User != queue.Erased || r.Deliveries[0].Status != notice.StatusDelivered || r.Template != "ping" ||
			r.Deliveries[0].Timeline[1].Code != "250" || r.Deliveries[0].Timeline[1].ProviderID != "" {
			t.Errorf("the delivered one's record is %+v", r)
		}
		if r := w.record(scheduled.ID); r.Open() || r.User != queue.Erased {
			t.Errorf("the scheduled one's record is %+v", r)
		}
		if r := w.record(other); r.User != "adam" {
			t.Errorf("another's record is %+v", r)
		}
		if r, err := w.Record(t.Context(), "other", kept.ID); err != nil || r.User != "ada" {
			t.Errorf("another tenant's record is %+v, %v", r, err)
		}
		if n := w.rdb.ZCard(t.Context(), "{t:0}:erasures").Val() + w.rdb.ZCard(t.Context(), "{t:1}:erasures").Val(); n != 0 {
			t.Errorf("%d erasures are kept though nothing is on its way", n)
		}
	})
}

func TestWhatIsOnItsWayIsErasedOnceItHasGoneOut(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	ev, l, d := w.planned("ada")
	if err := w.Erase(t.Context(), "acme", "ada"); err != nil {
		t.Fatal(err)
	}
	w.settle(&queue.Settlement{Kind: queue.Done, Lease: l, Delivery: d,
		Entry: queue.Entry{At: w.clock.Now(), Status: notice.StatusDelivered, Attempt: 1, Detail: "to ada"}})
	if err := w.EraseDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.everything(), "to ada") {
		t.Error("it was looked at again before its time")
	}
	w.clock.Advance(2 * time.Minute)
	if err := w.EraseDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := w.everything(); strings.Contains(left, "ada") {
		t.Errorf("still there:\n%s", left)
	}
	if r := w.record(ev.ID); r.Deliveries[0].Status != notice.StatusDelivered {
		t.Errorf("record %+v", r)
	}
}

// TestErasingLosesNoLineThatIsAppendedMeanwhile erases while decisions arrive.
func TestErasingLosesNoLineThatIsAppendedMeanwhile(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	id := w.admit(queue.Admission{Tenant: "acme", Notification: notification("ada")}).ID
	key := "{t:" + id[:1] + "}:n:" + id[2:]
	const lines = 300
	var appending sync.WaitGroup
	appending.Go(func() {
		for i := range lines {
			w.rdb.Append(t.Context(), key, fmt.Sprintf("l\t-\t%d\t\tcode-%d\tsaid to ada\n", i, i))
		}
	})
	for range 20 {
		// A record that changes all the time is left for the next look.
		if err := w.Erase(t.Context(), "acme", "ada"); err != nil && !errors.Is(err, queue.ErrUnavailable) {
			t.Fatal(err)
		}
		w.rdb.SetRange(t.Context(), key, 0, "000") // the head names nobody any more: appended lines are what is looked for
	}
	appending.Wait()
	if got := strings.Count(w.rdb.Get(t.Context(), key).Val(), "code-"); got != lines {
		t.Errorf("%d lines, want %d", got, lines)
	}
}

// TestAnErasureGoesThroughManyRecordsAndLeavesTheirLives looks for one person
// among thousands.
func TestAnErasureGoesThroughManyRecordsAndLeavesTheirLives(t *testing.T) {
	w := open(t, queuetest.Redis(t), testConfig())
	pipe := w.rdb.Pipeline()
	for i := range 5000 {
		pipe.Set(t.Context(), fmt.Sprintf("{t:0}:n:%020d", i), fmt.Sprintf("000A\tabc\tacme\tu%d\tping\n", i), time.Hour)
		pipe.Set(t.Context(), fmt.Sprintf("{t:1}:n:%020d", i), fmt.Sprintf("000A\tabc\tacme\tu%d\tping\n", i), time.Hour)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Erase(t.Context(), "acme", "u77"); err != nil {
		t.Fatal(err)
	}
	for range 3 { // on a slow machine the first second does not suffice
		w.clock.Advance(2 * time.Minute)
		if err := w.EraseDue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	key := fmt.Sprintf("{t:%d}:n:%020d", w.Partition("acme", "u77"), 77)
	if text := w.rdb.Get(t.Context(), key).Val(); !strings.HasPrefix(text, "000A\tabc\tacme\terased\tping\nc\t-\t") {
		t.Errorf("the record is %q", text)
	}
	if life := w.rdb.PTTL(t.Context(), key).Val(); life < 50*time.Minute {
		t.Errorf("it lives %v more, want its hour", life)
	}
	if n := strings.Count(w.everything(), "\terased\t"); n != 1 {
		t.Errorf("%d records were erased, want one", n)
	}
}
