package delivery_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/recipients"
)

func TestPlanningFindsTheAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	w.start("c1")

	t.Run("one event to two addresses is two deliveries of ids of their own", func(t *testing.T) {
		w := w.in(t)
		n := to("https://a.example/hook")
		n.To.Webhooks = append(n.To.Webhooks, notice.Webhook{URL: "https://b.example/hook"})
		id := w.admit(n)
		r := w.ended(id)
		if got := statuses(r); !slices.Equal(got, []string{"delivered 200", "delivered 200"}) {
			t.Fatalf("ended as %v", got)
		}
		urls := map[string]string{}
		for _, m := range w.webhook.sent(id) {
			urls[m.Address.To] = m.ID
			if m.Attempt != 1 || m.Tenant != "acme" || string(m.Content.Webhook) != `{"n":1}` {
				t.Errorf("sent %+v", m)
			}
		}
		if len(urls) != 2 || urls["https://a.example/hook"] == urls["https://b.example/hook"] {
			t.Errorf("sent to %v", urls)
		}
	})
	t.Run("a notification without channels goes over all that the template and the recipient have", func(t *testing.T) {
		w := w.in(t)
		w.profile("all", recipients.Profile{Email: "all@example.com", Devices: []recipients.Device{{Platform: notice.PlatformIOS, Token: token("aa")}}})
		id := w.admit(toUser("all"))
		if r := w.ended(id); len(r.Deliveries) != 2 || len(w.email.sent(id)) != 1 || len(w.apns.sent(id)) != 1 {
			t.Errorf("ended as %+v", r)
		}
	})
	t.Run("an inline address wins over the profile's", func(t *testing.T) {
		w := w.in(t)
		w.profile("inline", recipients.Profile{Email: "old@example.com", Name: "Ada"})
		n := toUser("inline", notice.MediumEmail)
		n.To.Email = "new@example.com"
		id := w.admit(n)
		w.ended(id)
		if got := w.email.sent(id); len(got) != 1 || got[0].Address.To != "new@example.com" || got[0].To.Name != "Ada" {
			t.Errorf("sent %+v", got)
		}
	})
	t.Run("a given content needs no template", func(t *testing.T) {
		w := w.in(t)
		n := to("https://a.example/hook")
		n.Template, n.Channels, n.Content = "", nil, &notice.Content{Webhook: []byte(`{"raw":true}`)}
		id := w.admit(n)
		w.ended(id)
		if got := w.webhook.sent(id); len(got) != 1 || string(got[0].Content.Webhook) != `{"raw":true}` {
			t.Errorf("sent %+v", got)
		}
	})
	w.nothingLeft()
}

func TestPlanningEndsWhatMayNotGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	consumer := w.start("c1")

	t.Run("a recipient without any address fails, and says so", func(t *testing.T) {
		w := w.in(t)
		r := w.ended(w.admit(toUser("nobody")))
		if len(r.Deliveries) != 0 || len(r.Timeline) != 1 || r.Timeline[0].Status != notice.StatusFailed || r.Timeline[0].Code != "no_address" {
			t.Errorf("ended as %+v", r)
		}
	})
	t.Run("a channel that is asked for without an address fails beside one that has", func(t *testing.T) {
		w := w.in(t)
		n := to("https://a.example/hook")
		n.Channels = []notice.Medium{notice.MediumEmail, notice.MediumWebhook}
		r := w.ended(w.admit(n))
		if got := statuses(r); !slices.Equal(got, []string{"failed no_address", "delivered 200"}) {
			t.Errorf("ended as %v", got)
		}
	})
	t.Run("an unknown template fails, and says so", func(t *testing.T) {
		w := w.in(t)
		n := to("https://a.example/hook")
		n.Template = "nowhere"
		r := w.ended(w.admit(n))
		if len(r.Timeline) != 1 || r.Timeline[0].Code != "unknown_template" || !strings.Contains(r.Timeline[0].Detail, "nowhere") {
			t.Errorf("ended as %+v", r)
		}
	})
	t.Run("a channel that is off fails", func(t *testing.T) {
		w := w.in(t)
		n := toUser("off", notice.MediumPush)
		n.To.Devices = []notice.Device{{Platform: notice.PlatformAndroid, Token: "t"}}
		if got := statuses(w.ended(w.admit(n))); !slices.Equal(got, []string{"failed channel_off"}) {
			t.Errorf("ended as %v", got)
		}
	})
	t.Run("what the recipient does not want is suppressed", func(t *testing.T) {
		w := w.in(t)
		w.profile("picky", recipients.Profile{Email: "picky@example.com", Webhooks: []notice.Webhook{{URL: "https://p.example/"}},
			Preferences: recipients.Preferences{"news": {"email": false}}})
		id := w.admit(toUser("picky", notice.MediumEmail, notice.MediumWebhook))
		if got := statuses(w.ended(id)); !slices.Equal(got, []string{"suppressed preferences", "delivered 200"}) || len(w.email.sent(id)) != 0 {
			t.Errorf("ended as %v", got)
		}
	})
	t.Run("a suppressed address is suppressed with the reason", func(t *testing.T) {
		w := w.in(t)
		if err := w.people.Suppress(t.Context(), "acme", notice.ChannelEmail, "Stop@Example.com", "asked to"); err != nil {
			t.Fatal(err)
		}
		n := toUser("", notice.MediumEmail)
		n.To.Email = "stop@example.com"
		r := w.ended(w.admit(n))
		if got := statuses(r); !slices.Equal(got, []string{"suppressed suppressed"}) || r.Deliveries[0].Timeline[1].Detail != "asked to" {
			t.Errorf("ended as %+v", r)
		}
	})
	t.Run("a notification that expired on the queue is expired", func(t *testing.T) {
		w := w.in(t)
		n := to("https://a.example/hook")
		n.ExpiresAt = w.clock.Now().Add(-time.Second)
		id := w.admit(n)
		r := w.ended(id)
		if len(r.Timeline) != 1 || r.Timeline[0].Status != notice.StatusExpired || len(w.webhook.sent(id)) != 0 {
			t.Errorf("ended as %+v", r)
		}
	})
	w.nothingLeft()
	if got := consumer.metric("carillon_deliveries_total", "outcome", "suppressed"); got != 2 {
		t.Errorf("counted %v suppressed deliveries, want 2", got)
	}
}

// token makes a device token of the right form.
func token(pair string) string { return strings.Repeat(pair, 32) }

func TestACapThatDropsCapsWhatIsOverIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{caps: []config.Cap{{Name: "daily", Category: "news", Channel: "*", Limit: config.Rate{Count: 2, Per: 24 * time.Hour}, Over: config.OverDrop}}})
	consumer := w.start("c1")
	w.profile("ada", recipients.Profile{Email: "ada@example.com"})
	counts := map[string]int{}
	for range 5 {
		counts[statuses(w.ended(w.admit(toUser("ada"))))[0]]++
	}
	if counts["delivered 200"] != 2 || counts["capped daily"] != 3 {
		t.Errorf("ended as %v", counts)
	}
	// What is counted is counted once it is on record.
	w.await("three drops to be counted", func() bool {
		return consumer.metric("carillon_throttled_total", "scope", "user", "action", "drop") == 3
	})
	critical := toUser("ada")
	critical.Priority = notice.LaneCritical
	if got := statuses(w.ended(w.admit(critical))); got[0] != "delivered 200" {
		t.Errorf("a critical notification ended as %v", got)
	}
}

func TestACapThatDefersSendsAtTheMomentItHasRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{caps: []config.Cap{{Name: "hourly", Category: "*", Channel: "email", Limit: config.Rate{Count: 1, Per: time.Hour}, Over: config.OverDefer}}})
	w.start("c1")
	w.profile("ada", recipients.Profile{Email: "ada@example.com"})
	first := w.admit(toUser("ada"))
	w.ended(first)
	sentAt := w.email.sent(first)[0].AcceptedAt
	second := w.admit(toUser("ada"))
	d := w.became(second, 1, notice.StatusDeferred)
	until := d.Timeline[len(d.Timeline)-1].Until
	if early := sentAt.Add(time.Hour).Sub(until); early > 0 || early < -10*time.Second || d.Timeline[1].Code != "hourly" {
		t.Fatalf("deferred by %q until %v, want an hour after %v", d.Timeline[1].Code, until, sentAt)
	}
	if detail := d.Timeline[1].Detail; !strings.Contains(detail, "1/h a user") || !strings.Contains(detail, until.UTC().Format("15:04:05")) {
		t.Errorf("the timeline says %q, want the rule's limit and until when", detail)
	}
	w.clock.Advance(until.Sub(w.clock.Now()))
	r := w.ended(second)
	delivered := r.Deliveries[0].Timeline[len(r.Deliveries[0].Timeline)-1]
	if delivered.Status != notice.StatusDelivered || delivered.At.Before(until) {
		t.Errorf("%s at %v, before %v", delivered.Status, delivered.At, until)
	}
	w.nothingLeft()
}

func TestQuietHoursPutOffWhatWouldDisturb(t *testing.T) {
	t.Parallel()
	night := time.Date(2026, 11, 2, 23, 30, 0, 0, time.UTC)
	w := newWorld(t, setup{at: night, quiet: &config.QuietHours{From: "22:00", To: "08:00", Except: []string{"alarm"}}})
	w.start("c1")
	w.profile("utc", recipients.Profile{Email: "utc@example.com", Webhooks: []notice.Webhook{{URL: "https://a.example/"}}})
	w.profile("tokyo", recipients.Profile{Email: "tokyo@example.com", Timezone: "Asia/Tokyo"})
	w.profile("own", recipients.Profile{Email: "own@example.com", QuietHours: &recipients.QuietHours{From: "01:00", To: "02:00"}})

	id := w.admit(toUser("utc"))
	d := w.became(id, 1, notice.StatusDeferred)
	last := d.Timeline[len(d.Timeline)-1]
	if want := time.Date(2026, 11, 3, 8, 0, 0, 0, time.UTC); last.Code != "quiet_hours" || !last.Until.Equal(want) {
		t.Errorf("deferred by %q until %v, want %v", last.Code, last.Until, want)
	}
	w.became(id, 2, notice.StatusDelivered) // a webhook wakes nobody
	for _, tt := range []struct {
		name, user, category string
		lane                 notice.Lane
	}{
		{"in Tokyo it is day", "tokyo", "news", notice.LaneNormal},
		{"the recipient's own hours win", "own", "news", notice.LaneNormal},
		{"what is critical does not wait", "utc", "news", notice.LaneCritical},
		{"an excepted category does not wait", "utc", "alarm", notice.LaneNormal},
	} {
		n := toUser(tt.user, notice.MediumEmail)
		n.Category, n.Priority = tt.category, tt.lane
		if got := statuses(w.ended(w.admit(n))); got[0] != "delivered 200" {
			t.Errorf("%s: ended as %v", tt.name, got)
		}
	}
	w.clock.Advance(9 * time.Hour)
	if got := statuses(w.ended(id)); !slices.Equal(got, []string{"delivered 200", "delivered 200"}) {
		t.Errorf("in the morning: %v", got)
	}
}

// A cap that had room again only at night sent at night.
func TestACapDoesNotPutOffIntoTheQuietHours(t *testing.T) {
	t.Parallel()
	evening := time.Date(2026, 11, 2, 21, 30, 0, 0, time.UTC)
	w := newWorld(t, setup{at: evening, quiet: &config.QuietHours{From: "22:00", To: "08:00"},
		caps: []config.Cap{{Name: "two-hourly", Category: "*", Channel: "*", Limit: config.Rate{Count: 1, Per: 2 * time.Hour}, Over: config.OverDefer}}})
	w.start("c1")
	w.profile("ada", recipients.Profile{Email: "ada@example.com"})
	w.ended(w.admit(toUser("ada")))
	for _, want := range []time.Time{time.Date(2026, 11, 3, 8, 0, 0, 0, time.UTC), time.Date(2026, 11, 3, 10, 0, 0, 0, time.UTC)} {
		d := w.became(w.admit(toUser("ada")), 1, notice.StatusDeferred)
		if until := d.Timeline[len(d.Timeline)-1].Until; !until.Equal(want) {
			t.Errorf("put off until %v, want %v", until, want)
		}
	}
}

// Somebody for whom so much waits that every day has its share: each further one
// finds its first room at night, day after day. Given up after three days, it
// went in the morning with its place in the night before, and with it another.
func TestWhatWaitsForManyDaysGoesByDayAndKeepsItsCap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{at: time.Date(2026, 11, 2, 22, 30, 0, 0, time.UTC), quiet: &config.QuietHours{From: "22:00", To: "08:00"},
		caps: []config.Cap{{Name: "sparse", Category: "*", Channel: "*", Limit: config.Rate{Count: 1, Per: 8 * time.Hour}, Over: config.OverDefer}}})
	w.start("c1")
	w.profile("ada", recipients.Profile{Email: "ada@example.com"})
	for i := range 14 {
		want := time.Date(2026, 11, 3+i/2, 8+8*(i%2), 0, 0, 0, time.UTC)
		if until := last(w.became(w.admit(toUser("ada")), 1, notice.StatusDeferred)).Until; !until.Equal(want) {
			t.Errorf("number %d waits until %v, want %v", i+1, until, want)
		}
	}
}

// A profile that could not be read counted as none, and with it what its
// person does not want.
func TestAProfileThatCannotBeReadSendsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	w.start("c1")
	w.profile("ada", recipients.Profile{Preferences: recipients.Preferences{"*": {"*": false}}})
	for _, key := range w.rdb.Keys(t.Context(), "*ada*").Val() {
		w.rdb.Set(t.Context(), key, "{broken", 0)
	}
	n := toUser("ada", notice.MediumEmail)
	n.To.Email = "ada@example.com"
	id := w.admit(n)
	if r := w.ended(id); len(r.Timeline) != 1 || r.Timeline[0].Code != "profile_unreadable" || len(w.email.sent(id)) != 0 {
		t.Errorf("ended as %+v", r)
	}
}

func TestWhatWouldGoOnlyAfterItExpiresIsExpiredAtOnce(t *testing.T) {
	t.Parallel()
	night := time.Date(2026, 11, 2, 23, 30, 0, 0, time.UTC)
	w := newWorld(t, setup{at: night, quiet: &config.QuietHours{From: "22:00", To: "08:00"}})
	w.start("c1")
	w.profile("ada", recipients.Profile{Email: "ada@example.com"})
	n := toUser("ada")
	n.ExpiresAt = night.Add(time.Hour)
	if got := statuses(w.ended(w.admit(n))); got[0] != "expired quiet_hours" {
		t.Errorf("ended as %v", got)
	}
}

func TestRouteFirstGoesOnToTheNextAddressOnlyAfterAFailureForGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	w.start("c1")
	first := func() notice.Notification {
		n := to("https://a.example/hook")
		n.To.Email, n.Route, n.Channels = "ada@example.com", notice.RouteFirst, []notice.Medium{notice.MediumEmail, notice.MediumWebhook}
		return n
	}
	t.Run("the second is left alone while the first works", func(t *testing.T) {
		w := w.in(t)
		id := w.admit(first())
		if got := statuses(w.ended(id)); !slices.Equal(got, []string{"delivered 200"}) || len(w.webhook.sent(id)) != 0 {
			t.Errorf("ended as %v", got)
		}
	})
	t.Run("a rejected mail falls through to the webhook", func(t *testing.T) {
		w := w.in(t)
		w.email.results(channels.Result{Verdict: channels.Rejected, Code: "5.7.1"})
		id := w.admit(first())
		if got := statuses(w.ended(id)); !slices.Equal(got, []string{"failed 5.7.1", "delivered 200"}) {
			t.Errorf("ended as %v", got)
		}
		if m := w.webhook.sent(id); len(m) != 1 || m[0].ID != id+"-2" || m[0].Attempt != 1 || string(m[0].Content.Webhook) != `{"n":1}` {
			t.Errorf("sent %+v", m)
		}
	})
	t.Run("a mail whose attempts are used up falls through", func(t *testing.T) {
		w := w.in(t)
		w.email.results(channels.Result{Verdict: channels.Retry, Code: "4.0.0"})
		id := w.admit(first())
		for i, wait := range w.setup.retry.Schedule {
			w.retrying(id, 1, i+1)
			w.clock.Advance(wait.Std())
		}
		if got := statuses(w.ended(id)); !slices.Equal(got, []string{"failed 4.0.0", "delivered 200"}) || len(w.email.sent(id)) != 3 {
			t.Errorf("ended as %v after %d mails", got, len(w.email.sent(id)))
		}
	})
	t.Run("a suppressed mail is passed over", func(t *testing.T) {
		w := w.in(t)
		if err := w.people.Suppress(t.Context(), "acme", notice.ChannelEmail, "gone@example.com", "gone"); err != nil {
			t.Fatal(err)
		}
		n := first()
		n.To.Email = "gone@example.com"
		if got := statuses(w.ended(w.admit(n))); !slices.Equal(got, []string{"suppressed suppressed", "delivered 200"}) {
			t.Errorf("ended as %v", got)
		}
	})
	w.nothingLeft()
}

func TestAChainTriesEveryDeviceBeforeItGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	w.start("c1")
	devices := func() notice.Notification {
		n := to("https://a.example/hook")
		n.Route, n.Channels = notice.RouteFirst, []notice.Medium{notice.MediumPush, notice.MediumWebhook}
		n.To.Devices = []notice.Device{{Platform: "ios", Token: strings.Repeat("ab", 32)}, {Platform: "ios", Token: strings.Repeat("cd", 32)}}
		return n
	}
	t.Run("one that works is enough", func(t *testing.T) {
		w := w.in(t)
		w.apns.script(func(_ context.Context, m channels.Message) channels.Result {
			if strings.HasPrefix(m.Address.To, "ab") {
				return channels.Result{Verdict: channels.Gone, Code: "410"}
			}
			return channels.Result{Verdict: channels.Sent, Code: "200"}
		})
		id := w.admit(devices())
		if got := statuses(w.ended(id)); !slices.Equal(got, []string{"failed 410", "delivered 200"}) || len(w.webhook.sent(id)) != 0 {
			t.Errorf("ended as %v", got)
		}
	})
	t.Run("when none does the webhook is next, and asked for then", func(t *testing.T) {
		w := w.in(t)
		w.apns.results(channels.Result{Verdict: channels.Rejected, Code: "400"})
		id := w.admit(devices())
		r := w.ended(id)
		if got := statuses(r); !slices.Equal(got, []string{"failed 400", "failed 400", "delivered 200"}) || len(w.webhook.sent(id)) != 1 {
			t.Errorf("ended as %v", got)
		}
		if len(r.Timeline) != 1 || r.Timeline[0].Code != "next" || r.Timeline[0].Detail != "push failed for good" {
			t.Errorf("the timeline says %+v", r.Timeline)
		}
	})
	w.nothingLeft()
}

// Between a link's start and its failure a recipient may change their mind.
func TestALinkOfAChainIsDecidedOnWhenItStarts(t *testing.T) {
	t.Parallel()
	chain := func() notice.Notification {
		n := to("https://a.example/hook")
		n.Channels, n.Route = []notice.Medium{notice.MediumWebhook, notice.MediumEmail, notice.MediumPush}, notice.RouteFirst
		n.To.User, n.To.Email = "ada", "ada@example.com"
		n.To.Devices = []notice.Device{{Platform: "ios", Token: strings.Repeat("ab", 32)}}
		return n
	}
	t.Run("what was suppressed meanwhile is passed over", func(t *testing.T) {
		w := newWorld(t, setup{})
		w.start("c1")
		w.webhook.script(func(context.Context, channels.Message) channels.Result {
			if err := w.people.Suppress(context.Background(), "acme", notice.ChannelEmail, "ada@example.com", "complaint"); err != nil {
				t.Error(err)
			}
			return channels.Result{Verdict: channels.Rejected, Code: "404"}
		})
		if got := statuses(w.ended(w.admit(chain()))); !slices.Equal(got, []string{"failed 404", "suppressed suppressed", "delivered 200"}) {
			t.Errorf("ended as %v", got)
		}
		w.nothingLeft()
	})
	t.Run("a cap that is full by then passes it over, and the link before took no place of it", func(t *testing.T) {
		w := newWorld(t, setup{caps: []config.Cap{{Category: "*", Channel: "email", Limit: config.Rate{Count: 1, Per: time.Hour}, Over: config.OverDrop}}})
		w.start("c1")
		w.webhook.results(channels.Result{Verdict: channels.Rejected, Code: "404"})
		if got := statuses(w.ended(w.admit(chain()))); !slices.Equal(got, []string{"failed 404", "delivered 200"}) {
			t.Errorf("the first ended as %v", got)
		}
		got := statuses(w.ended(w.admit(chain())))
		if len(got) != 3 || !strings.HasPrefix(got[1], "capped") || got[2] != "delivered 200" {
			t.Errorf("the second ended as %v", got)
		}
		w.nothingLeft()
	})
	t.Run("quiet hours put it off, and one expiry bounds all of it", func(t *testing.T) {
		w := newWorld(t, setup{at: time.Date(2026, 11, 2, 23, 0, 0, 0, time.UTC), quiet: &config.QuietHours{From: "22:00", To: "08:00"}})
		w.start("c1")
		w.webhook.results(channels.Result{Verdict: channels.Rejected, Code: "404"})
		id := w.admit(chain())
		if d := w.became(id, 2, notice.StatusDeferred); !d.Timeline[len(d.Timeline)-1].Until.Equal(time.Date(2026, 11, 3, 8, 0, 0, 0, time.UTC)) {
			t.Errorf("put off as %+v", d)
		}
		w.clock.Advance(9 * time.Hour)
		if got := statuses(w.ended(id)); got[1] != "delivered 200" {
			t.Errorf("ended as %v", got)
		}
		w.clock.Advance(15 * time.Hour)
		n := chain()
		n.ExpiresAt = w.clock.Now().Add(time.Hour)
		if got := statuses(w.ended(w.admit(n))); !slices.Equal(got, []string{"failed 404", "expired quiet_hours", "expired quiet_hours"}) {
			t.Errorf("the one that expires ended as %v", got)
		}
		w.nothingLeft()
	})
}

func TestARetryWaitsForTheEndOfQuietHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{at: time.Date(2026, 11, 2, 21, 59, 30, 0, time.UTC), quiet: &config.QuietHours{From: "22:00", To: "08:00"},
		retry: config.Retry{Schedule: []config.Duration{config.Duration(time.Hour), config.Duration(time.Minute)}}})
	w.start("c1")
	w.email.results(channels.Result{Verdict: channels.Retry, Code: "4.0.0"}, channels.Result{Verdict: channels.Sent, Code: "250"})
	n := toUser("ada", notice.MediumEmail)
	n.To.Email = "ada@example.com"
	id := w.admit(n)
	d := w.retrying(id, 1, 1)
	if until := d.Timeline[len(d.Timeline)-1].Until; !until.Equal(time.Date(2026, 11, 3, 8, 0, 0, 0, time.UTC)) {
		t.Errorf("tried again at %v", until)
	}
	w.email.results(channels.Result{Verdict: channels.Sent, Code: "250"})
	urgent := n
	urgent.Priority = notice.LaneCritical
	w.clock.Advance(time.Hour)
	if got := statuses(w.ended(w.admit(urgent))); got[0] != "delivered 250" {
		t.Errorf("a critical one ended as %v", got)
	}
	w.clock.Advance(9*time.Hour + time.Minute)
	if got := statuses(w.ended(id)); got[0] != "delivered 250" {
		t.Errorf("ended as %v", got)
	}
	w.nothingLeft()
}
