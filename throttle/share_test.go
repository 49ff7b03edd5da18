package throttle_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

// consumer is one consumer of a channel, as a process would run it.
type consumer struct {
	pace  *throttle.Pace
	share *throttle.Share
	leave func() // returns when it has left
}

func join(t *testing.T, rdb redis.UniversalClient, name string) *consumer {
	t.Helper()
	c := &consumer{pace: throttle.NewPace(config.Rate{Count: 100, Per: time.Second})}
	c.share = throttle.NewShare(rdb, "test", notice.ChannelWebhook, name, c.pace)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.share.Run(ctx)
	}()
	c.leave = func() { cancel(); <-ended }
	t.Cleanup(c.leave)
	return c
}

// sum is what the consumers may send together, 1 being the channel's rate.
func sum(all []*consumer) (total float64) {
	for _, c := range all {
		total += c.pace.Share()
	}
	return total
}

// awaitShare watches the consumers until each has a share, and that they never
// have more than the whole rate on the way there.
func awaitShare(t *testing.T, each float64, all ...*consumer) {
	t.Helper()
	const within = 10 * time.Second // two are enough on a machine that is not busy
	deadline := time.Now().Add(within)
	for time.Now().Before(deadline) {
		if total := sum(all); total > 1.0001 {
			t.Fatalf("the consumers have %.2f of the rate together", total)
		}
		equal := 0
		for _, c := range all {
			if math.Abs(c.pace.Share()-each) < 1e-9 {
				equal++
			}
		}
		if equal == len(all) {
			return
		}
		<-time.After(time.Millisecond)
	}
	for i, c := range all {
		live, err := c.share.Live()
		t.Errorf("consumer %d has %.3f after %v and counts %d (%v), want %.3f", i, c.pace.Share(), within, live, err, each)
	}
}

func TestConsumersShareTheRateAsTheyComeAndGo(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		t.Parallel()
		a := join(t, rdb, "a")
		awaitShare(t, 1, a)
		b, c := join(t, rdb, "b"), join(t, rdb, "c")
		awaitShare(t, 1.0/3, a, b, c)
		b.leave()
		if share := b.pace.Share(); share != 0 {
			t.Errorf("who left has a share of %v", share)
		}
		awaitShare(t, 1.0/2, a, c)
	})
}

func TestADeadConsumersPartGoesToTheOthers(t *testing.T) {
	t.Parallel()
	rdb := queuetest.Redis(t)
	a := join(t, rdb, "a")
	awaitShare(t, 1, a)
	// A consumer that was killed after its last beat, which lies two seconds
	// ahead to give a machine under load the time to see it.
	now := rdb.Time(t.Context()).Val().Add(2 * time.Second).UnixMilli()
	if err := rdb.ZAdd(t.Context(), "{test:webhook}:consumers", redis.Z{Score: float64(now), Member: "killed"}).Err(); err != nil {
		t.Fatal(err)
	}
	awaitShare(t, 1.0/2, a)
	awaitShare(t, 1, a)
}

func TestWhileRedisIsAwayEachKeepsItsPart(t *testing.T) {
	t.Parallel()
	server := queuetest.Start(t)
	a, b := join(t, server.Client(), "a"), join(t, server.Client(), "b")
	awaitShare(t, 0.5, a, b)
	server.Kill()
	for _, c := range []*consumer{a, b} {
		awaitError(t, c)
		if share := c.pace.Share(); share != 0.5 {
			t.Errorf("share %v without Redis, want the 0.5 of before", share)
		}
	}
	server.Restart() // with nothing in it
	awaitShare(t, 0.5, a, b)
}

func awaitError(t *testing.T, c *consumer) {
	t.Helper()
	for range 5000 {
		if _, err := c.share.Live(); err != nil {
			return
		}
		<-time.After(time.Millisecond)
	}
	t.Error("no beat has failed in five seconds")
}

func TestManyConsumersThatStartTogetherShareTheRate(t *testing.T) {
	t.Parallel()
	rdb := queuetest.Redis(t)
	var all []*consumer
	for i := range 10 {
		all = append(all, join(t, rdb, fmt.Sprint("c", i)))
	}
	awaitShare(t, 0.1, all...)
}
