package recipients_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/recipients"
)

const hook = "https://h.example/hooks/t0k3n"

// eachEndpoints runs a test with the memories of two processes over one Redis.
func eachEndpoints(t *testing.T, run func(t *testing.T, one, other *recipients.Endpoints, rdb *redis.Client, c *clock)) {
	start := func(t *testing.T, rdb *redis.Client) {
		c := &clock{now: moment(t, base)}
		run(t, recipients.NewEndpoints(rdb, "test", c.read), recipients.NewEndpoints(rdb, "test", c.read), rdb, c)
	}
	t.Run("redis", func(t *testing.T) { start(t, queuetest.Redis(t)) })
	t.Run("embedded", func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), MaxRetries: -1})
		t.Cleanup(func() { rdb.Close() })
		start(t, rdb)
	})
}

func failingSince(t *testing.T, e *recipients.Endpoints, tenant, url string) time.Time {
	t.Helper()
	since, err := e.Failed(t.Context(), tenant, url)
	if err != nil {
		t.Fatal(err)
	}
	return since
}

func succeeded(t *testing.T, e *recipients.Endpoints, url string) {
	t.Helper()
	if err := e.Succeeded(t.Context(), "acme", url); err != nil {
		t.Fatal(err)
	}
}

func wantSince(t *testing.T, got, want time.Time) {
	t.Helper()
	if !got.Equal(want) {
		t.Errorf("failing since %v, want %v", got, want)
	}
}

func TestAnEndpointFailsSinceItsFirstFailure(t *testing.T) {
	eachEndpoints(t, func(t *testing.T, one, other *recipients.Endpoints, _ *redis.Client, c *clock) {
		first := c.read()
		wantSince(t, failingSince(t, one, "acme", hook), first)
		for range 11 { // every 12 h, here and there in turn
			c.advance(12 * time.Hour)
			wantSince(t, failingSince(t, other, "acme", hook), first)
			wantSince(t, failingSince(t, one, "acme", hook), first)
		}
		wantSince(t, failingSince(t, one, "other tenant", hook), c.read())
		wantSince(t, failingSince(t, one, "acme", hook+"2"), c.read())
	})
}

func TestASuccessForgetsTheFailures(t *testing.T) {
	eachEndpoints(t, func(t *testing.T, one, _ *recipients.Endpoints, _ *redis.Client, c *clock) {
		failingSince(t, one, "acme", hook)
		c.advance(time.Hour)
		succeeded(t, one, hook)
		wantSince(t, failingSince(t, one, "acme", hook), c.read())
	})
}

func TestASuccessElsewhereForgetsTheFailuresOfAnotherProcess(t *testing.T) {
	eachEndpoints(t, func(t *testing.T, one, other *recipients.Endpoints, _ *redis.Client, c *clock) {
		succeeded(t, other, "https://somebody.example/") // reads the copy, in which there is nothing
		failingSince(t, one, "acme", hook)
		c.advance(time.Minute)
		succeeded(t, other, hook)
		wantSince(t, failingSince(t, one, "acme", hook), c.read())
	})
}

func TestAnEndpointThatIsNotCalledIsForgotten(t *testing.T) {
	eachEndpoints(t, func(t *testing.T, one, other *recipients.Endpoints, rdb *redis.Client, c *clock) {
		failingSince(t, one, "acme", hook)
		c.advance(49 * time.Hour)
		failingSince(t, one, "acme", "https://another.example/")
		succeeded(t, other, "https://somebody.example/") // reads, and forgets
		if n := rdb.HLen(t.Context(), "{test:0}:failing").Val(); n != 1 {
			t.Errorf("%d endpoints are remembered, want the one that failed lately", n)
		}
		wantSince(t, failingSince(t, one, "acme", hook), c.read())
		if ttl := rdb.PTTL(t.Context(), "{test:0}:failing").Val(); ttl <= 0 || ttl > 48*time.Hour {
			t.Errorf("the memory expires in %v, want within two days", ttl)
		}
	})
}

func TestNoURLIsStored(t *testing.T) {
	eachEndpoints(t, func(t *testing.T, one, _ *recipients.Endpoints, rdb *redis.Client, _ *clock) {
		failingSince(t, one, "acme", hook)
		for id, value := range rdb.HGetAll(t.Context(), "{test:0}:failing").Val() {
			if strings.Contains(id+value, "t0k3n") || strings.Contains(id+value, "example") {
				t.Errorf("%q: %q repeats the URL", id, value)
			}
		}
	})
}

func TestFailuresAreNotedOnceAMinute(t *testing.T) {
	eachEndpoints(t, func(t *testing.T, one, _ *recipients.Endpoints, rdb *redis.Client, c *clock) {
		failingSince(t, one, "acme", hook)
		before := rdb.HGetAll(t.Context(), "{test:0}:failing").Val()
		c.advance(30 * time.Second)
		failingSince(t, one, "acme", hook)
		for id, value := range rdb.HGetAll(t.Context(), "{test:0}:failing").Val() {
			if before[id] != value {
				t.Errorf("noted again after 30 s: %q, then %q", before[id], value)
			}
		}
	})
}

func TestAnEndpointThatNeverFailedAsksRedisForNothing(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	c := &clock{now: moment(t, base)}
	commands := 0
	rdb.AddHook(counting{&commands})
	e := recipients.NewEndpoints(rdb, "test", c.read)
	for range 1000 {
		succeeded(t, e, hook)
	}
	if commands > 2 { // the copy is read once: EVALSHA, and EVAL when the script is new
		t.Errorf("%d commands for 1000 successes", commands)
	}
}

// counting counts commands.
type counting struct{ n *int }

func (counting) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h counting) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(strings.ToLower(cmd.Name()), "eval") || cmd.Name() == "hdel" {
			*h.n++
		}
		return next(ctx, cmd)
	}
}
func (counting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
