package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// TestACancelIsTrueWheneverItComes cancels from many goroutines while three
// consumers plan, hand over, send, fail and try again: what an answer calls
// canceled is never sent from then on, what it calls too late was begun, and
// every delivery ends in one way.
func TestACancelIsTrueWheneverItComes(t *testing.T) {
	bothWays(t, setup{slots: 2, jitter: func(d time.Duration) time.Duration { return min(d, 20*time.Millisecond) }}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		w.webhook.script(func(_ context.Context, m channels.Message) channels.Result {
			time.Sleep(rand.N(4 * time.Millisecond)) // a provider's time, not the test's
			if m.Attempt == 1 && rand.IntN(2) == 0 {
				return channels.Result{Verdict: channels.Retry, Code: "503"}
			}
			return channels.Result{Verdict: channels.Sent, Code: "200"}
		})
		for i := range 3 {
			w.start(fmt.Sprint("c", i))
		}
		var mu sync.Mutex
		var canceling sync.WaitGroup
		answers := map[string]queue.Cancellation{} // and what had been sent when they came
		begun := map[string]int{}
		var ids []string
		for i := range 240 {
			n := to(fmt.Sprintf("https://a%d.example/hook", i))
			if i%2 == 0 {
				n.To.Webhooks = append(n.To.Webhooks, notice.Webhook{URL: fmt.Sprintf("https://b%d.example/hook", i)})
			}
			id := w.admit(n)
			ids = append(ids, id)
			if i%5 == 0 {
				continue
			}
			wait := rand.N(60 * time.Millisecond)
			canceling.Go(func() {
				time.Sleep(wait) // anywhere in its life
				c, err := w.queue.Cancel(context.Background(), "acme", id)
				if err != nil && !errors.Is(err, queue.ErrFinished) {
					t.Errorf("canceling: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				answers[id] = c
				for _, d := range c.Canceled {
					begun[d] = len(w.webhook.sent(d))
				}
			})
		}
		canceling.Wait()
		counts := map[notice.Status]int{}
		for _, id := range ids {
			r := w.ended(id)
			for _, d := range r.Deliveries {
				counts[d.Status]++
				sent := len(w.webhook.sent(d.ID))
				answered := slices.Contains(answers[id].Canceled, d.ID) || slices.Contains(answers[id].Canceled, id)
				switch {
				case d.Status == notice.StatusDelivered && answered:
					t.Errorf("%s was called canceled and was delivered", d.ID)
				case d.Status == notice.StatusDelivered && sent == 0, d.Status == notice.StatusCanceled && d.Attempt != 0 && sent == 0:
					t.Errorf("%s ended as %s and was never sent", d.ID, d.Status)
				case d.Status != notice.StatusDelivered && d.Status != notice.StatusCanceled:
					t.Errorf("%s ended as %s", d.ID, d.Status)
				case d.Status == notice.StatusCanceled && strings.Count(fmt.Sprint(d.Timeline), "canceled by its sender") != 1:
					t.Errorf("%s: its timeline is %+v", d.ID, d.Timeline)
				}
			}
			for _, late := range answers[id].TooLate {
				if late != id && len(w.webhook.sent(late)) == 0 {
					t.Errorf("%s was called too late and was never sent", late)
				}
			}
		}
		for d, n := range begun {
			if now := len(w.webhook.sent(d)); now != n {
				t.Errorf("%s was sent %d times after it was called canceled", d, now-n)
			}
		}
		if counts[notice.StatusDelivered] == 0 || counts[notice.StatusCanceled] == 0 {
			t.Errorf("it proves nothing: %v", counts)
		}
		t.Log(counts)
		w.nothingLeft()
	})
}

// What waits for a channel that is paused is held by a consumer for as long.
func TestWhatWaitsForAPausedChannelCanBeCanceled(t *testing.T) {
	bothWays(t, setup{visibility: time.Hour}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		r := w.start("c1")
		w.webhook.results(channels.Result{Verdict: channels.Throttled, Scope: channels.ScopeChannel, RetryAfter: time.Hour})
		first := w.admit(to("https://a.example/hook"))
		w.await("the channel to pause", func() bool { _, paused := r.slots[notice.ChannelWebhook].Paused(w.clock.Now()); return paused })
		w.became(first, 1, notice.StatusDeferred) // or it would be what is pending below
		held := w.admit(to("https://b.example/hook"))
		w.await("the second to be held", func() bool { return pendingDeliveries(w) == 1 })
		for _, id := range []string{first, held} {
			if c, err := w.queue.Cancel(t.Context(), "acme", id); err != nil || len(c.Canceled) != 1 || len(c.TooLate) != 0 {
				t.Errorf("canceled %+v, %v", c, err)
			}
			if d := w.ended(id).Deliveries; len(d) != 1 || d[0].Status != notice.StatusCanceled {
				t.Errorf("ended as %+v", d)
			}
		}
		if n := len(w.webhook.sent(held)); n != 0 {
			t.Errorf("sent %d times", n)
		}
		w.nothingLeft()
	})
}

// A backlog that nobody has read yet is canceled at once, and never sent.
func TestABacklogThatNobodyHasReadCanBeCanceled(t *testing.T) {
	w := newWorld(t, setup{})
	ids := w.admitMany(20)
	quickest := time.Hour // a busy machine may keep one of them waiting, and not all
	for _, id := range ids[:10] {
		began := time.Now()
		if c, err := w.queue.Cancel(t.Context(), "acme", id); err != nil || !slices.Equal(c.Canceled, []string{id}) {
			t.Fatalf("canceled %+v, %v", c, err)
		}
		quickest = min(quickest, time.Since(began))
	}
	if quickest > time.Second {
		t.Errorf("a cancel that waits for nobody took %v", quickest)
	}
	w.start("c1")
	for i, id := range ids {
		if i < 10 {
			continue
		}
		w.ended(id)
	}
	w.nothingLeft()
	for i, id := range ids {
		if n := len(w.webhook.sent(id)); n != i/10 {
			t.Errorf("notification %d was sent %d times", i, n)
		}
	}
}

// What is being sent when it is canceled is not stopped; that it is tried again
// is.
func TestAnAttemptUnderWayIsTooLateAndIsTheLast(t *testing.T) {
	bothWays(t, setup{}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		release := make(chan struct{})
		w.webhook.script(func(context.Context, channels.Message) channels.Result {
			<-release
			return channels.Result{Verdict: channels.Retry, Code: "503"}
		})
		r := w.start("c1", func(o *delivery.Options) { o.Grace = time.Minute })
		id := w.admit(to("https://a.example/hook"))
		r.sending(1)
		c, err := w.queue.Cancel(t.Context(), "acme", id)
		close(release)
		if !errors.Is(err, queue.ErrFinished) || len(c.TooLate) != 1 || len(c.Canceled) != 0 {
			t.Errorf("canceled %+v, %v", c, err)
		}
		d := w.ended(id).Deliveries[0]
		if last := d.Timeline[len(d.Timeline)-1]; d.Status != notice.StatusCanceled || d.Attempt != 1 || last.Code != "503" {
			t.Errorf("ended as %+v", d)
		}
		if n := len(w.webhook.sent(id)); n != 1 {
			t.Errorf("sent %d times", n)
		}
		w.nothingLeft()
	})
}
