package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/carillonhq/carillon/channels/sandbox"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/examples"
	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/templates/preview"
)

// devCmd is `carillon dev`.
type devCmd struct {
	Listen    string `default:"127.0.0.1:8080" help:"Where everything is served."`
	RedisURL  string `name:"redis" placeholder:"URL" help:"A Redis to use in place of the embedded one, as redis://127.0.0.1:6379/0."`
	Example   string `default:"shop" enum:"shop,github" help:"What to show: shop, or github, which replays real events and prints what became of them."`
	Catalogue string `placeholder:"DIR" help:"A catalogue of your own in place of the example's."`
	Config    string `placeholder:"FILE" help:"A configuration whose throttle, tenants and routes are used in place of the example's, and followed while it changes."`
	Exit      bool   `help:"With --example github: end once the events are replayed."`
}

// Help is the command's example.
func (devCmd) Help() string {
	return "Everything in one process: embedded Redis, API, consumer, and a sandbox in place of every provider.\n\n" +
		"Example:\n\n    carillon dev --example github"
}

// Run serves until it is told to stop.
func (c devCmd) Run(a *app) error {
	if err := onLoopback(c.Listen); err != nil {
		return usage(err)
	}
	example, _ := examples.Find(c.Example) // kong has checked the name
	d := &dev{devCmd: c, app: a, example: example, log: slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	defer d.close()
	if err := d.open(); err != nil {
		return err
	}
	return d.serve()
}

// onLoopback refuses an address that others can reach: dev asks nobody for a
// key.
func onLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--listen: %q is no address: write it as 127.0.0.1:8080", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("--listen: %q is not on loopback, and dev has no keys: use 127.0.0.1, or `carillon ingest` with auth.keys", address)
	}
	return nil
}

// dev is everything in one process.
type dev struct {
	devCmd
	*app
	example  examples.Example
	log      *slog.Logger
	sandbox  *sandbox.Sandbox
	gateway  *gateway
	consumer *consumer
	embedded bool           // the Redis is inside this process
	base     *config.Config // without the sections of --config
	api      *ingest.API
	closers  []func()

	previewPage preview.Page
}

func (d *dev) close() {
	for i := len(d.closers) - 1; i >= 0; i-- {
		d.closers[i]()
	}
}

func (d *dev) onClose(f func()) { d.closers = append(d.closers, f) }

// open starts the sandbox, the embedded Redis and the gateway's parts.
func (d *dev) open() (err error) {
	if d.sandbox, err = sandbox.Start(d.ctx, sandbox.Options{Logger: d.log, Keep: 2000, Hint: d.firstRequest("http://" + d.Listen)}); err != nil {
		return fmt.Errorf("starting the sandbox: %w", err)
	}
	d.onClose(func() { d.sandbox.Close() })
	if d.RedisURL == "" {
		if d.RedisURL, err = d.embedRedis(); err != nil {
			return err
		}
	}
	cfg, err := d.config()
	if err != nil {
		return err
	}
	if d.gateway, err = openGateway(d.ctx, cfg, d.log); err != nil {
		return err
	}
	d.gateway.embedded = d.embedded
	d.onClose(d.gateway.close)
	if err := d.gateway.queue.Ready(); err != nil {
		return queueError(err)
	}
	if d.consumer, err = d.gateway.newConsumer(consumerName(), d.gateway.enabled, time.Second); err != nil {
		return err
	}
	d.onClose(d.consumer.close)
	d.api = d.gateway.ingestHandler()
	d.gateway.follow(d.ctx, d.Config, d.configured, d.consumer.renew, d.gateway.renew, renewAPI(d.api))
	if err := d.openPreview(); err != nil {
		return err
	}
	return d.register(&recipients.Profile{Name: "Ada Lovelace", Email: "ada@example.com", Locale: "de"}, demoUser)
}

// embedRedis starts a Redis inside this process and returns its address.
func (d *dev) embedRedis() (string, error) {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true) // or nothing would ever expire
	if err := m.Start(); err != nil {
		return "", fmt.Errorf("starting the embedded Redis: %w", err)
	}
	d.onClose(m.Close)
	d.embedded = true
	return "redis://" + m.Addr() + "/0", nil
}

// config is the defaults, the sandbox's channels, and the example's routes and
// caps.
func (d *dev) config() (*config.Config, error) {
	cfg := config.Default()
	if d.example.Config != nil {
		// The example's own file names its catalogue and its relay; here both
		// are replaced, so only what it says of events is taken.
		parsed, err := config.Parse(d.example.Name+"/carillon.yaml", d.example.Config, nil)
		if err != nil {
			return nil, err
		}
		cfg.Routes, cfg.Throttle = parsed.Routes, parsed.Throttle
	}
	cfg.Redis.URL = config.NewURL(d.RedisURL)
	cfg.Queue.Partitions = 2
	cfg.Ingest.Listen, cfg.Auth.Disabled = d.Listen, true
	cfg.Channels = d.sandbox.Section()
	cfg.Channels.Email.UnsubscribeURL = "http://" + d.Listen + "/u"
	cfg.Channels.Email.UnsubscribeKey = config.NewSecret(rand.Text())
	cfg.Retry.Schedule = devSchedule()
	cfg.Assets.BaseURL = "http://" + d.Listen + "/assets"
	dir, err := d.catalogueDir()
	if err != nil {
		return nil, err
	}
	cfg.Templates.Dir = dir
	d.base = cfg
	return d.configured()
}

// configured is what dev runs by, with the sections of --config that it takes.
func (d *dev) configured() (*config.Config, error) {
	if d.Config == "" {
		return d.base, nil
	}
	parsed, err := d.loadConfig(d.Config)
	if err != nil {
		return nil, err
	}
	cfg := *d.base
	cfg.Routes, cfg.Throttle, cfg.Tenants = parsed.Routes, parsed.Throttle, parsed.Tenants
	return &cfg, nil
}

// devSchedule retries within the patience of somebody who watches.
func devSchedule() (waits []config.Duration) {
	for _, w := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second, time.Minute} {
		waits = append(waits, config.Duration(w))
	}
	return waits
}

// catalogueDir is the folder to serve templates from: the given one, or a copy
// of the example's that may be edited while dev runs.
func (d *dev) catalogueDir() (string, error) {
	if d.Catalogue != "" {
		return d.Catalogue, nil
	}
	dir, err := os.MkdirTemp("", "carillon-dev-")
	if err != nil {
		return "", fmt.Errorf("a folder for the example's catalogue: %w", err)
	}
	d.onClose(func() { os.RemoveAll(dir) })
	if err := os.CopyFS(dir, d.example.Catalogue); err != nil {
		return "", fmt.Errorf("unpacking the example's catalogue: %w", err)
	}
	return dir, nil
}

// demoUser is whom the printed command line notifies.
const demoUser = "ada"

// register stores a person's profile with two phones and a webhook at the
// sandbox beside what it has.
func (d *dev) register(p *recipients.Profile, user string) error {
	p.Timezone = "Europe/Berlin"
	p.Devices = append(p.Devices,
		recipients.Device{Platform: notice.PlatformIOS, Token: deviceToken(user)},
		recipients.Device{Platform: notice.PlatformAndroid, Token: "sandbox-android-" + user})
	p.Webhooks = []notice.Webhook{{URL: d.sandbox.WebhookURL + "/hooks/" + user, Secret: d.sandbox.WebhookSecret}}
	if err := d.gateway.people.Put(d.ctx, defaultTenant, user, p); err != nil {
		return fmt.Errorf("registering the recipient %s: %w", user, err)
	}
	return nil
}

// openPreview lets the preview show what would be sent, and send it to the
// sandbox.
func (d *dev) openPreview() error {
	cfg := d.gateway.cfg
	w, err := newWire(cfg.Channels.Email)
	if err != nil {
		return err
	}
	d.onClose(func() { _ = w.mail.Close() })
	sender, err := newCourier(cfg.Channels, map[string]notice.Address{
		string(notice.ChannelEmail):   {To: "ada@example.com"},
		string(notice.ChannelAPNs):    {To: deviceToken(demoUser)},
		string(notice.ChannelFCM):     {To: "sandbox-android-" + demoUser},
		string(notice.ChannelWebhook): {To: d.sandbox.WebhookURL + "/hooks/" + demoUser, Secret: d.sandbox.WebhookSecret},
	})
	if err != nil {
		return err
	}
	d.onClose(sender.close)
	d.previewPage = preview.Page{Dir: cfg.Templates.Dir, Wire: w, Sending: sender.sending("the sandbox", "../inbox/")}
	return nil
}

// deviceToken is an iOS token that stays the same for a user.
func deviceToken(user string) string {
	hex := fmt.Sprintf("%x", user)
	return strings.Repeat(hex, 64/len(hex)+1)[:64]
}

// serve runs the consumer and the pages until ctx ends, or the replay does.
func (d *dev) serve() error {
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { d.consumer.run(ctx) })
	var replayed error
	err := serve(ctx, time.Second, func(at []string) {
		d.printWelcome(at[0])
		if d.example.Events == nil {
			return
		}
		running.Go(func() {
			if replayed = d.replay(ctx, at[0]); d.Exit || replayed != nil {
				cancel()
			}
		})
	}, listener{"everything", "--listen", d.Listen, d.handler()})
	cancel()
	running.Wait()
	if errors.Is(replayed, context.Canceled) {
		replayed = nil // somebody pressed Ctrl-C before the end
	}
	return errors.Join(err, replayed)
}

// handler mounts everything on one address.
func (d *dev) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", d.api)
	inbox := http.StripPrefix("/dev/inbox", d.sandbox.Handler())
	mux.Handle("/dev/inbox", inbox)
	mux.Handle("/dev/inbox/", inbox)
	mux.Handle("/dev/preview", http.RedirectHandler("/dev/preview/", http.StatusPermanentRedirect))
	mux.Handle("/dev/preview/", http.StripPrefix("/dev/preview", preview.Handler(d.gateway.catalogue, d.previewPage)))
	mux.Handle("GET /{$}", http.RedirectHandler("/dev/inbox/", http.StatusFound))
	admin := d.gateway.adminHandler(d.consumer.describe)
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/debug/pprof/"} {
		mux.Handle(path, admin)
	}
	return mux
}

// printWelcome says where everything is, and how to send the first message.
func (d *dev) printWelcome(address string) {
	base := "http://" + address
	store := "The queue is an embedded Redis that keeps nothing on disk: what waits is lost when this ends (--redis URL uses a real one)."
	if !d.embedded {
		store = "The queue is at " + config.NewURL(d.RedisURL).String() + "."
	}
	fmt.Fprintf(d.stdout, `Carillon is ready: everything in one process, and nothing leaves this machine.

  inbox      %[1]s/dev/inbox      every message, as its recipient sees it
  preview    %[1]s/dev/preview    the templates of %[2]s
  API        %[1]s/v1/notifications    described at %[1]s/docs
  metrics    %[1]s/metrics

%[3]s
`, base, d.gateway.cfg.Templates.Dir, store)
	if d.example.Requests != nil {
		fmt.Fprintf(d.stdout, "\nThis sends an email, two pushes and a webhook:\n\n%s\n\n", d.firstRequest(base))
	}
}

// firstRequest is a command line that works as pasted.
func (d *dev) firstRequest(base string) string {
	body := `{"template":"order-shipped","to":{"user":"` + demoUser + `"},"data":{"order":"A-1042","carrier":"DHL","tracking_url":"https://track.example/00340434161094","items":["Earl Grey","Brass bell"]}}`
	return "curl -s " + base + "/v1/notifications -H 'Content-Type: application/json' -d '" + body + "'"
}
