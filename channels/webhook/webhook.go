// Package webhook delivers notifications as signed HTTP POSTs, as Standard
// Webhooks lays down (https://www.standardwebhooks.com): the body as it was
// rendered, byte for byte, the delivery's id as webhook-id on every attempt,
// and a signature for each secret of the endpoint.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/egress"
	"github.com/carillonhq/carillon/channels/webhook/http1"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

const (
	// drainTime is how long an answer's body is read once its status is known.
	// The status is the answer; the body is read so that the connection can
	// serve the next request, and a receiver that drips must not hold a sender
	// for it.
	drainTime = time.Second
	// maxAge is how long a connection is used, so that a name that moves to
	// another address is followed.
	maxAge = 10 * time.Minute
	// keptBuffer is the largest buffer of a request that is used again.
	keptBuffer = 64 << 10
)

// Adapter sends webhooks. It is safe for concurrent use.
type Adapter struct {
	client    *http1.Client
	routes    *routes
	timeout   time.Duration
	now       func() time.Time
	userAgent string
	failures  Failures // nil: endpoints are not disabled for failing
	disabled  func(Disabled)
	buffers   sync.Pool // of *[]byte, for requests
}

// Option changes what New makes.
type Option func(*settings)

// settings are what the options set.
type settings struct {
	now     func() time.Time
	version string
	egress  egress.Options

	failures Failures
	disabled func(Disabled)
}

// WithClock makes the adapter tell the time by now: webhook-timestamp, and a
// Retry-After that is a date.
func WithClock(now func() time.Time) Option { return func(s *settings) { s.now = now } }

// WithVersion sets what the User-Agent says after "Carillon/".
func WithVersion(version string) Option { return func(s *settings) { s.version = version } }

// New makes the adapter of cfg. An error names the key at fault.
func New(cfg config.Webhook, opts ...Option) (*Adapter, error) {
	if cfg.Timeout.Std() <= 0 {
		return nil, fmt.Errorf("webhook.timeout: %q: must be longer than 0, as 15s", cfg.Timeout)
	}
	s := settings{now: time.Now, version: "dev", egress: egress.Options{AllowNetworks: cfg.AllowNetworks}, disabled: func(Disabled) {}}
	for _, o := range opts {
		o(&s)
	}
	dialer, err := egress.NewDialer(s.egress)
	if err != nil {
		return nil, fmt.Errorf("webhook.%w", err)
	}
	routes, err := newRoutes(cfg)
	if err != nil {
		return nil, fmt.Errorf("webhook.%w", err)
	}
	return &Adapter{
		client:    newClient(cfg, dialer),
		routes:    routes,
		timeout:   cfg.Timeout.Std(),
		now:       s.now,
		userAgent: "Carillon/" + s.version,
		failures:  s.failures,
		disabled:  s.disabled,
		buffers:   sync.Pool{New: func() any { return new([]byte) }},
	}, nil
}

func newClient(cfg config.Webhook, dialer *egress.Dialer) *http1.Client {
	return http1.New(http1.Options{
		Dial:          dialer.DialContext,
		HandshakeTime: egress.HandshakeTimeout,
		MaxHead:       egress.MaxHeaderBytes,
		MaxBody:       int64(cfg.MaxResponse),
		BodyTime:      drainTime,
		IdleTime:      egress.IdleTimeout,
		MaxAge:        maxAge,
		IdlePerTarget: max(cfg.Concurrency, 64),
		Idle:          max(cfg.Concurrency, egress.MaxIdle),
	})
}

// Channel is notice.ChannelWebhook.
func (a *Adapter) Channel() notice.Channel { return notice.ChannelWebhook }

// Close closes the connections: those that no request is using now, the others
// when their answer has come. Nothing is sent after it.
func (a *Adapter) Close() error {
	a.client.Close()
	return nil
}

// Send makes one attempt. Redirects are not followed: a 3xx is a failure
// (Standard Webhooks), and a redirect is how a checked address leads to an
// unchecked one.
func (a *Adapter) Send(ctx context.Context, m channels.Message) channels.Result {
	to, err := parseEndpoint(m.Address.To)
	if egress.Refused(err) {
		return refused()
	}
	if err != nil {
		return invalid(err)
	}
	return a.remember(ctx, &m, to.name, a.exchange(ctx, &m, &to, a.routes.of(to.name)))
}

// exchange makes the request and classifies what comes of it.
func (a *Adapter) exchange(ctx context.Context, m *channels.Message, to *endpoint, route *route) channels.Result {
	buffer := a.buffers.Get().(*[]byte)
	defer a.giveBack(buffer)
	request, err := a.prepare(m, to, route.fields, (*buffer)[:0])
	if err != nil {
		return invalid(err)
	}
	*buffer = request
	target := http1.Target{Address: to.address}
	if to.secure {
		target.Name, target.TLS = to.name, route.tls
	}
	answer, err := a.client.Do(ctx, time.Now().Add(a.timeout), target, request, keptOfBody)
	if err != nil {
		return failed(err)
	}
	return answered(answer, a.now(), func() *sent { return newSent(m, to, route) })
}

// giveBack keeps a request's buffer for another, unless it is large.
func (a *Adapter) giveBack(b *[]byte) {
	if cap(*b) <= keptBuffer {
		a.buffers.Put(b)
	}
}

func invalid(err error) channels.Result {
	return channels.Result{Verdict: channels.Rejected, Unsent: true, Code: "invalid", Err: err}
}

// failed classifies an exchange that got no answer.
func failed(err error) channels.Result {
	if egress.Refused(err) {
		return refused()
	}
	var failure *http1.Failure
	r := channels.TransportFailure(err, errors.As(err, &failure) && failure.Wrote)
	switch {
	case errors.Is(err, http1.ErrTooLarge):
		r.Code, r.Err = "answer", fmt.Errorf("the endpoint's answer has more than %d KiB of headers", egress.MaxHeaderBytes>>10)
	case errors.Is(err, http1.ErrMalformed):
		r.Code, r.Err = "answer", errors.New("the endpoint's answer is not HTTP/1")
	}
	return r
}
