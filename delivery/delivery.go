// Package delivery is the pipeline: it takes accepted events, plans one
// delivery for each address, works the deliveries of the channels it serves,
// and turns every answer into the transition that follows.
//
//	inbox.go    inbox entries → admissions
//	plan.go     events → deliveries
//	direct.go   events that are one delivery → their channel's sender
//	lanes.go    what waits for a slot, and whose turn it is
//	aside.go    what waits for a place at its destination
//	asked.go    what a provider asks for: whom that stops, and that the others hear of it
//	send.go     one delivery: render, permit, send
//	credential.go what an answer says of our standing with a provider
//	cancel.go   what was canceled ends, wherever it waits
//	outcome.go  results → transitions, a pure function
//	settle.go   transitions → the queue, in batches
//	run.go      which goroutines there are, and how they stop
package delivery

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/templates"
	"github.com/carillonhq/carillon/throttle"
)

// Directory knows the people: *recipients.Store.
type Directory interface {
	Lookup(ctx context.Context, queries []recipients.Query) ([]recipients.Found, error)
	RetireDevice(ctx context.Context, tenant, user, token string, since time.Time, reason string) (removed bool, err error)
	Suppress(ctx context.Context, tenant string, c notice.Channel, address, reason string) error
}

// Catalogue holds the templates that are current now.
type Catalogue interface {
	Current() *templates.Catalogue
}

// Capper decides a recipient's caps: *throttle.Caps.
type Capper interface {
	Applies(throttle.Ask) bool
	Decide(ctx context.Context, asks []throttle.Ask) ([]throttle.Answer, error)
	Release(ctx context.Context, asks []throttle.Ask) error
}

// Acceptor checks a notification that came by the inbox as the door does one
// that came by HTTP, and completes it.
type Acceptor interface {
	Accept(n *notice.Notification, now time.Time) error
}

// Router turns an integration event into notifications; none when no route
// takes it.
type Router interface {
	Route(notice.CloudEvent) ([]notice.Notification, error)
}

// Channel is one channel that this consumer serves.
type Channel struct {
	Adapter channels.Adapter
	Slots   *throttle.Slots
	// CriticalSlots is how many of Slots are kept for the critical lane; 0: none.
	CriticalSlots int
	Pace          *throttle.Pace
	Retry         config.Retry
	// Board is where this consumer and the others of the channel tell each
	// other what its provider asked for; nil: each goes by what it was told.
	Board *throttle.Board
	// Rates are where all consumers share out what a host was found to take;
	// nil, or without a Board: each learns its own part of it.
	Rates *throttle.Rates
	// Quotas are the channel's rates by domain, host, tenant, account and relay;
	// nil: there are none.
	Quotas *throttle.Quotas
}

// Options are what a Pipeline is made of. Every field is needed but where it
// says otherwise.
type Options struct {
	Consumer   string // its name in the consumer groups: no two live consumers share one
	Queue      *queue.Queue
	Directory  Directory
	Catalogue  Catalogue
	Caps       Capper
	QuietHours *config.QuietHours // nil: none but a recipient's own; see Replace
	Accept     Acceptor
	Routes     Router
	Tenant     string                  // of inbox entries that name none
	Enabled    map[notice.Channel]bool // channels that are configured, whoever serves them
	Channels   []Channel               // channels that this consumer serves
	Visibility time.Duration           // queue.visibility
	Grace      time.Duration           // how long a stop waits for sends in flight
	Log        *slog.Logger
	Metrics    prometheus.Registerer
	// UnsubscribeLink is the link by which a delivery's recipient leaves its
	// category, the same on every attempt; empty when there is none. Nil: no
	// delivery has one.
	UnsubscribeLink func(*notice.Delivery) string
	// Mandatory are the categories of mail that nobody can leave: neither a
	// preference nor a complaint holds them back, and they have no link.
	Mandatory []string
	// Holds are the channels with on_unknown: hold, whoever serves them; those
	// of Channels need not be named. Their deliveries always go by the stream.
	Holds map[notice.Channel]bool
	// Patience is how long planning waits for room in a channel that it can
	// hand a delivery to without writing it to the channel's stream. 0: 100 ms;
	// negative: everything goes by the stream.
	Patience time.Duration
	Now      func() time.Time                  // nil: time.Now
	Jitter   func(time.Duration) time.Duration // nil: uniform from 0; for tests
}

// Pipeline works the queue until it is told to stop.
type Pipeline struct {
	Options
	settings atomic.Pointer[settings]
	metrics  *metrics
	zones    recipients.Zones
	senders  []*sender
	held     *held
	wake     chan time.Time // when something was parked, for the promoter
	cancels  int64          // how many were looked for in the lanes; the promoter's
	finish   func(*queue.Settlement)
	away     atomic.Bool // the queue could not be read last
}

// New makes a Pipeline; Run starts it.
func New(o Options) *Pipeline {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Jitter == nil {
		o.Jitter = func(most time.Duration) time.Duration { return rand.N(most + 1) }
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	p := &Pipeline{Options: o, held: newHeld(), wake: make(chan time.Time, 1)}
	p.Replace(o.QuietHours, o.Tenant)
	p.metrics = newMetrics(o.Metrics, o.Channels)
	for _, c := range o.Channels {
		p.senders = append(p.senders, newSender(p, c))
	}
	return p
}

// Paused says for each channel that is paused because its provider refuses
// our credential or set-up what the provider said.
func (p *Pipeline) Paused() map[notice.Channel]string {
	out := map[notice.Channel]string{}
	for _, s := range p.senders {
		if why := s.credential.because(); why != "" {
			out[s.channel] = why
		}
	}
	return out
}
