// Package mailbox takes the mails that come back, over SMTP, and keeps none of
// them: it reads what a mail says of which delivery, and forgets it. It takes
// mail for the return path's tokens and the addresses of feedback loops alone,
// sends nothing, and so can neither relay nor bounce.
package mailbox

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
	"golang.org/x/time/rate"

	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/feedback/dsn"
	"github.com/carillonhq/carillon/notice/verp"
)

// Source is the listener's name in metrics.
const Source = "smtp"

const (
	// idle is how long a connection may say nothing: shorter than RFC 5321
	// §4.5.3.2 asks for, since whoever comes here has one small mail to leave.
	idle = time.Minute
	// store is how long the store may take before the sender is asked to come
	// again.
	store = 10 * time.Second
	// mostRecipients of one mail: a report is about one delivery.
	mostRecipients = 5
	// mostStrangers is how many addresses that are not ours a connection may
	// try before it is closed.
	mostStrangers = 10
)

// Options are what a Server is made of.
type Options struct {
	Path        verp.Path
	Keys        *verp.Keys
	Tenants     []string // whose mails go out; see reader
	Complaints  []string // addresses that feedback loops report to
	Desk        *feedback.Desk
	Hostname    string
	TLS         *tls.Config // nil: no STARTTLS
	MaxMail     int64       // bytes
	Connections int
	Rate        *rate.Limiter // of mails
	Now         func() time.Time
	Log         *slog.Logger
}

// Server takes mails. Make it with New.
type Server struct {
	Options
	reader reader
	smtp   *smtp.Server
}

// New makes a server; Serve starts it.
func New(o Options) *Server {
	s := &Server{Options: o, reader: reader{path: o.Path, keys: o.Keys, tenants: o.Tenants, records: o.Desk.Records, now: o.Now}}
	s.smtp = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{server: s, conn: c}, nil }))
	s.smtp.Domain, s.smtp.TLSConfig = o.Hostname, o.TLS
	s.smtp.EnableSMTPUTF8 = true // reports of mails to international addresses (RFC 6533)
	s.smtp.MaxMessageBytes, s.smtp.MaxRecipients = o.MaxMail, mostRecipients
	s.smtp.ReadTimeout, s.smtp.WriteTimeout = idle, idle
	s.smtp.ErrorLog = slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug)
	return s
}

// Serve takes mails from l until ctx ends; mails under way may then be finished
// within grace.
func (s *Server) Serve(ctx context.Context, l net.Listener, grace time.Duration) error {
	served := make(chan error, 1)
	go func() { served <- s.smtp.Serve(limit(l, s.Connections)) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	_ = l.Close() // the server may not know its listener yet
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if s.smtp.Shutdown(ending) != nil {
		_ = s.smtp.Close()
	}
	err := <-served
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// session is one connection.
type session struct {
	server    *Server
	conn      *smtp.Conn
	claims    []verp.Claim
	strangers int
}

// Mail takes any sender: reports come from the empty one, and some from
// others.
func (s *session) Mail(string, *smtp.MailOptions) error {
	s.claims = nil
	if !s.server.Rate.AllowN(s.server.Now(), 1) {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "Too many mails just now, come again in a minute"}
	}
	return nil
}

// Rcpt refuses what is not for this server.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if claim, ok := s.server.reader.claim(to); ok {
		s.claims = append(s.claims, claim)
		return nil
	}
	for _, known := range s.server.Complaints {
		if strings.EqualFold(known, to) {
			return nil
		}
	}
	if s.strangers++; s.strangers > mostStrangers {
		_ = s.conn.Close() // what is returned is written to nobody
	}
	s.server.Desk.Count(Source, feedback.CountRefused)
	return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such mailbox here"}
}

// Data reads a mail and does what it says. What is no report is taken and
// forgotten: an error would only make its sender report to somebody else.
func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), store)
	defer cancel()
	if err := s.server.take(ctx, raw, s.claims); err != nil {
		s.server.Log.Error("a returned mail could not be taken in; its sender comes again", "error", err)
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "It could not be stored just now, come again"}
	}
	return nil
}

// Reset forgets the mail under way.
func (s *session) Reset() { s.claims = nil }

// Logout has nothing to free.
func (s *session) Logout() error { return nil }

// take does what a mail says. An error is the store's.
func (s *Server) take(ctx context.Context, raw []byte, claims []verp.Claim) error {
	report, err := dsn.Parse(raw)
	if err != nil || report.Kind == dsn.Other {
		s.Desk.Count(Source, feedback.CountIgnored)
		return nil
	}
	found, err := s.reader.read(ctx, report, claims)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		kind := feedback.CountIgnored
		if speaks(report) {
			kind = feedback.CountUnmatched
		}
		s.Desk.Count(Source, kind)
		return nil
	}
	for _, f := range found {
		done, err := s.Desk.Take(ctx, f)
		if err != nil {
			return err
		}
		s.Log.Info("a mail came back", "delivery", f.Delivery, "kind", f.Kind, "code", f.Code, "suppressed", done.Suppressed, "noted", done.Noted)
	}
	return nil
}
