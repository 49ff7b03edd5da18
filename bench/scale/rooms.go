package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"
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

const (
	tenant    = "acme"
	namespace = "scale"
	batchSize = 1000 // of admissions and of caps at once
)

// clockOf runs from a moment of one's choosing, at a speed of one's choosing.
// Everything of the gateway that is handed a clock goes by it; what Redis
// itself times, expiries and leases, does not.
type clockOf struct {
	start time.Time
	began time.Time
	speed float64
	ahead atomic.Int64 // set on by hand
}

func newClock(start time.Time, speed float64) *clockOf {
	return &clockOf{start: start, began: time.Now(), speed: speed}
}

func (c *clockOf) Now() time.Time {
	return c.start.Add(time.Duration(float64(time.Since(c.began))*c.speed) + time.Duration(c.ahead.Load()))
}

func (c *clockOf) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// rooms are the gateway's own, on the lab's Redis.
type rooms struct {
	*lab
	clock     *clockOf
	queue     *queue.Queue
	directory *recipients.Store
	caps      *throttle.Caps
	catalogue *templates.Store
	size      int // bytes of each notification's data
}

// threeCaps apply to every notification here.
func threeCaps() []config.Cap {
	return []config.Cap{
		{Name: "pushes", Channel: "push", Limit: config.Rate{Count: 100, Per: time.Hour}, Over: config.OverDefer},
		{Name: "all", Limit: config.Rate{Count: 100, Per: 24 * time.Hour}, Over: config.OverDefer},
		{Name: "news", Category: "news", Limit: config.Rate{Count: 50, Per: 24 * time.Hour}, Over: config.OverDrop},
	}
}

// parts are the files of the catalogue.
func parts() map[string]string {
	return map[string]string{
		"catalogue.yaml":         "default_locale: en\n",
		"news/template.yaml":     "category: news\nschema: {type: object, required: [n, pad], properties: {n: {type: integer}, pad: {type: string}}}\nsamples: {default: {n: 1, pad: x}}\n",
		"news/en/push.title.txt": "Number {{.data.n}}",
		"news/en/push.body.txt":  "{{.data.pad}}",
	}
}

func writeCatalogue(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// furniture is what the rooms are opened with.
type furniture struct {
	partitions int
	size       int // bytes of each notification's data
	clock      *clockOf
	files      map[string]string // of the catalogue
	caps       []config.Cap
}

// plain is what costs are measured with.
func plain(partitions, size int) furniture {
	return furniture{partitions, size, newClock(noon(), 1), parts(), threeCaps()}
}

// open empties Redis and opens the rooms on it. Records expire by Redis' clock.
func (l *lab) open(ctx context.Context, f furniture) (*rooms, error) {
	if err := l.node.FlushAll(ctx).Err(); err != nil {
		return nil, fmt.Errorf("emptying Redis: %w", err)
	}
	dir := filepath.Join(l.dir, "catalogue")
	if err := errors.Join(os.RemoveAll(dir), writeCatalogue(dir, f.files)); err != nil {
		return nil, err
	}
	catalogue, err := templates.OpenStore(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	q, err := queue.Open(ctx, l.rdb, l.rdb, config.Queue{Namespace: namespace, Partitions: f.partitions, Visibility: config.Duration(time.Minute),
		Retention: config.Duration(retention), MaxBacklog: 1 << 30, Finals: 100}, queue.WithClock(f.clock.Now))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the queue: %w", err), catalogue.Close())
	}
	caps, err := throttle.NewCaps(l.rdb, namespace, q.Partition, f.caps)
	return &rooms{lab: l, clock: f.clock, queue: q, catalogue: catalogue, caps: caps, size: f.size,
		directory: recipients.New(l.rdb, namespace, q.Partition, recipients.WithClock(f.clock.Now))}, err
}

func (r *rooms) close() {
	r.queue.Close()
	r.catalogue.Close()
}

const userPrefix = "user-"

func user(i int) string { return userPrefix + strconv.Itoa(i) }

// profile is a person with devices, whose tokens are as long as a provider's.
func profile(i, devices int) *recipients.Profile {
	p := &recipients.Profile{Email: user(i) + "@mail.example", Name: "Ada Lovelace", Locale: "en-GB", Timezone: "UTC",
		Preferences: recipients.Preferences{"newsletter": {"email": false}}}
	for d := range devices {
		token := fmt.Sprintf("%d-%d-", i, d)
		p.Devices = append(p.Devices, recipients.Device{Platform: notice.PlatformAndroid, Token: token + strings.Repeat("x", 163-len(token))})
	}
	return p
}

// people stores the profiles of n users.
func (r *rooms) people(ctx context.Context, n, devices int) error {
	return r.store(ctx, n, func(i int) *recipients.Profile { return profile(i, devices) })
}

// store stores a profile for each of n users.
func (r *rooms) store(ctx context.Context, n int, of func(i int) *recipients.Profile) error {
	const writers = 16
	errs := make([]error, writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := w; i < n && errs[w] == nil; i += writers {
				errs[w] = r.directory.Put(ctx, tenant, user(i), of(i))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// note is a push to a user by one of the templates, whose category has its name.
func (r *rooms) note(template string, lane notice.Lane, to, n int) queue.Admission {
	return queue.Admission{Tenant: tenant, Notification: notice.Notification{Template: template, Category: template, Priority: lane,
		Channels: []notice.Medium{notice.MediumPush}, To: notice.Recipient{User: user(to)},
		Data: jsontext.Value(fmt.Sprintf(`{"n":%d,"pad":"%s"}`, n, strings.Repeat("x", r.size)))}}
}

// admit accepts n notifications to users in their order.
func (r *rooms) admit(ctx context.Context, users func(i int) int, n int) error {
	notes := make([]queue.Admission, n)
	for i := range notes {
		notes[i] = r.note("news", notice.LaneNormal, users(i), i)
	}
	return r.admitAll(ctx, notes)
}

// admitAll accepts notifications, a batch at a time.
func (r *rooms) admitAll(ctx context.Context, notes []queue.Admission) error {
	for batch := range slices.Chunk(notes, batchSize) {
		for _, got := range r.queue.AdmitAll(ctx, batch) {
			if got.Err != nil {
				return fmt.Errorf("admitting: %w", got.Err)
			}
		}
	}
	return nil
}

// count counts the users of one after the other, from the first.
func count(i int) int { return i }

// provider takes everything at once.
type provider struct{ taken atomic.Int64 }

// Channel implements channels.Adapter.
func (*provider) Channel() notice.Channel { return notice.ChannelFCM }

// Send takes a message.
func (p *provider) Send(context.Context, channels.Message) channels.Result {
	p.taken.Add(1)
	return channels.Result{Verdict: channels.Sent, Code: "200"}
}

// consume runs a consumer until done, and what it was sending is settled.
func (r *rooms) consume(ctx context.Context, sink *provider, quiet *config.QuietHours, done func(ctx context.Context) error) error {
	return attended(ctx, r.pipeline(sink, quiet), done)
}

// attended runs a consumer until done, and what it was sending is settled.
func attended(ctx context.Context, p *delivery.Pipeline, done func(ctx context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	err := done(ctx)
	stop()
	running.Wait()
	return err
}

func (r *rooms) pipeline(sink *provider, quiet *config.QuietHours) *delivery.Pipeline {
	o := r.options(sink)
	o.QuietHours = quiet
	return delivery.New(o)
}

// options are a consumer's.
func (r *rooms) options(sink channels.Adapter) delivery.Options {
	on := map[notice.Channel]bool{notice.ChannelFCM: true}
	return delivery.Options{Consumer: "scale", Queue: r.queue, Directory: r.directory, Catalogue: r.catalogue, Caps: r.caps,
		Accept: ingest.Acceptor{Templates: r.catalogue, EnabledChannels: on}, Tenant: tenant, Enabled: on,
		Channels: []delivery.Channel{{Adapter: sink, Slots: throttle.NewSlots(64, time.Now), Pace: throttle.NewPace(config.Rate{}),
			Retry: config.Retry{Schedule: []config.Duration{config.Duration(time.Second)}}}},
		Visibility: time.Minute, Grace: 10 * time.Second, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Now: r.clock.Now}
}

// deliver runs a consumer until so many have been sent.
func (r *rooms) deliver(ctx context.Context, n int) error {
	sink := &provider{}
	return r.consume(ctx, sink, nil, func(ctx context.Context) error {
		return await(ctx, stepLimit, fmt.Sprintf("%d sends", n), func() (bool, error) { return sink.taken.Load() >= int64(n), nil })
	})
}

// park runs a consumer, in quiet hours, until so many are parked.
func (r *rooms) park(ctx context.Context, n int) error {
	return r.consume(ctx, &provider{}, &config.QuietHours{From: "00:00", To: "20:00"}, func(ctx context.Context) error {
		return await(ctx, stepLimit, fmt.Sprintf("%d parked", n), func() (bool, error) {
			parked, err := r.queue.Parked(ctx)
			return parked.Total() >= n, err
		})
	})
}
