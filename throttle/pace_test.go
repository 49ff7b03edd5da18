package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/throttle"
)

// drain takes permits with many workers for a while, and returns when each was
// taken.
func drain(p *throttle.Pace, workers int, d time.Duration) []time.Time {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var mu sync.Mutex
	var taken []time.Time
	var done sync.WaitGroup
	for range workers {
		done.Go(func() {
			for p.Wait(ctx) == nil {
				mu.Lock()
				taken = append(taken, time.Now())
				mu.Unlock()
			}
		})
	}
	done.Wait()
	slices.SortFunc(taken, time.Time.Compare)
	return taken
}

// busiest is the most that were taken in any half-open second.
func busiest(taken []time.Time) int {
	most, first := 0, 0
	for i := range taken {
		for taken[i].Sub(taken[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

func TestNoSecondSeesMoreThanAFewPerCentOverTheRate(t *testing.T) {
	cases := []struct {
		rate    config.Rate
		most    int // in any second: 105 % of the rate, or the rate rounded up
		atLeast int // in ten seconds
	}{
		{config.Rate{Count: 5000, Per: time.Second}, 5250, 49_500},
		{config.Rate{Count: 100, Per: time.Second}, 105, 990},
		{config.Rate{Count: 10, Per: time.Second}, 10, 99},
		{config.Rate{Count: 3, Per: time.Second}, 3, 29},
		{config.Rate{Count: 90, Per: time.Minute}, 2, 15},
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c.rate, " after an idle time"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := throttle.NewPace(c.rate)
				time.Sleep(time.Minute) // of the bubble's clock: whatever can be saved up is
				taken := drain(p, 16, 10*time.Second)
				if most := busiest(taken); most > c.most {
					t.Errorf("one second saw %d, want at most %d", most, c.most)
				}
				if len(taken) < c.atLeast {
					t.Errorf("ten seconds saw %d, want at least %d", len(taken), c.atLeast)
				}
			})
		})
	}
}

func TestAnotherRateHoldsForThoseWhoWaitAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := throttle.NewPace(config.Rate{Count: 6, Per: time.Minute})
		drain(p, 1, time.Millisecond)
		start := time.Now()
		go func() {
			time.Sleep(500 * time.Millisecond)
			p.Replace(config.Rate{Count: 10, Per: time.Second})
		}()
		taken := drain(p, 32, 1500*time.Millisecond)
		if len(taken) < 10 || len(taken) > 11 || taken[0].Sub(start) > 700*time.Millisecond {
			t.Errorf("%d taken in the second after the rate rose, the first after %v; want 10, the first at once", len(taken), taken[0].Sub(start))
		}
	})
}

func TestALimitThatIsLiftedHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := throttle.NewPace(config.Rate{Count: 1, Per: time.Hour})
		drain(p, 1, time.Millisecond)
		go func() {
			time.Sleep(time.Second)
			p.Replace(config.Rate{})
		}()
		start := time.Now()
		if err := p.Wait(t.Context()); err != nil || time.Since(start) != time.Second {
			t.Errorf("waited %v (%v), want until the limit was lifted", time.Since(start), err)
		}
	})
}

func TestWaitEndsWithItsContextAndTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := throttle.NewPace(config.Rate{Count: 1, Per: time.Minute})
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		start := time.Now()
		if err := p.Wait(t.Context()); err != nil || time.Since(start) != 59*time.Second {
			t.Errorf("the next permit came after %v (%v), want the 59s that are left of the minute", time.Since(start), err)
		}
	})
}

func TestTryTakesAPermitOrSaysWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := throttle.NewPace(config.Rate{Count: 2, Per: time.Second})
		if taken, _ := p.Try(); !taken {
			t.Fatal("the first permit is not there")
		}
		taken, wait := p.Try()
		if taken || wait != 500*time.Millisecond {
			t.Errorf("taken %v, wait %v; want a wait of 500ms", taken, wait)
		}
		time.Sleep(wait)
		if taken, _ := p.Try(); !taken {
			t.Error("no permit after the wait that was named")
		}
	})
}

func TestTheZeroRateIsNoLimit(t *testing.T) {
	p := throttle.NewPace(config.Rate{})
	for range 100_000 {
		if taken, _ := p.Try(); !taken {
			t.Fatal("Try took nothing")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := p.Wait(ctx); err != nil {
		t.Errorf("Wait: %v", err)
	}
	cancel()
	if err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait after the end: %v, want canceled", err)
	}
}

func BenchmarkPaceWait(b *testing.B) {
	p := throttle.NewPace(config.Rate{Count: 1 << 30, Per: time.Second})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := p.Wait(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
