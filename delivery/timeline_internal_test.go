package delivery

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/throttle"
)

// TestWhateverHoldsADeliveryUpSaysSoInItsTimeline holds every decision that
// puts off, drops or ends before it is sent to what a reader needs: the rule,
// what it is about, and until when.
func TestWhateverHoldsADeliveryUpSaysSoInItsTimeline(t *testing.T) {
	now := time.Date(2026, 11, 5, 23, 0, 0, 0, time.UTC)
	morning, soon := time.Date(2026, 11, 6, 8, 0, 0, 0, time.UTC), now.Add(time.Minute)
	quiet := &recipients.QuietHours{From: "22:00", To: "08:00"}
	drafted := func(change func(d *draft)) queue.Entry {
		d := &draft{now: now, hours: quiet, zone: time.UTC, found: &recipients.Found{},
			out: []queue.PlannedDelivery{{Delivery: notice.Delivery{ID: unreal + "-1", Quiet: "22:00-08:00"}}}, allowed: []int{0}}
		change(d)
		if e := d.out[0].Ended; e.Status != "" {
			return e
		}
		return d.out[0].Why
	}
	answered := func(r channels.Result, expires time.Time) queue.Entry {
		return decide(attemptOf{delivery: &notice.Delivery{ExpiresAt: expires}, result: r, now: now,
			retry: config.Retry{Schedule: []config.Duration{config.Duration(time.Minute)}}, jitter: func(time.Duration) time.Duration { return 0 }}).entry
	}
	p := &Pipeline{Options: Options{Enabled: map[notice.Channel]bool{notice.ChannelEmail: true}}}
	refused := func(profile *recipients.Profile) queue.Entry {
		d := &draft{now: now, event: notice.Event{Notification: notice.Notification{Category: "news"}}}
		return p.refused(d, &recipients.Found{Profile: profile}, notice.Address{Channel: notice.ChannelEmail, To: "a@b.example"})
	}
	full := throttle.Answer{Rule: "newsletter", Limit: "3/h", Until: soon}
	with := func(a throttle.Action) func(*draft) {
		return func(d *draft) {
			d.hours, d.out[0].Delivery.Quiet = nil, ""
			full := full
			full.Action = a
			d.answer(0, full)
		}
	}
	for _, c := range []struct {
		name   string
		got    queue.Entry
		status notice.Status
		code   string
		detail string
		until  time.Time
	}{
		{"a cap that defers", drafted(with(throttle.Wait)), notice.StatusDeferred, "newsletter", "3/h a user is full until 2026-11-05T23:01:00Z", soon},
		{"a cap that drops", drafted(with(throttle.Drop)), notice.StatusCapped, "newsletter", "3/h a user", time.Time{}},
		{"a cap that has room too late", drafted(with(throttle.Expire)), notice.StatusExpired, "newsletter", "3/h a user frees a place only at 2026-11-05T23:01:00Z", time.Time{}},
		{"quiet hours when it is planned", drafted(func(d *draft) { d.keepQuiet(0, now) }), notice.StatusDeferred, "quiet_hours", "22:00-08:00 in UTC", morning},
		{"quiet hours that outlast it", drafted(func(d *draft) {
			d.out[0].Delivery.ExpiresAt = soon
			d.keepQuiet(0, now)
			d.expire()
		}), notice.StatusExpired, "quiet_hours", "it expires before it may go", time.Time{}},
		{"it has expired before it is planned", func() queue.Entry {
			d := &draft{now: soon, event: notice.Event{Notification: notice.Notification{ExpiresAt: now}}}
			p.chooseMedia(d)
			return d.note
		}(), notice.StatusExpired, "expires_at", "2026-11-05T23:00:00Z", time.Time{}},
		{"a preference", refused(&recipients.Profile{Preferences: recipients.Preferences{"news": {"email": false}}}), notice.StatusSuppressed, "preferences", "news by email", time.Time{}},
		{"a provider that asks for less", answered(channels.Result{Verdict: channels.Throttled, Code: "429", RetryAfter: time.Minute}, time.Time{}), notice.StatusDeferred, "429", "", soon},
		{"a credential that is refused", answered(channels.Result{Verdict: channels.Broken, Code: "403", Err: errors.New("no such key")}, time.Time{}), notice.StatusDeferred, "403", "no such key", now.Add(brokenWait)},
		{"a host without room", answered(putOff{wait: time.Minute, code: "host_busy", words: "host hooks.example takes 5.0 a second"}.result(), time.Time{}), notice.StatusDeferred, "host_busy", "hooks.example", soon},
		{"a provider that asks for longer than it lasts", answered(channels.Result{Verdict: channels.Throttled, Code: "429", RetryAfter: time.Hour}, soon), notice.StatusExpired, "429", "after it expires", time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.got.Status != c.status || c.got.Code != c.code || !c.got.Until.Equal(c.until) || !strings.Contains(c.got.Detail, c.detail) {
				t.Errorf("the timeline says %s, code %q, until %v: %q\nwant %s, code %q, until %v, and %q in it",
					c.got.Status, c.got.Code, c.got.Until, c.got.Detail, c.status, c.code, c.until, c.detail)
			}
			if c.got.At.IsZero() {
				t.Error("it does not say when")
			}
		})
	}
}
