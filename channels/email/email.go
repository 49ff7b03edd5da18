// Package email delivers notifications as mail through one SMTP relay (RFC
// 5321), over a bounded pool of kept connections. Composing and signing are
// go-mail's; the conversation is held step by step, because what a failure
// means depends on the step it happened at: before the final dot nothing was
// sent, after it the relay may have the mail.
package email

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"os"
	"regexp"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// Adapter sends mail. It is safe for concurrent use.
type Adapter struct {
	composer composer
	pool     *pool
	timeout  time.Duration
}

// Option changes what New makes.
type Option func(*settings)

type settings struct {
	now  func() time.Time
	dial dialFunc
	helo string
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

// New makes the adapter of cfg. It connects to nothing yet. An error names the
// key at fault.
func New(cfg config.Email, opts ...Option) (*Adapter, error) {
	s := settings{now: time.Now, dial: (&net.Dialer{}).DialContext}
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
	r, err := newRelay(cfg.SMTP, s)
	if err != nil {
		return nil, fmt.Errorf("email.smtp.%w", err)
	}
	return &Adapter{
		composer: c,
		pool:     newPool(r.connect, max(1, cfg.SMTP.Connections), s.now),
		timeout:  cfg.Timeout.Std(),
	}, nil
}

// Channel is notice.ChannelEmail.
func (a *Adapter) Channel() notice.Channel { return notice.ChannelEmail }

// Close ends the kept connections; those in use end when their mail is done.
func (a *Adapter) Close() error {
	a.pool.close()
	return nil
}

// Send makes one attempt.
func (a *Adapter) Send(ctx context.Context, m channels.Message) channels.Result {
	l, err := a.composer.compose(m)
	if err != nil {
		return channels.Result{Verdict: channels.Rejected, Code: "invalid", Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	words, err := a.deliver(ctx, l)
	if err != nil {
		return classify(err, l.to)
	}
	return channels.Result{Verdict: channels.Sent, Code: "250", ProviderID: queueID(words)}
}

// deliver hands l to the relay over a kept connection or a new one, and
// returns the relay's words of acceptance.
func (a *Adapter) deliver(ctx context.Context, l letter) (string, error) {
	s, err := a.pool.take(ctx)
	if err != nil {
		return "", err
	}
	words, err := s.send(ctx, l)
	if s.reused && wentStale(err) && ctx.Err() == nil {
		// The relay hung up on a connection that it had kept: nothing was
		// sent, and the mail is not to pay for it. A new connection, since
		// after a relay's restart every other kept one is as dead.
		if s, err = a.pool.replace(ctx, s); err != nil {
			return "", err
		}
		words, err = s.send(ctx, l)
	}
	a.pool.give(s)
	return words, err
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
