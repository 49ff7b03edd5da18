package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/templates"
	"github.com/carillonhq/carillon/throttle"
)

// idleAdapter takes every message at once, and tells when the last was taken.
type idleAdapter struct {
	left        atomic.Int64
	first, last time.Time
	done        chan struct{}
	n           int64
}

func (*idleAdapter) Channel() notice.Channel { return notice.ChannelWebhook }

// Send takes a message.
func (a *idleAdapter) Send(context.Context, channels.Message) channels.Result {
	switch a.left.Add(-1) {
	case a.n - 1:
		a.first = time.Now()
	case 0:
		a.last = time.Now()
		close(a.done)
	}
	return channels.Result{Verdict: channels.Sent, Code: "204"}
}

// runIdleAdapter is the part "idle-adapter": a consumer as the gateway's own
// but for its adapter, which does nothing, so that what is left is both stages
// of the queue. Its arguments are the configuration and how many deliveries to
// work.
func runIdleAdapter(args []string) error {
	if len(args) != 2 {
		return errors.New("idle-adapter takes a configuration and a count")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	cfg, err := config.Load(args[0], os.Environ())
	if err != nil {
		return err
	}
	debug.SetGCPercent(400) // as the gateway does
	a := &idleAdapter{done: make(chan struct{}), n: int64(n)}
	a.left.Store(a.n)
	if err := a.work(context.Background(), cfg); err != nil {
		return err
	}
	return json.NewEncoder(stdout{}).Encode(loaded{N: n, FirstNS: a.first.UnixNano(), LastNS: a.last.UnixNano(), CPUNS: ownCPU().Nanoseconds()})
}

// work runs a pipeline until everything is taken and settled.
func (a *idleAdapter) work(ctx context.Context, cfg *config.Config) error {
	const commands, readers = 32, 64 // as the gateway's own
	rdb, err := queue.Connect(cfg.Redis, commands)
	if err != nil {
		return err
	}
	defer rdb.Close()
	blocking, err := queue.Connect(cfg.Redis, readers)
	if err != nil {
		return err
	}
	defer blocking.Close()
	q, err := queue.Open(ctx, rdb, blocking, cfg.Queue)
	if err != nil {
		return fmt.Errorf("opening the queue: %w", err)
	}
	defer q.Close()
	catalogue, err := templates.OpenStore(cfg.Templates.Dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer catalogue.Close()
	caps, err := throttle.NewCaps(rdb, cfg.Queue.Namespace, q.Partition, nil)
	if err != nil {
		return err
	}
	on := map[notice.Channel]bool{notice.ChannelWebhook: true}
	p := delivery.New(delivery.Options{Consumer: "bench", Queue: q, Directory: recipients.New(rdb, cfg.Queue.Namespace, q.Partition),
		Catalogue: catalogue, Caps: caps, Accept: ingest.Acceptor{Templates: catalogue, EnabledChannels: on}, Tenant: "a", Enabled: on,
		Channels: []delivery.Channel{{Adapter: a, Slots: throttle.NewSlots(cfg.Channels.Webhook.Concurrency, time.Now),
			Pace: throttle.NewPace(config.Rate{}), Retry: cfg.Retry}},
		Visibility: cfg.Queue.Visibility.Std(), Grace: 10 * time.Second, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	ctx, stop := context.WithCancel(ctx)
	go func() {
		<-a.done
		stop()
	}()
	p.Run(ctx)
	return nil
}
