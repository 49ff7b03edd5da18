// Package apns sends pushes to Apple's push service over HTTP/2, with token
// authentication (Apple Developer Documentation, "Sending notification
// requests to APNs").
//
// The delivery's id becomes the apns-id, the same on every attempt. The topic
// is the address's app, or the configured one. A push that shows something has
// priority 10, or 5 on the bulk lane; one without title and body only wakes
// the app.
package apns

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/google/uuid"
	"github.com/sideshow/apns2"
)

const (
	defaultHost        = "https://api.push.apple.com"
	defaultConnections = 2
	defaultTimeout     = 15 * time.Second
	maxCollapseID      = 64 // bytes
)

// Adapter sends to Apple's push service. It is safe for use by many
// goroutines at once.
type Adapter struct {
	host     string
	topic    string
	timeout  time.Duration
	now      func() time.Time
	space    uuid.UUID
	provider *provider
	pool     *pool
	verdicts map[answer]row
}

// Option changes what New makes.
type Option func(*options)

type options struct {
	now  func() time.Time
	rest time.Duration
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// WithClock has the adapter tell the time by now, for tests.
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// WithRedialAfter sets how long a place in the connection pool rests between
// two dials; a second by default, since Apple takes quick reconnecting for an
// attack.
func WithRedialAfter(d time.Duration) Option { return func(o *options) { o.rest = d } }

// WithDialer has the adapter connect by dial, in place of a net.Dialer's.
func WithDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(o *options) { o.dial = dial }
}

// New checks the section and the key. It does not connect yet: a service that
// is down when the gateway starts costs nobody a restart.
func New(cfg config.APNs, opts ...Option) (*Adapter, error) {
	o := options{now: time.Now, rest: redialAfter, dial: (&net.Dialer{Timeout: 10 * time.Second}).DialContext}
	for _, opt := range opts {
		opt(&o)
	}
	host, err := parseHost(cfg.Host)
	if err != nil {
		return nil, err
	}
	if cfg.KeyID == "" || cfg.TeamID == "" {
		return nil, errors.New("apns.key_id and apns.team_id: both are needed beside the key; Apple's developer site shows them")
	}
	p, err := newProvider(cfg.Key.Reveal(), cfg.KeyID, cfg.TeamID, o.now)
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(cfg.CAFile, o)
	if err != nil {
		return nil, err
	}
	return &Adapter{
		host:     host.String(),
		topic:    cfg.Topic,
		timeout:  orDefault(cfg.Timeout.Std(), defaultTimeout),
		now:      o.now,
		space:    idSpace(),
		provider: p,
		pool:     newPool(orDefault(cfg.Connections, defaultConnections), o.now, o.rest, dialer(transport, host)),
		verdicts: index(table()),
	}, nil
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

func parseHost(s string) (*url.URL, error) {
	if s == "" {
		s = defaultHost
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("apns.host: want a bare https URL, " + defaultHost + " or https://api.sandbox.push.apple.com")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// newTransport makes what connections are dialed with. No connection of its
// own pool is ever used.
func newTransport(caFile string, o options) (*http.Transport, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("apns.ca_file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("apns.ca_file: %s holds no PEM certificate", caFile)
		}
	}
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	return &http.Transport{
		DialContext:         o.dial,
		TLSClientConfig:     conf,
		TLSHandshakeTimeout: 10 * time.Second,
		Protocols:           &protocols,
		DisableCompression:  true,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:  30 * time.Second, // finds out a peer that vanished
			PingTimeout:      10 * time.Second,
			WriteByteTimeout: 10 * time.Second,
		},
	}, nil
}

func dialer(t *http.Transport, host *url.URL) func(context.Context) (*http.ClientConn, error) {
	address := host.Host
	if host.Port() == "" {
		address = net.JoinHostPort(host.Hostname(), "443")
	}
	return func(ctx context.Context) (*http.ClientConn, error) {
		return t.NewClientConn(ctx, "https", address)
	}
}

// Channel is notice.ChannelAPNs.
func (a *Adapter) Channel() notice.Channel { return notice.ChannelAPNs }

// Close ends the connections and interrupts what is under way, whose outcome
// is then unknown: let Sends end first.
func (a *Adapter) Close() error {
	a.pool.close()
	return nil
}

// Send pushes m to one device. It sends once, but for two cases in which the
// push was certainly not taken: a connection that gave it back, and a provider
// token that Apple calls expired, which is renewed once.
func (a *Adapter) Send(ctx context.Context, m channels.Message) channels.Result {
	n, fault := a.notification(m)
	if fault != nil {
		return *fault
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	bearer, err := a.provider.bearer()
	if err != nil {
		return channels.Result{Verdict: channels.Broken, Code: "token", Err: err}
	}
	at, result := a.push(ctx, n, bearer)
	if at.reason != apns2.ReasonExpiredProviderToken {
		return result
	}
	bearer, ok := a.provider.renew(bearer)
	if !ok {
		return result
	}
	_, result = a.push(ctx, n, bearer)
	return result
}

// push sends n once.
func (a *Adapter) push(ctx context.Context, n *apns2.Notification, bearer string) (answer, channels.Result) {
	e := &exchange{pool: a.pool, bearer: bearer}
	client := apns2.Client{Host: a.host, HTTPClient: &http.Client{Transport: e, CheckRedirect: noRedirect}}
	resp, err := client.PushWithContext(ctx, n)
	if e.status == 0 {
		return answer{}, transportFailure(err, e.wrote)
	}
	if resp == nil || err != nil { // an answer that is not JSON: its status still speaks
		resp = &apns2.Response{}
	}
	at := answer{e.status, resp.Reason}
	return at, a.classify(at, resp, e.header, n.ApnsID)
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

// notification makes the request of m, or says why it can never be sent.
func (a *Adapter) notification(m channels.Message) (*apns2.Notification, *channels.Result) {
	if !isToken(m.Address.To) {
		return nil, rejected(apns2.ReasonBadDeviceToken, errors.New("the device token is not one: want 64 to 200 hexadecimal digits, as the app's didRegisterForRemoteNotifications got it"))
	}
	if m.Content.Push == nil {
		return nil, rejected(apns2.ReasonPayloadEmpty, errors.New("the message has no push content"))
	}
	p, err := newPayload(m.Content.Push)
	if err != nil {
		return nil, rejected("data", err)
	}
	raw, err := p.encode()
	if err != nil {
		return nil, rejected(apns2.ReasonPayloadTooLarge, err)
	}
	n := &apns2.Notification{
		ApnsID:      a.id(m.ID),
		CollapseID:  collapseID(m.CollapseKey),
		DeviceToken: m.Address.To,
		Topic:       a.topic,
		Expiration:  m.ExpiresAt,
		Priority:    apns2.PriorityHigh,
		PushType:    apns2.PushTypeAlert,
		Payload:     raw,
	}
	if m.Address.App != "" {
		n.Topic = m.Address.App
	}
	if m.Lane == notice.LaneBulk {
		n.Priority = apns2.PriorityLow
	}
	if p.silent() {
		n.PushType, n.Priority = apns2.PushTypeBackground, apns2.PriorityLow
	}
	return n, nil
}

func rejected(code string, err error) *channels.Result {
	return &channels.Result{Verdict: channels.Rejected, Code: code, Err: err}
}

// isToken reports whether s can be a device token. It goes into the request's
// path as it is, so nothing but hexadecimal digits may pass. Apple gives no
// length; tokens have been 32 bytes long and may grow to 100.
func isToken(s string) bool {
	if len(s) < 64 || len(s) > 200 || len(s)%2 != 0 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// idSpace is the namespace of the project's apns-ids (RFC 9562 §5.5): they are
// UUIDs of version 5 over the delivery's id, so anybody can compute the
// apns-id of a delivery.
func idSpace() uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://carillonhq.dev/apns-id"))
}

func (a *Adapter) id(delivery string) string {
	return uuid.NewSHA1(a.space, []byte(delivery)).String()
}

// collapseID is the key itself, or its hash when it is longer than Apple
// takes or could not stand in a header.
func collapseID(key string) string {
	if len(key) <= maxCollapseID && printable(key) {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
