// Package fcm sends pushes through Firebase Cloud Messaging's HTTP v1 API,
// with Google's own client library. It is the only package that imports the
// library, which is large.
package fcm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	firebase "firebase.google.com/go/v4"
	"firebase.google.com/go/v4/messaging"
	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json"
	"google.golang.org/api/option"
	htransport "google.golang.org/api/transport/http"
)

const (
	scope              = "https://www.googleapis.com/auth/firebase.messaging"
	defaultTimeout     = 15 * time.Second
	defaultConcurrency = 64
)

// Adapter sends through FCM. It is safe for use by many goroutines at once.
type Adapter struct {
	client   *messaging.Client
	dryRun   bool
	wire     *http.Transport
	timeout  time.Duration
	now      func() time.Time
	verdicts verdicts
	proven   atomic.Int64 // when FCM last took a message, unix seconds; 0: never
}

// Option changes what New makes.
type Option func(*options)

type options struct {
	now  func() time.Time
	env  func(string) string
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// WithClock has the adapter tell the time by now, for tests.
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// WithDialer has the adapter connect by dial, in place of a net.Dialer's.
func WithDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(o *options) { o.dial = dial }
}

// WithEnvironment has the adapter read GOOGLE_APPLICATION_CREDENTIALS by env,
// in place of os.Getenv.
func WithEnvironment(env func(string) string) Option { return func(o *options) { o.env = env } }

// New checks the section and the credentials. It does not connect yet.
func New(cfg config.FCM, opts ...Option) (*Adapter, error) {
	o := options{now: time.Now, env: os.Getenv, dial: (&net.Dialer{Timeout: 10 * time.Second}).DialContext}
	for _, opt := range opts {
		opt(&o)
	}
	err := checkProject(cfg.Project)
	if err != nil {
		return nil, err
	}
	cfg.Credentials, err = credentials(cfg, o.env)
	if err != nil {
		return nil, err
	}
	wire := newWire(cfg, o)
	client, err := newClient(cfg, wire)
	if err != nil {
		return nil, err
	}
	timeout := cfg.Timeout.Std()
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return &Adapter{client: client, dryRun: cfg.DryRun, wire: wire, timeout: timeout, now: o.now, verdicts: newVerdicts()}, nil
}

// checkProject keeps what is not a project's id out of the request's path.
func checkProject(id string) error {
	if id == "" {
		return errors.New("fcm.project: missing: give the Firebase project's id")
	}
	for _, c := range id {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("-.:", c) {
			return fmt.Errorf("fcm.project: %q is no project id: want the lower-case id that the Firebase console shows, not the project's name", id)
		}
	}
	return nil
}

// newWire makes the connections. Google speaks HTTP/2, where one connection
// carries every request; a stand-in may speak HTTP/1.1, where each concurrent
// request needs a connection that is kept.
func newWire(cfg config.FCM, o options) *http.Transport {
	idle := cfg.Concurrency
	if idle <= 0 {
		idle = defaultConcurrency
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         o.dial,
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: idle,
		IdleConnTimeout:     55 * time.Second,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 10 * time.Second},
	}
}

func newClient(cfg config.FCM, transport *http.Transport) (*messaging.Client, error) {
	authorized, opts, err := authorize(cfg, wire{transport})
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport:     once{authorized},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	opts = append(opts, option.WithHTTPClient(client))
	ctx := context.Background() // the library keeps it for nothing
	app, err := firebase.NewApp(ctx, &firebase.Config{ProjectID: cfg.Project}, opts...)
	if err != nil {
		return nil, fmt.Errorf("fcm: making the Firebase app: %w", err)
	}
	c, err := app.Messaging(ctx)
	if err != nil {
		return nil, fmt.Errorf("fcm: making the messaging client: %w", err)
	}
	return c, nil
}

// authorize puts Google's credentials on requests, or none when a stand-in is
// configured.
func authorize(cfg config.FCM, base http.RoundTripper) (http.RoundTripper, []option.ClientOption, error) {
	if cfg.Endpoint != "" {
		u, err := url.Parse(cfg.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
			return nil, nil, errors.New("fcm.endpoint: want a stand-in's bare URL, as http://127.0.0.1:8090")
		}
		endpoint := strings.TrimSuffix(u.String(), "/") + "/v1"
		return base, []option.ClientOption{option.WithEndpoint(endpoint)}, nil
	}
	kind := credentialsType(cfg.Credentials)
	if kind == "" {
		return nil, nil, errors.New("fcm.credentials: neither a service account's JSON nor that of workload identity federation (external_account)")
	}
	rt, err := htransport.NewTransport(context.Background(), base,
		option.WithAuthCredentialsJSON(kind, []byte(cfg.Credentials.Reveal())),
		option.WithScopes(scope), option.WithTelemetryDisabled())
	if err != nil {
		return nil, nil, errors.New("fcm.credentials: incomplete: download a service account's key in the Firebase console, or make the configuration anew with gcloud")
	}
	return rt, nil, nil
}

// adcVariable is where Google's tools look for a file of credentials.
const adcVariable = "GOOGLE_APPLICATION_CREDENTIALS"

// credentials are the section's, or those of the file that the environment
// names. A stand-in needs none.
func credentials(cfg config.FCM, env func(string) string) (config.Secret, error) {
	if cfg.Endpoint != "" || cfg.Credentials.Reveal() != "" {
		return cfg.Credentials, nil
	}
	file := env(adcVariable)
	if file == "" {
		return config.Secret{}, errors.New("fcm.credentials: missing: give the service account's JSON, set " + adcVariable + " to its file, or fcm.endpoint for a local stand-in")
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return config.Secret{}, fmt.Errorf("fcm.credentials: reading what %s names: %w", adcVariable, err)
	}
	return config.NewSecret(string(raw)), nil
}

// credentialsType is what the JSON says it is; empty when that is nothing that
// a gateway should send with.
func credentialsType(c config.Secret) option.CredentialsType {
	var head struct {
		Type string `json:"type"`
	}
	if json.Unmarshal([]byte(c.Reveal()), &head) != nil {
		return ""
	}
	switch kind := option.CredentialsType(head.Type); kind {
	case option.ServiceAccount, option.ExternalAccount:
		return kind
	}
	return ""
}

// Channel is notice.ChannelFCM.
func (a *Adapter) Channel() notice.Channel { return notice.ChannelFCM }

// Close ends the kept connections. Sends that are under way end by
// themselves.
func (a *Adapter) Close() error {
	a.wire.CloseIdleConnections()
	return nil
}

// Send pushes m to one device, in exactly one request.
func (a *Adapter) Send(ctx context.Context, m channels.Message) channels.Result {
	msg, err := newMessage(m, a.now())
	switch {
	case errors.Is(err, errTooLarge):
		return channels.Result{Verdict: channels.Rejected, Unsent: true, Code: "payload", Err: err}
	case err != nil:
		return channels.Result{Verdict: channels.Rejected, Unsent: true, Code: "INVALID_ARGUMENT", Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	ctx, x := watch(ctx)
	name, err := a.send(ctx, msg)
	switch {
	case x.err != nil:
		return x.failure()
	case x.status == 0: // the library refused before it sent
		return channels.Result{Verdict: channels.Rejected, Unsent: true, Code: "INVALID_ARGUMENT", Err: errors.New("the message was refused before it was sent")}
	case err == nil && x.status == http.StatusOK && name != "":
		a.proven.Store(a.now().Unix())
		return channels.Result{Verdict: channels.Sent, ProviderID: name}
	}
	result := a.classify(x)
	if result.Verdict == channels.Gone && notice.IsTopic(m.Address.To) {
		result.Verdict = channels.Rejected // a topic cannot die
	}
	return result
}

// send sends, or has the message checked alone (validate_only).
func (a *Adapter) send(ctx context.Context, msg *messaging.Message) (string, error) {
	if a.dryRun {
		return a.client.SendDryRun(ctx, msg)
	}
	return a.client.Send(ctx, msg)
}

// provenFor is for how long after a success a refusal that may be of our
// set-up, or of the one device, is taken for the device's.
const provenFor = 10 * time.Minute

// provenSetUp reports whether FCM takes messages of ours: then a mismatched
// sender or a missing third-party key is the one device's fault, and must not
// stop the others.
func (a *Adapter) provenSetUp() bool {
	last := a.proven.Load()
	return last != 0 && a.now().Sub(time.Unix(last, 0)) < provenFor
}

// classify turns an answer that is not a success into a result.
func (a *Adapter) classify(x *exchange) channels.Result {
	f := readFault(x.body)
	r, code := a.verdicts.lookUp(x.status, f)
	if code == "" {
		code = strconv.Itoa(x.status)
	}
	result := channels.Result{Verdict: r.verdict, Code: code}
	if r.verdict == channels.Rejected && f.namesToken() {
		result.Verdict, r.mend = channels.Gone, "the device token is not valid"
	}
	if r.perDevice && a.provenSetUp() {
		result.Verdict = channels.Rejected
	}
	asked := channels.RetryAfter(x.header, a.now())
	switch {
	case r.verdict == channels.Retry:
		result.RetryAfter = max(r.wait, asked)
	case r.verdict == channels.Throttled:
		result.Scope = scopeOf(f)
		if result.RetryAfter = asked; asked == 0 {
			result.RetryAfter = r.wait
		}
	}
	result.Err = fmt.Errorf("FCM answered %d %s: %s%s", x.status, code, r.mend, f.where())
	return result
}

func scopeOf(f fault) channels.Scope {
	if f.aboutDevice() {
		return channels.ScopeDevice
	}
	return channels.ScopeChannel
}
