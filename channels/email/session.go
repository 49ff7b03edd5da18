package email

import (
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
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

// isSetUp reports whether a step comes before any mail.
func (s stage) isSetUp() bool {
	switch s {
	case stageConnect, stageGreeting, stageHello, stageTLS, stageAuth:
		return true
	}
	return false
}

// failure is what went wrong, and where. Its error may hold the relay's words
// and so the recipient's address: it is classified, never shown.
type failure struct {
	stage stage
	err   error
}

func (f *failure) Error() string { return string(f.stage) + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// offers is what a relay can do, by its EHLO.
type offers struct {
	eightBit   bool  // 8BITMIME (RFC 6152)
	utf8       bool  // SMTPUTF8 (RFC 6531)
	pipelining bool  // RFC 2920
	size       bool  // RFC 1870
	mostBytes  int64 // of one mail; 0: it does not say
}

func offersOf(client *smtp.Client) (o offers) {
	o.eightBit, _ = client.Extension("8BITMIME")
	o.utf8, _ = client.Extension("SMTPUTF8")
	o.pipelining, _ = client.Extension("PIPELINING")
	most := ""
	if o.size, most = client.Extension("SIZE"); o.size {
		o.mostBytes, _ = strconv.ParseInt(most, 10, 64) // not a number: it does not say
	}
	return o
}

// session is one conversation with the relay, used for one mail at a time.
type session struct {
	client *smtp.Client
	raw    *bounded // under any TLS: closing it interrupts whatever waits
	paper  paper    // of the mail that it carries
	offers offers
	born   time.Time
	mails  int         // that it was used for
	reused bool        // it carried a mail before
	dead   bool        // it must not be used again
	expiry *time.Timer // while idle
}

// send carries one mail over in four round trips, or two where the relay takes
// commands in one go; and one RSET more when it refused the mail early and the
// connection is to be used again. It returns the relay's words of acceptance.
func (s *session) send(ctx context.Context, l letter) (string, error) {
	if err := l.render(&s.paper, s.offers.eightBit); err != nil {
		return "", &failure{stageCompose, err}
	}
	stop := context.AfterFunc(ctx, s.hangUp)
	s.raw.reset()
	s.mails++
	words, f := s.converse(l)
	s.paper.clear() // a connection may be idle for long
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

func (s *session) converse(l letter) (string, *failure) {
	size := s.paper.size()
	switch {
	case l.utf8 && !s.offers.utf8:
		return "", &failure{stageCompose, errNeedsUTF8}
	case s.offers.mostBytes > 0 && int64(size) > s.offers.mostBytes:
		return "", &failure{stageCompose, fmt.Errorf("the mail has %d bytes, and the relay takes %d", size, s.offers.mostBytes)}
	}
	commands := [...]command{
		{stageMail, s.mailCommand(l, size), 250},
		{stageRcpt, "RCPT TO:" + l.rcpt, 25}, // 251: it will be forwarded
		{stageData, "DATA", 354},
	}
	var f *failure
	if s.offers.pipelining {
		f = s.sayAtOnce(commands[:])
	} else {
		f = s.sayInTurn(commands[:])
	}
	if f != nil {
		return "", f
	}
	return s.hand()
}

// command is one line of the envelope, and the reply that it needs.
type command struct {
	stage  stage
	line   string
	expect int
}

func (s *session) mailCommand(l letter, size int) string {
	line := "MAIL FROM:" + l.from
	if s.offers.eightBit {
		line += " BODY=8BITMIME"
	}
	if s.offers.size {
		line += " SIZE=" + strconv.Itoa(size)
	}
	if l.utf8 {
		line += " SMTPUTF8"
	}
	return line
}

func (s *session) sayInTurn(commands []command) *failure {
	text := s.client.Text
	for _, c := range commands {
		if err := s.say(c.line); err != nil {
			return &failure{c.stage, err}
		}
		if _, _, err := text.ReadResponse(c.expect); err != nil {
			return &failure{c.stage, err}
		}
	}
	return nil
}

// say writes one line.
func (s *session) say(line string) error {
	w := s.client.Text.W
	_, _ = w.WriteString(line) // Flush returns what went wrong here
	_, _ = w.WriteString("\r\n")
	return w.Flush()
}

// sayAtOnce writes all commands before it reads the replies (RFC 2920), and
// returns the first failure. Every reply is read, so that the connection can
// be used again. A relay that wants the content of a mail that it refused
// cannot: only a dot would end that, and make an empty mail (RFC 2920 §3.1).
func (s *session) sayAtOnce(commands []command) (first *failure) {
	text := s.client.Text
	for _, c := range commands {
		_, _ = text.W.WriteString(c.line) // Flush returns what went wrong here
		_, _ = text.W.WriteString("\r\n")
	}
	if err := text.W.Flush(); err != nil {
		return &failure{commands[0].stage, err}
	}
	for _, c := range commands {
		code, _, err := text.ReadResponse(c.expect)
		switch {
		case first != nil && (replyOf(&failure{c.stage, err}) == nil || code == closing):
			s.dead = true // err is nil: it wants the content
			return first
		case first == nil && err != nil:
			first = &failure{c.stage, err}
			if replyOf(first) == nil || code == closing {
				return first
			}
		}
	}
	return first
}

// hand writes the content with the dot that ends it, in one go: when that
// fails, the dot was not sent.
func (s *session) hand() (string, *failure) {
	text := s.client.Text
	_, err := text.W.Write(s.paper.sealed())
	if err == nil {
		err = text.W.Flush()
	}
	if err != nil {
		return "", &failure{stageContent, err}
	}
	_, words, err := text.ReadResponse(250)
	if err != nil {
		return "", &failure{stageDot, err}
	}
	return words, nil
}

// stuff appends content to out as it goes over the wire (RFC 5321 §4.5.2): a
// line that begins with a dot begins with two, and a dot alone ends it. Every
// line end is CR LF already, which crlf and the encodings see to; a bare LF is
// made one all the same, since "LF . LF" ends a mail for some relays, and what
// follows would be commands.
func stuff(out, content []byte) []byte {
	out = slices.Grow(out, len(content)+len(content)/64+8)
	for len(content) > 0 {
		var line []byte
		if line, content = cutLine(content); len(line) > 0 && line[0] == '.' {
			out = append(out, '.')
		}
		out = append(out, line...)
		out = append(out, '\r', '\n')
	}
	return append(out, '.', '\r', '\n')
}

// recover makes the connection ready for the next mail after f (nil: none), or
// marks it dead. Inside the mail's content no command may follow: textproto would end
// the content with a dot first, and half a mail would be sent.
func (s *session) recover(f *failure) {
	if f == nil || f.stage == stageCompose || s.dead {
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
