package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // mails in any charset are read
	"github.com/emersion/go-message/mail"
)

const (
	mailMaxDepth = 8   // of multiparts in one another: each level reads through all above it
	mailMaxParts = 100 // of one multipart
)

// parseMail reads a mail as its recipient would: what cannot be read is noted
// and never refused, so that a broken mail can be looked at.
func parseMail(raw []byte) *Message {
	m := &Message{Raw: string(raw)}
	entity, err := message.Read(bytes.NewReader(raw))
	if entity == nil {
		m.note("the mail cannot be read: " + describeMail(err))
		return m
	}
	header := mail.Header{Header: entity.Header}
	m.Title, _ = header.Subject() // the raw field beside an error
	m.From, _ = header.Text("From")
	m.ID, _ = header.MessageID()
	m.Headers = mailHeaders(entity.Header)
	(&mailReader{m}).read(entity, 0)
	return m
}

// mailHeaders is the header in its order, encoded words decoded.
func mailHeaders(h message.Header) []Header {
	var out []Header
	for fields := h.Fields(); fields.Next(); {
		value, err := fields.Text()
		if err != nil {
			value = fields.Value()
		}
		out = append(out, Header{Name: fields.Key(), Value: value})
	}
	return out
}

// mailReader fills a message with the parts of a mail.
type mailReader struct{ m *Message }

func (r *mailReader) read(e *message.Entity, depth int) {
	parts := e.MultipartReader()
	if parts == nil {
		r.leaf(e)
		return
	}
	if depth == mailMaxDepth {
		r.m.note("multiparts deeper than 8 are not read")
		return
	}
	for range mailMaxParts {
		part, err := parts.NextPart()
		if part == nil {
			if err != io.EOF {
				r.m.note("a part cannot be read: " + describeMail(err))
			}
			return
		}
		r.read(part, depth+1)
	}
}

// leaf takes a part that is no multipart: the first text and the first HTML
// are what the recipient sees, everything else is an attachment.
func (r *mailReader) leaf(e *message.Entity) {
	kind, params, err := e.Header.ContentType()
	if err != nil {
		r.m.note("a part's Content-Type cannot be read")
	}
	disposition, file, _ := e.Header.ContentDisposition()
	body, err := io.ReadAll(e.Body)
	if err != nil {
		r.m.note("a part breaks off: " + describeMail(err))
	}
	switch {
	case disposition != "attachment" && kind == "text/plain" && r.m.Text == "":
		r.m.Text = string(body)
	case disposition != "attachment" && kind == "text/html" && r.m.HTML == "":
		r.m.HTML = string(body)
	default:
		r.m.note(fmt.Sprintf("attachment %q, %s, %d bytes", firstOf(file["filename"], params["name"]), kind, len(body)))
	}
}

// describeMail is err on one line.
func describeMail(err error) string {
	if err == nil {
		return "it is empty"
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}
