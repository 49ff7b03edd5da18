package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/config"
)

// reloader keeps a running process to its configuration file: what may change
// while it runs follows the file, and what may not is said. A file with a fault
// changes nothing.
type reloader struct {
	path    string // empty: there is no file, and SIGHUP alone has it read again
	load    func() (*config.Config, error)
	check   func(*config.Config) error // puts in force what may be refused, or on an error leaves it as it was; nil: nothing may
	apply   []func(*config.Config)     // put the rest in force
	running *config.Config
	log     *slog.Logger
	results *prometheus.CounterVec
	said    atomic.Pointer[string] // what /readyz says of the file; nil: nothing
}

// The results of a reload in carillon_config_reloads_total.
const (
	reloadApplied   = "applied"   // something changed
	reloadUnchanged = "unchanged" // nothing that this process may follow
	reloadRefused   = "refused"   // the file is broken
)

// follow has the process keep to its configuration file until ctx ends. See
// reloader for the rest.
func (g *gateway) follow(ctx context.Context, path string, load func() (*config.Config, error), check func(*config.Config) error, apply ...func(*config.Config)) {
	r := &reloader{path: path, load: load, check: check, apply: apply, running: g.cfg, log: g.log, results: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "carillon_config_reloads_total",
		Help: "How often the configuration file was read again, by what came of it: applied, unchanged (nothing that is followed differs), or refused for its faults.",
	}, []string{"result"})}
	for _, result := range []string{reloadApplied, reloadUnchanged, reloadRefused} {
		r.results.WithLabelValues(result)
	}
	g.registry.MustRegister(r.results)
	g.reloader = r
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP)
	g.background(ctx, func(ctx context.Context) {
		defer signal.Stop(asked)
		r.run(ctx, asked)
	})
}

// run reads the file again whenever it changes, or somebody asks for that.
func (r *reloader) run(ctx context.Context, asked <-chan os.Signal) {
	changed := make(chan struct{}, 1)
	if r.path != "" {
		go config.Follow(ctx, r.path, func() {
			select {
			case changed <- struct{}{}:
			default: // it is about to be read
			}
		})
	}
	for {
		select {
		case <-asked:
		case <-changed:
		case <-ctx.Done():
			return
		}
		r.results.WithLabelValues(r.reload()).Inc()
	}
}

// reload reads the file and puts in force what may be.
func (r *reloader) reload() string {
	read, err := r.load()
	var renewal config.Renewal
	if err == nil {
		renewal, err = r.running.Renew(read)
	}
	if err == nil && r.check != nil {
		err = r.check(renewal.Config)
	}
	if err != nil {
		r.refuse(err)
		return reloadRefused
	}
	for _, apply := range r.apply {
		apply(renewal.Config)
	}
	r.running = renewal.Config
	r.tell(renewal)
	if len(renewal.Changed) == 0 {
		return reloadUnchanged
	}
	return reloadApplied
}

// refuse says what is wrong with a file, each fault on a line of its own.
func (r *reloader) refuse(err error) {
	faults := []string{oneLine(err.Error())}
	var all config.Faults
	if errors.As(err, &all) {
		faults = faults[:0]
		for _, f := range all {
			faults = append(faults, oneLine(f.String()))
		}
	}
	for _, fault := range faults {
		r.log.Error("the configuration was changed and is refused; what was in force stays so", "fault", fault)
	}
	r.say(fmt.Sprintf("the file is refused, and what was in force before is: %s", strings.Join(faults, "; ")))
}

// tell says what came of a good file.
func (r *reloader) tell(renewal config.Renewal) {
	r.log.Info("the configuration was read again", "changed", orNone(renewal.Changed))
	if len(renewal.Waiting) == 0 {
		r.said.Store(nil)
		return
	}
	keys := strings.Join(renewal.Waiting, ", ")
	r.log.Warn("these keys were changed too and keep their values: this process needs a restart to take them", "keys", keys)
	r.say("needs a restart to take what was changed of " + keys)
}

func (r *reloader) say(words string) { r.said.Store(&words) }

// describe adds what there is to say of the file.
func (r *reloader) describe(ready *readiness) {
	if words := r.said.Load(); words != nil {
		ready.Warnings["config"] = *words
	}
}

func orNone(keys []string) string {
	if len(keys) == 0 {
		return "nothing"
	}
	return strings.Join(keys, ", ")
}

// renew puts what every process follows in force.
func (g *gateway) renew(cfg *config.Config) {
	g.inForce.Store(&cfg.Queue)
	g.queue.ReplaceBounds(cfg.Queue)
	g.queue.ReplaceTenants(cfg.Tenants)
}

// renew puts what a consumer follows in force. The caps are first: they alone
// may be refused.
func (c *consumer) renew(cfg *config.Config) error {
	if err := c.caps.Replace(cfg.Throttle.PerUser); err != nil {
		return err
	}
	c.pipeline.Replace(cfg.Throttle.QuietHours, soleTenant(cfg.Auth))
	for _, ch := range c.channels {
		if limits, on := cfg.Channels.LimitsOf(string(ch.Adapter.Channel())); on {
			c.pipeline.Resize(ch.Adapter.Channel(), limits.Concurrency, limits.ForCritical())
			ch.Pace.Replace(limits.Rate)
			c.recall(ch.Quotas.Replace(cfg.Channels.RatesOf(string(ch.Adapter.Channel()))))
		}
	}
	return nil
}

// recallTime bounds the wait for Redis, while which no other change is taken in.
const recallTime = 30 * time.Second

// recall has what was put off for rates that were raised come back sooner. What
// cannot be called back now comes when it would have.
func (c *consumer) recall(raised map[string]float64) {
	if len(raised) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), recallTime)
	defer cancel()
	if err := c.pipeline.Recall(ctx, raised); err != nil {
		c.pipeline.Log.Warn("a rate was raised, and what it has put off keeps its moments", "error", err)
	}
}
