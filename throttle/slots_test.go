package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonhq/carillon/throttle"
)

func acquire(t testing.TB, s *throttle.Slots, most, want int) {
	t.Helper()
	got, err := s.Acquire(t.Context(), most)
	if err != nil || got != want {
		t.Fatalf("acquired %d (%v), want %d", got, err, want)
	}
}

func TestNoMoreThanTheLimitIsInFlight(t *testing.T) {
	const limit = 7
	s := throttle.NewSlots(limit, time.Now)
	var inFlight, most atomic.Int64
	var done sync.WaitGroup
	for range 16 {
		done.Go(func() {
			for range 200 {
				n, err := s.Acquire(t.Context(), 3)
				if err != nil || n < 1 || n > 3 {
					t.Errorf("acquired %d (%v), want 1 to 3", n, err)
					return
				}
				now := inFlight.Add(int64(n))
				for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
				}
				inFlight.Add(int64(-n))
				s.Release(n)
			}
		})
	}
	done.Wait()
	if most.Load() > limit || s.InUse() != 0 || s.Limit() != limit {
		t.Errorf("%d in flight at once, %d in use at the end, limit %d; want at most %d, 0, %d", most.Load(), s.InUse(), s.Limit(), limit, limit)
	}
}

func TestAcquireTakesWhatIsFreeAndWaitsOnlyForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := throttle.NewSlots(4, time.Now)
		acquire(t, s, 3, 3)
		acquire(t, s, 3, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if n, err := s.Acquire(ctx, 1); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("full: acquired %d (%v), want none and the deadline", n, err)
		}
		time.AfterFunc(time.Minute, func() { s.Release(2) })
		start := time.Now()
		acquire(t, s, 9, 2)
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("waited %v, want the minute until the release", waited)
		}
		if s.InUse() != 4 {
			t.Errorf("%d in use, want 4", s.InUse())
		}
	})
}

func TestAPausedChannelTakesNoWorkUntilTheVeryMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := throttle.NewSlots(4, time.Now)
		start := time.Now()
		s.Pause(start.Add(time.Minute))
		s.Pause(start.Add(time.Second)) // of two the later end holds
		if until, paused := s.Paused(start); !paused || !until.Equal(start.Add(time.Minute)) {
			t.Errorf("paused %v until %v, want a minute", paused, until.Sub(start))
		}
		time.AfterFunc(30*time.Second, func() { s.Pause(start.Add(2 * time.Minute)) })
		acquire(t, s, 1, 1)
		if waited := time.Since(start); waited != 2*time.Minute {
			t.Errorf("waited %v, want the two minutes of the longer pause", waited)
		}
		if _, paused := s.Paused(time.Now()); paused {
			t.Error("paused at the pause's end")
		}
	})
}

func TestResumeEndsAPauseAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := throttle.NewSlots(1, time.Now)
		start := time.Now()
		s.Pause(start.Add(time.Hour))
		time.AfterFunc(time.Second, s.Resume)
		acquire(t, s, 1, 1)
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("waited %v, want the second until Resume", waited)
		}
	})
}

func TestASlotGivenBackTwiceIsStillOne(t *testing.T) {
	s := throttle.NewSlots(2, time.Now)
	acquire(t, s, 1, 1)
	s.Release(1)
	s.Release(1)
	acquire(t, s, 9, 2)
}

func TestMoreSlotsAreThereAtOnceAndFewerWhenLessIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := throttle.NewSlots(2, time.Now)
		acquire(t, s, 9, 2)
		start := time.Now()
		time.AfterFunc(time.Minute, func() { s.Resize(5) })
		acquire(t, s, 9, 3)
		if waited := time.Since(start); waited != time.Minute || s.Limit() != 5 {
			t.Errorf("waited %v for one of %d slots, want the minute until there were 5", waited, s.Limit())
		}
		s.Resize(3)
		if s.MayBegin() {
			t.Error("what has a slot may begin, with five of three in use")
		}
		time.AfterFunc(time.Minute, func() { s.Release(2) }) // three of three are left
		time.AfterFunc(2*time.Minute, func() { s.Release(1) })
		acquire(t, s, 9, 1)
		if waited := time.Since(start); waited != 3*time.Minute || !s.MayBegin() {
			t.Errorf("waited until %v, want the third minute, when fewer than three were in use", waited)
		}
		if s.Resize(0); s.Limit() != 1 {
			t.Errorf("%d slots, want one at least", s.Limit())
		}
	})
}

func TestAKeyIsPausedUntilItsMomentAndNoOtherKeyIs(t *testing.T) {
	now := base
	s := throttle.NewSlots(1, func() time.Time { return now })
	s.PauseKey("slow.example", at(time.Minute))
	s.PauseKey("slow.example", at(time.Second)) // of two the later end holds
	cases := []struct {
		name, key string
		now       time.Time
		paused    bool
	}{
		{"before its end", "slow.example", at(time.Minute - 1), true},
		{"at its end", "slow.example", at(time.Minute), false},
		{"another key", "other.example", at(0), false},
	}
	for _, c := range cases {
		if until, paused := s.PausedUntil(c.key, c.now); paused != c.paused || paused && !until.Equal(at(time.Minute)) {
			t.Errorf("%s: paused %v until %v, want %v", c.name, paused, until, c.paused)
		}
	}
	acquire(t, s, 1, 1) // the channel goes on
}

func TestPausesAreBoundedAndTheOneThatEndsFirstIsForgotten(t *testing.T) {
	s := throttle.NewSlots(1, func() time.Time { return base })
	const most = 8192
	for i := range most + 2 {
		s.PauseKey(fmt.Sprint(i), at(time.Hour+time.Duration((i*7919)%(most+2))*time.Second))
	}
	kept := 0
	for i := range most + 2 {
		if _, paused := s.PausedUntil(fmt.Sprint(i), base); paused {
			kept++
		}
	}
	if _, paused := s.PausedUntil("0", base); paused || kept != most {
		t.Errorf("%d keys kept, the first to end among them: %v; want %d without it", kept, paused, most)
	}
}

func BenchmarkSlots(b *testing.B) {
	s := throttle.NewSlots(64, time.Now)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n, err := s.Acquire(b.Context(), 1)
			if err != nil {
				b.Fatal(err)
			}
			s.Release(n)
		}
	})
}
