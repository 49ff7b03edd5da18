// Package email delivers notifications as mail through SMTP relays (RFC 5321),
// over a bounded pool of kept connections to each. Composing is go-mail's; the
// conversation is held step by step, because what a failure means depends on
// the step it happened at: before the final dot nothing was sent, and another
// relay may be tried; after it the relay may have the mail.
package email

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// Adapter sends mail. It is safe for concurrent use.
type Adapter struct {
	composer composer
	files    *files
	fleet    *fleet
	timeout  time.Duration
}

// Option changes what New makes.
type Option func(*settings)

type settings struct {
	now  func() time.Time
	dial dialFunc
	helo string
	log  *slog.Logger
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// WithClock makes the adapter tell the time by now: a mail's Date when the
// message has no time of acceptance, and the age of connections.
func WithClock(now func() time.Time) Option { return func(s *settings) { s.now = now } }

// WithDialer makes connections to the relay with dial, before any TLS.
func WithDialer(dial func(ctx context.Context, network, address string) (net.Conn, error)) Option {
	return func(s *settings) { s.dial = dial }
}

// WithHelo sets the name that EHLO gives; without it the machine's host name.
func WithHelo(name string) Option { return func(s *settings) { s.helo = name } }

// WithLogger tells log when a relay of several is left alone and when it is
// back, each once, by its place in the configuration. Without it nothing is
// said.
func WithLogger(log *slog.Logger) Option { return func(s *settings) { s.log = log } }

// New makes the adapter of cfg. It connects to nothing yet. An error names the
// key at fault.
func New(cfg config.Email, opts ...Option) (*Adapter, error) {
	s := settings{now: time.Now, dial: (&net.Dialer{}).DialContext, log: slog.New(slog.DiscardHandler)}
	for _, o := range opts {
		o(&s)
	}
	if cfg.Timeout.Std() <= 0 {
		return nil, fmt.Errorf("email.timeout: %q: must be longer than 0, as 30s", cfg.Timeout)
	}
	c, err := newComposer(cfg, s)
	if err != nil {
		return nil, fmt.Errorf("email.%w", err)
	}
	f, err := newFleet(cfg, s)
	if err != nil {
		return nil, fmt.Errorf("email.%w", err)
	}
	attached, err := newFiles(cfg)
	if err != nil {
		return nil, fmt.Errorf("email.%w", err)
	}
	return &Adapter{composer: c, files: attached, fleet: f, timeout: cfg.Timeout.Std()}, nil
}

func newFleet(cfg config.Email, s settings) (*fleet, error) {
	f := &fleet{now: s.now, log: s.log}
	for i, server := range cfg.Servers() {
		r, err := newRelay(server.SMTP, s)
		switch {
		case err != nil && len(cfg.Relays) > 0:
			return nil, fmt.Errorf("relays[%d].%w", i, err)
		case err != nil:
			return nil, fmt.Errorf("smtp.%w", err)
		}
		f.add(r, server, fmt.Sprintf("relays[%d]", i))
	}
	return f, nil
}

func (f *fleet) add(r *relay, cfg config.Relay, key string) {
	mails := cfg.MailsPerConnection
	if mails == 0 {
		mails = mailsPerConnection
	}
	f.servers = append(f.servers, &server{name: r.address, key: key, account: cfg.RateAccount(), weight: max(1, cfg.Weight),
		pool: newPool(r.connect, cfg.Connections, mails, f.now)})
}

// mailsPerConnection is what a section that was not loaded from a file has.
const mailsPerConnection = 1000

// Channel is notice.ChannelEmail.
func (a *Adapter) Channel() notice.Channel { return notice.ChannelEmail }

// Close ends the kept connections; those in use end when their mail is done.
func (a *Adapter) Close() error {
	a.fleet.close()
	return nil
}

// Choose implements channels.Relayed: mails are shared out by weight, and a relay
// that failed lately, or is at its rate, is passed over.
func (a *Adapter) Choose(wait func(account string) time.Duration) channels.Relay {
	s := a.fleet.choose(wait)
	return channels.Relay{Key: s.key, Account: s.account}
}

// atRateWait is how long a mail stays away whose relay failed, while the others
// are at their rates: it is chosen another then, and waits in its line.
const atRateWait = time.Second

// Send makes one attempt.
func (a *Adapter) Send(ctx context.Context, m channels.Message) channels.Result {
	l, err := a.composer.compose(m)
	if err != nil {
		return channels.Result{Verdict: channels.Rejected, Unsent: true, Code: "invalid", Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if l.files, err = a.files.gather(ctx, m.Content.Email.Attachments); err != nil {
		return withoutFile(err)
	}
	l.via, l.permit = m.Via, m.Permit
	words, by, err := a.fleet.deliver(ctx, l)
	if errors.Is(err, errAtRate) {
		return channels.Result{Verdict: channels.Throttled, Scope: channels.ScopeRelay, RetryAfter: atRateWait, Unsent: true, Code: "rate", Err: err}
	}
	if err != nil {
		return classify(err, l.to)
	}
	return channels.Result{Verdict: channels.Sent, Code: "250", ProviderID: a.providerID(words, by)}
}

// withoutFile is the result of a mail whose attachments cannot be had.
func withoutFile(err error) channels.Result {
	var fault *fileFault
	if !errors.As(err, &fault) {
		r := channels.TransportFailure(err, false)
		r.Unsent = true
		return r
	}
	return channels.Result{Verdict: fault.verdict, Unsent: true, Code: "attachment", Err: fault.err}
}

// providerID is what finds the mail in the log of the relay that took it.
func (a *Adapter) providerID(words, by string) string {
	id := queueID(words)
	if len(a.fleet.servers) == 1 {
		return id
	}
	return strings.TrimSpace(by + " " + id)
}

// queueID is the name that the relay gave the mail, for looking it up in the
// relay's log; empty when its words hold none.
func queueID(words string) string {
	if m := idPattern.FindStringSubmatch(words); m != nil {
		return m[1]
	}
	return ""
}

// idPattern matches the words of Postfix ("queued as 4F3B2") and Exim ("id=1rX").
var idPattern = regexp.MustCompile(`(?:queued as |\bid=)([A-Za-z0-9-]{4,64})`)

// heloName is what EHLO says: name, else the machine's host name.
func heloName(name string) (string, error) {
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			return "localhost", nil
		}
		name = cmp.Or(host, "localhost")
	}
	if !isPrintable(name) {
		return "", errors.New("helo: the name for EHLO has a space or a control character")
	}
	return name, nil
}

// sender reads the From of the configuration.
func sender(from string) (*mail.Address, error) {
	addr, err := mail.ParseAddress(from)
	if err != nil {
		return nil, fmt.Errorf("from: %q is no sender: write it as \"Acme <no-reply@acme.example>\"", from)
	}
	return addr, nil
}
