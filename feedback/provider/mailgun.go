package provider

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/notice"
)

// mailgun reads Mailgun's webhooks, whose signature is over a time and a token
// alone, each of which is used once:
// https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks.
type mailgun struct {
	key []byte
	now func() time.Time
}

// Name is "mailgun".
func (*mailgun) Name() string { return "mailgun" }

// mailgunNotification is one call.
type mailgunNotification struct {
	Signature struct {
		Timestamp string `json:"timestamp"`
		Token     string `json:"token"`
		Signature string `json:"signature"`
	} `json:"signature"`
	Event mailgunEvent `json:"event-data"`
}

type mailgunEvent struct {
	ID        string  `json:"id"`
	Event     string  `json:"event"`
	Severity  string  `json:"severity"`
	Reason    string  `json:"reason"`
	Recipient string  `json:"recipient"`
	At        float64 `json:"timestamp"`
	Status    struct {
		Code     int    `json:"code"`
		Enhanced string `json:"enhanced-code"`
		Message  string `json:"message"`
		Describe string `json:"description"`
	} `json:"delivery-status"`
	Message struct {
		Headers struct {
			MessageID string `json:"message-id"`
		} `json:"headers"`
	} `json:"message"`
}

// Read implements Provider.
func (p *mailgun) Read(_ context.Context, n Notification) (Reports, error) {
	var m mailgunNotification
	if err := decode(n.Body, &m); err != nil {
		return Reports{}, err
	}
	s := m.Signature
	if s.Timestamp == "" || s.Token == "" || s.Signature == "" {
		return Reports{}, ErrNoCredentials
	}
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(s.Timestamp + s.Token))
	if given, err := hex.DecodeString(s.Signature); err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		return Reports{}, ErrForged
	}
	if !inTime(s.Timestamp, p.now()) {
		return Reports{}, ErrOld
	}
	r := Reports{ID: digest([]byte(p.Name()), []byte(s.Token))}
	e := m.Event
	if kind := e.kind(); kind != "" {
		r.Items = append(r.Items, notice.Feedback{Source: p.Name(), Kind: kind, Address: e.Recipient, Code: e.code(),
			Delivery: notice.DeliveryOfMessageID(e.Message.Headers.MessageID), Detail: notice.ScrubMail(e.words()), At: unixTime(e.At), Event: e.ID})
	}
	return r, nil
}

func (e mailgunEvent) words() string {
	if e.Status.Message != "" {
		return e.Status.Message
	}
	return e.Status.Describe
}

func (e mailgunEvent) code() string {
	if code := feedback.Code(e.Status.Enhanced, e.words()); code != "" || e.Status.Code == 0 {
		return code
	}
	return strconv.Itoa(e.Status.Code)
}

// kind is what an event says of its mail; empty for those that say nothing of
// the kind.
func (e mailgunEvent) kind() notice.FeedbackKind {
	switch e.Event {
	case "delivered":
		return notice.FeedbackDelivery
	case "complained":
		return notice.FeedbackComplaint
	case "failed":
	default:
		return ""
	}
	switch {
	case e.Severity != "permanent":
		return notice.FeedbackSoft
	case e.Reason == "suppress-complaint", e.Reason == "suppress-unsubscribe", e.Reason == "espblock":
		return notice.FeedbackBlocked // by Mailgun's own list: nobody was asked
	}
	return bounceKind(e.code(), notice.FeedbackHard)
}
