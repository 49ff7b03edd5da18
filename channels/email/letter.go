package email

import (
	"cmp"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"
	"unicode"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/notice/verp"
	"golang.org/x/net/idna"
)

// mostLine is the longest line that may travel unencoded (RFC 5322 §2.1.1).
const mostLine = 998

var errNeedsUTF8 = errors.New("the address needs SMTPUTF8 (RFC 6531), which the relay does not offer")

// composer makes letters of messages.
type composer struct {
	path   string     // of the envelope: return_path's pattern, or the address of from
	verp   *verp.Keys // nil: path has no {verp}
	from   *mail.Address
	domain string  // of from: the right side of Message-ID
	signer *signer // nil: mails go unsigned
	now    func() time.Time
}

func newComposer(cfg config.Email, s settings) (composer, error) {
	from, err := sender(cfg.From)
	if err != nil {
		return composer{}, err
	}
	from.Address, err = asciiDomain(from.Address)
	if err != nil {
		return composer{}, fmt.Errorf("from: %q: %w", cfg.From, err)
	}
	c := composer{from: from, now: s.now}
	c.domain = from.Address[strings.LastIndexByte(from.Address, '@')+1:]
	c.path = cmp.Or(cfg.ReturnPath, from.Address)
	if c.verp, err = newVERP(cfg, c.path); err != nil {
		return composer{}, err
	}
	if _, err := recipient(c.envelope(channels.Message{ID: "0"}, "")); err != nil {
		return composer{}, fmt.Errorf("return_path: %q is no mail address: write it as bounce+{id}@acme.example", cfg.ReturnPath)
	}
	c.signer, err = newSigner(cfg, s.now)
	return c, err
}

// newVERP makes the keys of return paths; nil when path has none.
func newVERP(cfg config.Email, path string) (*verp.Keys, error) {
	if !strings.Contains(path, verp.Placeholder) {
		return nil, nil
	}
	var secrets [][]byte
	for _, key := range cfg.ReturnPathKeys() {
		secrets = append(secrets, []byte(key.Reveal()))
	}
	keys, err := verp.NewKeys(secrets...)
	if err != nil {
		return nil, fmt.Errorf("return_path_key: %w", err)
	}
	return keys, nil
}

// envelope is the sender of a message's mail, to which bounces come back.
func (c *composer) envelope(m channels.Message, to string) string {
	if c.verp != nil {
		return strings.Replace(c.path, verp.Placeholder, c.verp.Token(verp.Mail{Tenant: m.Tenant, Delivery: m.ID, Address: to}), 1)
	}
	return strings.ReplaceAll(c.path, "{id}", m.ID)
}

// letter is one mail that was checked, before it is written out: how its text
// is encoded depends on the relay.
type letter struct {
	composer   *composer
	to         string        // as the message gave it, for scrubbing
	from, rcpt string        // the envelope, in angle brackets
	utf8       bool          // the envelope needs SMTPUTF8
	sender     *mail.Address // of the header: from, perhaps with the content's name
	replyTo    string        // a mailbox, or empty
	header     *mail.Address
	id         string
	date       time.Time
	subject    string
	text, html string // with CR LF at the end of each line
	leave      string // the one-click unsubscribe link, or empty
	feedback   string // Feedback-ID
	files      []file

	via    string                    // the relay that was chosen; empty: none was
	permit func(account string) bool // of another's rate; nil: there are none
}

// compose checks m and lays out its mail. An error names no address.
func (c *composer) compose(m channels.Message) (letter, error) {
	content := m.Content.Email
	if content == nil || content.HTML == "" && content.Text == "" {
		return letter{}, errors.New("the notification has no email content")
	}
	to, err := recipient(m.Address.To)
	if err != nil {
		return letter{}, err
	}
	if err := checkLink(m.Unsubscribe); err != nil {
		return letter{}, err
	}
	subject := oneLine(content.Subject)
	if len(subject) > mostLine {
		return letter{}, fmt.Errorf("the subject has %d bytes: at most %d", len(subject), mostLine)
	}
	if detail := notice.CheckReplyTo(content.ReplyTo); detail != "" {
		return letter{}, errors.New("reply_to " + detail)
	}
	from := c.envelope(m, to.Address)
	l := letter{
		composer: c,
		to:       m.Address.To,
		from:     (&mail.Address{Address: from}).String(),
		rcpt:     to.String(),
		utf8:     !isASCII(from) || !isASCII(c.from.Address) || !isASCII(to.Address),
		sender:   c.sender(content.FromName),
		replyTo:  content.ReplyTo,
		header:   &mail.Address{Name: oneLine(m.To.Name), Address: to.Address},
		id:       m.ID + "@" + c.domain,
		date:     m.AcceptedAt,
		subject:  subject,
		text:     content.Text,
		html:     content.HTML,
		leave:    m.Unsubscribe,
		feedback: feedbackID(m),
	}
	if l.date.IsZero() {
		l.date = c.now()
	}
	if l.text == "" {
		l.text = cmp.Or(plainText(l.html), l.subject)
	}
	l.text, l.html = crlf(l.text), crlf(l.html)
	return l, nil
}

// sender is the From of a mail: the channel's address, which a template cannot
// change, under the name that the content gives or the channel's own.
func (c *composer) sender(name string) *mail.Address {
	if name = oneLine(name); name == "" {
		return c.from
	}
	return &mail.Address{Name: name, Address: c.from.Address}
}

// mostIdentifier is how many bytes of each the header keeps: a word cannot be
// folded, so a category of any length would make a line of any length.
const mostIdentifier = 100

// feedbackID is what Gmail groups complaints by
// (https://support.google.com/mail/answer/6254652): up to three identifiers of
// ours, and the sender's, which stays the same.
func feedbackID(m channels.Message) string {
	if m.Category == "" && m.Template == "" {
		return ""
	}
	parts := [...]string{m.Template, m.Category, m.Tenant, "carillon"}
	for i, p := range parts {
		p = p[:min(len(p), mostIdentifier)]
		parts[i] = strings.Map(func(r rune) rune {
			if r <= ' ' || r > '~' || r == ':' {
				return '-'
			}
			return r
		}, p)
	}
	return strings.Join(parts[:], ":")
}

// checkLink refuses a link that could be anything else than one URI between
// angle brackets (RFC 2369 §2).
func checkLink(link string) error {
	if !isPrintable(link) || !isASCII(link) || strings.ContainsAny(link, "<>,\"") {
		return errors.New("the unsubscribe link cannot stand in a header")
	}
	return nil
}

// recipient reads the address of a message: one bare mailbox.
func recipient(to string) (*mail.Address, error) {
	errBad := errors.New("the recipient's address is no mailbox: want name@domain")
	if strings.ContainsFunc(to, unicode.IsControl) {
		return nil, errBad
	}
	addr, err := mail.ParseAddress(to)
	if err != nil || addr.Name != "" || strings.HasPrefix(strings.TrimSpace(to), "<") {
		return nil, errBad // not err itself: it quotes the address
	}
	if addr.Address, err = asciiDomain(addr.Address); err != nil {
		return nil, errBad
	}
	return addr, nil
}

// asciiDomain puts an international domain into the letters that every relay
// takes (RFC 5891).
func asciiDomain(address string) (string, error) {
	if isASCII(address) {
		return address, nil
	}
	at := strings.LastIndexByte(address, '@')
	domain, err := idna.Lookup.ToASCII(address[at+1:])
	if err != nil {
		return "", errors.New("its domain is no domain name")
	}
	return address[:at+1] + domain, nil
}

// oneLine makes a header's value of words that may hold anything: line breaks
// and other control characters become single spaces, so that no header can be
// slipped in.
//
// Characters that make a reader show what follows backwards are left out; marks
// and isolates, which languages written from right to left need, stay.
func oneLine(s string) string {
	isBreak := func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == '\u202d' || r == '\u202e'
	}
	return strings.ToValidUTF8(strings.Join(strings.FieldsFunc(s, isBreak), " "), "\uFFFD")
}

// crlf ends every line with CR LF, as mail and its signature want it, and
// drops NUL, which mail must not hold. Each step costs nothing where there is
// nothing to replace; one strings.Replacer for all costs more than the rest of
// the composing.
func crlf(s string) string {
	s = strings.ReplaceAll(s, "\x00", "")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	s = strings.ReplaceAll(s, "\r", "\n")
	return strings.ReplaceAll(s, "\n", "\r\n")
}

func shortLines(s string) bool {
	for line := range strings.SplitSeq(s, "\r\n") {
		if len(line) > mostLine {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}

// isPrintable reports whether s has neither a space nor a control character.
func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}
