package email

import (
	"context"
	"errors"
	"net/textproto"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// quitTime is how long a relay gets to answer QUIT.
const quitTime = time.Second

// stage is a step of the conversation with a relay, as errors name it.
type stage string

// The stages, in their order.
const (
	stageCompose  stage = "composing" // nothing was said to the relay
	stageConnect  stage = "connecting"
	stageGreeting stage = "greeting"
	stageHello    stage = "EHLO"
	stageTLS      stage = "STARTTLS"
	stageAuth     stage = "AUTH"
	stageMail     stage = "MAIL FROM"
	stageRcpt     stage = "RCPT TO"
	stageData     stage = "DATA"
	stageContent  stage = "the mail's content"
	stageDot      stage = "the end of the mail"
)

// failure is what went wrong, and where. Its error may hold the relay's words
// and so the recipient's address: it is classified, never shown.
type failure struct {
	stage stage
	err   error
}

func (f *failure) Error() string { return string(f.stage) + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// session is one conversation with the relay, used for one mail at a time.
type session struct {
	client   *smtp.Client
	raw      *bounded // under any TLS: closing it interrupts whatever waits
	eightBit bool     // the relay takes 8BITMIME (RFC 6152)
	utf8     bool     // the relay takes SMTPUTF8 (RFC 6531)
	born     time.Time
	reused   bool        // it carried a mail before
	dead     bool        // it must not be used again
	expiry   *time.Timer // while idle
}

// send carries one mail over in four round trips, and one RSET more when the
// relay refused it early and the connection is to be used again. It returns
// the relay's words of acceptance.
func (s *session) send(ctx context.Context, l letter) (string, error) {
	content, err := l.render(s.eightBit)
	if err != nil {
		return "", &failure{stageCompose, err}
	}
	stop := context.AfterFunc(ctx, s.hangUp)
	s.raw.reset()
	words, f := s.converse(l, content)
	s.recover(f)
	if !stop() {
		s.dead = true
	}
	if f == nil {
		return words, nil
	}
	if ctx.Err() != nil && f.stage != stageCompose && replyOf(f) == nil {
		f.err = ctx.Err() // why the connection was closed under the conversation
	}
	return "", f
}

func (s *session) converse(l letter, content []byte) (string, *failure) {
	if l.utf8 && !s.utf8 {
		return "", &failure{stageCompose, errNeedsUTF8}
	}
	s.client.SkipSMTPUTF8(!l.utf8)
	if err := s.client.Mail(l.from); err != nil {
		return "", &failure{stageMail, err}
	}
	if err := s.client.Rcpt(l.rcpt); err != nil {
		return "", &failure{stageRcpt, err}
	}
	w, err := s.client.Data()
	if err != nil {
		return "", &failure{stageData, err}
	}
	if _, err := w.Write(content); err != nil {
		return "", &failure{stageContent, err}
	}
	if err := w.Close(); err != nil {
		return "", &failure{stageDot, err}
	}
	words := ""
	if d, ok := w.(*smtp.DataCloser); ok {
		words = d.ServerResponse()
	}
	return words, nil
}

// recover makes the connection ready for the next mail after f (nil: none), or
// marks it dead. Inside the mail's content no command may follow: textproto would end
// the content with a dot first, and half a mail would be sent.
func (s *session) recover(f *failure) {
	if f == nil || f.stage == stageCompose {
		return
	}
	switch f.stage {
	case stageMail, stageRcpt:
		if r := replyOf(f); r != nil && r.Code != closing && s.client.Reset() == nil {
			return
		}
	}
	s.dead = true
}

// hangUp closes the connection without a word.
func (s *session) hangUp() { _ = s.raw.Close() }

// quit takes leave, as RFC 5321 §4.1.1.10 asks, but not for long.
func (s *session) quit() {
	_ = s.raw.SetDeadline(time.Now().Add(quitTime))
	_ = s.client.Quit()
	s.hangUp()
}

// closing is the reply of a relay that hangs up (RFC 5321 §3.8).
const closing = 421

// wentStale reports whether err is a kept connection that the relay had
// closed, or closed at once, before any of the mail was sent.
func wentStale(err error) bool {
	var f *failure
	if !errors.As(err, &f) {
		return false
	}
	switch f.stage {
	case stageMail, stageRcpt, stageData:
		r := replyOf(f)
		return r == nil || r.Code == closing
	}
	return false
}

// replyOf is the relay's reply that f came of; nil when the connection failed.
func replyOf(f *failure) *textproto.Error {
	var r *textproto.Error
	if errors.As(f.err, &r) {
		return r
	}
	return nil
}
