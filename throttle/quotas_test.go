package throttle_test

import (
	"context"
	"maps"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

func table(pairs ...string) (t config.RateTable) {
	for i := 0; i < len(pairs); i += 2 {
		rate, _ := config.ParseRate(pairs[i+1])
		t = append(t, config.KeyedRate{Name: pairs[i], Rate: rate})
	}
	return t
}

func TestTheNarrowestEntryCountsForAHost(t *testing.T) {
	q := throttle.NewQuotas(throttle.NewRates(nil, "t", "c"), notice.ChannelWebhook, config.KeyedRates{Hosts: table(
		"*", "1/s", "*.acme.example", "2/s", "*.eu.acme.example", "3/s", "hooks.acme.example", "4/s", "hooks.acme.example:8443", "5/s", "free.acme.example", "")})
	for host, want := range map[string]string{
		"other.example":                "rate webhook host other.example 1/s (by *)",
		"acme.example":                 "rate webhook host acme.example 1/s (by *)",
		"a.acme.example":               "rate webhook host a.acme.example 2/s (by *.acme.example)",
		"a.eu.acme.example:99":         "rate webhook host a.eu.acme.example 3/s (by *.eu.acme.example)",
		"hooks.acme.example":           "rate webhook host hooks.acme.example 4/s",
		"hooks.acme.example:9443":      "rate webhook host hooks.acme.example 4/s",
		"hooks.acme.example:8443":      "rate webhook host hooks.acme.example:8443 5/s",
		"[2001:db8::1]:8443":           "rate webhook host [2001:db8::1] 1/s (by *)",
		"free.acme.example":            "",
		strings.Repeat("a", 10) + ".b": "rate webhook host aaaaaaaaaa.b 1/s (by *)",
	} {
		got := ""
		if at := q.Pin(throttle.Names{throttle.ScopeHost: host}).Slowest(); at != nil {
			got = at.Words()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
}

func TestNamesThatAreNotInUseAreForgottenBeyondABound(t *testing.T) {
	q := throttle.NewQuotas(throttle.NewRates(nil, "t", "c"), notice.ChannelEmail, config.KeyedRates{Domains: table("*", "1/s")})
	kept := q.Pin(throttle.Names{throttle.ScopeHost: "kept.example"})
	for i := range 10_000 {
		q.Unpin(q.Pin(throttle.Names{throttle.ScopeHost: strings.Repeat("x", i%60+1) + string(rune('a'+i%26)) + time.Duration(i).String()}))
	}
	if n := q.Known(); n > 4097 {
		t.Errorf("%d names are remembered", n)
	}
	if again := q.Pin(throttle.Names{throttle.ScopeHost: "kept.example"}); again != kept {
		t.Error("one that is in use was forgotten")
	}
}

// TestPermitsAreTakenTogetherOrNotAtAll has a tenant of 40/s beside a domain of
// 10/s: what the domain does not let through costs the tenant nothing.
func TestPermitsAreTakenTogetherOrNotAtAll(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	rates := throttle.NewRates(queuetest.Redis(t), "t", "c")
	var running sync.WaitGroup
	running.Go(func() { rates.Run(ctx) })
	defer running.Wait()
	q := throttle.NewQuotas(rates, notice.ChannelEmail, config.KeyedRates{Domains: table("slow.example", "10/s"), Tenants: table("acme", "40/s")})
	both := q.Pin(throttle.Names{throttle.ScopeHost: "slow.example", throttle.ScopeTenant: "acme"})
	tenant := q.Pin(throttle.Names{throttle.ScopeHost: "other.example", throttle.ScopeTenant: "acme"})
	both.Wait(50)
	tenant.Wait(50)
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	slow, others := 0, 0
	for began := time.Now(); ctx.Err() == nil; <-tick.C {
		counts := 0
		if time.Since(began) > time.Second {
			counts = 1
		}
		for both.Take() {
			slow += counts
		}
		for tenant.Take() {
			others += counts
		}
	}
	if slow > 32 || slow+others > 126 || slow+others < 100 {
		t.Errorf("in three seconds %d for the domain and %d others went, want at most 30 and 120 together", slow, others)
	}
}

func TestARateThatIsRaisedSaysWhatMayComeBackSooner(t *testing.T) {
	tables := func(acme, star string) config.KeyedRates {
		return config.KeyedRates{Domains: table("acme.example", acme, "*", star)}
	}
	for name, tc := range map[string]struct {
		next config.KeyedRates
		want map[string]float64 // a second
	}{
		"nothing is changed":          {tables("1/s", "10/s"), map[string]float64{}},
		"lowered":                     {tables("1/1m", "10/s"), map[string]float64{}},
		"one is raised":               {tables("5/s", "10/s"), map[string]float64{"email:domain:acme.example": 5.2}},
		"a pattern is raised":         {tables("1/s", "20/s"), map[string]float64{"email:domain:other.example": 20.8}},
		"more than may come back":     {tables("9999/s", "10/s"), map[string]float64{"email:domain:acme.example": 1000}},
		"the pattern counts for both": {config.KeyedRates{Domains: table("*", "10/s")}, map[string]float64{"email:domain:acme.example": 10.4}},
		"there is no rate any more":   {config.KeyedRates{}, map[string]float64{"email:domain:acme.example": 1000, "email:domain:other.example": 1000}},
	} {
		t.Run(name, func(t *testing.T) {
			q := throttle.NewQuotas(throttle.NewRates(nil, "t", "c1"), notice.ChannelEmail, tables("1/s", "10/s"))
			for _, domain := range []string{"acme.example", "other.example"} {
				needs := q.Pin(throttle.Names{throttle.ScopeHost: domain})
				defer q.Unpin(needs)
			}
			got := q.Replace(tc.next)
			if !maps.EqualFunc(got, tc.want, func(a, b float64) bool { return math.Abs(a-b) < 0.001 }) {
				t.Errorf("raised are %v, want %v", got, tc.want)
			}
		})
	}
}

// TestWhatIsPutOffAfterARaiseFollowsTheNewRate has a rate's schedule reach far,
// and raises it: the next one has its place right behind what was called back.
func TestWhatIsPutOffAfterARaiseFollowsTheNewRate(t *testing.T) {
	rates := func(rate string) config.KeyedRates { return config.KeyedRates{Domains: table("acme.example", rate)} }
	q := throttle.NewQuotas(throttle.NewRates(nil, "t", "c1"), notice.ChannelEmail, rates("1/s"))
	needs := q.Pin(throttle.Names{throttle.ScopeHost: "acme.example"})
	defer q.Unpin(needs)
	for range 1000 {
		needs.Slowest().PutOff(0, 2)
	}
	far := needs.Slowest().PutOff(0, 2)
	q.Replace(rates("100/s"))
	if near := needs.Slowest().PutOff(0, 2); far < 10*time.Minute || near > far/90 || near < far/110 {
		t.Errorf("put off for %v, and after a raise to a hundred times as much for %v", far, near)
	}
}
