package throttle_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

// eachStore runs a test on a real redis-server and on the embedded one of
// `carillon dev`.
func eachStore(t *testing.T, run func(t *testing.T, rdb redis.UniversalClient)) {
	t.Run("redis", func(t *testing.T) { run(t, queuetest.Redis(t)) })
	t.Run("embedded", func(t *testing.T) { run(t, embedded(t)) })
}

func embedded(t testing.TB) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

func onePartition(string, string) int { return 3 }

// base is a moment with whole milliseconds, which is what the caps keep.
var base = time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return base.Add(d) }

func newCaps(t testing.TB, rdb redis.UniversalClient, caps ...config.Cap) *throttle.Caps {
	t.Helper()
	c, err := throttle.NewCaps(rdb, "test", onePartition, caps)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func atMost(limit int, window time.Duration, over config.Over) config.Cap {
	return config.Cap{Limit: config.Rate{Count: limit, Per: window}, Over: over}
}

func push(id string, when time.Time) throttle.Ask {
	return throttle.Ask{Tenant: "acme", User: "u42", Category: "news", Medium: notice.MediumPush, Lane: notice.LaneNormal, DeliveryID: id, At: when}
}

func decide(t testing.TB, c *throttle.Caps, asks ...throttle.Ask) []throttle.Answer {
	t.Helper()
	answers, err := c.Decide(t.Context(), asks)
	if err != nil {
		t.Fatal(err)
	}
	return answers
}

func TestADeferringCapGivesEachWaiterTheMomentAtWhichItsPlaceComesFree(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps := newCaps(t, rdb, atMost(2, time.Hour, config.OverDefer))
		got := decide(t, caps, push("a", at(0)), push("b", at(time.Minute)), push("c", at(2*time.Minute)), push("d", at(2*time.Minute)), push("e", at(3*time.Minute)))
		want := []throttle.Answer{
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Go, Until: at(time.Minute)},
			{Action: throttle.Wait, Until: at(time.Hour), Rule: "*/* 2/h defer"},
			{Action: throttle.Wait, Until: at(time.Hour + time.Minute), Rule: "*/* 2/h defer"},
			{Action: throttle.Wait, Until: at(2 * time.Hour), Rule: "*/* 2/h defer"},
		}
		check(t, got, want)
	})
}

func check(t testing.TB, got, want []throttle.Answer) {
	t.Helper()
	for i := range want {
		if got[i].Action != want[i].Action || !got[i].Until.Equal(want[i].Until) || got[i].Rule != want[i].Rule {
			t.Errorf("ask %d: got %v until %v by %q, want %v until %v by %q", i,
				got[i].Action, got[i].Until.UTC(), got[i].Rule, want[i].Action, want[i].Until, want[i].Rule)
		}
	}
}
