package throttle_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/throttle"
)

// What is kept of a user may have been written by somebody else, or cut short.
// It counts as far as it can be read, and holds up neither the batch that it is
// in nor a place that is given back: a planner asks until it is answered.
func TestWhatCannotBeReadOfAUsersPlacesHoldsUpNobody(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps, err := throttle.NewCaps(rdb, "t", func(string, string) int { return 0 },
			[]config.Cap{{Name: "one", Limit: config.Rate{Count: 1, Per: time.Hour}, Over: config.OverDefer}})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		ask := func(user, id string) throttle.Ask {
			return throttle.Ask{Tenant: "acme", User: user, DeliveryID: id, At: now, Medium: "email", Lane: "normal"}
		}
		decide := func(asks ...throttle.Ask) []throttle.Answer {
			t.Helper()
			got, err := caps.Decide(t.Context(), asks)
			if err != nil {
				t.Fatalf("decided with %v", err)
			}
			return got
		}
		const key = "{t:0}:k:acme:ada"
		decide(ask("ada", "d1"))
		whole := rdb.Get(t.Context(), key).Val()
		for _, broken := range []string{"x", "xyz", whole[:9], whole[:12], whole[:19], whole[:8] + "\x00\x00", whole[:8] + "\xff\xff" + whole[10:], whole[:8] + "\x00\x00" + whole, strings.Repeat("\xff", 64)} {
			rdb.Set(t.Context(), key, broken, 0)
			if err := caps.Release(t.Context(), []throttle.Ask{ask("ada", "d1")}); err != nil {
				t.Errorf("a place among %q is given back with %v", broken, err)
			}
			rdb.Set(t.Context(), key, broken, 0)
			got := decide(ask("eve"+broken, "d1"), ask("ada", "d2"), ask("ada", "d3"))
			if got[0].Action != throttle.Go || got[1].Action != throttle.Go || got[2].Action != throttle.Wait {
				t.Errorf("beside %q they are answered %v, %v and %v; want go, go and wait", broken, got[0].Action, got[1].Action, got[2].Action)
			}
			if ttl := rdb.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > time.Hour+2*time.Minute+time.Hour {
				t.Errorf("%q is followed by what is kept for %v", broken, ttl)
			}
		}
		rdb.Set(t.Context(), key, whole+"x", 0)
		if got := decide(ask("ada", "d2")); got[0].Action != throttle.Wait {
			t.Errorf("with a byte too many the answer is %v, want wait: the place before it counts", got[0].Action)
		}
	})
}
