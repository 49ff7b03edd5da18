package email

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	gomail "github.com/wneessen/go-mail"
)

// mostKept is how many bytes of each buffer a connection keeps between mails:
// enough for nearly every mail without files.
const mostKept = 64 << 10

// paper is what mails are written on, one after the other: a connection's
// buffers, which outlast a mail so that the next one needs none.
type paper struct {
	plain      bytes.Buffer // the mail as go-mail wrote it
	signatures []byte
	wire       []byte // both, as they go over the wire
	scratch    []byte // of signing
}

// render writes l on p, and signs it. What it wrote holds until the next time.
func (l letter) render(p *paper, eightBit bool) error {
	p.clear()
	msg, err := l.message(eightBit)
	if err != nil {
		return err
	}
	p.plain.Grow(2048 + len(l.text) + len(l.html))
	if _, err := msg.WriteTo(&p.plain); err != nil {
		return errors.New("the mail could not be composed")
	}
	if l.composer.signer == nil {
		return nil
	}
	if err := l.composer.signer.sign(p, p.plain.Bytes()); err != nil {
		return errors.New("the mail could not be signed")
	}
	return nil
}

// clear makes p empty. A big mail's buffers go with it: a relay has many
// connections, and each would keep the biggest that it ever carried.
func (p *paper) clear() {
	p.plain.Reset()
	p.signatures = p.signatures[:0]
	if max(p.plain.Cap(), cap(p.wire), cap(p.scratch)) > mostKept {
		*p = paper{}
	}
}

// size is the mail's size in bytes as RFC 1870 §3 counts it: without the dots
// that are doubled on the wire.
func (p *paper) size() int { return len(p.signatures) + p.plain.Len() }

// sealed is the mail as it goes over the wire, with the dot that ends it.
func (p *paper) sealed() []byte {
	p.wire = append(p.wire[:0], p.signatures...) // no line of it begins with a dot
	p.wire = stuff(p.wire, p.plain.Bytes())
	return p.wire
}

// message hands the letter to go-mail.
func (l letter) message(eightBit bool) (*gomail.Msg, error) {
	encoding := gomail.EncodingQP
	if eightBit && shortLines(l.text) && shortLines(l.html) {
		encoding = gomail.NoEncoding
	}
	msg := gomail.NewMsg(gomail.WithEncoding(encoding), gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(l.sender)
	if l.replyTo != "" {
		if err := msg.ReplyTo(l.replyTo); err != nil {
			return nil, errors.New("reply_to could not be written")
		}
	}
	msg.ToMailAddress(l.header)
	msg.Subject(literal(l.subject))
	msg.SetMessageIDWithValue(l.id)
	msg.SetDateWithValue(l.date)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office answers
	if l.leave != "" {
		msg.SetGenHeader(gomail.HeaderListUnsubscribe, "<"+l.leave+">")
		msg.SetGenHeader(gomail.HeaderListUnsubscribePost, "List-Unsubscribe=One-Click")
	}
	if l.feedback != "" {
		msg.SetGenHeader("Feedback-ID", l.feedback)
	}
	// The plainest part first: a reader shows the last one it can (RFC 2046 §5.1.4).
	msg.SetBodyWriter(gomail.TypeTextPlain, written(l.text))
	if l.html != "" {
		msg.AddAlternativeWriter(gomail.TypeTextHTML, written(l.html))
	}
	for i := range l.files {
		if err := l.files[i].attach(msg); err != nil {
			return nil, errors.New("an attachment could not be written")
		}
	}
	return msg, nil
}

// written is s as go-mail wants to be given it, without a copy.
func written(s string) func(io.Writer) (int64, error) {
	return func(w io.Writer) (int64, error) {
		n, err := io.WriteString(w, s)
		return int64(n), err
	}
}

// literal is a header's text that readers show as it is. What looks like an
// encoded word already would be decoded, into what no check has seen, and
// go-mail leaves ASCII alone; so such a text is encoded here (RFC 2047 §4.2, in
// words of at most 75 characters, between which the space is no part of it).
func literal(s string) string {
	if !strings.Contains(s, "=?") || !isASCII(s) {
		return s
	}
	const begin, end, most = "=?utf-8?q?", "?=", 75
	var b strings.Builder
	size := most
	for i := range len(s) {
		if size+len("=XX")+len(end) > most {
			if b.Len() > 0 {
				b.WriteString(end + " ")
			}
			b.WriteString(begin)
			size = len(begin)
		}
		n := b.Len()
		if c := s[i]; c == ' ' {
			b.WriteByte('_')
		} else if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
		size += b.Len() - n
	}
	return b.String() + end
}
