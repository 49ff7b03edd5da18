package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/templates"
	"github.com/carillonhq/carillon/templates/shelf"
)

// shelfSpare is how much longer than the deliveries that were planned with it a
// version is kept: processes put what they serve there every hour.
const shelfSpare = 2 * time.Hour

// newShelf is the configured gateway's place for catalogues in Redis.
func (g *gateway) newShelf() *shelf.Shelf {
	return shelf.New(g.rdb, shelf.Options{Namespace: g.cfg.Queue.Namespace, Keep: g.cfg.Templates.Keep,
		Bound: int64(g.cfg.Templates.Shelf), Life: g.cfg.LongestLife() + shelfSpare})
}

// openCatalogue loads the catalogue from where the configuration has it, and
// follows it. It needs the clients of Redis, but no answer from them where the
// catalogue is a folder.
func (g *gateway) openCatalogue(ctx context.Context) (err error) {
	if err := g.connect(); err != nil {
		return err
	}
	t := g.cfg.Templates
	g.shelf = g.newShelf()
	options := []templates.Option{templates.WithAssets(g.cfg.Assets.BaseURL), templates.WithHeld(int64(t.Held))}
	if t.Shelf > 0 {
		options = append(options, templates.WithShelf(g.shelf))
	}
	if t.Source == config.TemplatesFromRedis {
		g.catalogue, err = templates.OpenShared(ctx, g.shelf, "Redis", g.log, options...)
		err = sharedError(err)
	} else {
		g.catalogue, err = templates.OpenStore(t.Dir, g.log, options...)
		if err != nil {
			err = catalogueError(t.Dir, err)
		}
	}
	if err != nil {
		return err
	}
	g.onClose(func() { g.catalogue.Close() })
	g.registry.MustRegister(&catalogueCollector{g.catalogue})
	return nil
}

// sharedError gives an error of the catalogue in Redis its exit code.
func sharedError(err error) error {
	var raced *shelf.RacedError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, shelf.ErrUnavailable):
		return unreachable(fmt.Errorf("%w: is redis.url right, and does the server run?", err))
	case errors.Is(err, templates.ErrNothingShared):
		return notSo(errors.New("the catalogue in Redis: nothing has been pushed yet: carillon catalogue push --config FILE, or set templates.source to folder"))
	case errors.As(err, new(templates.Faults)):
		return usage(fmt.Errorf("the catalogue in Redis cannot be served by this release: %w", err))
	case errors.Is(err, shelf.ErrUnknown), errors.As(err, &raced):
		return notSo(err)
	}
	return err
}

// asset is an asset of the catalogue that is served, of one before it, or of
// any version in Redis.
func (g *gateway) asset(ctx context.Context, name string) (templates.Asset, bool, error) {
	if a, ok := g.catalogue.Asset(name); ok || g.cfg.Templates.Source != config.TemplatesFromRedis {
		return a, ok, nil
	}
	return g.shelf.Asset(ctx, name)
}

// catalogueCollector tells what a store's loadings and its earlier versions
// came to.
type catalogueCollector struct{ store *templates.Store }

// Describe leaves the collector unchecked: its metrics are made in Collect.
func (c *catalogueCollector) Describe(chan<- *prometheus.Desc) {}

// Collect reads the store's counts.
func (c *catalogueCollector) Collect(out chan<- prometheus.Metric) {
	send := func(kind prometheus.ValueType, name, help string, value float64, label, of string) {
		var names, values []string
		if label != "" {
			names, values = []string{label}, []string{of}
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, value, values...)
	}
	loads, past, refused := c.store.Loads(), c.store.Past(), 0.0
	if c.store.Failure() != nil {
		refused = 1
	}
	const loadsHelp, pastHelp = "Changed catalogues that were read, by what became of them.", "Renderings of earlier versions, by where these came from: held, shelf, absent (rendered with the current one) or failed (the same)."
	send(prometheus.CounterValue, "carillon_catalogue_loads_total", loadsHelp, float64(loads.Accepted), "result", "accepted")
	send(prometheus.CounterValue, "carillon_catalogue_loads_total", loadsHelp, float64(loads.Refused), "result", "refused")
	send(prometheus.GaugeValue, "carillon_catalogue_refused", "1 while the newest catalogue is refused and the last good one serves.", refused, "", "")
	send(prometheus.GaugeValue, "carillon_template_versions_bytes", "What compiled earlier versions take, by the store's reckoning; templates.held bounds it.", float64(past.Held), "", "")
	send(prometheus.CounterValue, "carillon_template_versions_total", pastHelp, float64(past.Hits), "from", "held")
	send(prometheus.CounterValue, "carillon_template_versions_total", pastHelp, float64(past.Taken), "from", "shelf")
	send(prometheus.CounterValue, "carillon_template_versions_total", pastHelp, float64(past.Absent), "from", "absent")
	send(prometheus.CounterValue, "carillon_template_versions_total", pastHelp, float64(past.Failed), "from", "failed")
}
