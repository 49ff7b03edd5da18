package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/throttle"
)

// written is how many deliveries were ever written to a channel's streams.
func (w *world) written(c notice.Channel) (n int64) {
	w.t.Helper()
	ctx := context.Background()
	for _, key := range w.rdb.Keys(ctx, "*}:"+string(c)+":*").Val() {
		info, err := w.rdb.XInfoStream(ctx, key).Result()
		if err != nil {
			w.t.Fatal(err)
		}
		n += info.EntriesAdded
	}
	return n
}

func TestWhatIsHandedOverAndWhatGoesByTheStream(t *testing.T) {
	t.Parallel()
	hold := config.Retry{OnUnknown: config.OnUnknownHold, Schedule: []config.Duration{config.Duration(time.Second)}}
	twoHooks := to("https://a.example/hook")
	twoHooks.To.Webhooks = append(twoHooks.To.Webhooks, notice.Webhook{URL: "https://b.example/hook"})
	chain := to("https://a.example/hook")
	chain.Route, chain.Channels, chain.To.Email = notice.RouteFirst, []notice.Medium{notice.MediumWebhook, notice.MediumEmail}, "ada@example.com"
	oneOff := to("https://a.example/hook")
	oneOff.Channels = []notice.Medium{notice.MediumWebhook, notice.MediumEmail} // and no address for mail
	tests := []struct {
		name    string
		n       notice.Notification
		change  func(*delivery.Options)
		written int64
	}{
		{"one delivery that may start is handed over", to("https://a.example/hook"), nil, 0},
		{"two deliveries are written", twoHooks, nil, 2},
		{"one delivery beside an address that gets nothing is written", oneOff, nil, 1},
		{"a chain is written", chain, nil, 1},
		{"a channel that holds unknown outcomes is written", to("https://a.example/hook"), func(o *delivery.Options) {
			for i := range o.Channels {
				o.Channels[i].Retry = hold
			}
		}, 1},
		{"a pipeline without patience writes", to("https://a.example/hook"), func(o *delivery.Options) { o.Patience = -1 }, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{patience: time.Minute})
			change := tt.change
			if change == nil {
				change = func(*delivery.Options) {}
			}
			w.start("c1", change)
			id := w.admit(tt.n)
			r := w.ended(id)
			d := r.Deliveries[0]
			if d.Status != notice.StatusDelivered || d.Attempt != 1 || len(d.Timeline) != 2 || d.Timeline[0].Status != notice.StatusQueued || d.Channel != notice.ChannelWebhook || !strings.Contains(d.Address, "a.example") {
				t.Errorf("on record as %+v", d)
			}
			if got := w.written(notice.ChannelWebhook); got != tt.written {
				t.Errorf("%d deliveries were written, want %d", got, tt.written)
			}
			w.nothingLeft()
		})
	}
}

// Whatever a provider answers, the record, the dead letters and what is parked
// are the same as when the delivery came by its stream.
func TestEveryAnswerHasTheSameConsequencesBothWays(t *testing.T) {
	t.Parallel()
	answers := []channels.Result{
		{Verdict: channels.Sent, Code: "200", ProviderID: "p1"},
		{Verdict: channels.Retry, Code: "503", Err: errProvider},
		{Verdict: channels.Retry, Code: "503", RetryAfter: time.Hour},
		{Verdict: channels.Throttled, Code: "429", RetryAfter: time.Minute, Scope: channels.ScopeHost},
		{Verdict: channels.Throttled, Code: "429", Scope: channels.ScopeChannel},
		{Verdict: channels.Rejected, Code: "400", Err: errProvider},
		{Verdict: channels.Gone, Code: "410"},
		{Verdict: channels.Broken, Code: "401", Err: errProvider},
		{Verdict: channels.Unknown, Code: "timeout"},
	}
	for _, answer := range answers {
		t.Run(fmt.Sprint(answer.Verdict, " ", answer.Code, " ", answer.RetryAfter), func(t *testing.T) {
			t.Parallel()
			var seen [2]string
			for i, patience := range []time.Duration{-1, time.Minute} {
				w := newWorld(t, setup{patience: patience, retry: config.Retry{Schedule: []config.Duration{config.Duration(time.Minute)}}})
				consumer := w.start("c1")
				w.webhook.results(answer, channels.Result{Verdict: answer.Verdict, Code: "again", Err: errProvider})
				id := w.admit(to("https://a.example/hook"))
				first := w.settledOnce(id)
				w.clock.Advance(2 * time.Hour)
				consumer.slots[notice.ChannelWebhook].Release(0) // lets whoever waits look at the clock again
				second := first
				if !first.Status.Final() {
					w.await("a second attempt", func() bool { second = w.settledOnce(id); return len(second.Timeline) > len(first.Timeline) })
				}
				seen[i] = storyOf(first) + storyOf(second) + fmt.Sprint(w.webhook.all()[id+"-1"])
				if written := w.written(notice.ChannelWebhook); patience > 0 && first.Status.Final() && written != 0 {
					t.Errorf("%d deliveries were written", written)
				}
			}
			if seen[0] != seen[1] {
				t.Errorf("by the stream:\n%s\nhanded over:\n%s", seen[0], seen[1])
			}
		})
	}
}

// settledOnce waits until something follows the plan of a notification's only
// delivery.
func (w *world) settledOnce(id string) (d queue.DeliveryRecord) {
	w.t.Helper()
	w.await("what follows", func() bool {
		if r := w.record(id); len(r.Deliveries) == 1 {
			d = r.Deliveries[0]
		}
		return len(d.Timeline) > 1
	})
	return d
}

// storyOf is a delivery's timeline but for the time of day.
func storyOf(d queue.DeliveryRecord) string {
	var b strings.Builder
	for _, e := range d.Timeline {
		fmt.Fprintln(&b, e.Status, e.Attempt, e.Code, e.Detail, e.ProviderID, e.Until.Sub(e.At).Round(5*time.Second))
	}
	return b.String()
}

// line is a connection's way to the server. A test can cut it, so that nothing
// more is sent, or lose the reply to the next commit, which is made all the same.
type line struct{ cut, lose, lost atomic.Bool }

type lineConn struct {
	net.Conn
	line *line
	deaf atomic.Bool
}

func (c *lineConn) Write(b []byte) (int, error) {
	if c.line.cut.Load() {
		return 0, errors.New("the line is cut")
	}
	if commit := bytes.Contains(b, []byte("\r\ndone\r\n")) || bytes.Contains(b, []byte("\r\nlater\r\n")); commit && c.line.lose.Swap(false) {
		c.deaf.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *lineConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.deaf.Load() {
		c.line.lost.Store(true)
		return 0, errors.New("the reply is lost")
	}
	return n, err
}

// lineTo opens the world's queue over connections that can be cut.
func (w *world) lineTo() (*queue.Queue, *line) {
	w.t.Helper()
	l := &line{}
	client := redis.NewClient(&redis.Options{Addr: w.server.Addr, PoolSize: 64, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			return &lineConn{Conn: c, line: l}, err
		}})
	w.t.Cleanup(func() { client.Close() })
	return w.openQueue(client), l
}

// A consumer that dies between the send and the commit leaves an event that
// may have been sent. The next one says so, counts an attempt, and sends under
// the same id.
func TestAConsumerThatDiesBeforeItsCommitLeavesWhatMayHaveBeenSent(t *testing.T) {
	t.Parallel()
	for _, answer := range []channels.Result{{Verdict: channels.Sent, Code: "200"}, {Verdict: channels.Retry, Code: "503"}} {
		t.Run(fmt.Sprint(answer.Verdict), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{visibility: 500 * time.Millisecond, patience: time.Minute, jitter: soon})
			q, l := w.lineTo()
			w.webhook.script(func(_ context.Context, m channels.Message) channels.Result {
				if m.Attempt == 1 {
					l.cut.Store(true)
					return answer
				}
				return channels.Result{Verdict: channels.Sent, Code: "201"}
			})
			first := w.start("c1", func(o *delivery.Options) { o.Queue = q })
			id := w.admit(to("https://a.example/hook"))
			w.await("the send", func() bool { return len(w.webhook.sent(id)) == 1 })
			second := w.start("c2")
			d := w.ended(id).Deliveries[0]
			l.cut.Store(false) // now the first consumer's commit comes, too late
			first.stop()
			w.nothingLeft()
			if after := w.record(id).Deliveries[0]; storyOf(after) != storyOf(d) {
				t.Errorf("the late commit changed the record to\n%s", storyOf(after))
			}
			if len(d.Timeline) != 3 || d.Timeline[1].Code != "lease-expired" || d.Timeline[1].Attempt != 1 || d.Timeline[2].Code != "201" || d.Attempt != 2 {
				t.Errorf("on record as\n%s", storyOf(d))
			}
			sent := w.webhook.sent(id)
			if len(sent) != 2 || sent[0].ID != sent[1].ID || sent[1].Attempt != 2 {
				t.Errorf("sent %+v, want twice under one id", sent)
			}
			if got := second.metric("carillon_reclaimed_total"); got != 1 {
				t.Errorf("counted %v reclaimed, want 1", got)
			}
		})
	}
}

// The commit was made, and its reply lost: repeating it changes nothing.
func TestACommitWhoseReplyIsLostIsMadeOnce(t *testing.T) {
	t.Parallel()
	for _, answer := range []channels.Result{{Verdict: channels.Sent, Code: "200"}, {Verdict: channels.Retry, Code: "503"}, {Verdict: channels.Rejected, Code: "400"}} {
		t.Run(fmt.Sprint(answer.Verdict), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{visibility: time.Hour, patience: time.Minute})
			q, l := w.lineTo()
			w.webhook.script(func(context.Context, channels.Message) channels.Result {
				l.lose.Store(true)
				return answer
			})
			w.start("c1", func(o *delivery.Options) { o.Queue = q })
			id := w.admit(to("https://a.example/hook"))
			d := w.settledOnce(id)
			w.await("the loss of the reply", l.lost.Load)
			// Whoever comes after has passed the repeated commit.
			w.webhook.script(nil)
			w.ended(w.admit(to("https://b.example/hook")))
			if after := w.record(id).Deliveries[0]; len(after.Timeline) != 2 || storyOf(after) != storyOf(d) || len(w.webhook.sent(id)) != 1 {
				t.Errorf("after %d sends on record as\n%s", len(w.webhook.sent(id)), storyOf(after))
			}
		})
	}
}

// takeOver makes another consumer the holder of every entry that is leased.
func (w *world) takeOver(by string) {
	w.t.Helper()
	for _, e := range w.leased() {
		if err := w.rdb.XClaimJustID(w.t.Context(), &redis.XClaimArgs{Stream: e.stream, Group: "carillon", Consumer: by, Messages: []string{e.ID}}).Err(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// What another consumer has taken over may be sent by it. A final answer counts
// all the same; having it sent again is not ours to ask for any more.
func TestAConsumerThatLostTheEventEndsItAndDoesNotParkIt(t *testing.T) {
	t.Parallel()
	tests := []struct {
		answer channels.Result
		ends   bool
	}{
		{channels.Result{Verdict: channels.Sent, Code: "200"}, true},
		{channels.Result{Verdict: channels.Rejected, Code: "400"}, true},
		{channels.Result{Verdict: channels.Retry, Code: "503"}, false},
		{channels.Result{Verdict: channels.Throttled, Code: "429"}, false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.answer.Verdict), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{visibility: time.Hour, patience: time.Minute})
			release := make(chan struct{})
			w.webhook.script(func(context.Context, channels.Message) channels.Result {
				<-release
				return tt.answer
			})
			consumer := w.start("c1")
			id := w.admit(to("https://a.example/hook"))
			consumer.sending(1)
			w.takeOver("thief")
			close(release)
			if tt.ends {
				w.ended(id)
				w.nothingLeft()
				return
			}
			w.webhook.script(nil)
			w.ended(w.admit(to("https://b.example/hook"))) // its commit comes after
			if r := w.record(id); len(r.Deliveries) != 0 || heldBy(w, "thief") != 1 || len(w.rdb.Keys(t.Context(), "*:parked").Val()) != 0 {
				t.Errorf("on record as %+v, and the thief holds %d", r, heldBy(w, "thief"))
			}
		})
	}
}

// An event whose planner died was handed over by nobody where unknown outcomes
// are held: nothing is suspected there.
func TestAnEventOfADeadPlanner(t *testing.T) {
	t.Parallel()
	hold := config.Retry{OnUnknown: config.OnUnknownHold, Schedule: []config.Duration{config.Duration(time.Second)}}
	tests := []struct {
		name   string
		retry  config.Retry
		change func(*delivery.Options)
		story  []string
	}{
		{"counts an attempt where it may have been handed over", config.Retry{}, nil, []string{"queued", "retrying", "delivered"}},
		{"counts none on a channel that holds", hold, nil, []string{"queued", "delivered"}},
		{"counts none on a channel that holds and that another consumer serves", hold, func(o *delivery.Options) {
			o.Channels, o.Holds = nil, map[notice.Channel]bool{notice.ChannelWebhook: true}
		}, []string{"queued", "delivered"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{visibility: 300 * time.Millisecond, retry: tt.retry, jitter: soon})
			id := w.admit(to("https://a.example/hook"))
			w.leaseEventsAndDie()
			if tt.change != nil {
				w.start("planner", tt.change)
				w.became(id, 1, notice.StatusQueued)
			}
			w.start("c2")
			r := w.ended(id)
			var story []string
			for _, e := range r.Deliveries[0].Timeline {
				story = append(story, string(e.Status))
			}
			if !slices.Equal(story, tt.story) || len(w.webhook.sent(id)) != 1 {
				t.Errorf("went %v with %d sends, want %v with one", story, len(w.webhook.sent(id)), tt.story)
			}
		})
	}
}

// leaseEventsAndDie takes an event as a consumer that is never heard of again.
func (w *world) leaseEventsAndDie() {
	w.t.Helper()
	r := w.queue.EventReader("dead", notice.LaneNormal)
	w.await("an event to lease", func() bool {
		leases, err := r.Read(w.t.Context(), 100)
		if err != nil {
			w.t.Fatal(err)
		}
		return len(leases) > 0
	})
}

// What waits too long for a slot is written to the channel's stream, where the
// queue's depth shows it and another consumer may take it.
func TestWhatWaitsTooLongGoesToItsStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{visibility: time.Hour, slots: 1, patience: 20 * time.Millisecond})
	release := make(chan struct{})
	w.webhook.script(hangs(release))
	consumer := w.start("c1")
	ids := w.admitMany(5)
	consumer.sending(1)
	w.await("all but the one in flight written", func() bool { return w.written(notice.ChannelWebhook) == int64(len(ids)-1) })
	close(release)
	for _, id := range ids {
		if r := w.ended(id); statuses(r)[0] != "delivered 200" || r.Deliveries[0].Attempt != 1 {
			t.Errorf("ended as %+v", r)
		}
	}
	for id, n := range w.webhook.all() {
		if n != 1 {
			t.Errorf("%s was sent %d times", id, n)
		}
	}
	w.nothingLeft()
}

// A channel that takes nothing makes a planner wait once in a while, and not
// for each event: with a patience of two seconds, the fifty would take minutes.
func TestAStuckChannelDoesNotHoldUpAnothersEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{slots: 1, patience: 2 * time.Second})
	release := make(chan struct{})
	w.email.script(hangs(release))
	w.start("c1")
	mail := toUser("", notice.MediumEmail)
	mail.To.Email = "ada@example.com"
	var mails, hooks []string
	for range 100 {
		mails = append(mails, w.admit(mail)) // more than there is room for
	}
	for i := range 50 {
		mails = append(mails, w.admit(mail))
		hooks = append(hooks, w.admit(to(fmt.Sprintf("https://h%d.example/hook", i))))
	}
	for _, id := range hooks {
		w.ended(id)
	}
	if n := len(w.email.all()); n != 1 {
		t.Errorf("%d mails were begun on one slot", n)
	}
	close(release)
	for _, id := range mails {
		w.ended(id)
	}
	w.nothingLeft()
}

func TestAChannelsRateHoldsForWhatIsHandedOver(t *testing.T) {
	bothWays(t, setup{}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		var mu sync.Mutex
		var at []time.Time
		w.webhook.script(func(context.Context, channels.Message) channels.Result {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Now())
			return channels.Result{Verdict: channels.Sent, Code: "200"}
		})
		w.start("c1", func(o *delivery.Options) {
			for i := range o.Channels {
				o.Channels[i].Pace = throttle.NewPace(config.Rate{Count: 50, Per: time.Second})
			}
		})
		for _, id := range w.admitMany(40) {
			w.ended(id)
		}
		// A burst is 20 ms of the rate: 1 at 50 a second.
		if took := at[len(at)-1].Sub(at[0]); took < 38*time.Second/50 {
			t.Errorf("40 sends at 50 a second took %v", took)
		}
	})
}

// The patience is nobody's delay: what comes for a paused channel is written
// at once, and sent when the pause is over.
func TestAPausedChannelIsHandedNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{patience: time.Minute})
	consumer := w.start("c1")
	consumer.slots[notice.ChannelWebhook].Pause(w.clock.Now().Add(time.Hour))
	ids := w.admitMany(5)
	w.await("all written", func() bool { return w.written(notice.ChannelWebhook) == int64(len(ids)) })
	consumer.slots[notice.ChannelWebhook].Resume()
	for _, id := range ids {
		w.ended(id)
	}
}

func TestTwoConsumersSendEachDeliveryOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{slots: 8})
	w.webhook.script(takes(2 * time.Millisecond))
	w.start("c1")
	w.start("c2")
	for _, id := range w.admitMany(400) {
		w.ended(id)
	}
	for id, n := range w.webhook.all() {
		if n != 1 {
			t.Errorf("%s was sent %d times", id, n)
		}
	}
	w.nothingLeft()
}
