package delivery_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

// TestLimitsHoldOverTheMastersOfACluster has what holds deliveries back work
// where the keys of people, of rates and of channels are on several masters.
func TestLimitsHoldOverTheMastersOfACluster(t *testing.T) {
	t.Parallel()
	c := queuetest.StartCluster(t)
	s := func(partitions int) *store {
		at := &store{partitions: partitions}
		for _, a := range c.Addrs() {
			at.redis.URLs = append(at.redis.URLs, config.NewURL("redis://"+a))
		}
		return at
	}
	client := c.Client()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, at *store, client *redis.ClusterClient)
	}{
		{"caps that defer, and digests, of people in every partition", clusterDigests},
		{"a rate that two consumers share", clusterRate},
		{"a pause that one consumer was told of", clusterBoard},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := client.ForEachMaster(t.Context(), func(ctx context.Context, m *redis.Client) error { return m.FlushAll(ctx).Err() }); err != nil {
				t.Fatal(err)
			}
			test.run(t, s(8), client)
		})
	}
}

func clusterDigests(t *testing.T, at *store, client *redis.ClusterClient) {
	set := digesting(1)
	set.store = at
	set.caps = append(set.caps, config.Cap{Name: "waits", Category: "other", Channel: "*", Limit: config.Rate{Count: 1, Per: time.Hour}, Over: config.OverDefer})
	set.caps[0].Category = "news"
	w := newWorld(t, set)
	w.start("c1")
	w.start("c2")
	const people = 12
	carriers, waiting := make([]string, people), make([]string, people)
	homes := map[int]bool{}
	for p := range people {
		user := fmt.Sprintf("user%d", p)
		homes[w.queue.Partition("acme", user)] = true
		ids := w.admitNotes(user, 4)
		carriers[p] = ids[2]
		for range 2 {
			n := note(user, 9)
			n.Category = "other"
			waiting[p] = w.decided(w.admit(n))
		}
		open, err := queue.OpenDigests(t.Context(), client, config.Queue{Namespace: "t", Partitions: at.partitions}, "acme", user)
		if err != nil || len(open) != 1 || open[0].Items != 3 {
			t.Errorf("the digests of %s are %+v, %v; want one of 3", user, open, err)
		}
	}
	if len(homes) < 4 {
		t.Fatalf("the people are in %d partitions", len(homes))
	}
	for _, id := range waiting {
		if d := w.became(id, 1, notice.StatusDeferred); last(d).Code != "waits" {
			t.Errorf("what waits says %+v", last(d))
		}
	}
	w.clock.Advance(61 * time.Minute)
	for p := range people {
		w.became(carriers[p], 1, notice.StatusDelivered)
		w.became(waiting[p], 1, notice.StatusDelivered)
		if got := w.bodies(fmt.Sprintf("user%d", p)); len(got) != 4 {
			t.Errorf("user%d got %q, want two notes, one that waited, and a digest", p, got)
		}
		if got := w.webhook.sent(carriers[p]); len(got) != 1 || string(got[0].Content.Webhook) != `{"all":[2,3,4],"count":3,"more":0}` {
			t.Errorf("the digest of user%d was sent as %v", p, got)
		}
	}
}

// sharing runs a consumer with a rate of its channel of mail that all share, a
// rate by name, and a board.
func (w *world) sharing(name string, client redis.UniversalClient, rate config.Rate) *running {
	shared := throttle.NewRates(client, "t", name)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { shared.Run(ctx) })
	w.t.Cleanup(func() { cancel(); done.Wait() })
	return w.start(name, func(o *delivery.Options) {
		for i := range o.Channels {
			ch := &o.Channels[i]
			kind := ch.Adapter.Channel()
			ch.Board = throttle.NewBoard(client, "t", kind, name)
			if kind == notice.ChannelEmail {
				ch.Pace = shared.Pace(throttle.ChannelRate(kind), rate)
				ch.Quotas = throttle.NewQuotas(shared, kind, config.KeyedRates{Domains: perSecond("slow.example", 10)})
			}
		}
	})
}

func clusterRate(t *testing.T, at *store, client *redis.ClusterClient) {
	w := newWorld(t, setup{store: at, slots: 8})
	var got arrivals
	w.email.script(got.note(domainOf))
	lag := queuetest.WatchLateness(t)
	w.sharing("c1", client, config.Rate{Count: 60, Per: time.Second})
	w.sharing("c2", client, config.Rate{Count: 60, Per: time.Second})
	w.admitMails("acme", "slow.example", 30)
	w.admitMails("acme", "quick.example", 150)
	w.await("all mails", func() bool { return len(got.of("slow.example"))+len(got.of("quick.example")) == 180 })
	slow, quick := got.of("slow.example"), got.of("quick.example")
	if most, late := busiest(slow), lag(); float64(most) > 14+20*late.Seconds() {
		t.Errorf("one second saw %d of 10/s to one domain, on a machine that was late by %v", most, late)
	}
	if took := quick[len(quick)-1].Sub(quick[0]); took < 2*time.Second {
		t.Errorf("150 at 60/s took %v", took)
	}
}

func clusterBoard(t *testing.T, at *store, client *redis.ClusterClient) {
	w := newWorld(t, setup{store: at})
	w.email.results(channels.Result{Verdict: channels.Throttled, Code: "421", RetryAfter: time.Hour, Scope: channels.ScopeChannel},
		channels.Result{Verdict: channels.Sent, Code: "250"})
	first := w.sharing("c1", client, config.Rate{})
	w.decided(w.admit(mail("ada@example.com")))
	w.await("the pause on the board", func() bool {
		o, err := throttle.Look(t.Context(), client, "t", notice.ChannelEmail)
		return err == nil && len(o.Lasting) == 1 && o.Lasting[0].Kind == throttle.ChannelPaused
	})
	first.stop()
	second := w.sharing("c2", client, config.Rate{})
	id := w.admit(mail("bob@example.com"))
	w.await("the other consumer's pause", func() bool { return second.slots[notice.ChannelEmail].Present() == 0 })
	if n := len(w.email.sent(id)); n != 0 {
		t.Errorf("a consumer that another one had told was paused sent %d", n)
	}
}
