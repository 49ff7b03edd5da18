package delivery_test

import (
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
	"github.com/carillonhq/carillon/queue/queuetest"
)

// soon is a jitter that loses little time.
func soon(d time.Duration) time.Duration { return d / 20 }

// quick is a retry schedule that ends within a test.
func quick() config.Retry {
	r := config.Retry{}
	for range 20 {
		r.Schedule = append(r.Schedule, config.Duration(20*time.Millisecond))
	}
	return r
}

// takes is a provider that takes everything, and its time.
func takes(latency time.Duration) func(context.Context, channels.Message) channels.Result {
	return func(context.Context, channels.Message) channels.Result {
		<-time.After(latency)
		return channels.Result{Verdict: channels.Sent, Code: "200"}
	}
}

// keeper remembers what was accepted.
type keeper struct {
	w   *world
	ids []string
}

// keepAdmitting admits n notifications as a careful sender does: each is tried
// under its key until it is accepted. disturb is called beside the i-th.
func (w *world) keepAdmitting(n int, disturb func(i int)) *keeper {
	w.t.Helper()
	k := &keeper{w: w}
	var disturbing sync.WaitGroup
	defer disturbing.Wait()
	for i := range n {
		disturbing.Go(func() { disturb(i) })
		a := queue.Admission{Tenant: "acme", Key: fmt.Sprint(i), Digest: 1, Notification: to(fmt.Sprintf("https://h%d.example/hook", i%7))}
		w.await("an acceptance", func() bool {
			got, err := w.queue.Admit(context.Background(), a)
			if err == nil {
				k.ids = append(k.ids, got.ID)
			}
			return err == nil
		})
	}
	return k
}

// everyOneDelivered waits until all that was accepted is delivered, and fails
// for what was not, and for deliveries sent under more than one id.
func (k *keeper) everyOneDelivered() (sent, twice int) {
	w := k.w
	w.t.Helper()
	for _, id := range k.ids {
		if r := w.ended(id); len(r.Deliveries) != 1 || r.Deliveries[0].Status != notice.StatusDelivered {
			w.t.Fatalf("%s ended as %v %+v", id, statuses(r), r.Timeline)
		}
	}
	known := map[string]bool{}
	for _, id := range k.ids {
		known[id+"-1"] = true
	}
	for id, n := range w.webhook.all() {
		if !known[id] {
			w.t.Errorf("%s was sent, and is of no notification that was accepted", id)
		}
		if n > 1 {
			twice++
		}
		sent++
	}
	w.nothingLeft()
	return sent, twice
}

func TestNothingIsLostWhenRedisDiesInTheMiddle(t *testing.T) {
	bothWays(t, setup{redis: []string{"--appendonly", "yes", "--appendfsync", "always"}, retry: quick(), jitter: soon, visibility: 2 * time.Second}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		w.webhook.script(takes(5 * time.Millisecond))
		w.start("c1")
		w.start("c2")
		k := w.keepAdmitting(200, func(i int) {
			if i == 60 || i == 120 {
				w.server.Kill()
				w.server.Restart()
			}
		})
		sent, twice := k.everyOneDelivered()
		t.Logf("%d deliveries over two deaths of Redis, %d of them sent again under the same id", sent, twice)
	})
}

func TestNothingIsLostWhenRedisFreezes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{retry: quick(), jitter: soon, visibility: 10 * time.Second})
	w.webhook.script(takes(5 * time.Millisecond))
	w.start("c1")
	k := w.keepAdmitting(100, func(i int) {
		if i == 50 {
			w.server.Freeze()
			time.AfterFunc(3*time.Second, w.server.Thaw)
		}
	})
	if _, twice := k.everyOneDelivered(); twice != 0 {
		t.Errorf("%d deliveries were sent twice", twice)
	}
}

func TestTheGroupsMayBeDestroyedWhileWorkGoesOn(t *testing.T) {
	bothWays(t, setup{retry: quick(), jitter: soon, visibility: 10 * time.Second}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		lag := queuetest.WatchLateness(t)
		w.webhook.script(takes(5 * time.Millisecond))
		w.start("c1")
		k := w.keepAdmitting(150, func(i int) {
			if i == 75 {
				for _, key := range w.rdb.Keys(context.Background(), "*:normal").Val() {
					w.rdb.XGroupDestroy(context.Background(), key, "carillon")
				}
			}
		})
		_, twice := k.everyOneDelivered()
		t.Logf("%d deliveries sent again under the same id", twice)
		// In flight, or sent and not settled yet by a machine that was so late.
		late := lag()
		if most := w.setup.slots * (2 + int(late/(5*time.Millisecond))); twice > most {
			t.Errorf("%d deliveries were sent twice, more than the %d that can have been on their way on a machine that was late by %v", twice, most, late)
		}
	})
}

// A group that is made anew hands out all that is on its stream, what is being
// sent and what waits for a slot included.
func TestAGroupThatIsMadeAnewHasNothingSentTwice(t *testing.T) {
	bothWays(t, setup{jitter: soon}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		release := make(chan struct{})
		w.webhook.script(hangs(release))
		consumer := w.start("c1")
		ids := w.admitMany(12)
		consumer.sending(w.setup.slots)
		w.await("the rest leased", func() bool { return pendingDeliveries(w) == int64(len(ids)) })
		for _, key := range w.workStreams() {
			w.rdb.XGroupDestroy(t.Context(), key, "carillon")
		}
		w.await("all leased again", func() bool { return pendingDeliveries(w) == int64(len(ids)) })
		close(release)
		for _, id := range ids {
			w.ended(id)
		}
		w.nothingLeft()
		for id, n := range w.webhook.all() {
			if n != 1 {
				t.Errorf("%s was sent %d times", id, n)
			}
		}
	})
}

func TestTheScriptCacheMayBeFlushedWhileWorkGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{retry: quick(), jitter: soon})
	w.webhook.script(takes(time.Millisecond))
	w.start("c1")
	k := w.keepAdmitting(100, func(i int) {
		if i%20 == 0 {
			w.rdb.ScriptFlush(context.Background())
		}
	})
	if _, twice := k.everyOneDelivered(); twice != 0 {
		t.Errorf("%d deliveries were sent twice", twice)
	}
}

// A consumer that could not renew its leases while Redis was away took them
// over from itself when it was back, and sent again what it was still sending.
func TestAnOutageLongerThanTheVisibilityMakesNobodySendTwice(t *testing.T) {
	bothWays(t, setup{redis: []string{"--appendonly", "yes", "--appendfsync", "always"}, jitter: soon, visibility: 3 * time.Second}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		release := make(chan struct{})
		w.webhook.script(hangs(release))
		consumer := w.start("c1")
		ids := w.admitMany(12)
		consumer.sending(w.setup.slots)
		w.await("the rest leased", func() bool { return pendingDeliveries(w) == int64(len(ids)) })
		w.server.Kill()
		<-time.After(w.setup.visibility + 200*time.Millisecond) // the outage itself
		w.server.Restart()
		w.await("leases renewed", func() bool { return w.longestIdle() < w.setup.visibility/3 })
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
	})
}

// Whatever made a consumer late with its renewals, what it holds it goes on
// with: it does not take it over from itself.
func TestAConsumerTakesNothingOverFromItself(t *testing.T) {
	bothWays(t, setup{jitter: soon, visibility: 6 * time.Second}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		release := make(chan struct{})
		w.webhook.script(hangs(release))
		consumer := w.start("c1")
		ids := w.admitMany(12)
		consumer.sending(w.setup.slots)
		w.await("the rest leased", func() bool { return pendingDeliveries(w) == int64(len(ids)) })
		w.await("a look for what dead consumers left", func() bool {
			held := w.leased()
			for _, e := range held { // each time anew: a renewal may come before the look
				w.rdb.Do(t.Context(), "XCLAIM", e.stream, "carillon", "c1", 0, e.ID, "IDLE", time.Hour.Milliseconds(), "JUSTID")
			}
			return slices.ContainsFunc(held, func(e leased) bool { return e.RetryCount > 1 })
		})
		close(release)
		for _, id := range ids {
			if r := w.ended(id); statuses(r)[0] != "delivered 200" || r.Deliveries[0].Attempt != 1 {
				t.Errorf("ended as %+v", r)
			}
		}
		w.nothingLeft()
		for id, n := range w.webhook.all() {
			if n != 1 {
				t.Errorf("%s was sent %d times", id, n)
			}
		}
	})
}

// leased is one webhook delivery, or its event, that some consumer holds.
type leased struct {
	redis.XPendingExt
	stream string
}

func (w *world) leased() (out []leased) {
	ctx := context.Background()
	for _, key := range w.workStreams() {
		args := &redis.XPendingExtArgs{Stream: key, Group: "carillon", Start: "-", End: "+", Count: 100}
		for _, e := range w.rdb.XPendingExt(ctx, args).Val() {
			out = append(out, leased{e, key})
		}
	}
	return out
}

// longestIdle is how long ago the webhook delivery that was renewed least
// recently was.
func (w *world) longestIdle() (longest time.Duration) {
	for _, e := range w.leased() {
		longest = max(longest, e.Idle)
	}
	return longest
}

// A consumer that was cut off, or stood still, for longer than the visibility
// sent what another one had taken over from it in the meantime.
func TestAConsumerThatWasCutOffSendsNothingThatAnotherHasTakenOver(t *testing.T) {
	bothWays(t, setup{visibility: 500 * time.Millisecond, slots: 1, jitter: soon}, func(t *testing.T, s setup) {
		w := newWorld(t, s)
		release := make(chan struct{})
		var line atomic.Bool // cut
		client := redis.NewClient(&redis.Options{Addr: w.server.Addr, PoolSize: 64, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
			Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, addr)
				return &cuttable{c, &line}, err
			}})
		t.Cleanup(func() { client.Close() })
		cutOff := w.openQueue(client)
		w.webhook.script(hangs(release))
		first := w.start("c1", func(o *delivery.Options) { o.Queue = cutOff })
		ids := w.admitMany(8)
		first.sending(1)
		w.await("the rest leased", func() bool { return heldBy(w, "c1") == int64(len(ids)) })

		line.Store(true)
		w.webhook.script(nil)
		w.start("c2")
		for _, id := range ids {
			w.ended(id)
		}
		line.Store(false)
		close(release)
		first.sending(0)
		w.nothingLeft()
		first.stop()
		twice := 0
		for _, n := range w.webhook.all() {
			twice += n - 1
		}
		if twice != 1 {
			t.Errorf("%d deliveries were sent again, want only the one that was being sent at the cut", twice)
		}
	})
}

// cuttable is a connection that takes nothing more while the line is cut.
type cuttable struct {
	net.Conn
	cut *atomic.Bool
}

func (c *cuttable) Write(b []byte) (int, error) {
	if c.cut.Load() {
		return 0, errors.New("the line is cut")
	}
	return c.Conn.Write(b)
}

// When the reply to a read was lost, its entries waited for a whole visibility
// under a consumer that did not know of them, and cost an attempt then.
func TestEntriesOfALostReplyAreFoundAsSoonAsTheServerAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{visibility: time.Hour, jitter: soon})
	id := w.admit(to("https://h.example/hook"))
	ctx := t.Context()
	stream, entry := "", ""
	for _, key := range w.rdb.Keys(ctx, "*:events:normal").Val() {
		got, err := w.rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "carillon", Consumer: "c0", Streams: []string{key, ">"}, Count: 10, Block: -1}).Result()
		if err == nil {
			stream, entry = key, got[0].Messages[0].ID
		} else if !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
	}
	w.start("c1")
	w.await("its readers", func() bool {
		return strings.Count(w.rdb.ClientList(ctx).Val(), "cmd=xreadgroup") == 13 // the inbox, and three lanes of events and of each channel
	})
	// As if the reply had been lost: the server's account is all there is.
	if err := w.rdb.XClaimJustID(ctx, &redis.XClaimArgs{Stream: stream, Group: "carillon", Consumer: "c1", Messages: []string{entry}}).Err(); err != nil {
		t.Fatal(err)
	}
	w.await("the loss of every connection", func() bool {
		return w.rdb.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err() == nil && !w.record(id).Open()
	})
	d := w.record(id).Deliveries[0]
	if d.Status != notice.StatusDelivered || d.Attempt != 1 {
		t.Errorf("ended as %s after %d attempts, want delivered at the first", d.Status, d.Attempt)
	}
	w.nothingLeft()
}
