package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

// perSecond is a table of one rate a second.
func perSecond(name string, n int) config.RateTable {
	return config.RateTable{{Name: name, Rate: config.Rate{Count: n, Per: time.Second}}}
}

// startRated runs a consumer whose channels have rates by name.
func (w *world) startRated(name string, rates config.KeyedRates, change ...func(*delivery.Options)) *running {
	shared := throttle.NewRates(w.rdb, "t", name)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { shared.Run(ctx) })
	w.t.Cleanup(func() { cancel(); done.Wait() })
	return w.start(name, append([]func(*delivery.Options){func(o *delivery.Options) {
		for i := range o.Channels {
			c := o.Channels[i].Adapter.Channel()
			o.Channels[i].Quotas = throttle.NewQuotas(shared, c, rates)
			if c == notice.ChannelWebhook {
				o.Channels[i].Adapter = hosts{w.webhook}
			}
		}
	}}, change...)...)
}

// arrivals notes when an adapter got something, by what of.
type arrivals struct {
	mu sync.Mutex
	at map[string][]time.Time
}

func (a *arrivals) note(of func(channels.Message) string) func(context.Context, channels.Message) channels.Result {
	a.at = map[string][]time.Time{}
	return func(_ context.Context, m channels.Message) channels.Result {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.at[of(m)] = append(a.at[of(m)], time.Now())
		return channels.Result{Verdict: channels.Sent, Code: "250"}
	}
}

func (a *arrivals) of(name string) []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.at[name])
}

// busiest is the most of them in any second.
func busiest(at []time.Time) int { return within(at, time.Second) }

// within is the most of them in any time so long.
func within(at []time.Time, long time.Duration) (most int) {
	first := 0
	for i := range at {
		for at[i].Sub(at[first]) >= long {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

func domainOf(m channels.Message) string {
	return strings.ToLower(m.Address.To[strings.LastIndexByte(m.Address.To, '@')+1:])
}

// mail is a notification to one address.
func mail(address string) notice.Notification {
	n := to("")
	n.Template, n.Channels = "mail", []notice.Medium{notice.MediumEmail}
	n.To = notice.Recipient{Email: address}
	return n
}

// admitMails admits mails of one tenant to addresses of a domain.
func (w *world) admitMails(tenant, domain string, n int) (ids []string) {
	w.t.Helper()
	as := make([]queue.Admission, n)
	for i := range as {
		as[i] = queue.Admission{Tenant: tenant, Notification: mail(fmt.Sprintf("a%d@%s", i, domain))}
	}
	for _, got := range w.queue.AdmitAll(w.t.Context(), as) {
		if got.Err != nil {
			w.t.Fatal(got.Err)
		}
		ids = append(ids, got.ID)
	}
	return ids
}

func TestADomainsRateHoldsForAllConsumersAndForNoOtherDomain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{slots: 8})
	var got arrivals
	w.email.script(got.note(domainOf))
	lag := queuetest.WatchLateness(t)
	rates := config.KeyedRates{Domains: perSecond("slow.example", 20)}
	began := time.Now()
	running := []*running{w.startRated("c1", rates), w.startRated("c2", rates)}
	slow := w.admitMails("acme", "SLOW.example", 150)
	for _, id := range w.admitMails("acme", "quick.example", 200) {
		w.ended(id)
	}
	if n, took := len(got.of("slow.example")), time.Since(began); n > 3+int(23*took.Seconds()) {
		t.Errorf("after %v, when the other domain had all of its mails, it had %d", took, n)
	}
	w.await("everything to the domain with a rate", func() bool { return len(got.of("slow.example")) == len(slow) })
	at := got.of("slow.example")
	if most, late := busiest(at), lag(); float64(most) > 25+40*late.Seconds() {
		t.Errorf("one second saw %d of 20/s, on a machine that was late by %v", most, late)
	}
	// What a rate hands out while the machine stands still is void. Half of the
	// rate, each consumer's part, is what is handed out when it is not shared.
	if most := within(at, 3*time.Second); most < 50 {
		t.Errorf("the best three seconds saw %d of 20/s", most)
	}
	parked := 0.0
	for _, r := range running {
		parked += r.metric("carillon_throttled_total", "scope", "domain", "action", "defer")
	}
	if parked > 2*float64(len(slow)) {
		t.Errorf("%v put-offs of %d mails", parked, len(slow))
	}
	t.Logf("%d in %v, %d in the busiest second, %v put-offs", len(at), at[len(at)-1].Sub(at[0]), busiest(at), parked)
}

func TestWhatARatePutsOffSaysWhichAndWhatIsCriticalOvertakesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{slots: 8})
	var got arrivals
	w.email.script(got.note(domainOf))
	r := w.startRated("c1", config.KeyedRates{Domains: perSecond("*.example", 5), Tenants: perSecond("acme", 50)})
	ids := w.admitMails("acme", "slow.example", 100)
	var put queue.DeliveryRecord
	w.await("one that was put off", func() bool {
		for _, id := range ids {
			for _, d := range w.record(id).Deliveries {
				if put = d; d.Status == notice.StatusDeferred {
					return true
				}
			}
		}
		return false
	})
	last := put.Timeline[len(put.Timeline)-1]
	if want := "rate email domain slow.example 5/s (by *.example)"; last.Code != "rate" || !strings.Contains(last.Detail, want) || !last.Until.After(last.At) {
		t.Errorf("its timeline ends with %+v, want rate, %q and until when", last, want)
	}
	if r.metric("carillon_throttled_total", "scope", "domain", "action", "defer") == 0 {
		t.Error("nothing was counted")
	}
	n := mail("urgent@slow.example")
	n.Priority = notice.LaneCritical
	w.ended(w.admit(n))
	if sent := len(got.of("slow.example")); sent > 60 {
		t.Errorf("the critical one went after %d of the 100 before it", sent)
	}
}
