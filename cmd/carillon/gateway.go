package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/email"
	"github.com/carillonhq/carillon/channels/fcm"
	"github.com/carillonhq/carillon/channels/webpush"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/feedback/provider"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/notice/optout"
	"github.com/carillonhq/carillon/notice/routing"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/templates"
	"github.com/carillonhq/carillon/templates/shelf"
	"github.com/carillonhq/carillon/throttle"
)

// gateway is what ingest and consume have in common: the configuration's parts
// brought to life.
type gateway struct {
	cfg       *config.Config
	log       *slog.Logger
	registry  *prometheus.Registry
	rdb       redis.UniversalClient
	readers   redis.UniversalClient
	queue     *queue.Queue
	places    *throttle.Caps // under no rules: to give back what was taken under any
	clock     *queue.Clock   // the one by which all that is shared goes
	people    *recipients.Store
	catalogue *templates.Store
	shelf     *shelf.Shelf
	routes    *routing.Table
	enabled   map[notice.Channel]bool
	optouts   *optout.Keys                 // nil: no unsubscribe links
	links     *optout.Links                // nil as well
	providers map[string]provider.Provider // of mail, that report what became of it
	embedded  bool                         // Redis is inside this process
	warned    sync.Map                     // the store's warnings that were logged: name → true
	reloader  *reloader                    // nil until it follows its configuration
	inForce   atomic.Pointer[config.Queue] // nil: cfg's, until it is read again
	closers   []func()
}

// openGateway opens everything that every process of the gateway needs. A
// Redis that is away is waited for later; everything else that is wrong is an
// error with its exit code.
func openGateway(ctx context.Context, cfg *config.Config, log *slog.Logger) (*gateway, error) {
	g := &gateway{cfg: cfg, log: log, registry: prometheus.NewRegistry(), enabled: enabledChannels(cfg)}
	if err := g.open(ctx); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *gateway) open(ctx context.Context) (err error) {
	tuneCollector()
	g.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := g.openCatalogue(ctx); err != nil {
		return err
	}
	g.cacheContent()
	if g.routes, err = routing.Compile(g.cfg.Routes); err != nil {
		return usage(err)
	}
	if err := g.openOptOuts(); err != nil {
		return usage(err)
	}
	if err := g.openQueue(ctx); err != nil {
		return err
	}
	g.providers, err = g.openProviders()
	return err
}

// cacheContent has renderings share what does not depend on their readers.
func (g *gateway) cacheContent() {
	cache := templates.NewCache(int64(g.cfg.Templates.Cache))
	g.catalogue.UseCache(cache)
	g.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "carillon_template_cache_bytes",
		Help: "What the content cache holds, its own overhead included."}, func() float64 { return float64(cache.Bytes()) }))
}

// openOptOuts makes the unsubscribe links of mails, where they are configured.
func (g *gateway) openOptOuts() error {
	section := g.cfg.Channels.Email
	if section == nil || section.UnsubscribeURL == "" {
		return nil
	}
	var secrets [][]byte
	for _, key := range section.UnsubscribeKeys() {
		secrets = append(secrets, []byte(key.Reveal()))
	}
	keys, err := optout.NewKeys(secrets...)
	if err != nil {
		return fmt.Errorf("channels.email.unsubscribe_key: %w", err)
	}
	g.optouts, g.links = keys, optout.NewLinks(section.UnsubscribeURL, keys, section.Mandatory)
	return nil
}

// unsubscribeLink is the link by which a delivery's recipient leaves its
// category; empty when there is none.
func (g *gateway) unsubscribeLink(d *notice.Delivery) string {
	if d.Lane == notice.LaneCritical {
		return ""
	}
	wish := optout.Wish{Tenant: d.Tenant, User: d.To.User, Category: d.Category}
	if wish.User == "" {
		wish.Address = d.To.Email
		if d.Address.Channel == notice.ChannelEmail {
			wish.Address = d.Address.To
		}
	}
	return g.links.For(wish, d.AcceptedAt)
}

// catalogueError names the folder too when err speaks of the files in it.
func catalogueError(dir string, err error) error {
	if errors.As(err, new(templates.Faults)) {
		err = fmt.Errorf("catalogue %s: %w", dir, err)
	}
	return usage(err)
}

func (g *gateway) openQueue(ctx context.Context) error {
	if err := g.connect(); err != nil {
		return err
	}
	g.clock = queue.NewClock(g.rdb)
	_ = g.clock.Sync(ctx) // a Redis that is away is waited for later
	g.background(ctx, g.clock.Follow)
	q, err := queue.Open(ctx, g.rdb, g.readers, g.cfg.Queue, queue.WithClock(g.clock.Now), queue.WithTenants(g.cfg.Tenants), queue.WithUnsent(g.giveBack))
	if err != nil {
		return queueError(err)
	}
	g.queue = q
	g.onClose(q.Close)
	if g.places, err = throttle.NewCaps(g.rdb, g.cfg.Queue.Namespace, q.Partition, nil); err != nil {
		return err
	}
	g.background(ctx, q.RunErasures)
	name := consumerName()
	g.background(ctx, func(ctx context.Context) { q.Attend(ctx, name) })
	g.registry.MustRegister(queue.NewCollector(q))
	g.people = recipients.New(g.rdb, g.cfg.Queue.Namespace, q.Partition, recipients.WithClock(g.clock.Now))
	return nil
}

// background runs something beside everything else until ctx ends or the
// gateway closes, whichever comes first.
func (g *gateway) background(ctx context.Context, run func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx)
	}()
	g.onClose(func() {
		cancel()
		<-done
	})
}

// connect makes the two clients: one for commands that answer at once, one
// with a connection for each blocked reader. Asked again it does nothing.
func (g *gateway) connect() (err error) {
	if g.rdb != nil {
		return nil
	}
	const commands, readers = 32, 64
	if g.rdb, err = queue.Connect(g.cfg.Redis, commands); err != nil {
		return usage(err)
	}
	g.onClose(func() { g.rdb.Close() })
	if g.readers, err = queue.Connect(g.cfg.Redis, readers); err != nil {
		return usage(err)
	}
	g.onClose(func() { g.readers.Close() })
	return nil
}

// queueError gives an error of the queue its exit code.
func queueError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*queue.PartitionsError)), errors.As(err, new(*queue.MovingError)):
		return usage(err)
	case errors.Is(err, queue.ErrUnavailable):
		return unreachable(fmt.Errorf("%s: %s", strings.TrimRight(err.Error(), ".:"), storeMend(err)))
	case errors.Is(err, queue.ErrNotFound), errors.Is(err, queue.ErrFinished), errors.Is(err, notice.ErrBadID):
		return notSo(err)
	}
	return err
}

func (g *gateway) onClose(f func()) { g.closers = append(g.closers, f) }

// close closes what was opened, the last first.
func (g *gateway) close() {
	for i := len(g.closers) - 1; i >= 0; i-- {
		g.closers[i]()
	}
	g.closers = nil
}

// enabledChannels are those that have a section in the configuration.
func enabledChannels(cfg *config.Config) map[notice.Channel]bool {
	c := cfg.Channels
	return map[notice.Channel]bool{
		notice.ChannelEmail: c.Email != nil, notice.ChannelAPNs: c.APNs != nil, notice.ChannelFCM: c.FCM != nil,
		notice.ChannelWebPush: c.WebPush != nil, notice.ChannelWebhook: c.Webhook != nil,
	}
}

// closableAdapter is an adapter that keeps connections.
type closableAdapter interface {
	channels.Adapter
	io.Closer
}

// adapterSpec is how a channel's adapter is made from its section.
type adapterSpec struct {
	channel notice.Channel
	limits  config.Limits
	open    func() (closableAdapter, error)
}

// adapterSpecs lists the configured channels: one line a channel.
func (g *gateway) adapterSpecs() (specs []adapterSpec) {
	c := g.cfg.Channels
	if s := c.Email; s != nil {
		specs = append(specs, adapterSpec{notice.ChannelEmail, s.Limits, func() (closableAdapter, error) { return email.New(*s, email.WithLogger(g.log)) }})
	}
	if s := c.APNs; s != nil {
		specs = append(specs, adapterSpec{notice.ChannelAPNs, s.Limits, func() (closableAdapter, error) { return g.openAPNs(*s) }})
	}
	if s := c.FCM; s != nil {
		specs = append(specs, adapterSpec{notice.ChannelFCM, s.Limits, func() (closableAdapter, error) { return fcm.New(*s) }})
	}
	if s := c.WebPush; s != nil {
		specs = append(specs, adapterSpec{notice.ChannelWebPush, s.Limits, func() (closableAdapter, error) { return webpush.New(*s) }})
	}
	if s := c.Webhook; s != nil {
		specs = append(specs, adapterSpec{notice.ChannelWebhook, s.Limits, func() (closableAdapter, error) { return g.openWebhook(*s) }})
	}
	return specs
}

// tuneCollector lets the heap grow to five times what is live before it is
// collected. What is live is a few megabytes, bounded by what is in flight, so
// this costs tens of megabytes and spares the drain most of its collections.
// GOGC in the environment wins.
func tuneCollector() {
	const percent = 400
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// newLogger logs to w as people and collectors read it: one line an event, as
// logfmt.
func newLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// consumerName is a name that no other consumer has.
func consumerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "consumer"
	}
	return strings.ToLower(fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:6]))
}
