package preview

import (
	"mime"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
)

// Wire writes renderings in the formats that adapters send. Every error says
// why the rendering could never be sent, and quotes no data.
type Wire interface {
	// Mail is the mail's source, headers and all.
	Mail(Specimen) ([]byte, error)
	// Push is one payload for each service.
	Push(Specimen) []Payload
	// Webhook is a call at a moment, signed with an example's secret.
	Webhook(s Specimen, at time.Time) (Call, error)
}

// Specimen is a rendering with what else adapters want to know of a delivery.
type Specimen struct {
	ID       string
	Template string
	Category string
	Lane     notice.Lane
	To       notice.Person
	Content  notice.Content
	At       time.Time // when the notification was accepted
}

// Payload is a push as one service would get it.
type Payload struct {
	Service string   `json:"service"` // "APNs"
	Used    int      `json:"used"`    // bytes that count
	Most    int      `json:"most"`    // bytes that may be used
	Text    string   `json:"text"`    // the JSON that is sent
	Headers []Header `json:"headers,omitempty"`
	Error   string   `json:"error,omitempty"` // why it can never be sent
}

// Call is a webhook's request.
type Call struct {
	Secret  string   `json:"secret"` // what it is signed with, for receivers to try: never a real one
	Headers []Header `json:"headers"`
	Body    string   `json:"body"` // byte for byte
}

// Header is one field of a mail or a request.
type Header struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Decoded string `json:"decoded,omitempty"` // the value for people, where it is encoded (RFC 2047)
}

// mailView is the mail's source for the page.
type mailView struct {
	Raw     string   `json:"raw"`
	Bytes   int      `json:"bytes"`
	Headers []Header `json:"headers"`
	Error   string   `json:"error,omitempty"`
}

// webhookView is a call, and its body for reading.
type webhookView struct {
	Call
	Pretty string `json:"pretty"`
	Error  string `json:"error,omitempty"`
}

func (s *server) viewMail(of Specimen) *mailView {
	if s.Wire == nil || of.Content.Email == nil {
		return nil
	}
	raw, err := s.Wire.Mail(of)
	if err != nil {
		return &mailView{Error: err.Error()}
	}
	return &mailView{Raw: strings.ToValidUTF8(string(raw), "\uFFFD"), Bytes: len(raw), Headers: mailHeaders(string(raw))}
}

// mailHeaders takes a mail's headers apart, in order and as they are written:
// continued lines (RFC 5322 §2.2.3) become one.
func mailHeaders(raw string) (headers []Header) {
	head, _, _ := strings.Cut(raw, "\r\n\r\n")
	head = strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(head)
	var words mime.WordDecoder
	for line := range strings.SplitSeq(head, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		h := Header{Name: name, Value: strings.ToValidUTF8(strings.TrimSpace(value), "\uFFFD")}
		if decoded, err := words.DecodeHeader(h.Value); err == nil && decoded != h.Value {
			h.Decoded = strings.ToValidUTF8(decoded, "\uFFFD")
		}
		headers = append(headers, h)
	}
	return headers
}

func (s *server) viewPush(of Specimen) []Payload {
	if s.Wire == nil || of.Content.Push == nil {
		return nil
	}
	payloads := s.Wire.Push(of)
	for i := range payloads {
		payloads[i].Text = indented(jsontext.Value(payloads[i].Text))
	}
	return payloads
}

func (s *server) viewWebhook(of Specimen) *webhookView {
	if len(of.Content.Webhook) == 0 {
		return nil
	}
	view := &webhookView{Call: Call{Body: string(of.Content.Webhook)}, Pretty: indented(of.Content.Webhook)}
	if s.Wire == nil {
		return view
	}
	call, err := s.Wire.Webhook(of, s.Now())
	if err != nil {
		view.Error = err.Error()
		return view
	}
	view.Call = call
	return view
}
