package delivery_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// throttling is one kind of what holds a delivery back.
type throttling struct {
	setup  setup
	begin  func(w *world) *running
	events func(w *world) []string // admits, and returns the ids; the last is the one that is held back
	scope  string
	action string
	status notice.Status
	code   string // of the timeline's entry: the rule, or the provider's word
	key    string // what its words name
	ended  bool   // it does not wait, so there is no moment
}

// throttlings are all kinds of which a consumer's metric counts one event each.
func throttlings() map[string]throttling {
	plain := func(w *world) *running { return w.start("c1") }
	pings := func(n int) func(w *world) []string {
		return func(w *world) (ids []string) {
			for range n {
				ids = append(ids, w.decided(w.admit(toHook("ada"))))
			}
			return ids
		}
	}
	capped := func(over config.Over) setup {
		return setup{caps: []config.Cap{{Name: "one", Category: "*", Channel: "*", Limit: config.Rate{Count: 1, Per: time.Hour}, Over: over}}}
	}
	mails := func(n int) func(w *world) []string {
		return func(w *world) (ids []string) {
			for range n {
				ids = append(ids, w.decided(w.admit(mail("ada@slow.example"))))
			}
			return ids
		}
	}
	push := func(n int) func(w *world) []string {
		return func(w *world) (ids []string) {
			for range n {
				p := toUser("", notice.MediumPush)
				p.To.Devices = []notice.Device{{Platform: notice.PlatformIOS, Token: strings.Repeat("a", 64)}}
				ids = append(ids, w.decided(w.admit(p)))
			}
			return ids
		}
	}
	asks := func(a func(w *world) *adapter, scope channels.Scope, begin func(*world) *running) func(*world) *running {
		return func(w *world) *running {
			a(w).results(channels.Result{Verdict: channels.Throttled, Code: "429", RetryAfter: time.Minute, Scope: scope, Err: errors.New("slow down")})
			return begin(w)
		}
	}
	email, apns := func(w *world) *adapter { return w.email }, func(w *world) *adapter { return w.apns }
	webhook := func(w *world) *adapter { return w.webhook }
	divided := func(w *world) *running { return w.startDivided("c1") }
	return map[string]throttling{
		"a cap that drops":  {capped(config.OverDrop), plain, pings(2), "user", "drop", notice.StatusCapped, "one", "the cap of 1/h a user is full", true},
		"a cap that defers": {capped(config.OverDefer), plain, pings(2), "user", "defer", notice.StatusDeferred, "one", "the cap of 1/h a user is full until", false},
		"quiet hours":       {setup{at: quietAt, quiet: &config.QuietHours{From: "22:00", To: "08:00"}}, plain, mails(1), "user", "defer", notice.StatusDeferred, "quiet_hours", "22:00-08:00 in UTC", false},
		"a channel's pause": {setup{}, asks(email, channels.ScopeChannel, plain), mails(1), "channel", "pause", notice.StatusDeferred, "429", "slow down", false},
		"a host's pause":    {setup{}, asks(webhook, channels.ScopeHost, divided), pings(1), "host", "pause", notice.StatusDeferred, "429", "slow down", false},
		"a device's pause":  {setup{}, asks(apns, channels.ScopeDevice, plain), push(1), "device", "pause", notice.StatusDeferred, "429", "slow down", false},
		"a refused credential": {setup{}, func(w *world) *running {
			w.email.results(channels.Result{Verdict: channels.Broken, Code: "535", Err: errors.New("no such user")})
			return w.start("c1")
		}, mails(1), "channel", "pause", notice.StatusDeferred, "535", "no such user", false},
		"relays at their rates": {setup{}, func(w *world) *running {
			w.email.results(channels.Result{Verdict: channels.Throttled, Scope: channels.ScopeRelay, Code: "rate", RetryAfter: time.Second, Unsent: true, Err: errors.New("at their rates: ses")})
			return w.start("c1")
		}, mails(1), "relay", "defer", notice.StatusDeferred, "rate", "at their rates: ses", false},
		"a host that is paused":   {setup{}, asks(webhook, channels.ScopeHost, divided), pings(2), "host", "defer", notice.StatusDeferred, "paused", "host ada.example asked for less (429, Retry-After 1m0s)", false},
		"a device that is paused": {setup{}, asks(apns, channels.ScopeDevice, plain), push(2), "device", "defer", notice.StatusDeferred, "paused", "on this device", false},
	}
}

// quietAt is in the night.
var quietAt = time.Date(2026, 11, 5, 23, 0, 0, 0, time.UTC)

// toHook is a notification of the template ping to a user with a webhook.
func toHook(user string) notice.Notification {
	n := to("https://" + user + ".example/hook")
	n.To.User = user
	return n
}

// decided waits until something was decided on a notification's only delivery.
func (w *world) decided(id string) string {
	w.t.Helper()
	w.await("a decision on "+id, func() bool {
		r := w.record(id)
		return len(r.Deliveries) == 1 && r.Deliveries[0].Status != notice.StatusQueued
	})
	return id
}

// TestWhatIsHeldBackIsCountedOnceAndItsTimelineSaysByWhat has each kind happen
// once: its counter has one more, no other of the kind has, and its timeline names
// the rule, what it is about, and until when.
func TestWhatIsHeldBackIsCountedOnceAndItsTimelineSaysByWhat(t *testing.T) {
	t.Parallel()
	for name, k := range throttlings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, k.setup)
			c := k.begin(w)
			before := w.now()
			ids := k.events(w)
			d := w.record(ids[len(ids)-1]).Deliveries[0]
			if c.stop(); d.Status != k.status {
				t.Fatalf("it is %s, want %s: %+v", d.Status, k.status, d.Timeline)
			}
			k.check(t, last(d), before)
			if n := c.metric("carillon_throttled_total", "scope", k.scope, "action", k.action); n != 1 {
				t.Errorf("%v are counted as %s %s, want 1", n, k.scope, k.action)
			}
			if all, others := c.metric("carillon_throttled_total"), len(ids); int(all) > others {
				t.Errorf("%v are counted in all, of %d", all, others)
			}
		})
	}
}

func (w *world) now() time.Time { return w.clock.Now() }

// check fails unless an entry names its rule, its key and its time.
func (k *throttling) check(t *testing.T, e queue.Entry, before time.Time) {
	t.Helper()
	if e.Code != k.code || !strings.Contains(e.Detail, k.key) {
		t.Errorf("its entry says %q, %q; want %q, %q", e.Code, e.Detail, k.code, k.key)
	}
	if e.At.Before(before.Add(-time.Second)) || e.Until.IsZero() != k.ended || !k.ended && !e.Until.After(e.At) {
		t.Errorf("its entry is of %v and lasts until %v", e.At, e.Until)
	}
}

// TestEachPutOffByARateIsCountedAndInItsTimeline floods a rate by name: what its
// counter says is what the timelines say.
func TestEachPutOffByARateIsCountedAndInItsTimeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{slots: 8})
	c := w.startRated("c1", config.KeyedRates{Domains: perSecond("slow.example", 5)})
	ids := w.admitMails("acme", "slow.example", 60)
	w.await("some are put off", func() bool { return c.metric("carillon_throttled_total") > 5 })
	for i, id := range ids {
		w.decidedOrQueued(i, id)
	}
	c.stop()
	entries := 0
	for _, id := range ids {
		for _, d := range w.record(id).Deliveries {
			for _, e := range d.Timeline {
				if e.Code == "rate" && strings.Contains(e.Detail, "rate email domain slow.example 5/s") && e.Until.After(e.At) {
					entries++
				}
			}
		}
	}
	if n := c.metric("carillon_throttled_total", "scope", "domain", "action", "defer"); int(n) != entries || int(n) != int(c.metric("carillon_throttled_total")) {
		t.Errorf("%v are counted as put off by the domain's rate, %v in all, and timelines have %d such entries", n, c.metric("carillon_throttled_total"), entries)
	}
}

// decidedOrQueued waits until a notification has its delivery.
func (w *world) decidedOrQueued(i int, id string) {
	w.t.Helper()
	w.await(fmt.Sprintf("the plan of mail %d", i), func() bool { return len(w.record(id).Deliveries) == 1 })
}
