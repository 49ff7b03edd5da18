// Package webhook delivers notifications as signed HTTP POSTs, as Standard
// Webhooks lays down (https://www.standardwebhooks.com): the body as it was
// rendered, byte for byte, the delivery's id as webhook-id on every attempt,
// and a signature for each secret of the endpoint.
package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/egress"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// drainTime is how long an answer's body is read once its status is known. The
// status is the answer; the body is read only so that the connection can serve
// the next request, and a receiver that drips must not hold a sender for it.
const drainTime = time.Second

// Adapter sends webhooks. It is safe for concurrent use.
type Adapter struct {
	transport   *http.Transport
	timeout     time.Duration
	maxResponse int64
	now         func() time.Time
	userAgent   []string // header values that every request shares
	contentType []string
}

// Option changes what New makes.
type Option func(*Adapter)

// WithClock makes the adapter tell the time by now: webhook-timestamp, and a
// Retry-After that is a date.
func WithClock(now func() time.Time) Option { return func(a *Adapter) { a.now = now } }

// WithVersion sets what the User-Agent says after "Carillon/".
func WithVersion(version string) Option {
	return func(a *Adapter) { a.userAgent = []string{"Carillon/" + version} }
}

// New makes the adapter of cfg. An error names the key at fault.
func New(cfg config.Webhook, opts ...Option) (*Adapter, error) {
	if cfg.Timeout.Std() <= 0 {
		return nil, fmt.Errorf("webhook.timeout: %q: must be longer than 0, as 15s", cfg.Timeout)
	}
	transport, err := egress.NewTransport(egress.Options{
		AllowNetworks: cfg.AllowNetworks,
		CAFile:        cfg.CAFile,
		ClientCert:    cfg.ClientCert,
		ClientKey:     cfg.ClientKey,
		IdlePerHost:   cfg.Concurrency,
	})
	if err != nil {
		return nil, fmt.Errorf("webhook.%w", err)
	}
	a := &Adapter{
		transport:   transport,
		timeout:     cfg.Timeout.Std(),
		maxResponse: int64(cfg.MaxResponse),
		now:         time.Now,
		userAgent:   []string{"Carillon/dev"},
		contentType: []string{"application/json"},
	}
	for _, o := range opts {
		o(a)
	}
	return a, nil
}

// Channel is notice.ChannelWebhook.
func (a *Adapter) Channel() notice.Channel { return notice.ChannelWebhook }

// Close closes the connections that no request is using.
func (a *Adapter) Close() error {
	a.transport.CloseIdleConnections()
	return nil
}

// Send makes one attempt. Redirects are not followed: a 3xx is a failure
// (Standard Webhooks), and a redirect is how a checked address leads to an
// unchecked one.
func (a *Adapter) Send(ctx context.Context, m channels.Message) channels.Result {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	ctx, written := channels.TrackWrite(ctx)
	req, err := a.request(ctx, m)
	if err != nil {
		return channels.Result{Verdict: channels.Rejected, Code: "invalid", Err: err}
	}
	// The transport and not a client: no redirects, no cookies, and no copy of
	// the request. A POST without an idempotency header is sent again by the
	// transport only when not one byte of it was written.
	res, err := a.transport.RoundTrip(req)
	if egress.Refused(err) {
		return refused()
	}
	if err != nil {
		return channels.TransportFailure(err, written.Any())
	}
	a.drain(res, cancel)
	return answered(res, a.now())
}

func (a *Adapter) request(ctx context.Context, m channels.Message) (*http.Request, error) {
	body := []byte(m.Content.Webhook)
	if len(body) == 0 {
		return nil, errors.New("the notification has no webhook content")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.Address.To, bytes.NewReader(body))
	if err != nil || req.URL.Host == "" || req.URL.Scheme != "https" && req.URL.Scheme != "http" {
		// Not err itself: it holds the URL, which may hold a token.
		return nil, errors.New("the webhook's address is not an http or https URL")
	}
	stamp := strconv.FormatInt(a.now().Unix(), 10)
	signature, err := sign(m.Address.Secret, m.ID, stamp, body)
	if err != nil {
		return nil, err
	}
	// The keys are in canonical form, so that Set's canonicalising is saved.
	req.Header = http.Header{
		"Content-Type":      a.contentType,
		"User-Agent":        a.userAgent,
		"Webhook-Id":        {m.ID},
		"Webhook-Timestamp": {stamp},
	}
	if signature != "" {
		req.Header["Webhook-Signature"] = []string{signature}
	}
	if user := req.URL.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	return req, nil
}

// drain reads what is left of an answer, within bounds, and gives the
// connection back; past the bounds the connection is closed instead.
func (a *Adapter) drain(res *http.Response, cancel context.CancelFunc) {
	if res.ContentLength != 0 && res.ContentLength <= a.maxResponse && res.StatusCode != http.StatusSwitchingProtocols {
		limit := time.AfterFunc(drainTime, cancel)
		defer limit.Stop()
		// A failure here changes nothing: the status has been read.
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, a.maxResponse))
	}
	_ = res.Body.Close()
}
