package provider

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/notice"
)

// postmark reads Postmark's webhooks, which carry the basic authentication of
// their URL: https://postmarkapp.com/developer/webhooks/webhooks-overview.
type postmark struct {
	token [sha256.Size]byte // its digest
}

// Name is "postmark".
func (*postmark) Name() string { return "postmark" }

// postmarkRecord is a notification of any of the types that are read.
type postmarkRecord struct {
	RecordType  string    `json:"RecordType"`
	ID          int64     `json:"ID"`
	Type        string    `json:"Type"`
	Email       string    `json:"Email"`
	Recipient   string    `json:"Recipient"`
	Description string    `json:"Description"`
	Details     string    `json:"Details"`
	MessageID   string    `json:"MessageID"`
	BouncedAt   time.Time `json:"BouncedAt"`
	DeliveredAt time.Time `json:"DeliveredAt"`
	Metadata    struct {
		Delivery string `json:"delivery"`
	} `json:"Metadata"`
}

// Read implements Provider.
func (p *postmark) Read(_ context.Context, n Notification) (Reports, error) {
	token, ok := credential(n.Header.Get("Authorization"))
	if !ok {
		return Reports{}, ErrNoCredentials
	}
	sum := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(sum[:], p.token[:]) != 1 {
		return Reports{}, ErrForged
	}
	var e postmarkRecord
	if err := decode(n.Body, &e); err != nil {
		return Reports{}, err
	}
	kind := e.kind()
	if kind == "" {
		return Reports{}, nil
	}
	f := notice.Feedback{Source: p.Name(), Kind: kind, Address: e.Email, Delivery: notice.DeliveryOfMessageID(e.Metadata.Delivery),
		Code: e.Type, Detail: notice.ScrubMail(e.Details), At: e.BouncedAt, Event: e.MessageID}
	if kind == notice.FeedbackDelivery {
		f.Address, f.At = e.Recipient, e.DeliveredAt
	} else if code := feedback.Code("", e.Details); code != "" {
		f.Code = code
	}
	if e.ID != 0 {
		f.Event = strconv.FormatInt(e.ID, 10)
	}
	return Reports{Items: []notice.Feedback{f}}, nil
}

// kind is what a record says of its mail; the types of bounces are at
// https://postmarkapp.com/developer/api/bounce-api#bounce-types.
func (e postmarkRecord) kind() notice.FeedbackKind {
	switch e.RecordType {
	case "Delivery":
		return notice.FeedbackDelivery
	case "SpamComplaint":
		return notice.FeedbackComplaint
	case "Bounce":
	default:
		return ""
	}
	switch e.Type {
	case "HardBounce":
		return bounceKind(feedback.Code("", e.Details), notice.FeedbackHard)
	case "BadEmailAddress":
		return notice.FeedbackHard
	case "SpamComplaint":
		return notice.FeedbackComplaint
	case "Transient", "DnsError", "SoftBounce", "Undeliverable":
		return notice.FeedbackSoft
	case "Blocked", "SpamNotification", "DMARCPolicy", "VirusNotification", "TemplateRenderingFailed":
		return notice.FeedbackBlocked
	}
	return "" // an answer of a person or a machine, and what Postmark has of its own
}

// credential is the password of basic authentication, or a bearer token.
func credential(header string) (string, bool) {
	scheme, value, _ := strings.Cut(header, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return strings.TrimSpace(value), true
	case strings.EqualFold(scheme, "Basic"):
		plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		_, password, ok := strings.Cut(string(plain), ":")
		return password, err == nil && ok
	}
	return "", false
}
