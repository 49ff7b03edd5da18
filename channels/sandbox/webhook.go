package sandbox

import (
	"errors"
	"net/http"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const webhookMaxBody = 4 << 20

// webhookHandler is an endpoint that takes anything on every path, and tells
// whether it was signed with the sandbox's secret.
func (s *Sandbox) webhookHandler() http.Handler {
	return s.serve(stand{
		channel: notice.ChannelWebhook, limit: webhookMaxBody, receive: s.receiveWebhook, fail: failWebhook,
	})
}

// receiveWebhook takes a webhook whatever its signature: a bad one is for the
// developer to see.
func (s *Sandbox) receiveWebhook(r *http.Request, body []byte) answer {
	if len(body) > webhookMaxBody {
		return failWebhook(http.StatusRequestEntityTooLarge, "", s.clock()).refusing("the body is larger than 4 MiB", r.URL.Path)
	}
	m := &Message{
		Channel: notice.ChannelWebhook, ID: r.Header.Get(standardwebhooks.HeaderWebhookID),
		To: r.URL.RequestURI(), Title: webhookType(body), Headers: headers(r), Raw: string(body),
	}
	if jsontext.Value(body).IsValid() {
		m.JSON = jsontext.Value(body)
	} else {
		m.Text = string(body)
	}
	m.Verified, m.Note = s.checkWebhook(r.Header, body)
	if r.Method != http.MethodPost {
		m.note("sent by " + r.Method)
	}
	a := jsonAnswer(http.StatusOK, `{"received":true}`)
	a.message = m
	return a
}

// webhookType is the "type" of a webhook in the Standard Webhooks shape.
func webhookType(body []byte) string {
	var payload struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(body, &payload) != nil {
		return ""
	}
	return payload.Type
}

// checkWebhook verifies with the Standard Webhooks project's own library,
// which tolerates five minutes between the sender's clock and the machine's.
func (s *Sandbox) checkWebhook(h http.Header, body []byte) (Proof, string) {
	if h.Get(standardwebhooks.HeaderWebhookSignature) == "" {
		return Unsigned, "no webhook-signature header"
	}
	verifier, err := standardwebhooks.NewWebhook(s.WebhookSecret)
	if err == nil {
		err = verifier.Verify(body, h)
	}
	switch {
	case err == nil:
		return Verified, ""
	case errors.Is(err, standardwebhooks.ErrRequiredHeaders):
		return BadSignature, "webhook-id or webhook-timestamp is missing"
	case errors.Is(err, standardwebhooks.ErrMessageTooOld), errors.Is(err, standardwebhooks.ErrMessageTooNew):
		return BadSignature, "webhook-timestamp is more than five minutes from now"
	case errors.Is(err, standardwebhooks.ErrNoMatchingSignature):
		return BadSignature, "not signed with the sandbox's secret, or changed on the way"
	}
	return BadSignature, "the signature's headers cannot be read"
}

func failWebhook(status int, reason string, _ time.Time) answer {
	if reason == "" {
		reason = http.StatusText(status)
	}
	return answer{status: status, body: reason + "\n", header: map[string]string{"Content-Type": "text/plain; charset=utf-8"}}
}
