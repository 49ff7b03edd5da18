package delivery_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// lateServer keeps back what is asked for of cancels until learn is closed, and
// from then on every script, and every read, until thaw is.
type lateServer struct {
	learn, thaw chan struct{}
	learned     atomic.Bool
}

func (s *lateServer) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *lateServer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		s.hold(ctx, cmd)
		return next(ctx, cmd)
	}
}

func (s *lateServer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		s.hold(ctx, cmds...)
		if cmds[0].Name() != "get" {
			return next(ctx, cmds)
		}
		select { // LearnCancels is all that asks like this
		case <-s.learn:
			defer s.learned.Store(true)
		case <-ctx.Done():
		}
		return next(ctx, cmds)
	}
}

func (s *lateServer) hold(ctx context.Context, cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		if (cmd.Name() == "evalsha" || cmd.Name() == "xreadgroup") && s.learned.Load() {
			select {
			case <-s.thaw:
			case <-ctx.Done():
			}
		}
	}
}

// TestAStopWhileManyThatWereCanceledAreEndedEndsThem stops a consumer that has
// just learned that all it holds was canceled, more than wait for a commit while
// the server is late: who ended them went on after nobody took any more, which
// was a panic.
func TestAStopWhileManyThatWereCanceledAreEndedEndsThem(t *testing.T) {
	t.Parallel()
	const n = 2800
	w := newWorld(t, setup{slots: 128, visibility: time.Hour, grace: 30 * time.Second, patience: -1})
	late := &lateServer{learn: make(chan struct{}), thaw: make(chan struct{})}
	client, err := queue.Connect(config.Redis{URL: config.NewURL(w.server.URL())}, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	ids := make([]string, n)
	for i := range ids {
		one := to("https://a.example/hook")
		if i%4 < 2 {
			one = mail("ada@example.com")
		}
		if i%2 == 0 {
			one.Priority = notice.LaneBulk
		}
		ids[i] = w.admit(one)
	}
	own := w.queue
	client.AddHook(late)
	w.queue = w.openQueue(client)
	r := w.start("c1", func(o *delivery.Options) {
		for i := range o.Channels {
			o.Channels[i].Slots.Pause(w.clock.Now().Add(time.Hour))
		}
	})
	// A lane is read while half its room is free: four hold more than half each.
	w.await("most of it to be held", func() bool { return w.heldByConsumers("webhook")+w.heldByConsumers("email") > 4*512 })

	for batch := range slices.Chunk(ids, 100) {
		w.beginCancels(own, batch)
	}
	close(late.learn)
	w.await("the cancels to be learned", late.learned.Load)
	r.cancel()
	select {
	case <-r.done:
		t.Error("it has stopped, and what it was about to end is nobody's for an hour")
	case <-time.After(3 * time.Second): // longer than a reader takes to stop
	}
	close(late.thaw)
	r.stop()
	w.queue = own
	w.start("c2") // no lease runs out: what it ends was handed back, or nobody's
	for _, id := range ids {
		if d := w.ended(id).Deliveries; len(d) != 1 || d[0].Status != notice.StatusCanceled {
			t.Fatalf("%s is %+v after the stop, want it canceled", id, d)
		}
	}
	if sent := len(w.webhook.all()) + len(w.email.all()); sent > 0 {
		t.Errorf("%d were sent", sent)
	}
}

// beginCancels cancels notifications, and does not wait for what comes of it.
func (w *world) beginCancels(q *queue.Queue, ids []string) {
	w.t.Helper()
	known := func() (n int64) {
		for _, key := range w.rdb.Keys(context.Background(), "*}:cancels").Val() {
			last, _ := w.rdb.Get(context.Background(), key).Int64()
			n += last
		}
		return n
	}
	before := known()
	ctx, enough := context.WithCancel(context.Background())
	var canceling sync.WaitGroup
	defer canceling.Wait()
	defer enough()
	for _, id := range ids {
		canceling.Go(func() { _, _ = q.Cancel(ctx, "acme", id) }) // it would wait for the consumer
	}
	w.await("the cancels to be on record", func() bool { return known() == before+int64(len(ids)) })
}

// heldByConsumers is how many deliveries of a channel are leased.
func (w *world) heldByConsumers(channel string) (n int64) {
	for _, key := range w.rdb.Keys(context.Background(), "*}:"+channel+":*").Val() {
		n += pending(w.rdb, key)
	}
	return n
}
