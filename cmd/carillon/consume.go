package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/throttle"
)

// consumeCmd is `carillon consume`.
type consumeCmd struct {
	Config   string        `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
	Channels []string      `placeholder:"NAME,…" help:"Serve only these channels: email, push (apns, fcm, webpush), webhook. All that are configured when left out."`
	Name     string        `help:"This consumer's name in the consumer groups; no two that run share one. Made up when left out."`
	Grace    time.Duration `default:"25s" help:"How long a stop waits for sends in flight."`
}

// Help is the command's example.
func (consumeCmd) Help() string {
	return "Any number of consumers run side by side.\n\nExample:\n\n    carillon consume --config carillon.yaml --channels email,webhook"
}

// Run works the queue until it is told to stop. A Redis that is away is waited
// for.
func (c consumeCmd) Run(a *app) error {
	cfg, err := a.loadConfig(c.Config)
	if err != nil {
		return err
	}
	serves, err := servedChannels(cfg, c.Channels)
	if err != nil {
		return usage(err)
	}
	log := newLogger(a.stderr)
	g, err := openGateway(a.ctx, cfg, log)
	if err != nil {
		return err
	}
	defer g.close()
	if c.Name == "" {
		c.Name = consumerName()
	}
	consumer, err := g.newConsumer(c.Name, serves, c.Grace)
	if err != nil {
		return err
	}
	defer consumer.close()
	path := a.configPath(c.Config)
	g.follow(a.ctx, path, func() (*config.Config, error) { return a.loadConfig(path) }, consumer.renew, g.renew)
	return g.runConsumer(a.ctx, consumer)
}

// runConsumer serves health and metrics at once, and works the queue as soon
// as Redis answers.
func (g *gateway) runConsumer(ctx context.Context, c *consumer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		served <- serve(ctx, time.Second, func(at []string) {
			g.log.Info("the consumer starts", "name", c.name, "channels", strings.Join(c.names(), ","), "admin", at[0])
		}, listener{"health and metrics", "admin.listen", g.cfg.Admin.Listen, g.adminHandler(c.describe)})
		cancel()
	}()
	if err := g.queue.Ready(); err != nil {
		g.log.Warn("Redis is away; waiting for it", "error", err)
	}
	err := g.queue.AwaitReady(ctx)
	if err == nil {
		c.run(ctx)
	}
	stopped := ctx.Err() != nil
	cancel()
	if serveErr := <-served; serveErr != nil {
		return serveErr
	}
	if stopped {
		return nil
	}
	return queueError(err)
}

// servedChannels reads --channels: names of channels, or of media for all of
// their channels. Each must be configured.
func servedChannels(cfg *config.Config, asked []string) (map[notice.Channel]bool, error) {
	enabled := enabledChannels(cfg)
	if len(asked) == 0 {
		return enabled, nil
	}
	serves := map[notice.Channel]bool{}
	for _, name := range asked {
		var chosen []notice.Channel
		for _, ch := range notice.Channels() {
			if name == string(ch) || name == string(ch.Medium()) && enabled[ch] {
				chosen = append(chosen, ch)
			}
		}
		if len(chosen) == 0 {
			return nil, fmt.Errorf("--channels: %q is no channel that is configured: %s", name, strings.Join(known(enabled), ", "))
		}
		for _, ch := range chosen {
			if !enabled[ch] {
				return nil, fmt.Errorf("--channels: %q has no section under channels: in the configuration", ch)
			}
			serves[ch] = true
		}
	}
	return serves, nil
}

func known(enabled map[notice.Channel]bool) (names []string) {
	for ch, on := range enabled {
		if on {
			names = append(names, string(ch))
		}
	}
	slices.Sort(names)
	return names
}

// consumer is a pipeline with everything that runs beside it.
type consumer struct {
	name     string
	pipeline *delivery.Pipeline
	channels []delivery.Channel
	rates    *throttle.Rates
	caps     *throttle.Caps
	closers  []func() error
}

// newConsumer brings the served channels to life.
func (g *gateway) newConsumer(name string, serves map[notice.Channel]bool, grace time.Duration) (*consumer, error) {
	caps, err := throttle.NewCaps(g.rdb, g.cfg.Queue.Namespace, g.queue.Partition, g.cfg.Throttle.PerUser)
	if err != nil {
		return nil, usage(err)
	}
	c := &consumer{name: name, caps: caps, rates: throttle.NewRates(g.rdb, g.cfg.Queue.Namespace, name)}
	for _, spec := range g.adapterSpecs() {
		if !serves[spec.channel] {
			continue
		}
		if err := g.addChannel(c, spec); err != nil {
			c.close()
			return nil, usage(fmt.Errorf("channels.%s: %w", spec.channel, err))
		}
	}
	c.pipeline = delivery.New(delivery.Options{
		Consumer: name, Now: g.clock.Now, Queue: g.queue, Directory: g.people, Catalogue: g.catalogue, Caps: caps, QuietHours: g.cfg.Throttle.QuietHours,
		Accept: ingest.Acceptor{Templates: g.catalogue, EnabledChannels: g.enabled}, Routes: g.routes, Tenant: soleTenant(g.cfg.Auth),
		Enabled: g.enabled, Holds: g.holds(), Channels: c.channels, Visibility: g.cfg.Queue.Visibility.Std(), Grace: grace, Log: g.log, Metrics: g.registry, UnsubscribeLink: g.unsubscribeLink, Mandatory: g.mandatory(),
	})
	return c, nil
}

// mandatory are the categories of mail that nobody can leave.
func (g *gateway) mandatory() []string {
	if g.cfg.Channels.Email == nil {
		return nil
	}
	return g.cfg.Channels.Email.Mandatory
}

// holds are the channels whose unknown outcomes are held, whoever serves them.
func (g *gateway) holds() map[notice.Channel]bool {
	out := map[notice.Channel]bool{}
	for _, spec := range g.adapterSpecs() {
		out[spec.channel] = g.retryOf(spec).OnUnknown == config.OnUnknownHold
	}
	return out
}

// retryOf is a channel's own retry section, or the common one.
func (g *gateway) retryOf(spec adapterSpec) config.Retry {
	if spec.limits.Retry != nil {
		return *spec.limits.Retry
	}
	return g.cfg.Retry
}

func (g *gateway) addChannel(c *consumer, spec adapterSpec) error {
	adapter, err := spec.open()
	if err != nil {
		return err
	}
	c.closers = append(c.closers, adapter.Close)
	ch := delivery.Channel{Adapter: adapter, Slots: throttle.NewSlots(spec.limits.Concurrency, g.clock.Now),
		CriticalSlots: spec.limits.ForCritical(), Pace: c.rates.Pace(throttle.ChannelRate(spec.channel), spec.limits.Rate), Retry: g.retryOf(spec),
		Board: throttle.NewBoard(g.rdb, g.cfg.Queue.Namespace, spec.channel, c.name), Rates: c.rates,
		Quotas: throttle.NewQuotas(c.rates, spec.channel, g.cfg.Channels.RatesOf(string(spec.channel)))}
	c.channels = append(c.channels, ch)
	return nil
}

// run works until ctx ends.
func (c *consumer) run(ctx context.Context) {
	var sharing sync.WaitGroup
	sharing.Go(func() { c.rates.Run(ctx) })
	c.pipeline.Run(ctx)
	sharing.Wait()
}

// describe adds channels that are paused for a fault of our own.
func (c *consumer) describe(r *readiness) {
	for channel, why := range c.pipeline.Paused() {
		r.Warnings["channel "+string(channel)] = "paused, its provider refuses our credential or set-up: " + why
	}
}

func (c *consumer) names() (names []string) {
	for _, ch := range c.channels {
		names = append(names, string(ch.Adapter.Channel()))
	}
	return names
}

func (c *consumer) close() {
	for _, f := range c.closers {
		_ = f() // connections that fail to close are gone all the same
	}
}

// soleTenant is whose an inbox entry is that names no tenant: the only one
// there is, or "default".
func soleTenant(auth config.Auth) string {
	tenants := map[string]bool{}
	for _, k := range auth.Keys {
		tenants[k.Tenant] = true
	}
	if len(tenants) == 1 {
		return auth.Keys[0].Tenant
	}
	return defaultTenant
}

// defaultTenant is the tenant of a gateway without keys.
const defaultTenant = "default"
