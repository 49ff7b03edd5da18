package delivery_test

import (
	"context"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/throttle"
)

// giveBack frees the places of what was never sent, as a process of the gateway
// does.
func (w *world) giveBack(ctx context.Context, unsent []queue.Unsent) {
	var asks []throttle.Ask
	for _, u := range unsent {
		asks = append(asks, throttle.Ask{Tenant: u.Tenant, User: u.User, DeliveryID: u.ID, Heir: u.Heir, At: w.clock.Now()})
	}
	if err := w.caps.Release(ctx, asks); err != nil {
		w.t.Errorf("giving places back: %v", err)
	}
}

// hourly is a cap of one an hour that defers.
func hourly() setup {
	return setup{caps: []config.Cap{{Name: "hourly", Limit: config.Rate{Count: 1, Per: time.Hour}, Over: config.OverDefer}}}
}

// ping is a notification to a user.
func ping(user string) notice.Notification {
	n := to("https://" + user + ".example/")
	n.To.User = user
	return n
}

// deferred admits a notification that is deferred, and returns its id and the
// moment that it waits for.
func (w *world) deferred(n notice.Notification) (id string, until time.Time) {
	w.t.Helper()
	id = w.admit(n)
	return id, last(w.became(id, 1, notice.StatusDeferred)).Until
}

// oneOfTwo is a world in which ada got what she may have in an hour, and a
// second waits for the next.
func oneOfTwo(t *testing.T, s setup, n notice.Notification) (w *world, second string, until time.Time) {
	t.Helper()
	w = newWorld(t, s)
	w.start("c1")
	w.became(w.admit(n), 1, notice.StatusDelivered)
	second, until = w.deferred(n)
	return w, second, until
}

func TestTheMomentOfACanceledDeliveryIsTheNextOnes(t *testing.T) {
	t.Parallel()
	w, second, moment := oneOfTwo(t, hourly(), ping("ada"))
	if _, err := w.queue.Cancel(t.Context(), "acme", second); err != nil {
		t.Fatal(err)
	}
	if _, until := w.deferred(ping("ada")); !until.Equal(moment) {
		t.Errorf("the third waits until %v, want the second's moment %v", until, moment)
	}
	if _, err := w.queue.Cancel(t.Context(), "acme", second); err == nil {
		t.Error("a second cancel found something to cancel")
	}
	if _, until := w.deferred(ping("ada")); !until.Equal(moment.Add(time.Hour)) {
		t.Errorf("the fourth waits until %v, want %v: the moment was given away once", until, moment.Add(time.Hour))
	}
	if line := w.became(second, 1, notice.StatusCanceled).Timeline; len(line) != 3 {
		t.Errorf("the canceled one's timeline is %+v, want planned, deferred, canceled", line)
	}
}

func TestTheMomentOfAnErasedPersonsDeliveryIsFree(t *testing.T) {
	t.Parallel()
	w, _, moment := oneOfTwo(t, hourly(), ping("ada"))
	if err := w.queue.Erase(t.Context(), "acme", "ada"); err != nil {
		t.Fatal(err)
	}
	if _, until := w.deferred(ping("ada")); !until.Equal(moment) {
		t.Errorf("who comes back waits until %v, want %v", until, moment)
	}
}

func TestWhatExpiresBeforeItIsTriedLeavesRoomForTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hourly())
	c := w.start("c1")
	w.became(w.admit(ping("ada")), 1, notice.StatusDelivered)
	short := ping("ada")
	short.ExpiresAt = w.clock.Now().Add(65 * time.Minute)
	second, _ := w.deferred(short)
	c.stop()
	w.clock.Advance(70 * time.Minute)
	w.start("c2")
	w.became(second, 1, notice.StatusExpired)
	w.await("its place to be given back", func() bool { return w.usage().Room(w.clock.Now()) == 1 }) // right after it has ended
	w.became(w.admit(ping("ada")), 1, notice.StatusDelivered)
}

func TestTheMomentOfADigestThatIsCanceledAloneIsTheNextOnes(t *testing.T) {
	t.Parallel()
	w, second, moment := oneOfTwo(t, digesting(1), note("ada", 1))
	if _, err := w.queue.Cancel(t.Context(), "acme", second); err != nil {
		t.Fatal(err)
	}
	if _, until := w.deferred(note("ada", 3)); !until.Equal(moment) {
		t.Errorf("the third waits until %v, want the second's moment %v", until, moment)
	}
}

// The place goes with the digest: without it there would be room for one more.
func TestWhoCarriesADigestOnHasThePlaceOfWhoWasCanceled(t *testing.T) {
	t.Parallel()
	w, carrier, moment := oneOfTwo(t, digesting(1), note("ada", 1))
	heir := w.admit(note("ada", 3))
	w.became(heir, 1, notice.StatusCapped)
	if _, err := w.queue.Cancel(t.Context(), "acme", carrier); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(61 * time.Minute)
	w.became(heir, 1, notice.StatusDelivered)
	w.became(carrier, 1, notice.StatusCanceled)
	if _, until := w.deferred(note("ada", 4)); !until.Equal(moment.Add(time.Hour)) {
		t.Errorf("the next waits until %v, want an hour after the digest, %v", until, moment.Add(time.Hour))
	}
}
