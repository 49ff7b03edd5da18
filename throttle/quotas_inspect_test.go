package throttle_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

func TestWhoLooksIsToldOfTheRatesByNameThatCountSomething(t *testing.T) {
	q := throttle.NewQuotas(throttle.NewRates(nil, "t", "c"), notice.ChannelWebhook, config.KeyedRates{
		Hosts: table("*", "1/s", "hooks.acme.example", "4/s", "free.example", ""), Tenants: table("acme", "9/s")})
	described := func(rates ...throttle.NamedRate) (out string) {
		for _, r := range rates {
			out += fmt.Sprintf("[%s %s by %s %s key %s]", r.Scope, r.Name, r.Rule.Name, r.Rule.Rate, r.Key)
		}
		return out
	}
	one := func(r throttle.NamedRate, ok bool) []throttle.NamedRate {
		if !ok {
			return nil
		}
		return []throttle.NamedRate{r}
	}
	for _, c := range []struct {
		name string
		got  []throttle.NamedRate
		want string
	}{
		{"a host under a pattern, and a tenant", q.Of(throttle.Names{throttle.ScopeHost: "b.example:99", throttle.ScopeTenant: "acme"}),
			"[host b.example by * 1/s key webhook:host:b.example][tenant acme by acme 9/s key webhook:tenant:acme]"},
		{"a host that is exempt, of another tenant", q.Of(throttle.Names{throttle.ScopeHost: "free.example", throttle.ScopeTenant: "b"}), ""},
		{"every entry with a rate, of patterns no name", q.Rules(),
			"[host  by * 1/s key ][host hooks.acme.example by hooks.acme.example 4/s key webhook:host:hooks.acme.example][tenant acme by acme 9/s key webhook:tenant:acme]"},
		{"a name as a consumer reports it", one(q.Named("host", "b.example")), "[host b.example by * 1/s key webhook:host:b.example]"},
		{"a reported name that has no rate any more", one(q.Named("host", "free.example")), ""},
		{"a scope that this release does not know", one(q.Named("moon", "b.example")), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := described(c.got...); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	if q.Known() != 0 {
		t.Errorf("looking had %d names remembered", q.Known())
	}
}

func TestWhatWaitsForARateByNameIsTheSumOfWhatConsumersReport(t *testing.T) {
	rates := config.KeyedRates{Domains: table("slow.example", "1/s", "idle.example", "1/s")}
	q := throttle.NewQuotas(throttle.NewRates(nil, "t", "c"), notice.ChannelEmail, rates)
	needs := q.Pin(throttle.Names{throttle.ScopeHost: "slow.example"})
	q.Pin(throttle.Names{throttle.ScopeHost: "idle.example"})
	needs.Wait(3)
	for range 5 {
		needs.Slowest().PutOff(0, 3)
	}
	reported := q.Standings(100)
	if len(reported) != 1 || reported[0].Scope != "domain" || reported[0].Name != "slow.example" || reported[0].Waiting != 3 || reported[0].PutOff < 1000 {
		t.Fatalf("reported %+v, want slow.example alone with 3 and what was put off", reported)
	}
	o := throttle.Overview{At: time.Now(), Consumers: []throttle.Report{{Waits: reported}, {Waits: []throttle.QuotaStanding{{Scope: "domain", Name: "slow.example", Waiting: 2}}}}}
	slow, _ := q.Named("domain", "slow.example")
	if waiting, back := o.Waiting(slow); waiting != 5 || !back.Equal(o.At.Add(time.Duration(reported[0].PutOff)*time.Millisecond)) {
		t.Errorf("%d wait, the last is back at %v", waiting, back)
	}
	idle, _ := q.Named("domain", "idle.example")
	if waiting, back := o.Waiting(idle); waiting != 0 || !back.IsZero() {
		t.Errorf("of the idle one %d wait, the last is back at %v", waiting, back)
	}
	if none := throttle.NewQuotas(nil, notice.ChannelEmail, config.KeyedRates{}).Standings(100); none != nil {
		t.Errorf("without rates %+v", none)
	}
}

func TestTheNextPermitOfASlowRateIsToldBeforehand(t *testing.T) {
	rdb := queuetest.Redis(t)
	rates := throttle.NewRates(rdb, "test", "c")
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { rates.Run(ctx) })
	defer func() { cancel(); running.Wait() }()
	if before, err := rates.Inspect(ctx, "k"); err != nil || time.Until(before.Next) > time.Second {
		t.Errorf("of a rate that nobody asks for the next permit is %v (%v), want now", before.Next, err)
	}
	if err := rates.Pace("k", config.Rate{Count: 6, Per: time.Minute}).Wait(ctx); err != nil {
		t.Fatal(err)
	}
	after, err := rates.Inspect(ctx, "k")
	if wait := time.Until(after.Next); err != nil || wait < 5*time.Second || wait > 11*time.Second {
		t.Errorf("after one of 6/1m the next is in %v (%v), want about 10 s", wait, err)
	}
}
