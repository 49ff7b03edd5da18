// Package sandbox stands in for every provider on the local machine: an SMTP
// relay, Apple's and Google's push services, a browser's push service and a
// webhook endpoint, each speaking its real protocol on a loopback port. What
// arrives is checked as the provider would check it and kept in memory, where
// tests read it and people look at it in a browser.
//
//	box, err := sandbox.Start(ctx, sandbox.Options{})
//	defer box.Close()
//	channels := box.Section()                       // five channels that talk to box
//	got, err := box.Wait(ctx, 1, sandbox.Filter{Channel: notice.ChannelEmail})
//	err = box.Misbehave(notice.ChannelFCM, sandbox.Behaviour{Status: 503, Times: 2})
//
// # The inbox
//
// Handler serves the page and the HTTP API beside it. Every path is relative
// to where it is mounted, for which it wants a trailing slash:
//
//	mux.Handle("/dev/inbox/", http.StripPrefix("/dev/inbox", box.Handler()))
//
//	GET    messages?after=SEQ&channel=email&q=WORDS&limit=100   what arrived, newest first
//	GET    messages/SEQ                   one message; /html and /raw give its parts
//	DELETE messages                       forgets everything and starts the counts again
//	GET    state                          counts, behaviours, refusals, the providers' addresses
//	GET    events?after=SEQ               server-sent events: message, state
//	POST   misbehave/CHANNEL              a Behaviour as JSON; {} behaves again
//
// Nothing in this package is meant for production: it believes everybody who
// can reach its ports.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/google/uuid"
)

// What the sandbox's own configuration names; any other topic or project is
// taken too.
const (
	apnsKeyID   = "SANDBOXKEY"
	apnsTeamID  = "SANDBOXCOM"
	apnsTopic   = "com.example.app"
	fcmProject  = "sandbox"
	fromAddress = "Carillon sandbox <no-reply@carillon.example>"
	subject     = "mailto:dev@carillon.example"
)

// Options is how a sandbox is started. The zero Options is ready for use.
type Options struct {
	Host   string           // address to listen on; 127.0.0.1 when empty
	Logger *slog.Logger     // what goes wrong inside, never a message's content; silent when nil
	Clock  func() time.Time // time.Now when nil
	Random func() float64   // in [0, 1): decides which requests a Share takes; math/rand/v2 when nil
	// Keep is the most messages kept; 500 when 0. Older ones are forgotten,
	// and sooner when what is kept passes KeepBytes (64 MiB when 0).
	Keep      int
	KeepBytes int
	StartTLS  bool // the relay offers STARTTLS with the sandbox's own certificate
	// Streams is APNs' SETTINGS_MAX_CONCURRENT_STREAMS; 1000, as Apple's,
	// when 0.
	Streams uint32
	// Hosts are further names under which the inbox page may be asked for.
	// Addresses, localhost and names without a dot always may; any other is
	// refused, since a hostile site can point its own name here.
	Hosts []string
	// Hint is a command line that sends a first message, which the page shows
	// while it is empty.
	Hint string
}

// Sandbox is a set of running stand-ins. The fields are set by Start and
// never change.
type Sandbox struct {
	SMTPAddr      string // host:port
	APNsURL       string // HTTP/2 over TLS with a certificate of CAFile
	FCMURL        string // what FCM's endpoint is set to
	WebPushURL    string // HTTPS, as every browser's push service; see NewSubscription
	WebhookURL    string // plain HTTP; every path under it is received too
	CAFile        string // PEM of the authority that signed the certificates; removed by Close
	CAPEM         []byte // the content of CAFile
	APNsKey       string // the .p8 whose signatures APNs takes, PEM
	VAPIDKey      string // the private key whose signatures Web Push takes, PEM
	WebhookSecret string // what a webhook must be signed with to be shown as verified

	host       string
	startTLS   bool
	hosts      []string
	hint       string
	instance   string // tells one run's sequence numbers from another's
	clock      func() time.Time
	log        *slog.Logger
	keys       keys
	box        *store
	behaviours *behaviours
	dir        string
	closers    []func() error
	once       sync.Once // of Close

	mu     sync.Mutex
	stop   func() bool // ends watching the context of Start
	closed bool
	done   chan struct{}  // closed by Close
	active sync.WaitGroup // servers and the requests in them
}

// Start starts every stand-in. They run until Close, or until ctx ends.
func Start(ctx context.Context, o Options) (*Sandbox, error) {
	o = o.withDefaults()
	k, err := newKeys(o.Host)
	if err != nil {
		return nil, fmt.Errorf("sandbox: making keys: %w", err)
	}
	s := &Sandbox{
		CAPEM: k.caPEM, APNsKey: k.apnsPEM, VAPIDKey: k.vapidPEM, WebhookSecret: k.webhookSecret,
		host: o.Host, startTLS: o.StartTLS, hosts: o.Hosts, hint: o.Hint, instance: uuid.NewString(),
		clock: o.Clock, log: o.Logger, keys: k,
		box:        newStore(o.Keep, o.KeepBytes),
		behaviours: newBehaviours(o.Random),
		done:       make(chan struct{}),
	}
	if err := s.listen(o); err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox: %w", err), s.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop = context.AfterFunc(ctx, func() { _ = s.Close() })
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Keep <= 0 {
		o.Keep = 500
	}
	if o.KeepBytes <= 0 {
		o.KeepBytes = 64 << 20
	}
	if o.Streams == 0 {
		o.Streams = 1000
	}
	return o
}

// listen writes the authority's certificate and opens every port.
func (s *Sandbox) listen(o Options) error {
	if err := s.writeCA(); err != nil {
		return err
	}
	return errors.Join(
		s.listenSMTP(),
		s.listenHTTP(&s.APNsURL, s.apnsServer(o.Streams)),
		s.listenHTTP(&s.FCMURL, plainServer(s.fcmHandler())),
		s.listenHTTP(&s.WebPushURL, s.tlsServer(s.webPushHandler())),
		s.listenHTTP(&s.WebhookURL, plainServer(s.webhookHandler())),
	)
}

func (s *Sandbox) writeCA() error {
	dir, err := os.MkdirTemp("", "carillon-sandbox-")
	if err != nil {
		return fmt.Errorf("making a folder for the authority's certificate: %w", err)
	}
	s.dir, s.CAFile = dir, filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(s.CAFile, s.CAPEM, 0o600); err != nil {
		return fmt.Errorf("writing the authority's certificate: %w", err)
	}
	return nil
}

// listenTCP opens a free port.
func (s *Sandbox) listenTCP() (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort(s.host, "0"))
}

// listenHTTP opens a port for server and tells its URL.
func (s *Sandbox) listenHTTP(url *string, server *http.Server) error {
	l, err := s.listenTCP()
	if err != nil {
		return err
	}
	server.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
	serve, scheme := server.Serve, "http://"
	if server.TLSConfig != nil {
		serve, scheme = func(l net.Listener) error { return server.ServeTLS(l, "", "") }, "https://"
	}
	*url = scheme + l.Addr().String()
	s.run(server.Close, func() error { return serve(l) })
	return nil
}

// run serves in the background until Close calls end.
func (s *Sandbox) run(end, serve func() error) {
	s.closers = append(s.closers, end)
	s.active.Go(func() {
		if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.log.Warn("a stand-in stopped", "err", err)
		}
	})
}

// enter counts a request in, so that Close waits for it; false when the
// sandbox is closing.
func (s *Sandbox) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.active.Add(1)
	return true
}

// leave counts a request out.
func (s *Sandbox) leave() { s.active.Done() }

// Close stops every stand-in, waits for the requests in them, and removes
// CAFile. Messages can still be read afterwards. It may be called twice.
func (s *Sandbox) Close() error {
	var err error
	s.once.Do(func() { err = s.shut() })
	return err
}

func (s *Sandbox) shut() error {
	s.mu.Lock()
	s.closed = true
	stop := s.stop
	s.mu.Unlock()
	close(s.done)
	if stop != nil {
		stop()
	}
	var errs []error
	for _, end := range s.closers {
		errs = append(errs, end())
	}
	s.active.Wait()
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// Section is a configuration of all five channels that sends to this sandbox,
// complete with defaults. The stand-ins' addresses are allowed where only
// public ones are otherwise.
func (s *Sandbox) Section() config.Channels {
	limits := config.Limits{Concurrency: 64, CriticalSlots: config.CriticalSlotsAuto}
	timeout := config.Duration(15 * time.Second)
	return config.Channels{
		Email: &config.Email{
			Limits: limits, SMTP: s.relay(), From: fromAddress,
			Timeout: config.Duration(30 * time.Second), MaxAttachment: 5 << 20,
		},
		APNs: &config.APNs{
			Limits: limits, Host: s.APNsURL, Topic: apnsTopic,
			APNsCredential: config.APNsCredential{Key: config.NewSecret(s.APNsKey), KeyID: apnsKeyID, TeamID: apnsTeamID},
			CAFile:         s.CAFile, Connections: 2, Timeout: timeout,
		},
		FCM: &config.FCM{Limits: limits, Project: fcmProject, Endpoint: s.FCMURL, Timeout: timeout},
		WebPush: &config.WebPush{
			Limits: limits, Subject: subject, PrivateKey: config.NewSecret(s.VAPIDKey),
			Timeout: timeout, AllowNetworks: s.networks(), CAFile: s.CAFile,
		},
		Webhook: &config.Webhook{
			Limits: limits, Timeout: timeout, AllowNetworks: s.networks(), MaxResponse: 64 << 10,
		},
	}
}

// relay is the section of the SMTP stand-in.
func (s *Sandbox) relay() config.SMTP {
	host, port, _ := net.SplitHostPort(s.SMTPAddr) // both are our own listener's
	number, _ := strconv.Atoi(port)
	relay := config.SMTP{Host: host, Port: number, TLS: config.TLSNone, Auth: config.SMTPAuthAuto, Connections: 16, MailsPerConnection: 1000}
	if s.startTLS {
		relay.TLS, relay.CAFile = config.TLSStartTLS, s.CAFile
	}
	return relay
}

// networks are the CIDRs that the stand-ins listen in.
func (s *Sandbox) networks() []string {
	ip := net.ParseIP(s.host)
	switch {
	case ip == nil || ip.IsLoopback() || ip.IsUnspecified():
		return []string{"127.0.0.0/8", "::1/128"}
	case ip.To4() != nil:
		return []string{ip.String() + "/32"}
	}
	return []string{ip.String() + "/128"}
}

// Messages is what arrived and is still kept, newest first.
func (s *Sandbox) Messages(f Filter) []Message { return s.box.list(f) }

// Counts is how many messages arrived by channel since the start or the last
// Clear, those that are no longer kept included.
func (s *Sandbox) Counts() map[notice.Channel]int { return s.box.counts() }

// Refusals is what was answered with a failure, by the stand-in's own checks
// or because it was told to misbehave; newest first, at most 100.
func (s *Sandbox) Refusals() []Refusal { return s.box.refused() }

// Wait returns when at least n messages that match f are or were kept, newest
// first, or with what there is and an error when ctx or the sandbox ends
// first.
func (s *Sandbox) Wait(ctx context.Context, n int, f Filter) ([]Message, error) {
	if n > s.box.keep {
		return nil, fmt.Errorf("sandbox: waiting for %d messages, but only %d are kept: raise Options.Keep", n, s.box.keep)
	}
	f.Limit = 0
	for have, seen := 0, f.After; ; {
		changed := s.box.changed()
		for _, m := range s.box.since(seen) {
			seen = m.Seq
			if f.match(m) {
				have++
			}
		}
		if have >= n {
			return s.box.list(f), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s.box.list(f), fmt.Errorf("sandbox: %d of %d messages arrived: %w", have, n, ctx.Err())
		case <-s.done:
			return s.box.list(f), fmt.Errorf("sandbox: closed when %d of %d messages had arrived", have, n)
		}
	}
}

// Clear forgets every message and refusal and starts the counts again.
// Sequence numbers go on.
func (s *Sandbox) Clear() { s.box.clear() }

// Misbehave has channel c misbehave from the next request on, in place of
// what it was told before. It refuses a behaviour that the channel's protocol
// cannot show.
func (s *Sandbox) Misbehave(c notice.Channel, b Behaviour) error {
	if err := b.Validate(c); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	s.behaviours.set(c, b)
	s.box.touch()
	return nil
}

// pause waits for d, and reports whether it was waited out: not when the
// sender went away or the sandbox is closing.
func (s *Sandbox) pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.done:
	}
	return false
}

// pauseHere is pause where nothing tells that the sender went away.
func (s *Sandbox) pauseHere(d time.Duration) bool { return s.pause(context.Background(), d) }
