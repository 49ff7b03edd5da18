// Package apns sends pushes to Apple's push service over HTTP/2, with a signing
// key or a certificate (Apple Developer Documentation, "Sending notification
// requests to APNs").
//
// The delivery's id becomes the apns-id, the same on every attempt. The topic
// is the address's app, or the configured one. A push that shows something has
// priority 10, or 5 on the bulk lane; one without title and body only wakes
// the app. The content's options say otherwise.
package apns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/google/uuid"
	"github.com/sideshow/apns2"
)

const (
	defaultConnections = 2
	defaultTimeout     = 15 * time.Second
)

// Adapter sends to Apple's push service. It is safe for use by many
// goroutines at once.
type Adapter struct {
	apps     map[string]app // by what devices call them; "": the channel's own
	strict   bool           // an app that is none of them is refused
	timeout  time.Duration
	now      func() time.Time
	space    uuid.UUID
	verdicts map[answer]row
}

// Option changes what New makes.
type Option func(*options)

type options struct {
	now    func() time.Time
	rest   time.Duration
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	issuer Issuer
}

// WithClock has the adapter tell the time by now, for tests.
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// WithIssuer has the adapter agree with every other consumer on the provider
// token. Without it they agree as well as their clocks do.
func WithIssuer(i Issuer) Option { return func(o *options) { o.issuer = i } }

// WithRedialAfter sets how long a place in the connection pool rests between
// two dials; a second by default, since Apple takes quick reconnecting for an
// attack.
func WithRedialAfter(d time.Duration) Option { return func(o *options) { o.rest = d } }

// WithDialer has the adapter connect by dial, in place of a net.Dialer's.
func WithDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(o *options) { o.dial = dial }
}

// New checks the section and its keys. It does not connect yet: a service that
// is down when the gateway starts costs nobody a restart.
func New(cfg config.APNs, opts ...Option) (*Adapter, error) {
	o := options{now: time.Now, rest: redialAfter, dial: (&net.Dialer{Timeout: 10 * time.Second}).DialContext}
	for _, opt := range opts {
		opt(&o)
	}
	apps, err := newApps(cfg, o)
	if err != nil {
		return nil, err
	}
	return &Adapter{
		apps:     apps,
		strict:   len(cfg.Apps) > 0,
		timeout:  orDefault(cfg.Timeout.Std(), defaultTimeout),
		now:      o.now,
		space:    idSpace(),
		verdicts: index(table()),
	}, nil
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// Warm begins to connect to the production service with every credential, so
// that the first push need not wait for it. What fails is tried again by the
// first push.
func (a *Adapter) Warm() {
	for account := range a.accounts() {
		account.services[notice.EnvironmentProduction].pool.warm()
	}
}

// accounts are all there are, each once.
func (a *Adapter) accounts() map[*account]bool {
	all := map[*account]bool{}
	for _, app := range a.apps {
		all[app.account] = true
	}
	return all
}

// Channel is notice.ChannelAPNs.
func (a *Adapter) Channel() notice.Channel { return notice.ChannelAPNs }

// Close ends the connections and interrupts what is under way, whose outcome
// is then unknown: let Sends end first.
func (a *Adapter) Close() error {
	for account := range a.accounts() {
		for _, s := range account.services {
			s.pool.close()
		}
	}
	return nil
}

// Send pushes m to one device. It sends once, but for two cases in which the
// push was certainly not taken: a connection that gave it back, and a provider
// token that Apple calls expired, which is renewed once.
func (a *Adapter) Send(ctx context.Context, m channels.Message) channels.Result {
	r, fault := a.request(m)
	if fault != nil {
		return *fault
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if r.provider == nil {
		_, result := a.push(ctx, r, "")
		return result
	}
	bearer, err := r.provider.bearer(ctx)
	if err != nil {
		return channels.Result{Verdict: channels.Broken, Code: "token", Err: err}
	}
	at, result := a.push(ctx, r, bearer)
	if at.reason != apns2.ReasonExpiredProviderToken {
		return result
	}
	bearer, ok := r.provider.renew(ctx, bearer)
	if !ok {
		return result
	}
	_, result = a.push(ctx, r, bearer)
	return result
}

// push sends r once.
func (a *Adapter) push(ctx context.Context, r *request, bearer string) (answer, channels.Result) {
	e := &exchange{pool: r.service.pool, bearer: bearer, now: r.PushType == apns2.PushTypePushToTalk}
	client := apns2.Client{Host: r.service.host, HTTPClient: &http.Client{Transport: e, CheckRedirect: noRedirect}}
	resp, err := client.PushWithContext(ctx, r.Notification)
	if e.status == 0 {
		return answer{}, transportFailure(err, e.wrote)
	}
	if resp == nil || err != nil { // an answer that is not JSON: its status still speaks
		resp = &apns2.Response{}
	}
	at := answer{e.status, resp.Reason}
	result := a.classify(at, resp, e.header, r.ApnsID)
	if r.foreign && aboutTopic(at.reason) {
		result.Verdict = channels.Rejected
		result.Err = fmt.Errorf("APNs answered %d %s: the device's app is none that this key or certificate may push to: add it to apns.apps, or correct the device", at.status, at.code())
	}
	return at, result
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func transportFailure(err error, wrote bool) channels.Result {
	switch {
	case errors.Is(err, errRefused):
		return channels.Result{Verdict: channels.Retry, Code: "refused", Err: errRefused}
	case errors.Is(err, errClosed):
		return channels.Result{Verdict: channels.Retry, Code: "closed", Err: errClosed}
	}
	return channels.TransportFailure(err, wrote)
}

// classify turns an answer into a result.
func (a *Adapter) classify(at answer, resp *apns2.Response, h http.Header, id string) channels.Result {
	r := lookUp(a.verdicts, at)
	result := channels.Result{Verdict: r.verdict, Scope: r.scope, Code: at.code()}
	if r.verdict == channels.Sent {
		result.ProviderID = resp.ApnsID
		if result.ProviderID == "" {
			result.ProviderID = id
		}
		return result
	}
	if r.verdict == channels.Retry || r.verdict == channels.Throttled {
		result.RetryAfter = channels.RetryAfter(h, a.now())
	}
	if r.verdict == channels.Gone {
		result.GoneSince = resp.Timestamp.Time
	}
	result.Err = fmt.Errorf("APNs answered %d %s: %s", at.status, at.code(), r.mend)
	return result
}

// code is Apple's word, or the status where there is none that can be one: a
// proxy may write anything.
func (a answer) code() string {
	if a.reason == "" || len(a.reason) > 64 {
		return strconv.Itoa(a.status)
	}
	for _, c := range a.reason {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return strconv.Itoa(a.status)
		}
	}
	return a.reason
}
