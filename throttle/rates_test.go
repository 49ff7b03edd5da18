package throttle_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/throttle"
)

// sharesARate runs three consumers of 100/s for two seconds on a real clock.
func sharesARate(t *testing.T, rdb redis.UniversalClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var mu sync.Mutex
	var sent []time.Time
	each := make([]int, 3)
	var running sync.WaitGroup
	for i, name := range []string{"a", "b", "c"} {
		rates := throttle.NewRates(rdb, "test", name)
		pace := rates.Pace("channel:webhook", config.Rate{Count: 100, Per: time.Second})
		running.Go(func() { rates.Run(ctx) })
		running.Go(func() {
			for pace.Wait(ctx) == nil {
				mu.Lock()
				sent = append(sent, time.Now())
				each[i]++
				mu.Unlock()
			}
		})
	}
	running.Wait()
	slices.SortFunc(sent, time.Time.Compare)
	if most := busiest(sent); most > 105 {
		t.Errorf("one second saw %d, want 105 at most", most)
	}
	if len(sent) < 150 {
		t.Errorf("%d in two seconds, want close to 200", len(sent))
	}
	if slices.Min(each) < 30 {
		t.Errorf("they have %v: not like parts", each)
	}
}

func TestConsumersShareARate(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		sharesARate(t, rdb)
	})
}
