package sandbox

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

const (
	mailMaxBytes      = 10 << 20 // what SIZE advertises
	mailMaxRecipients = 100
)

// listenSMTP starts the relay. It takes any user name and password.
func (s *Sandbox) listenSMTP() error {
	l, err := s.listenTCP()
	if err != nil {
		return err
	}
	s.SMTPAddr = l.Addr().String()
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{sandbox: s, conn: c}, nil
	}))
	server.Domain = "sandbox.carillon.example"
	server.EnableSMTPUTF8 = true
	server.AllowInsecureAuth = true
	server.MaxMessageBytes, server.MaxRecipients = mailMaxBytes, mailMaxRecipients
	server.ReadTimeout, server.WriteTimeout = 5*time.Minute, time.Minute // RFC 5321 §4.5.3.2
	server.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
	if s.startTLS {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{s.keys.server}, MinVersion: tls.VersionTLS12}
	}
	s.run(func() error {
		err := server.Close()
		_ = l.Close() // the server does not know its listener before Serve has run
		return err
	}, func() error { return server.Serve(l) })
	return nil
}

// session is one connection to the relay.
type session struct {
	sandbox   *Sandbox
	conn      *smtp.Conn
	from      string
	to        []string
	behaviour Behaviour // of the mail under way
}

// Mail starts a mail, and decides how it will be treated.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from, s.to = from, nil
	s.behaviour = s.sandbox.behaviours.draw(notice.ChannelEmail)
	if s.behaviour.Cut == CutBefore {
		s.refuse("")
		return s.drop("")
	}
	return nil
}

// Rcpt takes any mailbox. A relay that refuses a mail does it here, where
// real ones know the mailbox.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	if s.behaviour.Cut != CutNone || !s.behaviour.fails() {
		return nil
	}
	if !s.sandbox.enter() {
		return errClosing()
	}
	defer s.sandbox.leave()
	_ = s.sandbox.pauseHere(s.behaviour.Delay)
	failure := failSMTP(s.behaviour)
	s.refuse("")
	if failure.Code == 421 {
		return s.drop(line(failure))
	}
	return failure
}

// Data reads a mail and keeps it.
func (s *session) Data(r io.Reader) error {
	if !s.sandbox.enter() {
		return errClosing()
	}
	defer s.sandbox.leave()
	raw, err := io.ReadAll(r)
	if err != nil {
		return s.unread(err)
	}
	m := parseMail(raw)
	m.Channel, m.To = notice.ChannelEmail, strings.Join(s.to, ", ")
	m.From = firstOf(m.From, s.from)
	stayed := s.sandbox.pauseHere(s.behaviour.Delay)
	switch s.behaviour.Cut {
	case CutAfter:
		s.refuse(m.ID)
		return s.drop("")
	case CutBody:
		s.refuse(m.ID)
		return s.drop("25")
	}
	s.sandbox.receive(m, stayed)
	return nil
}

// unread records a mail that did not arrive whole.
func (s *session) unread(err error) error {
	reason := "the connection broke off before the mail's end"
	if errors.Is(err, smtp.ErrDataTooLarge) {
		reason = "the mail is larger than 10 MiB"
	}
	s.sandbox.refuse(notice.ChannelEmail, answer{reason: reason, to: strings.Join(s.to, ", ")})
	return err
}

// refuse records what was made of the mail under way.
func (s *session) refuse(id string) {
	a := answer{reason: s.behaviour.describe(), to: strings.Join(s.to, ", "), id: id}
	if s.behaviour.Cut == CutNone {
		a.status = s.behaviour.Status
	}
	s.sandbox.refuse(notice.ChannelEmail, a)
}

// drop closes the connection after what is to be said. What it returns is
// written to nobody.
func (s *session) drop(words string) error {
	_, _ = io.WriteString(s.conn.Conn(), words)
	_ = s.conn.Close()
	return errClosing()
}

func errClosing() error {
	return &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "The sandbox is closing"}
}

// Reset forgets the mail under way.
func (s *session) Reset() { s.from, s.to, s.behaviour = "", nil, Behaviour{} }

// Logout has nothing to free.
func (s *session) Logout() error { return nil }

// AuthMechanisms is PLAIN alone.
func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth takes anybody: what is tested is the sender, not the relay.
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, _ string) error { return nil }), nil
}

// failSMTP is what b answers; an enhanced status code at the start of its
// reason is sent as such.
func failSMTP(b Behaviour) *smtp.SMTPError {
	code, words := enhanced(b.Reason)
	if code == smtp.NoEnhancedCode {
		code, words = smtp.EnhancedCode{b.Status / 100, 3, 0}, b.Reason
	}
	if words == "" {
		words = "The sandbox was told to answer this"
	}
	return &smtp.SMTPError{Code: b.Status, EnhancedCode: code, Message: words}
}

// enhanced splits "4.2.2 mailbox full" (RFC 3463); NoEnhancedCode when reason
// does not start with a code.
func enhanced(reason string) (smtp.EnhancedCode, string) {
	first, rest, _ := strings.Cut(reason, " ")
	parts := strings.Split(first, ".")
	if len(parts) != 3 {
		return smtp.NoEnhancedCode, reason
	}
	var code smtp.EnhancedCode
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 10)
		if err != nil {
			return smtp.NoEnhancedCode, reason
		}
		code[i] = int(n)
	}
	return code, rest
}

// line is e as it goes over the wire.
func line(e *smtp.SMTPError) string {
	c := e.EnhancedCode
	return strconv.Itoa(e.Code) + " " + strconv.Itoa(c[0]) + "." + strconv.Itoa(c[1]) + "." + strconv.Itoa(c[2]) + " " + e.Message + "\r\n"
}
