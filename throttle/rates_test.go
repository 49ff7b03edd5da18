package throttle_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

// sharesARate runs three consumers of 100/s for four seconds on a real clock,
// and judges the last two.
func sharesARate(t *testing.T, rdb redis.UniversalClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var mu sync.Mutex
	var sent []time.Time
	each := make([][]time.Time, 3)
	lag := queuetest.WatchLateness(t)
	var running sync.WaitGroup
	for i, name := range []string{"a", "b", "c"} {
		rates := throttle.NewRates(rdb, "test", name)
		pace := rates.Pace("channel:webhook", config.Rate{Count: 100, Per: time.Second})
		running.Go(func() { rates.Run(ctx) })
		running.Go(func() {
			for pace.Wait(ctx) == nil {
				now := time.Now()
				mu.Lock()
				sent, each[i] = append(sent, now), append(each[i], now)
				if isFair(each, now) {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	running.Wait()
	slices.SortFunc(sent, time.Time.Compare)
	// Where 20 ms are two permits, one may be late; a late machine notes them later.
	if most, late := busiest(sent), lag(); float64(most) > 106+100*late.Seconds() {
		t.Errorf("one second saw %d, want 106 at most, on a machine that was late by %v", most, late)
	}
	if context.Cause(ctx) != context.Canceled {
		t.Errorf("in no two seconds of a minute each sent a third of 200: %d, %d and %d in all", len(each[0]), len(each[1]), len(each[2]))
	}
	use, err := throttle.NewRates(rdb, "test", "who looks").Inspect(t.Context(), "channel:webhook")
	if err != nil || len(use.Consumers) != 0 || use.LastSecond > 130 {
		t.Errorf("after they left: %+v (%v)", use, err)
	}
}

// isFair reports whether in the last two seconds each of three sent about a
// third of 200. A machine may be too busy for a while to let them.
func isFair(each [][]time.Time, now time.Time) bool {
	for _, one := range each {
		first, _ := slices.BinarySearchFunc(one, now.Add(-2*time.Second), time.Time.Compare)
		if n := len(one) - first; n < 50 || n > 80 {
			return false
		}
	}
	return true
}

func TestConsumersShareARate(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		sharesARate(t, rdb)
	})
}

func TestInspectTellsWhoAsksAndWhatEachHas(t *testing.T) {
	rdb := queuetest.Redis(t)
	now := rdb.Time(t.Context()).Val()
	state := fmt.Sprintf("%d 100000 50 50 0 0.000 %d 480 497\n50 100000 100 %d 0.0000 0 25 \"a b\"#1\n50 100000 3 %d 0.0000 0 3 \"b\"#1",
		now.UnixMicro(), now.Unix(), now.Add(time.Minute).UnixMicro(), now.Add(-time.Second).UnixMicro())
	if err := rdb.Set(t.Context(), "{test:rate:channel:email}", state, 0).Err(); err != nil {
		t.Fatal(err)
	}
	rates := throttle.NewRates(rdb, "test", "who looks")
	use, err := rates.Inspect(t.Context(), "channel:email")
	if err != nil {
		t.Fatal(err)
	}
	want := []throttle.RateShare{{Consumer: "a b#1", Wants: 1000, Has: 250, Asks: true}, {Consumer: "b#1", Wants: 30, Has: 30}}
	if use.Rate != 500 || use.LastSecond != 497 && use.LastSecond != 480 || !slices.Equal(use.Consumers, want) {
		t.Errorf("got %+v", use)
	}
	if after := rdb.Get(t.Context(), "{test:rate:channel:email}").Val(); after != state {
		t.Errorf("the state is another after it was looked at: %q", after)
	}
	if use, err := rates.Inspect(t.Context(), "nobody:asks"); err != nil || use.Rate != 0 {
		t.Errorf("of a key that nobody asks for: %+v, %v", use, err)
	}
}
