// Package mime_test holds what a template writes, and what it is given, against
// the mail that goes over the wire: the two rooms between know nothing of each
// other.
package mime_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-message"
	"github.com/go-json-experiment/json"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/email"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

// catalogue is a mail with the data's values in its subject, preheader, HTML
// and text.
func catalogue(t testing.TB) *templates.Catalogue {
	t.Helper()
	c, err := templates.Load(fstest.MapFS{
		"m/en/email.subject.txt":   {Data: []byte("For {{.to.name}}: {{.data.subject}}")},
		"m/en/email.preheader.txt": {Data: []byte("{{.data.subject}}")},
		"m/en/email.html":          {Data: []byte("<p title=\"{{.preheader}}\">{{.data.body}}</p><a href=\"{{.unsubscribe_url}}\">leave</a>")},
		"m/en/email.txt":           {Data: []byte("{{.data.body}}\n-- \n{{.unsubscribe_url}}")},
		"h/en/email.subject.txt":   {Data: []byte("{{.data.subject}}")},
		"h/en/email.html":          {Data: []byte("<p>{{.data.body}}</p>")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func adapter(t testing.TB) *email.Adapter {
	t.Helper()
	a, err := email.New(config.Email{From: "Acme <no-reply@acme.example>", Timeout: config.Duration(time.Second), MaxAttachment: 1024,
		SMTP: config.SMTP{Host: "127.0.0.1", Port: 9, TLS: config.TLSNone, Connections: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// input is what a sender decides of one mail.
type input struct{ template, subject, body, name, fromName, category string }

const leave = "https://notify.acme.example/u/token"

// compose renders and writes the mail of an input; nil when a step refuses it.
func (in input) compose(t testing.TB, c *templates.Catalogue, a *email.Adapter) (raw []byte, content *notice.EmailContent, err error) {
	t.Helper()
	data, err := json.Marshal(map[string]string{"subject": in.subject, "body": in.body})
	if err != nil {
		return nil, nil, fmt.Errorf("data: %w", err)
	}
	at := time.Date(2027, 1, 1, 9, 0, 0, 0, time.UTC)
	to := notice.Person{User: "u1", Name: in.name, Email: "ada@example.com"}
	r, err := c.Render(templates.Request{Template: in.template, Medium: notice.MediumEmail, ID: "0-abc", Category: in.category, Data: data, To: to, AcceptedAt: at, Now: at, UnsubscribeURL: leave})
	if err != nil {
		return nil, nil, err
	}
	r.Content.Email.FromName = in.fromName
	raw, err = a.Compose(channels.Message{ID: "0-abc", Template: in.template, Category: in.category, To: to, Address: notice.Address{Channel: notice.ChannelEmail, To: "ada@example.com"},
		AcceptedAt: at, Unsubscribe: leave, Content: r.Content})
	return raw, r.Content.Email, err
}

// headers are what a mail of ours may have, each of them once.
var headers = []string{"Auto-Submitted", "Content-Type", "Date", "Feedback-Id", "From", "List-Unsubscribe", "List-Unsubscribe-Post", "Message-Id", "Mime-Version", "Subject", "To"}

// check reads a mail with two readers that share no code with its writer.
func check(t testing.TB, raw []byte, in input, want *notice.EmailContent) {
	t.Helper()
	for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n\x00") {
			t.Errorf("a line of %d bytes, or a bare CR, LF or NUL: %q", len(line), line)
		}
	}
	msg, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	for name, values := range msg.Header {
		if !slices.Contains(headers, name) || len(values) != 1 {
			t.Errorf("header %s: %q", name, values)
		}
	}
	words := new(mime.WordDecoder)
	if got, err := words.DecodeHeader(msg.Header.Get("Subject")); err != nil || squeezed(got) != squeezed(want.Subject) {
		t.Errorf("subject %q, %v, want %q", got, err, want.Subject)
	}
	from, err := msg.Header.AddressList("From")
	if err != nil || len(from) != 1 || from[0].Address != "no-reply@acme.example" {
		t.Errorf("from %q: %v, %v", msg.Header.Get("From"), from, err)
	}
	to, err := msg.Header.AddressList("To")
	if err != nil || len(to) != 1 || to[0].Address != "ada@example.com" || squeezed(to[0].Name) != squeezed(in.name) {
		t.Errorf("to %q: %v, %v, want %q", msg.Header.Get("To"), to, err, in.name)
	}
	checkBodies(t, raw, want)
}

// checkBodies holds a mail's parts against the content.
func checkBodies(t testing.TB, raw []byte, want *notice.EmailContent) {
	t.Helper()
	e, err := message.Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	var kinds []string
	parts := e.MultipartReader()
	for parts != nil {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, raw)
		}
		kind, _, _ := part.Header.ContentType()
		body, err := io.ReadAll(part.Body)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		kinds = append(kinds, kind)
		expected := want.Text
		if kind == "text/html" {
			expected = want.HTML
		}
		if expected != "" && lines(string(body)) != lines(expected) {
			t.Errorf("%s came as\n%q\nwant\n%q", kind, body, expected)
		}
	}
	if !slices.Equal(kinds, []string{"text/plain", "text/html"}) {
		t.Errorf("parts %v", kinds)
	}
}

// lines is a text without what mail does not carry: NUL, and how lines end.
func lines(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\x00", ""), "\r\n", "\n")
	return strings.TrimRight(strings.ReplaceAll(s, "\r", "\n"), "\n")
}

// squeezed is a header's words: breaks, controls and what turns the reading
// direction are not for headers.
func squeezed(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == '\u202d' || r == '\u202e'
	}), " ")
}

// FuzzMIME feeds what a sender decides, and reads the mail that is made of it.
func FuzzMIME(f *testing.F) {
	seeds := []string{"Ada", "a\r\nBcc: b@example.com", "a\nSubject: b", "Grüße €", "=?utf-8?q?Bcc?=", `"x" <b@example.com>`, "a, b@example.com", "\u202eevil", strings.Repeat("long ", 250), strings.Repeat("é", 600), "\x00", ".", "\r\n.\r\n", "--_boundary_--\r\n\r\nx",
		"a\u2028b\u0085c", "<script>", "=3D=\r\n", "From x", strings.Repeat("x", 2000)}
	for _, seed := range seeds {
		f.Add(seed, "body", "Ada", "Acme", "news", true)
		f.Add("s", seed, seed, seed, seed, false)
		f.Add("s", seed, "Ada", seed, seed, true)
	}
	c, a := catalogue(f), adapter(f)
	f.Fuzz(func(t *testing.T, subject, body, name, fromName, category string, both bool) {
		in := input{"h", subject, body, name, fromName, category}
		if both {
			in.template = "m"
		}
		if !utf8.ValidString(name) || !utf8.ValidString(category) || len(name) > notice.MaxName || notice.CheckSenderName(fromName) != "" {
			return // the door takes no such text
		}
		raw, content, err := in.compose(t, c, a)
		if err != nil {
			for _, secret := range []string{subject, body, name} {
				if len(secret) > 12 && strings.Contains(err.Error(), secret) {
					t.Errorf("the error quotes what it was given: %v", err)
				}
			}
			return
		}
		check(t, raw, in, content)
	})
}
