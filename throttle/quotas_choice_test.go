package throttle_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

// relays are rates of the accounts of relays.
func relays(pairs ...string) config.KeyedRates { return config.KeyedRates{Relays: table(pairs...)} }

func TestWhatWaitsForARateSaysHowLongOneMoreWould(t *testing.T) {
	for name, tc := range map[string]struct {
		rate    string
		waiting int
		putOff  int
		least   time.Duration
		most    time.Duration
	}{
		"nothing waits":                        {"20/s", 0, 0, 0, 0},
		"less than half a second waits":        {"20/s", 9, 0, 0, 0},
		"half a second waits":                  {"20/s", 10, 0, 500 * time.Millisecond, 500 * time.Millisecond},
		"one waits for a slow rate":            {"1/10s", 1, 0, 10 * time.Second, 10 * time.Second},
		"the line is full":                     {"100/s", 30, 0, 300 * time.Millisecond, 300 * time.Millisecond},
		"a line with room goes before others":  {"20/s", 20, 1000, time.Second, time.Second},
		"others are to come back before":       {"20/s", 30, 1000, 40 * time.Second, 50 * time.Second},
		"what comes back does not matter yet":  {"20/s", 0, 1000, 0, 0},
		"there is no rate, whatever waits":     {"", 100, 0, 0, 0},
		"a rate is not that of another's name": {"other", 100, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			rates := relays("ses", tc.rate)
			if tc.rate == "other" {
				rates = relays("ses2", "1/s")
			}
			q := throttle.NewQuotas(throttle.NewRates(nil, "t", "c"), notice.ChannelEmail, rates)
			needs := q.Pin(throttle.Names{throttle.ScopeAccount: "ses"})
			defer q.Unpin(needs)
			needs.Wait(tc.waiting)
			for range tc.putOff {
				needs.Slowest().PutOff(0, 2)
			}
			if got := q.WaitOf(throttle.ScopeAccount, "ses", 30); got < tc.least || got > tc.most {
				t.Errorf("one more would wait %v, want %v to %v", got, tc.least, tc.most)
			}
		})
	}
}

func TestAScopeCountsWhileAnythingOfItHasARate(t *testing.T) {
	q := throttle.NewQuotas(throttle.NewRates(nil, "t", "c"), notice.ChannelEmail, relays("ses", "14/s"))
	if !q.Counts(throttle.ScopeAccount) || q.Counts(throttle.ScopeHost) {
		t.Error("relays count and domains do not")
	}
	if words := q.Pin(throttle.Names{throttle.ScopeAccount: "ses"}).Slowest().Words(); words != "rate email relay ses 14/s" {
		t.Errorf("it is called %q", words)
	}
	if !q.Try(throttle.ScopeAccount, "unlimited") {
		t.Error("a relay without a rate needs no permit")
	}
	if q.Replace(config.KeyedRates{}); q.Counts(throttle.ScopeAccount) {
		t.Error("relays count without a rate")
	}
}

// TestATriedRateHasPermitsAndNoMoreThanItsRate tries in vain at first, since
// nobody waits, and then has what the rate lets through.
func TestATriedRateHasPermitsAndNoMoreThanItsRate(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	rates := throttle.NewRates(queuetest.Redis(t), "t", "c")
	var running sync.WaitGroup
	running.Go(func() { rates.Run(ctx) })
	defer running.Wait()
	q := throttle.NewQuotas(rates, notice.ChannelEmail, relays("ses", "40/s"))
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	taken := 0
	for ; ctx.Err() == nil; <-tick.C {
		if q.Try(throttle.ScopeAccount, "ses") {
			taken++
		}
	}
	if taken < 60 || taken > 124 {
		t.Errorf("%d were taken in three seconds at 40/s", taken)
	}
}
