package throttle_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonhq/carillon/throttle"
)

// none fails unless no slot is to be had within a time.
func none(t *testing.T, s *throttle.Slots, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if n, err := s.Acquire(ctx, 1); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("acquired %d (%v) within %v, want none", n, err, within)
	}
}

// acquireAfter fails unless exactly one slot is to be had, after exactly a time.
func acquireAfter(t *testing.T, s *throttle.Slots, want time.Duration) {
	t.Helper()
	start := time.Now()
	acquire(t, s, 8, 1)
	if waited := time.Since(start); waited != want {
		t.Fatalf("waited %v, want %v", waited, want)
	}
}

func TestEachProbeThatIsRefusedDoublesTheRestUpToAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := throttle.NewSlots(8, time.Now)
		if whole, until := s.Break(time.Time{}); !whole || time.Until(until) != 10*time.Second {
			t.Errorf("broken: was whole %v, rests until %v", whole, until)
		}
		for _, rest := range []time.Duration{10, 20, 40, 60, 60} {
			acquireAfter(t, s, rest*time.Second)
			if whole, _ := s.Break(time.Time{}); whole {
				t.Error("a probe that was refused found it whole")
			}
			s.Release(1)
		}
	})
}

func TestWhatWasInFlightWhenTheFaultWasFoundSaysNothingNewAndIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := throttle.NewSlots(8, time.Now)
		acquire(t, s, 8, 8)
		for range 7 {
			s.Break(time.Time{})
			s.Release(1)
		}
		time.AfterFunc(25*time.Second, func() { s.Release(1) })
		acquireAfter(t, s, 25*time.Second) // not after 10, with another in flight
		none(t, s, time.Hour)              // a probe is alone
		s.Break(time.Time{})
		s.Release(1)
		acquireAfter(t, s, 20*time.Second) // the eight refusals of before were one
	})
}

func TestAProviderMayAskForALongerRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := throttle.NewSlots(8, time.Now)
		s.Break(time.Now().Add(5 * time.Minute))
		acquireAfter(t, s, 5*time.Minute)
		s.Break(time.Now().Add(time.Second))
		s.Release(1)
		acquireAfter(t, s, 20*time.Second)
	})
}

func TestAProbeThatSaysNothingIsFollowedByARestOfTheSameLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := throttle.NewSlots(8, time.Now)
		s.Doubt()
		acquire(t, s, 1, 1) // nothing is broken
		s.Break(time.Time{})
		s.Doubt() // of something that was in flight
		s.Release(1)
		for _, rest := range []time.Duration{10, 10, 10} {
			acquireAfter(t, s, rest*time.Second)
			s.Doubt()
			s.Release(1)
		}
		acquireAfter(t, s, 10*time.Second)
		s.Break(time.Time{})
		s.Release(1)
		acquireAfter(t, s, 20*time.Second)
	})
}

func TestAChannelThatIsMendedHasEverySlotAtOnceAndStartsAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := throttle.NewSlots(8, time.Now)
		if s.Mend() || s.Broken() {
			t.Error("a channel that nothing was said of is broken")
		}
		s.Break(time.Time{})
		acquireAfter(t, s, 10*time.Second)
		var waited int
		go func() { waited, _ = s.Acquire(t.Context(), 8) }()
		if synctest.Wait(); waited != 0 || !s.Broken() {
			t.Fatalf("%d slots beside the probe, broken %v", waited, s.Broken())
		}
		if !s.Mend() || s.Broken() {
			t.Error("it is broken still, or was not")
		}
		if synctest.Wait(); waited != 7 {
			t.Errorf("whoever waited has %d slots, want the 7 beside the probe's", waited)
		}
		s.Release(8)
		s.Break(time.Time{})
		acquireAfter(t, s, 10*time.Second)
	})
}

func TestAProvidersPauseOutlivesTheMend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := throttle.NewSlots(8, time.Now)
		s.Break(time.Time{})
		acquireAfter(t, s, 10*time.Second)
		s.Pause(time.Now().Add(time.Minute))
		s.Mend()
		none(t, s, time.Minute-time.Millisecond)
	})
}

func TestWhoHasASlotMayNotBeginOnceTheChannelIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := throttle.NewSlots(8, time.Now)
		may := func(what string, want bool) {
			t.Helper()
			if got := s.MayBegin(); got != want {
				t.Errorf("%s: may begin %v, want %v", what, got, want)
			}
		}
		acquire(t, s, 2, 2)
		may("two in flight", true)
		s.Pause(time.Now().Add(time.Second))
		may("paused", false)
		time.Sleep(time.Second)
		may("the pause is over", true)
		s.Break(time.Time{})
		may("broken", false)
		time.Sleep(10 * time.Second)
		may("rested, and two in flight", false)
		s.Release(1)
		may("rested, and alone", true)
	})
}

// rights count how often the right to probe was claimed, and given back.
type rights struct{ claimed, back int }

func (r *rights) of(s *throttle.Slots) {
	s.Claim(func(context.Context) bool { r.claimed++; return true }, func() { r.back++ })
}

// Whoever has the right to probe and makes no use of it must not keep it: the
// others would wait for what never comes.
func TestTheRightToProbeIsGivenBackWhenNothingIsFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := throttle.NewSlots(8, time.Now), &rights{}
		r.of(s)
		acquire(t, s, 1, 1)
		s.Release(1)
		if *r != (rights{}) {
			t.Fatalf("with a credential that is taken: %+v", *r)
		}
		s.Break(time.Time{})
		acquireAfter(t, s, 10*time.Second)
		s.Release(0) // only wakes
		if r.back != 0 {
			t.Fatal("given back while its probe is under way")
		}
		s.Release(1) // there was nothing to send any more
		if *r != (rights{1, 1}) {
			t.Fatalf("after a slot that was not used: %+v, want it claimed and given back", *r)
		}
		for _, answer := range []struct {
			name  string
			takes func()
		}{
			{"refuses it still", func() { s.Break(time.Time{}) }},
			{"does not say", s.Doubt},
			{"takes it", func() { s.Mend() }},
		} {
			acquire(t, s, 1, 1)
			answer.takes()
			s.Release(1)
			if r.back != 1 {
				t.Errorf("given back though the provider %s, which is said to the others", answer.name)
			}
		}
		s.Break(time.Time{})
		acquireAfter(t, s, 10*time.Second)
		s.Hear(0) // another consumer's word, while the probe is under way
		s.Mend()
		if s.Release(1); r.back != 2 {
			t.Error("kept though nothing was said of its probe, since another had found out before")
		}
	})
}
