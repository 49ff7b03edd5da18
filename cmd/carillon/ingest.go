package main

import (
	"context"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/ingest"
)

// ingestCmd is `carillon ingest`.
type ingestCmd struct {
	Config string        `placeholder:"FILE" help:"The configuration file; CARILLON_CONFIG's when left out."`
	Grace  time.Duration `default:"10s" help:"How long a stop waits for requests in flight."`
}

// Help is the command's example.
func (ingestCmd) Help() string {
	return "Example:\n\n    carillon ingest --config carillon.yaml"
}

// Run serves the API until it is told to stop. A Redis that is away is
// answered for with 503 until it is back.
func (c ingestCmd) Run(a *app) error {
	cfg, err := a.loadIngest(c.Config)
	if err != nil {
		return err
	}
	log := newLogger(a.stderr)
	g, err := openGateway(a.ctx, cfg, log)
	if err != nil {
		return err
	}
	defer g.close()
	api := g.ingestHandler()
	path := a.configPath(c.Config)
	g.follow(a.ctx, path, func() (*config.Config, error) { return a.loadIngest(path) }, nil, g.renew, renewAPI(api))
	ctx, cancel := context.WithCancelCause(a.ctx)
	defer cancel(nil)
	go func() {
		// Data of another layout is found only once Redis answers.
		if err := g.queue.AwaitReady(ctx); err != nil {
			cancel(queueError(err))
		}
	}()
	if err := g.queue.Ready(); err != nil {
		log.Warn("Redis is away; answering 503 until it is back", "error", err)
	}
	err = serve(ctx, c.Grace, func(at []string) { log.Info("ingest is listening", "api", at[0], "admin", at[1]) },
		listener{"the API", "ingest.listen", cfg.Ingest.Listen, api},
		listener{"health and metrics", "admin.listen", cfg.Admin.Listen, g.adminHandler(nil)})
	if cause := context.Cause(ctx); a.ctx.Err() == nil && cause != nil {
		return cause
	}
	return err
}

// loadIngest is loadConfig for a process that serves the API.
func (a *app) loadIngest(path string) (*config.Config, error) {
	cfg, err := a.loadConfig(path)
	if err != nil {
		return nil, err
	}
	if faults := cfg.ValidateIngest(); len(faults) > 0 {
		return nil, usage(faults)
	}
	return cfg, nil
}

// renewAPI puts what the API follows in force.
func renewAPI(api *ingest.API) func(*config.Config) {
	return func(cfg *config.Config) { api.Replace(cfg.Auth, cfg.Tenants) }
}

// ingestHandler is the API over this gateway's parts.
func (g *gateway) ingestHandler() *ingest.API {
	options := ingest.Options{
		Clock: g.clock.Now, Ingest: g.cfg.Ingest, Auth: g.cfg.Auth, Tenants: g.cfg.Tenants, Queue: g.queue, Rates: g.queue, DeadLetters: g.queue, Templates: g.catalogue, Assets: g.asset, Router: g.routes,
		Profiles: g.people, Suppressions: g.people, Eraser: g.queue, EnabledChannels: g.enabled, Registry: g.registry, Logger: g.log,
		Feedback: g.openDesk(), Providers: g.providers, Reports: g.people,
	}
	if g.optouts != nil {
		options.OptOuts, options.Wishes = g.optouts, g.people
	}
	return ingest.New(options)
}
