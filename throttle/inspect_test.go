package throttle_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/throttle"
)

func rate(count int, per time.Duration) config.Rate { return config.Rate{Count: count, Per: per} }

// letters are three rules of which each is full in its own way.
var letters = []config.Cap{
	{Name: "daily", Limit: rate(4, 24*time.Hour), Burst: rate(2, 10*time.Minute), Over: config.OverDefer},
	{Name: "offers", Category: "offers", Limit: rate(1, time.Hour), Over: config.OverDrop},
	{Name: "theirs", Tenant: "umbrella", Limit: rate(1, time.Hour), Over: config.OverDrop},
}

func TestInspectingTellsWhatIsUsedWhatWaitsAndWhenAPlaceIsFree(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps := newCaps(t, rdb, letters...)
		decide(t, caps, push("a", at(0)), push("b", at(time.Minute)), push("c", at(2*time.Minute)))
		got, err := caps.Inspect(t.Context(), "acme", "u42", at(3*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		now := at(3 * time.Minute)
		want := []throttle.Usage{
			{Rule: "daily", Over: config.OverDefer, Limit: rate(4, 24*time.Hour), Used: 2, Waiting: 1, Free: now},
			{Rule: "daily", Over: config.OverDefer, Limit: rate(2, 10*time.Minute), Burst: true, Used: 2, Waiting: 1, Free: at(11 * time.Minute)},
			{Rule: "offers", Over: config.OverDrop, Limit: rate(1, time.Hour), Free: now},
		}
		if len(got) != len(want) {
			t.Fatalf("got %d windows, want %d: %+v", len(got), len(want), got)
		}
		for i, w := range want {
			if !got[i].Free.Equal(w.Free) {
				t.Errorf("window %d is free at %v, want %v", i, got[i].Free.UTC(), w.Free)
			}
			if got[i].Free = w.Free; got[i] != w {
				t.Errorf("window %d: got %+v, want %+v", i, got[i], w)
			}
		}
		if room := []int{got[0].Room(now), got[1].Room(now), got[2].Room(now)}; room[0] != 2 || room[1] != 0 || room[2] != 1 {
			t.Errorf("room %v, want 2, 0 and 1", room)
		}
	})
}

func TestTryingTellsOfEveryRuleWhyAndWhatWouldHappen(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps := newCaps(t, rdb, letters...)
		decide(t, caps, push("a", at(0)))
		offer := func(id string) throttle.Ask { a := push(id, at(time.Minute)); a.Category = "offers"; return a }
		critical := offer("critical")
		critical.Lane = notice.LaneCritical
		got, err := caps.Try(t.Context(), []throttle.Ask{offer("b"), offer("c"), push("d", at(time.Minute)), critical})
		if err != nil {
			t.Fatal(err)
		}
		answers := make([]throttle.Answer, len(got))
		for i := range got {
			answers[i] = got[i].Answer
		}
		check(t, answers, []throttle.Answer{
			{Action: throttle.Go, Until: at(time.Minute)},
			{Action: throttle.Drop, Until: at(time.Minute), Rule: "offers"},
			{Action: throttle.Wait, Until: at(10 * time.Minute), Rule: "daily"},
			{Action: throttle.Go, Until: at(time.Minute)},
		})
		if got[2].Answer.Limit != "burst 2/10m" {
			t.Errorf("d waits for %q, want the burst", got[2].Answer.Limit)
		}
		if first, third := got[0].Rules[0].Usage[0], got[2].Rules[0].Usage[0]; first.Used != 1 || third.Used != 2 {
			t.Errorf("daily counts %d before b and %d before d, want 1 and 2", first.Used, third.Used)
		}
		for i, why := range []struct{ trial, rule int }{{2, 1}, {0, 2}, {3, 0}} {
			r := got[why.trial].Rules[why.rule]
			want := []string{"counts category offers, and this is news", "counts tenant umbrella, and this is acme", "counts lane every lane but critical, and this is critical"}[i]
			if r.Applies || r.Why != want || r.Usage != nil {
				t.Errorf("%s on trial %d: %+v, want it not to apply: %s", r.Rule, why.trial, r, want)
			}
		}
	})
}

func TestTryingAndInspectingChangeNothing(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps := newCaps(t, rdb, letters...)
		decide(t, caps, push("a", at(0)), push("b", at(0)), push("c", at(0)))
		dump := func() string {
			var all strings.Builder
			for _, key := range rdb.Keys(t.Context(), "*").Val() {
				all.WriteString(key + "=" + rdb.Get(t.Context(), key).Val() + "\n")
			}
			return all.String()
		}
		before, life := dump(), rdb.PTTL(t.Context(), rdb.Keys(t.Context(), "*").Val()[0]).Val()
		someone := push("e", at(0))
		someone.User = "new"
		// A day later the first places are out of their window: a decision
		// would forget them.
		for _, asks := range [][]throttle.Ask{{push("d", at(time.Hour)), someone}, {push("d", at(25*time.Hour)), push("e", at(25*time.Hour))}} {
			if _, err := caps.Try(t.Context(), asks); err != nil {
				t.Fatal(err)
			}
			if _, err := caps.Inspect(t.Context(), "acme", "u42", asks[0].At); err != nil {
				t.Fatal(err)
			}
		}
		if after := dump(); after != before {
			t.Errorf("before %q\n after %q", before, after)
		}
		if now := rdb.PTTL(t.Context(), rdb.Keys(t.Context(), "*").Val()[0]).Val(); now > life {
			t.Errorf("kept for %v, %v before: trying has lengthened its life", now, life)
		}
	})
}

func TestWhatIsCutShortInRedisIsSaidAndNotCounted(t *testing.T) {
	rdb := embedded(t)
	caps := newCaps(t, rdb, letters...)
	decide(t, caps, push("a", at(0)))
	key := rdb.Keys(t.Context(), "*").Val()[0]
	whole := rdb.Get(t.Context(), key).Val()
	rdb.Set(t.Context(), key, whole[:len(whole)-1], 0)
	if _, err := caps.Inspect(t.Context(), "acme", "u42", at(0)); err == nil || !strings.Contains(err.Error(), "cut short") || strings.Contains(err.Error(), "u42") {
		t.Errorf("got %v, want an error that says what is wrong and not whose it is", err)
	}
}
