// Package webpush sends to browsers: Web Push (RFC 8030), encrypted for the
// one browser (RFC 8291), identified by VAPID (RFC 8292).
//
// A page's service worker gets the JSON {"id","title","body","data",
// "notification"}, the last as the sender's options have it. Web Push
// has no header for a message's own id, so a page that must not show anything
// twice compares "id": it is the delivery's, the same on every attempt.
//
// Encryption and VAPID are the standard library's cryptography in some sixty
// lines: the usual client library signs a token for each message, pads each to
// 4 KB and answers with errors that quote the endpoint. The tests read both
// libraries' messages with one reader.
package webpush

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
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
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	defaultTimeout     = 15 * time.Second
	defaultConcurrency = 64
	maxTTL             = 28 * 24 * time.Hour // the push services of the browsers keep nothing longer
	maxAnswer          = 4 << 10             // bytes of an answer that are read, so that its connection can be kept
	// maxPayload is what is left of a body's 4096 bytes, with a little room
	// for push services that wrap it.
	maxPayload = 3800
	// smallPayload is what is tried where a push service calls that too large:
	// RFC 8030 §7.2 has it take 4096 bytes, and not everyone reads it.
	smallPayload = 1900
)

// Adapter sends to push services of browsers. It is safe for use by many
// goroutines at once.
type Adapter struct {
	transport *http.Transport
	vapid     *vapid
	timeout   time.Duration
	now       func() time.Time
	verdicts  map[int]row
}

// Option changes what New makes.
type Option func(*options)

type options struct{ now func() time.Time }

// WithClock has the adapter tell the time by now, for tests.
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// New checks the section and the key. It connects to nothing yet. Endpoints on
// addresses that are not public are refused, but for those of AllowNetworks.
func New(cfg config.WebPush, opts ...Option) (*Adapter, error) {
	o := options{now: time.Now}
	for _, opt := range opts {
		opt(&o)
	}
	v, err := newVAPID(cfg.PrivateKey.Reveal(), cfg.Subject, o.now)
	if err != nil {
		return nil, err
	}
	idle := cfg.Concurrency
	if idle <= 0 {
		idle = defaultConcurrency
	}
	transport, err := egress.NewTransport(egress.Options{AllowNetworks: cfg.AllowNetworks, CAFile: cfg.CAFile, IdlePerHost: idle})
	if err != nil {
		return nil, fmt.Errorf("webpush.%w", err)
	}
	timeout := cfg.Timeout.Std()
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return &Adapter{transport: transport, vapid: v, timeout: timeout, now: o.now, verdicts: index(table())}, nil
}

// Channel is notice.ChannelWebPush.
func (a *Adapter) Channel() notice.Channel { return notice.ChannelWebPush }

// PublicKey is what pages subscribe with: the applicationServerKey, base64url.
func (a *Adapter) PublicKey() string { return a.vapid.public }

// Close ends the kept connections. Sends that are under way end by
// themselves.
func (a *Adapter) Close() error {
	a.transport.CloseIdleConnections()
	return nil
}

// Send pushes m to one browser, in one request, but for a service that calls
// the message too large: then once more, with a shorter body.
func (a *Adapter) Send(ctx context.Context, m channels.Message) channels.Result {
	s, err := parseSubscription(m.Address.To)
	if err != nil {
		return rejected("subscription", err)
	}
	payload, err := newPayload(m, maxPayload)
	if err != nil {
		return rejected("payload", err)
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	result := a.post(ctx, m, s, payload)
	if result.Code != tooLarge || len(payload) <= smallPayload {
		return result
	}
	if payload, err = newPayload(m, smallPayload); err != nil {
		return result
	}
	return a.post(ctx, m, s, payload)
}

// tooLarge is the code of an answer that refuses a message for its length.
const tooLarge = "413"

// post makes one request.
func (a *Adapter) post(ctx context.Context, m channels.Message, s *subscription, payload []byte) channels.Result {
	ctx, written := channels.TrackWrite(ctx)
	req, err := a.request(ctx, m, s, payload)
	if err != nil {
		return rejected("encryption", err)
	}
	resp, err := a.transport.RoundTrip(req) // a client would follow redirects
	if egress.Refused(err) {
		return rejected("address", errors.New("the endpoint's address is not on the public internet: webpush.allow_networks may allow it"))
	}
	if err != nil {
		return channels.TransportFailure(err, written.Any())
	}
	io.CopyN(io.Discard, resp.Body, maxAnswer)
	resp.Body.Close()
	return a.classify(resp)
}

func rejected(code string, err error) channels.Result {
	return channels.Result{Verdict: channels.Rejected, Unsent: true, Code: code, Err: err}
}

func (a *Adapter) classify(resp *http.Response) channels.Result {
	r := lookUp(a.verdicts, resp.StatusCode)
	result := channels.Result{Verdict: r.verdict, Scope: r.scope, Code: strconv.Itoa(resp.StatusCode)}
	if r.verdict == channels.Sent {
		return result
	}
	if r.verdict == channels.Retry || r.verdict == channels.Throttled {
		result.RetryAfter = channels.RetryAfter(resp.Header, a.now())
	}
	result.Err = fmt.Errorf("the push service answered %d: %s", resp.StatusCode, r.mend)
	return result
}

// request makes the request of RFC 8030 §5.
func (a *Adapter) request(ctx context.Context, m channels.Message, s *subscription, payload []byte) (*http.Request, error) {
	body, err := encrypt(s, payload)
	if err != nil {
		return nil, errors.New("the payload could not be encrypted for the subscription")
	}
	authorization, err := a.vapid.authorization(s.audience())
	if err != nil {
		return nil, err
	}
	req := &http.Request{
		Method: http.MethodPost, URL: s.endpoint, Host: s.endpoint.Host, Header: make(http.Header, 8),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Content-Encoding", "aes128gcm")
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("TTL", strconv.FormatInt(a.ttl(m.ExpiresAt), 10))
	req.Header.Set("Urgency", urgency(m))
	if m.CollapseKey != "" {
		req.Header.Set("Topic", topic(m.CollapseKey))
	}
	return req.WithContext(ctx), nil
}

// ttl is how long, in seconds, the push service keeps the message for a
// browser that is off (RFC 8030 §5.2).
func (a *Adapter) ttl(expires time.Time) int64 {
	life := maxTTL
	if !expires.IsZero() {
		life = min(max(expires.Sub(a.now()), 0), maxTTL)
	}
	return int64(life / time.Second)
}

// urgency is RFC 8030 §5.3: the sender's, or the lane's.
func urgency(m channels.Message) string {
	if o := wishes(m); o != nil && o.Urgency != "" {
		return o.Urgency
	}
	switch m.Lane {
	case notice.LaneCritical:
		return "high"
	case notice.LaneBulk:
		return "low"
	}
	return "normal"
}

// topic is the name under which a newer message replaces an older one that is
// still waiting: at most 32 characters of base64url (RFC 8030 §5.4), hence a
// hash of the key.
func topic(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

// wishes are what the sender says of browsers; nil when that is nothing.
func wishes(m channels.Message) *notice.WebPushOptions {
	if p := m.Content.Push; p != nil && p.Options != nil {
		return p.Options.WebPush
	}
	return nil
}

// content is what the service worker reads.
type content struct {
	ID    string         `json:"id"`
	Title string         `json:"title,omitzero"`
	Body  string         `json:"body,omitzero"`
	Data  jsontext.Value `json:"data,omitzero"`
	// Notification is for the page's call of showNotification.
	Notification jsontext.Value `json:"notification,omitzero"`
}

// newPayload encodes the message in at most most bytes, shortening the body
// when that is what it takes.
func newPayload(m channels.Message, most int) ([]byte, error) {
	p := m.Content.Push
	if p == nil {
		return nil, errors.New("the message has no push content")
	}
	c := content{ID: m.ID, Title: p.Title, Body: p.Body, Data: p.Data}
	if o := wishes(m); o != nil {
		c.Notification = o.Notification
	}
	raw, err := c.encode()
	if err != nil || len(raw) <= most {
		return raw, err
	}
	rest := len(raw)
	for _, r := range c.Body {
		rest -= channels.JSONCost(r)
	}
	c.Body = channels.Shorten(c.Body, most-rest, channels.JSONCost)
	if c.Body == "" { // a push without its text is another push
		return nil, fmt.Errorf("the title and data take %d bytes, and with the body %d at most: shorten them", rest, most)
	}
	return c.encode()
}

// encode escapes as JSONCost counts.
func (c content) encode() ([]byte, error) {
	raw, err := json.Marshal(c, jsontext.EscapeForHTML(true), jsontext.EscapeForJS(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return nil, errors.New("data is not JSON that can be read (a name may stand in it twice)")
	}
	return raw, nil
}
