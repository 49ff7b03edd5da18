package queue_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// bounced is a bounce of a delivery.
func (w *world) bounced(delivery string) notice.Feedback {
	return notice.Feedback{Kind: notice.FeedbackHard, Tenant: "acme", Delivery: delivery, Code: "5.1.1", Detail: "User unknown", At: w.clock.Now()}
}

// note notes feedback and reports whether it was noted.
func (w *world) note(f notice.Feedback) bool {
	w.t.Helper()
	noted, err := w.NoteFeedback(w.t.Context(), f)
	if err != nil {
		w.t.Fatal(err)
	}
	return noted
}

func TestABounceIsNotedOnAFinishedRecordThatStaysDelivered(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ev, l, d := w.planned("ada")
		w.settle(&queue.Settlement{Kind: queue.Done, Lease: l, Delivery: d, Entry: entry(w, notice.StatusDelivered)})
		life := w.lifeOf(ev.ID)
		w.clock.Advance(time.Minute)
		f := w.bounced(d.ID)
		if !w.note(f) {
			t.Fatal("it was not noted")
		}
		r := w.record(ev.ID)
		got := r.Deliveries[0]
		last := got.Timeline[len(got.Timeline)-1]
		want := queue.Entry{At: w.clock.Now().UTC(), Status: notice.StatusDelivered, Code: "bounce", Detail: "hard: 5.1.1 User unknown"}
		if got.Status != notice.StatusDelivered || r.Open() || !last.At.Equal(want.At) || last.Code != want.Code || last.Detail != want.Detail || last.Status != want.Status {
			t.Errorf("the delivery is %s (open %v) with %+v, want %+v", got.Status, r.Open(), last, want)
		}
		if now := w.lifeOf(ev.ID); now <= 0 || now > life {
			t.Errorf("the record lives %v, and lived %v", now, life)
		}
		if !w.note(f) || len(w.record(ev.ID).Deliveries[0].Timeline) != len(got.Timeline) {
			t.Error("the same bounce told twice is there twice")
		}
	})
}

// lifeOf is how long a notification's record still lives.
func (w *world) lifeOf(id string) time.Duration {
	w.t.Helper()
	_, tail, _ := strings.Cut(id, "-")
	keys := slices.DeleteFunc(w.keys("*:n:*"), func(k string) bool { return !strings.HasSuffix(k, tail) })
	if len(keys) != 1 {
		w.t.Fatalf("the record's keys: %v", keys)
	}
	return w.rdb.PTTL(w.t.Context(), keys[0]).Val()
}

func TestFeedbackThatIsNobodysIsNotNoted(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ev, _, d := w.planned("ada")
		for name, change := range map[string]func(*notice.Feedback){
			"another tenant's":              func(f *notice.Feedback) { f.Tenant = "other" },
			"a delivery that there is not":  func(f *notice.Feedback) { f.Delivery = notice.DeliveryID(ev.ID, 7) },
			"a notification":                func(f *notice.Feedback) { f.Delivery = ev.ID },
			"a record that has gone":        func(f *notice.Feedback) { f.Delivery = notice.DeliveryID(notice.NewID(0, w.clock.Now()), 1) },
			"a partition that there is not": func(f *notice.Feedback) { f.Delivery = "999" + f.Delivery[strings.IndexByte(f.Delivery, '-'):] },
			"no id":                         func(f *notice.Feedback) { f.Delivery = "x" },
		} {
			f := w.bounced(d.ID)
			if change(&f); w.note(f) {
				t.Errorf("%s: it was noted", name)
			}
		}
		if r := w.record(ev.ID); len(r.Deliveries[0].Timeline) != 1 {
			t.Errorf("the record has %+v", r.Deliveries[0].Timeline)
		}
	})
}

func TestABounceOfWhatIsStillOpenChangesNoStatus(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ev, l, d := w.planned("ada")
		w.note(w.bounced(d.ID))
		if r := w.record(ev.ID); r.Deliveries[0].Status != notice.StatusQueued || !r.Open() {
			t.Errorf("the delivery is %s", r.Deliveries[0].Status)
		}
		if !w.settle(&queue.Settlement{Kind: queue.Done, Lease: l, Delivery: d, Entry: entry(w, notice.StatusDelivered)}) {
			t.Error("it cannot be settled any more")
		}
	})
}

func TestAnErasedPersonsBounceLosesItsWords(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ev, l, d := w.planned("ada")
		w.settle(&queue.Settlement{Kind: queue.Done, Lease: l, Delivery: d, Entry: entry(w, notice.StatusDelivered)})
		w.note(w.bounced(d.ID))
		if err := w.Erase(t.Context(), "acme", "ada"); err != nil {
			t.Fatal(err)
		}
		last := w.record(ev.ID).Deliveries[0].Timeline[2]
		if last.Code != "bounce" || last.Detail != "" {
			t.Errorf("left is %+v", last)
		}
	})
}

func TestWhoseADeliveryIs(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		_, _, d := w.planned("ada")
		if tenant, user, err := w.Owner(t.Context(), d.ID); tenant != "acme" || user != "ada" || err != nil {
			t.Errorf("got %q, %q, %v", tenant, user, err)
		}
		for _, other := range []string{"", "x", d.ID[:len(d.ID)-2], d.ID + "9", notice.DeliveryID(notice.NewID(0, w.clock.Now()), 1)} {
			if _, _, err := w.Owner(t.Context(), other); !errors.Is(err, queue.ErrNotFound) {
				t.Errorf("%q: %v", other, err)
			}
		}
	})
}
