// Package dsn reads the mails that say what became of a mail: delivery status
// notifications (RFC 3464) as the common servers write them, qmail's plain ones
// (https://cr.yp.to/proto/qsbmf.txt), and complaints of feedback loops
// (RFC 5965). It believes nothing of what they say, which is for who checks it.
package dsn

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
)

// What is read of one mail at most. Real reports have two to four parts and one
// recipient; what is beyond is not looked at.
const (
	maxParts      = 16
	maxDepth      = 4
	maxPart       = 64 << 10
	maxRecipients = 50
	maxValue      = 1 << 10
)

// Kind is what a mail is.
type Kind uint8

// The kinds.
const (
	Other     Kind = iota // no report: an answer of a person or a machine
	Status                // what became of a mail
	Complaint             // its reader complains
)

// Report is what a mail says.
type Report struct {
	Kind       Kind
	Recipients []Recipient // Status: of each recipient, as far as they are named
	Feedback   string      // Complaint: its Feedback-Type, as abuse
	// Whom the mail was for by what was returned of it and by the report
	// itself, beside Recipients: the servers write it into different fields.
	Addresses []string
	// Senders are the envelope's senders of the mail by what was returned of it.
	Senders   []string
	MessageID string // of the mail that it is about; empty when not returned
}

// Recipient is what became of the mail to one recipient.
type Recipient struct {
	Final      string // address
	Original   string // address as it was given at first; empty when not said
	Action     string // failed, delayed, delivered, relayed or expanded
	Status     string // enhanced status code
	Diagnostic string // the words of the server that refused it
}

// Parse reads a mail. An error says that it is none; a mail that is no report
// is Other. It looks at the first bytes of the first parts only.
func Parse(raw []byte) (*Report, error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, errors.New("the mail has no readable header")
	}
	p := &parser{report: &Report{}}
	p.addresses(textproto.MIMEHeader(m.Header)["X-Failed-Recipients"]...)
	failed := p.report.Addresses
	p.part(textproto.MIMEHeader(m.Header), m.Body, 0)
	if p.report.Kind == Other {
		p.plain(failed)
	}
	return p.report, nil
}

// parser gathers what the parts of one mail say.
type parser struct {
	report *Report
	parts  int
	text   []byte // the first plain text
}

// part reads one part of the mail, or the mail itself.
func (p *parser) part(h textproto.MIMEHeader, body io.Reader, depth int) {
	if p.parts++; p.parts > maxParts || depth > maxDepth {
		return
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil && kind == "" {
		kind = "text/plain" // RFC 2045 §5.2
	}
	switch {
	case strings.HasPrefix(kind, "multipart/"):
		p.multipart(body, params["boundary"], depth)
	case kind == "message/delivery-status", kind == "message/global-delivery-status":
		p.status(decoded(h, body))
	case kind == "message/feedback-report":
		p.complaint(decoded(h, body))
	case kind == "message/rfc822", kind == "message/global", kind == "text/rfc822-headers", kind == "message/rfc822-headers", kind == "message/global-headers":
		p.returned(decoded(h, body))
	case kind == "text/plain" && p.text == nil:
		p.text, _ = io.ReadAll(decoded(h, body)) // cut off is read as far as it goes
	}
}

func (p *parser) multipart(body io.Reader, boundary string, depth int) {
	if boundary == "" {
		return
	}
	r := multipart.NewReader(body, boundary)
	for p.parts <= maxParts {
		part, err := r.NextRawPart()
		if err != nil {
			return // a part that is cut off is the last
		}
		p.part(part.Header, part, depth+1)
	}
}

// decoded is a part's body without its transfer encoding, cut off at maxPart.
func decoded(h textproto.MIMEHeader, body io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(h.Get("Content-Transfer-Encoding"))) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	return io.LimitReader(body, maxPart)
}

// status reads a message/delivery-status: fields of the message, and then a
// group for each recipient.
func (p *parser) status(body io.Reader) {
	p.report.Kind = Status
	for _, group := range groups(body) {
		r := Recipient{
			Final: address(group.Get("Final-Recipient")), Original: address(group.Get("Original-Recipient")),
			Action: strings.ToLower(word(group.Get("Action"))), Status: word(group.Get("Status")),
			Diagnostic: untyped(group.Get("Diagnostic-Code")),
		}
		if r.Action != "" && len(p.report.Recipients) < maxRecipients {
			p.report.Recipients = append(p.report.Recipients, r)
		}
	}
}

// complaint reads a message/feedback-report.
func (p *parser) complaint(body io.Reader) {
	p.report.Kind = Complaint
	for _, group := range groups(body) {
		if p.report.Feedback == "" {
			p.report.Feedback = strings.ToLower(word(group.Get("Feedback-Type")))
		}
		p.addresses(group["Original-Rcpt-To"]...)
		p.senders(group["Original-Mail-From"]...)
	}
}

// returned reads the header of the mail that the report is about.
func (p *parser) returned(body io.Reader) {
	all := groups(body)
	if len(all) == 0 {
		return
	}
	h := all[0] // what follows is the mail's text
	p.senders(h["Return-Path"]...)
	for _, field := range []string{"To", "X-Original-To", "Delivered-To"} {
		p.addresses(h[field]...)
	}
	if p.report.MessageID == "" {
		p.report.MessageID = clip(h.Get("Message-Id"))
	}
}

// groups reads blocks of header fields that blank lines part, as far as they
// can be read.
func groups(body io.Reader) (out []textproto.MIMEHeader) {
	r := textproto.NewReader(bufio.NewReader(body))
	for len(out) <= maxRecipients {
		h, err := r.ReadMIMEHeader()
		if len(h) > 0 {
			out = append(out, h)
		}
		if err != nil && len(h) == 0 || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return out
		}
	}
	return out
}

func (p *parser) addresses(fields ...string) {
	for _, f := range fields {
		list, err := mail.ParseAddressList(f)
		if err != nil {
			for a := range strings.SplitSeq(f, ",") {
				p.addAddress(address(a))
			}
		}
		for _, a := range list {
			p.addAddress(a.Address)
		}
	}
}

func (p *parser) addAddress(a string) {
	if a != "" && len(p.report.Addresses) < maxRecipients {
		p.report.Addresses = append(p.report.Addresses, clip(a))
	}
}

func (p *parser) senders(fields ...string) {
	for _, f := range fields {
		if a := address(f); a != "" && len(p.report.Senders) < maxRecipients {
			p.report.Senders = append(p.report.Senders, a)
		}
	}
}

// address is the address of a field such as "rfc822; <ada@example.com>"
// (RFC 3464 §2.1.2), without its type, brackets and comments.
func address(field string) string {
	a := untyped(field)
	if open := strings.LastIndexByte(a, '<'); open >= 0 {
		a, _, _ = strings.Cut(a[open+1:], ">")
	}
	a = word(a)
	if !strings.Contains(a, "@") || strings.ContainsAny(a, "<>") {
		return ""
	}
	return clip(a)
}

// untyped is a field without the type before its first semicolon.
func untyped(field string) string {
	if kind, rest, ok := strings.Cut(field, ";"); ok && !strings.ContainsAny(strings.TrimSpace(kind), " @<") {
		field = rest
	}
	return clip(strings.TrimSpace(field))
}

// word is the first word of a field: what follows is a comment.
func word(field string) string {
	for w := range strings.FieldsSeq(field) {
		return clip(w)
	}
	return ""
}

func clip(s string) string { return s[:min(len(s), maxValue)] }
