package throttle_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
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
			{Action: throttle.Wait, Until: at(time.Hour), Rule: "*/*:2/h"},
			{Action: throttle.Wait, Until: at(time.Hour + time.Minute), Rule: "*/*:2/h"},
			{Action: throttle.Wait, Until: at(2 * time.Hour), Rule: "*/*:2/h"},
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

func TestADropCapTurnsAwayWhatIsOverItAndKeepsNothingOfIt(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps := newCaps(t, rdb, atMost(1, time.Hour, config.OverDrop))
		got := decide(t, caps, push("a", at(0)), push("b", at(time.Minute)), push("c", at(time.Hour-time.Millisecond)), push("d", at(time.Hour)))
		check(t, got, []throttle.Answer{
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Drop, Until: at(time.Minute), Rule: "*/*:1/h"},
			{Action: throttle.Drop, Until: at(time.Hour - time.Millisecond), Rule: "*/*:1/h"},
			{Action: throttle.Go, Until: at(time.Hour)},
		})
	})
}

func TestADeferredDeliveryIsDroppedWhenADropCapIsFullByThen(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		news := atMost(1, 15*time.Second, config.OverDrop)
		news.Category = "news"
		caps := newCaps(t, rdb, atMost(1, 10*time.Second, config.OverDefer), news)
		later := push("later", at(0))
		later.NotBefore = at(16 * time.Second)
		offer := push("offer", at(0))
		offer.Category = "offers"
		got := decide(t, caps, later, offer, push("late", at(0)))
		check(t, got, []throttle.Answer{
			{Action: throttle.Wait, Until: at(16 * time.Second)},
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Drop, Until: at(26 * time.Second), Rule: "news/*:1/15s"},
		})
	})
}

func TestWhatOneRuleRefusesTakesNoPlaceUnderAnother(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		news := atMost(1, time.Hour, config.OverDrop)
		news.Category = "news"
		caps := newCaps(t, rdb, atMost(2, time.Hour, config.OverDrop), news)
		offer := push("offer", at(0))
		offer.Category = "offers"
		got := decide(t, caps, push("a", at(0)), push("refused by news", at(0)), offer)
		check(t, got, []throttle.Answer{
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Drop, Until: at(0), Rule: "news/*:1/h"},
			{Action: throttle.Go, Until: at(0)},
		})
	})
}

func TestAThousandDeferredComeBackOneAtATime(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps := newCaps(t, rdb, atMost(3, time.Minute, config.OverDefer))
		for first := 0; first < 1000; first += 250 {
			asks := make([]throttle.Ask, 250)
			for i := range asks {
				asks[i] = push(fmt.Sprint(first+i), at(0))
			}
			for i, got := range decide(t, caps, asks...) {
				if want := at(time.Duration((first+i)/3) * time.Minute); !got.Until.Equal(want) {
					t.Fatalf("the %dth goes at %v, want %v", first+i, got.Until.UTC(), want)
				}
			}
		}
		again := decide(t, caps, push("2", at(time.Second)), push("999", at(time.Second)))
		check(t, again, []throttle.Answer{
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Wait, Until: at(333 * time.Minute), Rule: "*/*:3/m"},
		})
	})
}

func TestABurstHoldsBackWhatTheLimitHasRoomForUnderTheRulesOneName(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		newsletter := config.Cap{Name: "newsletter", Limit: rate(4, 24*time.Hour), Burst: rate(2, 10*time.Minute), Over: config.OverDefer}
		caps := newCaps(t, rdb, newsletter)
		got := decide(t, caps, push("a", at(0)), push("b", at(time.Minute)), push("c", at(2*time.Minute)), push("d", at(2*time.Minute)), push("e", at(2*time.Minute)))
		want := []throttle.Answer{
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Go, Until: at(time.Minute)},
			{Action: throttle.Wait, Until: at(10 * time.Minute), Rule: "newsletter", Limit: "burst 2/10m"},
			{Action: throttle.Wait, Until: at(11 * time.Minute), Rule: "newsletter", Limit: "burst 2/10m"},
			{Action: throttle.Wait, Until: at(24 * time.Hour), Rule: "newsletter", Limit: "4/24h"},
		}
		check(t, got, want)
		for i, w := range want {
			if got[i].Limit != w.Limit {
				t.Errorf("ask %d: held back by %q, want %q", i, got[i].Limit, w.Limit)
			}
		}
		newsletter.Over = config.OverDrop
		if err := caps.Replace([]config.Cap{newsletter}); err != nil {
			t.Fatal(err)
		}
		if got := decide(t, caps, push("f", at(12*time.Minute)))[0]; got.Action != throttle.Drop || got.Limit != "4/24h" {
			t.Errorf("a full day: %+v, want it dropped by 4/24h", got)
		}
	})
}

func TestTheCriticalLaneIsCountedOnlyByARuleThatNamesIt(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		every, alarms := atMost(1, time.Hour, config.OverDrop), atMost(2, time.Hour, config.OverDrop)
		alarms.Name, alarms.Lane = "alarms", "critical"
		caps := newCaps(t, rdb, every, alarms)
		critical := func(id string) throttle.Ask { a := push(id, at(0)); a.Lane = notice.LaneCritical; return a }
		check(t, decide(t, caps, push("a", at(0)), critical("b"), critical("c"), critical("d"), push("e", at(0))), []throttle.Answer{
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Drop, Until: at(0), Rule: "alarms"},
			{Action: throttle.Drop, Until: at(0), Rule: "*/*:1/h"},
		})
	})
}

func TestARuleOfOneTenantCountsNobodyElses(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		rule := atMost(1, time.Hour, config.OverDrop)
		rule.Tenant = "acme"
		caps := newCaps(t, rdb, rule)
		theirs := func(id string) throttle.Ask { a := push(id, at(0)); a.Tenant = "umbrella"; return a }
		check(t, decide(t, caps, push("a", at(0)), theirs("b"), theirs("c"), push("d", at(0))), []throttle.Answer{
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Drop, Until: at(0), Rule: "*/*:1/h,tenant:acme"},
		})
	})
}

// A flood on one user must not grow without bound, nor let anybody go sooner
// for what is forgotten of it.
func TestALineOfThousandsIsKeptToItsEndAndGoesOneAtATime(t *testing.T) {
	rdb := queuetest.Redis(t)
	caps := newCaps(t, rdb, atMost(3, time.Minute, config.OverDefer))
	const all = 5 * 1024
	for first := 0; first < all; first += 1024 {
		asks := make([]throttle.Ask, 1024)
		for i := range asks {
			asks[i] = push(fmt.Sprint(first+i), at(0))
		}
		for i, got := range decide(t, caps, asks...) {
			if want := at(time.Duration((first+i)/3) * time.Minute); !got.Until.Equal(want) {
				t.Fatalf("the %dth goes at %v, want %v", first+i, got.Until.UTC(), want)
			}
		}
	}
	key := rdb.Keys(t.Context(), "*").Val()[0]
	if kept := rdb.StrLen(t.Context(), key).Val(); kept > 2048*10+10 {
		t.Errorf("%d bytes are kept, want those of 2048 places", kept)
	}
	if err := caps.Release(t.Context(), []throttle.Ask{push(fmt.Sprint(all-1), at(0))}); err != nil {
		t.Fatal(err)
	}
	later := at((all/3 - 5) * time.Minute) // but five minutes of the line are behind
	for i, got := range decide(t, caps, push("x", later), push("y", later)) {
		if want := at(time.Duration((all+i)/3) * time.Minute); !got.Until.Equal(want) {
			t.Errorf("the %dth newcomer goes at %v, want %v", i, got.Until.UTC(), want)
		}
	}
}

func TestADeliveryThatWouldExpireBeforeItsPlaceComesReservesNone(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps := newCaps(t, rdb, atMost(1, time.Hour, config.OverDefer))
		short := push("short", at(0))
		short.ExpiresAt = at(time.Hour)
		long := push("long", at(0))
		long.ExpiresAt = at(time.Hour + time.Millisecond)
		check(t, decide(t, caps, push("first", at(0)), short, long), []throttle.Answer{
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Expire, Until: at(time.Hour), Rule: "*/*:1/h"},
			{Action: throttle.Wait, Until: at(time.Hour), Rule: "*/*:1/h"},
		})
	})
}

func TestAReleasedPlaceGoesToTheNextThatAsks(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps := newCaps(t, rdb, atMost(1, time.Hour, config.OverDefer))
		waiting := push("waiting", at(0))
		decide(t, caps, push("first", at(0)), waiting)
		for range 2 { // the second time there is nothing to give back, which is no error
			if err := caps.Release(t.Context(), []throttle.Ask{waiting}); err != nil {
				t.Fatal(err)
			}
		}
		check(t, decide(t, caps, push("next", at(time.Minute))), []throttle.Answer{{Action: throttle.Wait, Until: at(time.Hour), Rule: "*/*:1/h"}})
	})
}

func TestAPlaceThatIsHandedOnIsItsHeirs(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps := newCaps(t, rdb, atMost(1, time.Hour, config.OverDefer), atMost(2, 2*time.Hour, config.OverDefer))
		waiting := push("waiting", at(0))
		decide(t, caps, push("first", at(0)), waiting)
		waiting.Heir = "heir"
		for range 2 { // the second time there is nothing to hand on
			if err := caps.Release(t.Context(), []throttle.Ask{waiting}); err != nil {
				t.Fatal(err)
			}
		}
		check(t, decide(t, caps, push("heir", at(time.Minute)), push("next", at(time.Minute))), []throttle.Answer{
			{Action: throttle.Wait, Until: at(time.Hour), Rule: "*/*:1/h"},
			{Action: throttle.Wait, Until: at(2 * time.Hour), Rule: "*/*:1/h"},
		})
	})
}

func TestAClockThatStepsBackLeavesNobodyStuck(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps := newCaps(t, rdb, atMost(1, time.Hour, config.OverDefer))
		decide(t, caps, push("from a clock a day ahead", at(24*time.Hour)))
		check(t, decide(t, caps, push("b", at(0)), push("c", at(0))), []throttle.Answer{
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Wait, Until: at(time.Hour), Rule: "*/*:1/h"},
		})
	})
}

func TestACapThatIsChangedGoesOnCountingUnderItsName(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		named := func(name string, c config.Cap) config.Cap { c.Name = name; return c }
		caps := newCaps(t, rdb, named("every", atMost(1, time.Hour, config.OverDefer)))
		decide(t, caps, push("a", at(0)))
		replace := func(rules ...config.Cap) {
			t.Helper()
			if err := caps.Replace(rules); err != nil {
				t.Fatal(err)
			}
		}
		replace(named("every", atMost(2, 24*time.Hour, config.OverDrop)))
		check(t, decide(t, caps, push("b", at(0)), push("c", at(2*time.Hour))), []throttle.Answer{
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Drop, Until: at(2 * time.Hour), Rule: "every"},
		})
		replace(named("another", atMost(1, 24*time.Hour, config.OverDrop)))
		check(t, decide(t, caps, push("c", at(0))), []throttle.Answer{{Action: throttle.Go, Until: at(0)}})
		replace(named("another", atMost(1, 24*time.Hour, config.OverDrop)), named("every", atMost(2, time.Hour, config.OverDrop)))
		offer := push("d", at(time.Hour+time.Second))
		check(t, decide(t, caps, offer), []throttle.Answer{{Action: throttle.Drop, Until: offer.At, Rule: "another"}})
		replace(named("every", atMost(2, 2*time.Hour, config.OverDrop)))
		check(t, decide(t, caps, offer), []throttle.Answer{{Action: throttle.Drop, Until: offer.At, Rule: "every"}})
	})
}

func TestRulesThatCannotBePutInForceLeaveThoseThatAre(t *testing.T) {
	caps := newCaps(t, embedded(t), atMost(1, time.Hour, config.OverDrop))
	for name, rules := range map[string][]config.Cap{
		"no limit":            {{}},
		"two of the one name": {{Name: "x", Limit: config.Rate{Count: 1, Per: time.Hour}}, {Name: "x", Limit: config.Rate{Count: 2, Per: time.Hour}}},
	} {
		if err := caps.Replace(rules); err == nil || !strings.Contains(err.Error(), "throttle.per_user[") {
			t.Errorf("%s: %v, want an error that names the rule", name, err)
		}
	}
	check(t, decide(t, caps, push("a", at(0)), push("b", at(0))), []throttle.Answer{
		{Action: throttle.Go, Until: at(0)},
		{Action: throttle.Drop, Until: at(0), Rule: "*/*:1/h"},
	})
}

func TestABatchOverManyPartitionsIsAnsweredInOrder(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps, err := throttle.NewCaps(rdb, "test", func(_, user string) int { return len(user) % 4 }, []config.Cap{atMost(1, time.Hour, config.OverDefer)})
		if err != nil {
			t.Fatal(err)
		}
		var asks []throttle.Ask
		for i := range 64 {
			a := push(fmt.Sprint("d", i), at(0))
			a.User = strings.Repeat("u", 1+i%16) // each of 16 users asks four times
			if i%5 == 0 {
				a.Lane = notice.LaneCritical
			}
			asks = append(asks, a)
		}
		asked := map[string]int{}
		for i, got := range decide(t, caps, asks...) {
			want := at(time.Duration(asked[asks[i].User]) * time.Hour)
			if asks[i].Lane == notice.LaneCritical {
				want = at(0)
			} else {
				asked[asks[i].User]++
			}
			if !got.Until.Equal(want) {
				t.Errorf("ask %d: until %v, want %v", i, got.Until.UTC(), want)
			}
		}
	})
}

func TestManyCallersAtOnceNeverPassTheLimit(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps := newCaps(t, rdb, atMost(5, time.Minute, config.OverDefer))
		const callers, each = 8, 25
		moments := make([][]time.Time, callers)
		var done sync.WaitGroup
		for caller := range callers {
			done.Go(func() {
				for i := range each {
					answers, err := caps.Decide(t.Context(), []throttle.Ask{push(fmt.Sprint(caller, "-", i), at(time.Duration(i)*time.Second))})
					if err != nil {
						t.Error(err)
						return
					}
					moments[caller] = append(moments[caller], answers[0].Until)
				}
			})
		}
		done.Wait()
		all := slices.Concat(moments...)
		slices.SortFunc(all, time.Time.Compare)
		for i := 5; i < len(all); i++ {
			if all[i].Sub(all[i-5]) < time.Minute {
				t.Fatalf("six go within %v", all[i].Sub(all[i-5]))
			}
		}
		// With the first five at the first moments, a full queue needs a minute
		// for each further five, and not more.
		if longest := time.Duration((callers*each-1)/5)*time.Minute + each*time.Second; all[len(all)-1].After(at(longest)) {
			t.Errorf("the last goes at %v, want no later than %v", all[len(all)-1].UTC(), at(longest))
		}
	})
}

func TestAServerThatForgotTheScriptsIsGivenThemAgain(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps := newCaps(t, rdb, atMost(1, time.Hour, config.OverDrop))
		decide(t, caps, push("a", at(0)))
		if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		check(t, decide(t, caps, push("a", at(0)), push("b", at(0))), []throttle.Answer{
			{Action: throttle.Go, Until: at(0)},
			{Action: throttle.Drop, Until: at(0), Rule: "*/*:1/h"},
		})
	})
}

func TestADeliveryThatNoCapCountsNeedsNoRedis(t *testing.T) {
	server := queuetest.Start(t)
	news := atMost(1, time.Hour, config.OverDrop)
	news.Category, news.Channel, news.Tenant, news.Lane = "news", "push", "acme", "normal"
	caps := newCaps(t, server.Client(), news)
	server.Kill()
	cases := []struct {
		name    string
		change  func(*throttle.Ask)
		applies bool
	}{
		{"what the cap counts", func(*throttle.Ask) {}, true},
		{"another category", func(a *throttle.Ask) { a.Category = "offers" }, false},
		{"no category", func(a *throttle.Ask) { a.Category = "" }, false},
		{"another channel", func(a *throttle.Ask) { a.Medium = notice.MediumEmail }, false},
		{"the critical lane", func(a *throttle.Ask) { a.Lane = notice.LaneCritical }, false},
		{"another tenant", func(a *throttle.Ask) { a.Tenant = "umbrella" }, false},
		{"another lane", func(a *throttle.Ask) { a.Lane = notice.LaneBulk }, false},
		{"nobody in particular", func(a *throttle.Ask) { a.User = "" }, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := push("d", at(0))
			c.change(&a)
			_, err := caps.Decide(t.Context(), []throttle.Ask{a})
			if caps.Applies(a) != c.applies || (err != nil) != c.applies {
				t.Errorf("applies %v, error %v; want it to apply: %v", caps.Applies(a), err, c.applies)
			}
			if err != nil && strings.Contains(err.Error(), a.User) {
				t.Errorf("the error names the user: %v", err)
			}
		})
	}
}

func TestACapIsForgottenWithItsWindow(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		caps := newCaps(t, rdb, atMost(1, time.Hour, config.OverDefer))
		far := push("far", at(0))
		far.NotBefore = at(5 * time.Hour)
		// far counts until an hour after it goes, which near does not shorten.
		decide(t, caps, far, push("near", at(0)))
		for _, key := range rdb.Keys(t.Context(), "*").Val() {
			if ttl := rdb.PTTL(t.Context(), key).Val(); ttl < 6*time.Hour || ttl > 6*time.Hour+10*time.Second {
				t.Errorf("%s is kept for %v, want 6h and a few seconds", key, ttl)
			}
		}
	})
}

// What a user costs, all told: the key, the value and both their entries in
// Redis's tables, as the server's own count of its memory has it.
func TestACappedUserCostsAtMost200BytesARule(t *testing.T) {
	drop := func(limit int, window time.Duration) config.Cap {
		c := atMost(limit, window, config.OverDrop)
		c.Category = fmt.Sprint(limit) // each rule is filled by itself
		return c
	}
	const over = "; a rule of its own with more than five places takes more than 200 bytes"
	cases := []struct {
		name  string
		rules []config.Cap
		most  int // bytes a rule
	}{
		{"1/10m", []config.Cap{drop(1, 10*time.Minute)}, 200},
		{"3/24h", []config.Cap{drop(3, 24*time.Hour)}, 200},
		{"5/1h", []config.Cap{drop(5, time.Hour)}, 200},
		{"1/10m, 3/24h and 10/1h", []config.Cap{drop(1, 10*time.Minute), drop(3, 24*time.Hour), drop(10, time.Hour)}, 200},
		{"10/1h and 20/24h", []config.Cap{drop(10, time.Hour), drop(20, 24*time.Hour)}, 260},
		{"10/1h" + over, []config.Cap{drop(10, time.Hour)}, 260},
		{"10/24h" + over, []config.Cap{drop(10, 24*time.Hour)}, 260},
		{"20/24h" + over, []config.Cap{drop(20, 24*time.Hour)}, 360},
	}
	rdb := queuetest.Redis(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			raw := fill(t, rdb, newCaps(t, rdb, c.rules...), c.rules)
			const users = 1 << 14  // fills the tables to the brim and no further
			copies(t, rdb, 1, raw) // what the server allocates once is not the users'
			before := usedMemory(t, rdb)
			copies(t, rdb, users, raw)
			each := float64(usedMemory(t, rdb)-before) / users / float64(len(c.rules))
			t.Logf("%d bytes of places; %.0f bytes a rule", len(raw), each)
			if each > float64(c.most) {
				t.Errorf("%.0f bytes a rule, want at most %d", each, c.most)
			}
		})
	}
}

// fill has one user get all that some rules allow, and returns the string that
// is kept of it.
func fill(t *testing.T, rdb *redis.Client, caps *throttle.Caps, rules []config.Cap) string {
	t.Helper()
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	now := at(0)
	for _, r := range rules {
		for i := range r.Limit.Count {
			now = now.Add(time.Second)
			a := push(fmt.Sprint(r.Category, i), now)
			a.Category = r.Category
			decide(t, caps, a)
		}
	}
	raw, err := rdb.Get(t.Context(), rdb.Keys(t.Context(), "*").Val()[0]).Result()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// copies puts one user's string in the place of so many users'.
func copies(t *testing.T, rdb *redis.Client, users int, raw string) {
	t.Helper()
	const script = "redis.call('FLUSHALL') for i = 1, ARGV[1] do redis.call('PSETEX', '{test:3}:k:acme:u' .. 10000 + i, 3600000, ARGV[2]) end return 1"
	if err := rdb.Eval(t.Context(), script, nil, users, raw).Err(); err != nil {
		t.Fatal(err)
	}
}

// usedMemory is what a server has allocated, once its scripts' rubbish is gone.
func usedMemory(t *testing.T, rdb *redis.Client) int {
	t.Helper()
	if err := rdb.Do(t.Context(), "EVAL", "collectgarbage() return 1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(rdb.Info(t.Context(), "memory").Val()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the server does not say how much memory it uses")
	return 0
}

func TestACapThatCannotBeIsRefusedWithItsKeyItsValueAndTheMend(t *testing.T) {
	limit := config.Rate{Count: 3, Per: time.Hour}
	cases := []struct {
		name string
		cap  config.Cap
		says []string
	}{
		{"no limit", config.Cap{}, []string{"throttle.per_user[1].limit", "3/24h"}},
		{"a window below a millisecond", config.Cap{Limit: config.Rate{Count: 1, Per: time.Microsecond}}, []string{"throttle.per_user[1].limit", "1ms"}},
		{"an unknown channel", config.Cap{Limit: limit, Channel: "sms"}, []string{"throttle.per_user[1].channel", `"sms"`, "email, push, webhook"}},
		{"more than is kept", config.Cap{Limit: config.Rate{Count: 1001, Per: time.Hour}}, []string{"throttle.per_user[1].limit", "1001/h", "1000"}},
		{"an unknown lane", config.Cap{Limit: limit, Lane: "urgent"}, []string{"throttle.per_user[1].lane", `"urgent"`, "critical, normal, bulk"}},
		{"a burst as long as the limit's window", config.Cap{Limit: limit, Burst: config.Rate{Count: 2, Per: time.Hour}}, []string{"throttle.per_user[1].burst", `"2/h"`, "3/h", "shorter"}},
		{"a burst as large as the limit", config.Cap{Limit: limit, Burst: config.Rate{Count: 3, Per: time.Minute}}, []string{"throttle.per_user[1].burst", `"3/m"`, "fewer"}},
		{"the name of another", config.Cap{Limit: limit, Name: "first"}, []string{"throttle.per_user[1].name", `"first"`, "throttle.per_user[0]", "another name"}},
		{"an unknown consequence", config.Cap{Limit: limit, Over: "later"}, []string{"throttle.per_user[1].over", `"later"`, "drop", "defer", "digest"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := throttle.NewCaps(nil, "test", onePartition, []config.Cap{{Name: "first", Limit: limit}, c.cap})
			for _, want := range c.says {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want an error that says %q", err, want)
				}
			}
		})
	}
}

// BenchmarkDecide is what one delivery of a batch of 256 costs, each of another
// user of 8 partitions, who has half of what each window allows.
func BenchmarkDecide(b *testing.B) {
	for _, rules := range []int{1, 3} {
		b.Run(fmt.Sprintf("rules=%d", rules), func(b *testing.B) {
			const pause = 12 * time.Minute // between two deliveries to one user: five an hour
			benchmarkDecide(b, benchRules[:rules], func(n int) throttle.Ask {
				a := push(fmt.Sprintf("3-%020d-0", n), at(time.Duration(n/256)*pause))
				a.User = fmt.Sprint("user-", n%256)
				return a
			})
		})
	}
}

// BenchmarkDecideFlood is a flood on one user, whose deliveries wait in an ever
// longer line.
func BenchmarkDecideFlood(b *testing.B) {
	benchmarkDecide(b, benchRules[:1], func(n int) throttle.Ask { return push(fmt.Sprintf("3-%020d-0", n), at(0)) })
}

func benchmarkDecide(b *testing.B, rules []config.Cap, ask func(n int) throttle.Ask) {
	rdb := queuetest.Redis(b)
	caps, err := throttle.NewCaps(rdb, "bench", func(_, user string) int { return int(user[len(user)-1]) % 8 }, rules)
	if err != nil {
		b.Fatal(err)
	}
	asks := make([]throttle.Ask, 256)
	n, before := 0, cpuOf(b, rdb)
	b.ReportAllocs()
	for b.Loop() {
		for i := range asks {
			asks[i] = ask(n)
			n++
		}
		decide(b, caps, asks...)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "asks/s")
	b.ReportMetric((cpuOf(b, rdb)-before)*1e6/float64(n), "redis-cpu-µs/ask")
}

// cpuOf is how many seconds a server has computed, which other work on the
// machine does not change.
func cpuOf(b *testing.B, rdb *redis.Client) float64 {
	b.Helper()
	var seconds float64
	for line := range strings.Lines(rdb.Info(b.Context(), "cpu").Val()) {
		for _, name := range []string{"used_cpu_sys:", "used_cpu_user:"} {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
				used, err := strconv.ParseFloat(value, 64)
				if err != nil {
					b.Fatal(err)
				}
				seconds += used
			}
		}
	}
	return seconds
}

var benchRules = []config.Cap{
	{Limit: config.Rate{Count: 10, Per: time.Hour}, Over: config.OverDefer},
	{Limit: config.Rate{Count: 20, Per: 2 * time.Hour}, Over: config.OverDrop, Channel: "push"},
	{Limit: config.Rate{Count: 3, Per: 24 * time.Minute}, Over: config.OverDefer, Category: "news"},
}
