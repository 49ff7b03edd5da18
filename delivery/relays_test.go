package delivery_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/carillonhq/carillon/channels/email"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

// relay is an SMTP server that takes every mail, and notes when.
type relay struct {
	addr string
	mu   sync.Mutex
	at   []time.Time
}

// startRelay runs a relay until the test ends, or stop is called.
func startRelay(t *testing.T) (r *relay, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r = &relay{addr: l.Addr().String()}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return r, nil }))
	server.ErrorLog = log.New(io.Discard, "", 0) // of conversations that stop cuts
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	stop = sync.OnceFunc(func() { _ = server.Close(); _ = l.Close(); serving.Wait() })
	t.Cleanup(stop)
	return r, stop
}

// Mail, Rcpt, Data, Reset and Logout implement smtp.Session.
func (r *relay) Mail(string, *smtp.MailOptions) error { return nil }
func (r *relay) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (r *relay) Reset()                               {}
func (r *relay) Logout() error                        { return nil }

func (r *relay) Data(mail io.Reader) error {
	_, err := io.Copy(io.Discard, mail)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = append(r.at, time.Now())
	return err
}

// got is when the mails came.
func (r *relay) got() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]time.Time(nil), r.at...)
}

// relayed is a section of relays, each with its rate; an empty one is none.
func relayed(t *testing.T, rates []string, relays ...*relay) *config.Channels {
	t.Helper()
	cfg := &config.Email{From: "a@acme.example", Timeout: config.Duration(5 * time.Second), MaxAttachment: 1 << 20}
	for i, r := range relays {
		rate, _ := config.ParseRate(rates[i])
		addr := mustAddr(t, r.addr)
		cfg.Relays = append(cfg.Relays, config.Relay{Weight: 1, SMTP: config.SMTP{Host: addr.IP.String(), Port: addr.Port, TLS: config.TLSNone,
			Connections: 8, Account: fmt.Sprintf("account-%d", i), Rate: rate}})
	}
	return &config.Channels{Email: cfg}
}

func mustAddr(t *testing.T, addr string) *net.TCPAddr {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sends has a consumer send mail by real relays. follow takes changed rates in,
// as a reloaded file does.
func sends(t *testing.T, name string, w *world, cfg *config.Channels, domains config.RateTable) (r *running, follow func(*config.Channels)) {
	t.Helper()
	adapter, err := email.New(*cfg.Email)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { adapter.Close() })
	shared := throttle.NewRates(w.rdb, "t", name)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { shared.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
	rates := func(cfg *config.Channels) config.KeyedRates {
		out := cfg.RatesOf("email")
		out.Domains = domains
		return out
	}
	quotas := throttle.NewQuotas(shared, notice.ChannelEmail, rates(cfg))
	r = w.start(name, func(o *delivery.Options) {
		for i := range o.Channels {
			if o.Channels[i].Adapter.Channel() == notice.ChannelEmail {
				o.Channels[i].Adapter, o.Channels[i].Quotas = adapter, quotas
			}
		}
	})
	return r, func(cfg *config.Channels) {
		if raised := quotas.Replace(rates(cfg)); len(raised) > 0 {
			if err := r.Recall(context.Background(), raised); err != nil {
				t.Error(err)
			}
		}
	}
}

// atRate checks that a relay was given about what its rate allows, on a machine
// that was so late, of the first part of its mails on the whole: a conversation
// with a relay takes some hand-overs, each of them late, so how exact a rate is
// at the moment of its permits is for the tests of throttle. Consumers that do
// not share a rate, or do not keep to it, are off by half of it at least.
func atRate(t *testing.T, who string, all []time.Time, late time.Duration, perSecond int, part, least float64) {
	t.Helper()
	at := all[:int(part*float64(len(all)))]
	if len(at) < 2 {
		t.Fatalf("%s has %d mails", who, len(at))
	}
	took, rate := at[len(at)-1].Sub(at[0]), float64(perSecond)
	if got := float64(len(at) - 1); got > (1.15*took.Seconds()+late.Seconds())*rate+2 {
		t.Errorf("%s was given %v in %v, of %d/s", who, got, took, perSecond)
	}
	// What a rate hands out while the machine stands still is void.
	if best := float64(within(all, 3*time.Second)); best < least*3*rate {
		t.Errorf("%s was given %v in its best three seconds, of %d/s", who, best, perSecond)
	}
	if most := float64(busiest(all)); most > (1.25+2*late.Seconds())*rate+3 {
		t.Errorf("%s was given %v in one second of %d/s, on a machine that was late by %v", who, most, perSecond, late)
	}
	t.Logf("%s: %d mails in %v, %d in the busiest second, late by %v", who, len(at), took.Round(time.Millisecond), busiest(at), late)
}

func TestARelaysRateHoldsForTheSumOfItsConsumers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{slots: 8})
	lag := queuetest.WatchLateness(t)
	only, _ := startRelay(t)
	cfg := relayed(t, []string{"20/s"}, only)
	first, _ := sends(t, "c1", w, cfg, nil)
	second, _ := sends(t, "c2", w, cfg, nil)
	ids := w.admitMails("acme", "example.com", 220)
	var put queue.DeliveryRecord
	w.await("one that was put off", func() bool {
		put = w.deferredOf(ids)
		return put.Status == notice.StatusDeferred
	})
	last := put.Timeline[len(put.Timeline)-1]
	if last.Code != "rate" || !strings.HasPrefix(last.Detail, "rate email relay account-0 20/s: ") || !last.Until.After(last.At) {
		t.Errorf("its timeline ends with %+v, want the relay's rate and until when", last)
	}
	w.await("every mail", func() bool { return len(only.got()) == len(ids) })
	atRate(t, "the relay", only.got(), lag(), 20, 0.7, 0.8)
	deferred := 0.0
	for _, r := range []*running{first, second} {
		deferred += r.metric("carillon_throttled_total", "scope", "relay", "action", "defer")
	}
	if deferred == 0 || deferred > 2*float64(len(ids)) {
		t.Errorf("%v put-offs of %d mails were counted", deferred, len(ids))
	}
}

// deferredOf is a delivery of some notifications that waits; the zero one while
// there is none.
func (w *world) deferredOf(ids []string) queue.DeliveryRecord {
	for _, id := range ids {
		for _, d := range w.record(id).Deliveries {
			if d.Status == notice.StatusDeferred {
				return d
			}
		}
	}
	return queue.DeliveryRecord{}
}

func TestARelayAtItsRateLeavesTheRestToTheOthers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		second string // its rate
	}{{"one without a rate has all that is too much", ""}, {"one with another rate is used up too", "40/s"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{slots: 8})
			lag := queuetest.WatchLateness(t)
			a, _ := startRelay(t)
			b, _ := startRelay(t)
			sends(t, "c1", w, relayed(t, []string{"20/s", c.second}, a, b), nil)
			const n = 300
			w.admitMails("acme", "example.com", n)
			w.await("every mail", func() bool { return len(a.got())+len(b.got()) == n })
			if c.second == "" {
				took := b.got()[len(b.got())-1].Sub(b.got()[0])
				if most := int(25*took.Seconds()) + 14; len(a.got()) > most {
					t.Errorf("the one with a rate has %d of %d in %v, want at most %d", len(a.got()), n, took, most)
				}
				return
			}
			atRate(t, "the first", a.got(), lag(), 20, 0.6, 0.7)
			atRate(t, "the second", b.got(), lag(), 40, 0.6, 0.7)
		})
	}
}

// TestFewMailsAreSharedOutByWeightWhateverTheRates sends one after the other: a
// relay that has to be asked for a permit gets its share all the same.
func TestFewMailsAreSharedOutByWeightWhateverTheRates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	a, _ := startRelay(t)
	b, _ := startRelay(t)
	sends(t, "c1", w, relayed(t, []string{"20/s", ""}, a, b), nil)
	for range 10 {
		w.ended(w.admit(mail("ada@example.com")))
	}
	if x, y := len(a.got()), len(b.got()); x != 5 || y != 5 {
		t.Errorf("of ten mails the relays have %d and %d, want five each", x, y)
	}
}

// TestARelaysRateBesideADomainsUsesUpNeither has a relay of 40/s beside a domain
// of 5/s: what the domain does not let through costs the relay nothing.
func TestARelaysRateBesideADomainsUsesUpNeither(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{slots: 8})
	lag := queuetest.WatchLateness(t)
	only, _ := startRelay(t)
	sends(t, "c1", w, relayed(t, []string{"40/s"}, only), perSecond("slow.example", 5))
	slow := w.admitMails("acme", "slow.example", 40)
	quick := w.admitMails("acme", "quick.example", 160)
	for _, id := range quick {
		w.ended(id)
	}
	took := only.got()[len(only.got())-1].Sub(only.got()[0])
	if most := within(only.got(), 3*time.Second); most < 84 {
		t.Errorf("the best three seconds saw %d of 40/s: the domain holds others up", most)
	}
	if n := len(only.got()) - len(quick); n > int(6*took.Seconds())+5 {
		t.Errorf("the domain of 5/s had %d in %v", n, took)
	}
	w.await("the rest", func() bool { return len(only.got()) == len(slow)+len(quick) })
	if most := busiest(only.got()); float64(most) > 53+80*lag().Seconds() {
		t.Errorf("the relay was given %d in one second of 40/s", most)
	}
}

// TestAChangedRelaysRateHoldsForWhatWaits raises the rate of a relay that would
// have taken minutes, which calls back what was put off; then it is lowered.
func TestAChangedRelaysRateHoldsForWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{slots: 8})
	lag := queuetest.WatchLateness(t)
	only, _ := startRelay(t)
	_, follow := sends(t, "c1", w, relayed(t, []string{"1/s"}, only), nil)
	ids := w.admitMails("acme", "example.com", 100)
	w.await("some that were put off", func() bool { return w.deferredOf(ids).Status == notice.StatusDeferred })
	if n := len(only.got()); n > 20 {
		t.Fatalf("%d of 1/s had gone when the first was put off", n)
	}
	follow(relayed(t, []string{"50/s"}, only))
	w.await("every mail", func() bool { return len(only.got()) == len(ids) })
	if most := busiest(only.got()); float64(most) > 65+100*lag().Seconds() {
		t.Errorf("the relay was given %d in one second of 50/s", most)
	}
	follow(relayed(t, []string{"10/s"}, only))
	began := time.Now()
	w.admitMails("acme", "example.org", 30)
	w.await("every mail at the lower rate", func() bool { return len(only.got()) == len(ids)+30 })
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("30 took %v at 10/s", took)
	}
}

// TestAFailedRelaysMailsKeepToTheRateOfTheOthers stops one of two relays: the
// other takes over what it was to have, and no more than its rate.
func TestAFailedRelaysMailsKeepToTheRateOfTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{slots: 8})
	lag := queuetest.WatchLateness(t)
	gone, stop := startRelay(t)
	left, _ := startRelay(t)
	sends(t, "c1", w, relayed(t, []string{"30/s", "30/s"}, gone, left), nil)
	const n = 200
	ids := w.admitMails("acme", "example.com", n)
	w.await("some mails at both", func() bool { return len(gone.got()) > 10 && len(left.got()) > 10 })
	stop()
	for _, id := range ids {
		w.ended(id)
	}
	twice := 0
	for _, id := range ids {
		switch d := w.record(id).Deliveries[0]; {
		case slices.ContainsFunc(d.Timeline, func(e queue.Entry) bool { return strings.Contains(e.Detail, "before an answer was read") }):
			twice++ // the relay stopped between the mail and its answer
		case d.Timeline[len(d.Timeline)-1].Attempt > 1:
			t.Errorf("a mail cost %d attempts: %+v", d.Timeline[len(d.Timeline)-1].Attempt, d.Timeline)
		}
	}
	if got := len(gone.got()) + len(left.got()); got < n || got > n+twice || twice > w.setup.slots {
		t.Errorf("the relays have %d mails of %d, and %d may have been taken twice", got, n, twice)
	}
	atRate(t, "the relay that is left", left.got(), lag(), 30, 1, 0.6)
}
