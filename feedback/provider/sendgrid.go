package provider

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/notice"
)

// sendGrid reads SendGrid's Event Webhook, signed with ECDSA over the time and
// the body: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features.
type sendGrid struct {
	key *ecdsa.PublicKey
	now func() time.Time
}

// The header of a signed notification.
const (
	sendGridSignature = "X-Twilio-Email-Event-Webhook-Signature"
	sendGridTime      = "X-Twilio-Email-Event-Webhook-Timestamp"
)

// Name is "sendgrid".
func (*sendGrid) Name() string { return "sendgrid" }

// sendGridEvent is one of a notification's list; https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event.
type sendGridEvent struct {
	Email     string  `json:"email"`
	Event     string  `json:"event"`
	Type      string  `json:"type"`
	Status    string  `json:"status"`
	Reason    string  `json:"reason"`
	MessageID string  `json:"smtp-id"`
	ID        string  `json:"sg_event_id"`
	At        float64 `json:"timestamp"`
}

// Read implements Provider.
func (p *sendGrid) Read(_ context.Context, n Notification) (Reports, error) {
	at := n.Header.Get(sendGridTime)
	signature, err := base64.StdEncoding.DecodeString(n.Header.Get(sendGridSignature))
	if at == "" || len(signature) == 0 {
		return Reports{}, ErrNoCredentials
	}
	sum := sha256.Sum256(append([]byte(at), n.Body...))
	if err != nil || !ecdsa.VerifyASN1(p.key, sum[:], signature) {
		return Reports{}, ErrForged
	}
	if !inTime(at, p.now()) {
		return Reports{}, ErrOld
	}
	var events []sendGridEvent
	if err := decode(n.Body, &events); err != nil {
		return Reports{}, err
	}
	r := Reports{ID: digest([]byte(p.Name()), []byte(at), n.Body)}
	for _, e := range events {
		if kind := e.kind(); kind != "" {
			r.Items = append(r.Items, notice.Feedback{Source: p.Name(), Kind: kind, Address: e.Email, Delivery: notice.DeliveryOfMessageID(e.MessageID),
				Code: feedback.Code(e.Status, e.Reason), Detail: notice.ScrubMail(e.Reason), At: unixTime(e.At), Event: e.ID})
		}
	}
	return r, nil
}

// kind is what an event says of its mail; empty for those that say nothing of
// the kind, such as an opened mail.
func (e sendGridEvent) kind() notice.FeedbackKind {
	switch e.Event {
	case "delivered":
		return notice.FeedbackDelivery
	case "spamreport":
		return notice.FeedbackComplaint
	case "bounce":
		if e.Type == "blocked" {
			return notice.FeedbackBlocked
		}
		return bounceKind(feedback.Code(e.Status, e.Reason), notice.FeedbackHard)
	}
	return ""
}
