package delivery_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/throttle"
)

var errProvider = errors.New("the provider's words")

func TestADeliveryIsRetriedByTheScheduleThenDeadThenRedriven(t *testing.T) {
	bothWays(t, setup{}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		consumer := w.start("c1")
		w.webhook.results(channels.Result{Verdict: channels.Retry, Code: "503", Err: errProvider})
		id := w.admit(to("https://a.example/hook"))
		for i, wait := range w.setup.retry.Schedule {
			d := w.retrying(id, 1, i+1)
			last := d.Timeline[len(d.Timeline)-1]
			if got := last.Until.Sub(last.At); got != wait.Std() || last.Code != "503" || last.Detail != errProvider.Error() {
				t.Errorf("attempt %d waits %v after %q %q, want %v", i+1, got, last.Code, last.Detail, wait)
			}
			w.clock.Advance(wait.Std())
		}
		if d := w.became(id, 1, notice.StatusDead); d.Attempt != 3 || len(w.webhook.sent(id)) != 3 {
			t.Errorf("dead after %d attempts, %d sends, want 3", d.Attempt, len(w.webhook.sent(id)))
		}
		dead, _, err := w.queue.DeadList(t.Context(), queue.DeadFilter{Tenant: "acme"})
		if err != nil || len(dead) != 1 || dead[0].ID != id+"-1" || dead[0].Reason != "attempts" || dead[0].Detail != errProvider.Error() {
			t.Fatalf("dead letters %+v, %v", dead, err)
		}
		w.webhook.script(nil)
		if n, err := w.queue.Redrive(t.Context(), "acme", dead[0].ID); n != 1 || err != nil {
			t.Fatalf("redriven %d, %v", n, err)
		}
		w.became(id, 1, notice.StatusDelivered)
		sent := w.webhook.sent(id)
		if got := []int{sent[0].Attempt, sent[1].Attempt, sent[2].Attempt, sent[3].Attempt}; len(sent) != 4 || !slices.Equal(got, []int{1, 2, 3, 1}) {
			t.Errorf("attempts %v of %d sends", got, len(sent))
		}
		w.nothingLeft()
		if got := consumer.metric("carillon_retries_total", "channel", "webhook"); got != 2 {
			t.Errorf("counted %v retries, want 2", got)
		}
	})
}

func TestARetryAfterIsObeyed(t *testing.T) {
	bothWays(t, setup{}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		w.start("c1")
		w.webhook.results(channels.Result{Verdict: channels.Retry, Code: "503", RetryAfter: 77 * time.Second}, channels.Result{Verdict: channels.Sent})
		id := w.admit(to("https://a.example/hook"))
		d := w.retrying(id, 1, 1)
		asked := d.Timeline[len(d.Timeline)-1]
		if got := asked.Until.Sub(asked.At); got != 77*time.Second {
			t.Fatalf("waits %v, want the 77 s that the provider asked for", got)
		}
		w.clock.Advance(77 * time.Second)
		r := w.ended(id)
		last := r.Deliveries[0].Timeline[len(r.Deliveries[0].Timeline)-1]
		if last.Status != notice.StatusDelivered || last.At.Before(asked.Until) || last.At.After(asked.Until.Add(5*time.Second)) {
			t.Errorf("%s %v after the moment asked for", last.Status, last.At.Sub(asked.Until))
		}
	})
}

func TestAThrottledHostHoldsUpNoOtherHost(t *testing.T) {
	bothWays(t, setup{}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		consumer := w.start("c1")
		w.webhook.script(func(_ context.Context, m channels.Message) channels.Result {
			if strings.Contains(m.Address.To, "//busy.example/") && w.clock.Now().Before(w.setup.at.Add(30*time.Second)) {
				return channels.Result{Verdict: channels.Throttled, Scope: channels.ScopeHost, RetryAfter: 30 * time.Second, Code: "429"}
			}
			return channels.Result{Verdict: channels.Sent, Code: "200"}
		})
		first := w.admit(to("https://busy.example/1"))
		w.became(first, 1, notice.StatusDeferred)
		second := w.admit(to("https://busy.example/2"))
		d := w.became(second, 1, notice.StatusDeferred)
		if code := d.Timeline[len(d.Timeline)-1].Code; code != "paused" || len(w.webhook.sent(second)) != 0 {
			t.Errorf("deferred by %q after %d sends, want it put off without asking the host", code, len(w.webhook.sent(second)))
		}
		if got := statuses(w.ended(w.admit(to("https://idle.example/"))))[0]; got != "delivered 200" {
			t.Errorf("another host's delivery ended as %s", got)
		}
		w.clock.Advance(time.Minute)
		for _, id := range []string{first, second} {
			if r := w.ended(id); statuses(r)[0] != "delivered 200" || r.Deliveries[0].Attempt != 1 {
				t.Errorf("ended as %+v, want it delivered with the first attempt", r)
			}
		}
		if got := consumer.metric("carillon_throttled_total", "scope", "host", "action", "pause"); got != 1 {
			t.Errorf("counted %v pauses, want 1", got)
		}
	})
}

func TestABrokenCredentialPausesTheChannelAndDropsNothing(t *testing.T) {
	bothWays(t, setup{}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		consumer := w.start("c1")
		w.webhook.results(channels.Result{Verdict: channels.Broken, Code: "403", Err: errProvider})
		var ids []string
		for range 6 {
			ids = append(ids, w.admit(to("https://a.example/hook")))
		}
		w.await("the pause", func() bool { return consumer.Paused()[notice.ChannelWebhook] != "" })
		if why := consumer.Paused()[notice.ChannelWebhook]; why != "403: "+errProvider.Error() {
			t.Errorf("paused because of %q", why)
		}
		mail := toUser("", notice.MediumEmail)
		mail.To.Email = "ada@example.com"
		if got := statuses(w.ended(w.admit(mail)))[0]; got != "delivered 200" {
			t.Errorf("another channel's delivery ended as %s", got)
		}
		w.webhook.script(nil)
		w.clock.Advance(20 * time.Second)
		consumer.slots[notice.ChannelWebhook].Release(0) // lets whoever waits look at the clock again
		for _, id := range ids {
			if r := w.ended(id); statuses(r)[0] != "delivered 200" || r.Deliveries[0].Attempt != 1 {
				t.Errorf("ended as %+v, want it delivered with the first attempt", r)
			}
		}
		if left := consumer.Paused(); len(left) != 0 {
			t.Errorf("still paused: %v", left)
		}
		w.nothingLeft()
	})
}

// Only a delivery ended the word of a refused credential, so that a channel
// whose provider took it again was called paused while messages failed for
// reasons of their own.
func TestAChannelWhoseCredentialIsTakenAgainIsNotCalledPaused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	consumer := w.start("c1")
	w.webhook.results(channels.Result{Verdict: channels.Broken, Code: "403", Err: errProvider}, channels.Result{Verdict: channels.Rejected, Code: "400"})
	id := w.admit(to("https://a.example/hook"))
	w.await("the pause", func() bool { return consumer.Paused()[notice.ChannelWebhook] != "" })
	w.became(id, 1, notice.StatusDeferred)
	w.clock.Advance(20 * time.Second)
	consumer.slots[notice.ChannelWebhook].Release(0) // lets whoever waits look at the clock again
	w.ended(id)
	if left := consumer.Paused(); len(left) != 0 {
		t.Errorf("still called paused: %v", left)
	}
}

// Every Web Push service shared one host in the throttle, and every mailbox.
func TestAThrottledWebPushServiceHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	push := &adapter{channel: notice.ChannelWebPush}
	push.script(func(_ context.Context, m channels.Message) channels.Result {
		if strings.Contains(m.Address.To, "busy.example") {
			return channels.Result{Verdict: channels.Throttled, Scope: channels.ScopeHost, RetryAfter: time.Minute, Code: "406"}
		}
		return channels.Result{Verdict: channels.Sent, Code: "201"}
	})
	w.start("c1", func(o *delivery.Options) {
		o.Enabled[notice.ChannelWebPush] = true
		o.Channels = append(o.Channels, delivery.Channel{Adapter: push, Slots: throttle.NewSlots(4, w.clock.Now), Pace: throttle.NewPace(config.Rate{}), Retry: w.setup.retry})
	})
	device := func(host string) notice.Notification {
		n := toUser("", notice.MediumPush)
		n.To.Devices = []notice.Device{{Platform: notice.PlatformWeb, Token: `{"endpoint":"https://` + host + `/x","keys":{"p256dh":"p","auth":"a"}}`}}
		return n
	}
	w.became(w.admit(device("busy.example")), 1, notice.StatusDeferred)
	if got := statuses(w.ended(w.admit(device("idle.example"))))[0]; got != "delivered 201" {
		t.Errorf("another service's delivery ended as %s", got)
	}
	second := w.admit(device("busy.example"))
	d := w.became(second, 1, notice.StatusDeferred)
	if code := d.Timeline[len(d.Timeline)-1].Code; code != "paused" {
		t.Errorf("the same service's delivery was deferred by %q", code)
	}
}

// What made no sense on a stream but was JSON was sent, and its settlement,
// which cannot be, held up every other one.
func TestWhatMakesNoSenseOnAStreamIsADeadLetterAndHoldsUpNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	w.start("c1")
	for _, e := range []struct{ stream, payload string }{
		{"webhook:normal", "no JSON"}, {"webhook:normal", `{"id":"x"}`}, {"webhook:normal", `{"id":"0-00000000000000000000"}`},
		{"webhook:normal", "\xff"}, {"events:normal", "no JSON"},
	} {
		w.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: "{t:0}:" + e.stream, Values: []string{"d", e.payload}})
	}
	for _, id := range w.admitMany(4) {
		if got := statuses(w.ended(id))[0]; got != "delivered 200" {
			t.Errorf("ended as %s", got)
		}
	}
	w.await("the dead letters", func() bool {
		dead, _, err := w.queue.DeadList(t.Context(), queue.DeadFilter{Reason: "malformed"})
		return err == nil && len(dead) == 5
	})
	w.nothingLeft()
	if n := len(w.webhook.all()); n != 4 {
		t.Errorf("%d deliveries were sent, want the 4 that make sense", n)
	}
}

func TestWhatExpiresBeforeItIsSentIsExpired(t *testing.T) {
	bothWays(t, setup{}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		w.start("c1")
		w.webhook.results(channels.Result{Verdict: channels.Retry, Code: "503"})
		n := to("https://a.example/hook")
		n.ExpiresAt = w.clock.Now().Add(time.Minute)
		id := w.admit(n)
		w.retrying(id, 1, 1)
		w.clock.Advance(2 * time.Minute)
		if r := w.ended(id); statuses(r)[0] != "expired expires_at" || len(w.webhook.sent(id)) != 1 {
			t.Errorf("ended as %v after %d sends", statuses(r), len(w.webhook.sent(id)))
		}
	})
}

func TestATemplateThatFailsAtSendIsADeadLetterWithTheReason(t *testing.T) {
	bothWays(t, setup{catalogue: map[string]string{
		"list/template.yaml":        "category: news\nschema: {type: object, required: [n], properties: {n: {}}}\nsamples: {default: {n: [1]}}\n",
		"list/en/email.subject.txt": "list",
		"list/en/email.txt":         "{{range .data.n}}{{.}}{{end}}",
	}}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		w.start("c1")
		n := toUser("", notice.MediumEmail)
		n.Template, n.Data, n.To.Email = "list", []byte(`{"n":"no list"}`), "ada@example.com"
		id := w.admit(n)
		d := w.became(id, 1, notice.StatusDead)
		if last := d.Timeline[len(d.Timeline)-1]; last.Code != "render" || !strings.Contains(last.Detail, "list/en/email.txt") || len(w.email.sent(id)) != 0 {
			t.Errorf("dead as %+v", last)
		}
		dead, _, err := w.queue.DeadList(t.Context(), queue.DeadFilter{Reason: "render"})
		if err != nil || len(dead) != 1 {
			t.Errorf("dead letters %+v, %v", dead, err)
		}
	})
}

func TestAnAdapterThatPanicsIsAnAttemptThatFailed(t *testing.T) {
	bothWays(t, setup{}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		w.start("c1")
		w.webhook.script(func(context.Context, channels.Message) channels.Result { panic("kaput") })
		id := w.admit(to("https://a.example/hook"))
		if d := w.retrying(id, 1, 1); d.Timeline[len(d.Timeline)-1].Code != "panic" {
			t.Errorf("retrying as %+v", d)
		}
		w.webhook.script(nil)
		w.clock.Advance(10 * time.Second)
		if got := statuses(w.ended(id))[0]; got != "delivered 200" {
			t.Errorf("ended as %s", got)
		}
	})
}

func TestADeviceThatIsGoneIsNotTriedAgain(t *testing.T) {
	bothWays(t, setup{}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		w.start("c1")
		w.apns.results(channels.Result{Verdict: channels.Gone, Code: "Unregistered"})
		w.profile("ada", recipients.Profile{Devices: []recipients.Device{{Platform: notice.PlatformIOS, Token: token("aa")}}})
		r := w.ended(w.admit(toUser("ada", notice.MediumPush)))
		timeline := r.Deliveries[0].Timeline
		if got := statuses(r)[0]; got != "failed Unregistered" || !strings.Contains(timeline[len(timeline)-1].Detail, "the device was removed") {
			t.Fatalf("ended as %s: %+v", got, timeline)
		}
		p, err := w.people.Get(t.Context(), "acme", "ada")
		if err != nil || len(p.Devices) != 0 || len(p.Removed) != 1 || p.Removed[0].Reason != "Unregistered" {
			t.Errorf("the profile says %+v, %v", p, err)
		}
		if got := statuses(w.ended(w.admit(toUser("ada", notice.MediumPush))))[0]; got != "failed no_address" {
			t.Errorf("the next one ended as %s", got)
		}
	})
}

func TestAMailboxThatIsGoneIsSuppressed(t *testing.T) {
	bothWays(t, setup{}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		w.start("c1")
		w.email.results(channels.Result{Verdict: channels.Gone, Code: "5.1.1"})
		w.profile("ada", recipients.Profile{Email: "ada@example.com"})
		w.ended(w.admit(toUser("ada")))
		r := w.ended(w.admit(toUser("ada")))
		if got := statuses(r)[0]; got != "suppressed suppressed" || r.Deliveries[0].Timeline[1].Detail != "gone: 5.1.1" {
			t.Errorf("the next one ended as %+v", r)
		}
	})
}

// APNs says since when a token has been dead: one that its app registered
// again after that is alive, and was called dead only because the answer is
// about the time before.
func TestADeviceThatWasRegisteredAgainSinceItWasGoneIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	w.start("c1")
	w.profile("ada", recipients.Profile{Devices: []recipients.Device{{Platform: notice.PlatformIOS, Token: token("aa")}}})
	w.apns.results(channels.Result{Verdict: channels.Gone, Code: "Unregistered", GoneSince: w.clock.Now().Add(-time.Hour)}, channels.Result{Verdict: channels.Sent, Code: "200"})
	w.ended(w.admit(toUser("ada", notice.MediumPush)))
	if got := statuses(w.ended(w.admit(toUser("ada", notice.MediumPush))))[0]; got != "delivered 200" {
		t.Errorf("the next one ended as %s", got)
	}
}

// A device that nobody has registered is not removed from anything.
func TestADeadDeviceGivenInlineIsToldByTheTimelineAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	w.start("c1")
	w.apns.results(channels.Result{Verdict: channels.Gone, Code: "Unregistered"})
	n := toUser("", notice.MediumPush)
	n.To.Devices = []notice.Device{{Platform: notice.PlatformIOS, Token: token("aa")}}
	r := w.ended(w.admit(n))
	timeline := r.Deliveries[0].Timeline
	if got := statuses(r)[0]; got != "failed Unregistered" || strings.Contains(timeline[len(timeline)-1].Detail, "removed") {
		t.Errorf("ended as %s: %+v", got, timeline)
	}
}

// leaseAndDie takes what is on a channel's stream as a consumer that is never
// heard of again.
func (w *world) leaseAndDie(c notice.Channel, want int) {
	w.t.Helper()
	r := w.queue.DeliveryReader("dead", c, notice.LaneNormal)
	got := 0
	w.await("deliveries to lease", func() bool {
		leases, err := r.Read(w.t.Context(), 100)
		if err != nil {
			w.t.Fatal(err)
		}
		got += len(leases)
		return got >= want
	})
}

// planOnly plans what is on the queue and sends nothing.
func (w *world) planOnly(ids ...string) {
	w.t.Helper()
	planner := w.start("planner", func(o *delivery.Options) { o.Channels = nil })
	for _, id := range ids {
		w.became(id, 1, notice.StatusQueued)
	}
	planner.stop()
}

func TestADeliveryWhoseConsumerDiedCountsAnAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{visibility: 300 * time.Millisecond})
	id := w.admit(to("https://a.example/hook"))
	w.planOnly(id)
	w.leaseAndDie(notice.ChannelWebhook, 1)
	consumer := w.start("c2")
	w.ended(id)
	if got := w.webhook.sent(id); len(got) != 1 || got[0].Attempt != 2 {
		t.Errorf("sent %+v, want once, as the second attempt", got)
	}
	if got := consumer.metric("carillon_reclaimed_total"); got != 1 {
		t.Errorf("counted %v reclaimed, want 1", got)
	}
}

func TestADeliveryWhoseConsumerDiedIsHeldWhereThatIsAsked(t *testing.T) {
	t.Parallel()
	hold := config.Retry{OnUnknown: config.OnUnknownHold, Schedule: []config.Duration{config.Duration(time.Second)}}
	w := newWorld(t, setup{visibility: 300 * time.Millisecond, retry: hold})
	id := w.admit(to("https://a.example/hook"))
	w.planOnly(id)
	w.leaseAndDie(notice.ChannelWebhook, 1)
	w.start("c2")
	if got := statuses(w.ended(id))[0]; got != "dead lease-expired" || len(w.webhook.sent(id)) != 0 {
		t.Errorf("ended as %s after %d sends", got, len(w.webhook.sent(id)))
	}
	dead, _, err := w.queue.DeadList(t.Context(), queue.DeadFilter{Reason: "unknown-outcome"})
	if err != nil || len(dead) != 1 {
		t.Errorf("dead letters %+v, %v", dead, err)
	}
}

func TestASendThatLastsLongerThanTheVisibilityIsMadeOnce(t *testing.T) {
	bothWays(t, setup{visibility: time.Second}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		w.webhook.script(func(ctx context.Context, _ channels.Message) channels.Result {
			select {
			case <-time.After(3 * time.Second):
				return channels.Result{Verdict: channels.Sent, Code: "200"}
			case <-ctx.Done():
				return channels.Result{Verdict: channels.Unknown}
			}
		})
		w.start("c1")
		other := w.start("c2")
		id := w.admit(to("https://a.example/hook"))
		if r := w.ended(id); statuses(r)[0] != "delivered 200" || len(w.webhook.sent(id)) != 1 {
			t.Errorf("ended as %v after %d sends", statuses(r), len(w.webhook.sent(id)))
		}
		if got := other.metric("carillon_reclaimed_total"); got != 0 {
			t.Errorf("another consumer took %v entries over", got)
		}
	})
}

func TestNoMoreIsInFlightThanThereAreSlots(t *testing.T) {
	bothWays(t, setup{}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		release := make(chan struct{})
		w.webhook.script(func(ctx context.Context, _ channels.Message) channels.Result {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return channels.Result{Verdict: channels.Sent, Code: "200"}
		})
		consumer := w.start("c1")
		var ids []string
		for range 20 {
			ids = append(ids, w.admit(to("https://a.example/hook")))
		}
		inflight := func() float64 { return consumer.metric("carillon_inflight", "channel", "webhook") }
		w.await("full slots", func() bool { return inflight() == float64(w.setup.slots) })
		if got := len(w.webhook.all()); got > w.setup.slots {
			t.Errorf("%d sends at once with %d slots", got, w.setup.slots)
		}
		close(release)
		for _, id := range ids {
			w.ended(id)
		}
		w.await("free slots", func() bool { return inflight() == 0 })
	})
}
