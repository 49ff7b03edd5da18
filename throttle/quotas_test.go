package throttle_test

import (
	"context"
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
