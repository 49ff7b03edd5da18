package main

import (
	"fmt"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/apns"
	"github.com/carillonhq/carillon/channels/email"
	"github.com/carillonhq/carillon/channels/fcm"
	"github.com/carillonhq/carillon/channels/webhook"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates/preview"
)

// exampleSecret signs what the preview shows. It is Standard Webhooks' own
// example, known to everybody and of use to nobody.
const exampleSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// wire shows previews what the adapters would send.
type wire struct{ mail *email.Adapter }

// newWire makes the formats with an email section's sender and signature, or
// with made-up ones where there is no section. The caller closes wire.mail.
func newWire(section *config.Email) (wire, error) {
	cfg := config.Email{From: "Your service <no-reply@service.example>", Timeout: config.Duration(time.Second), MaxAttachment: 1 << 20,
		SMTP: config.SMTP{Host: "127.0.0.1", Port: 25, TLS: config.TLSNone, Connections: 1}}
	if section != nil {
		cfg = *section
	}
	adapter, err := email.New(cfg)
	if err != nil {
		return wire{}, fmt.Errorf("channels.%w", err)
	}
	return wire{adapter}, nil
}

// message is a specimen as a delivery to an address.
func message(s preview.Specimen, to notice.Address) channels.Message {
	return channels.Message{ID: s.ID, Tenant: defaultTenant, Template: s.Template, Category: s.Category, Lane: s.Lane, To: s.To,
		Address: to, Content: s.Content, AcceptedAt: s.At, Attempt: 1}
}

// Mail is what the relay would be given.
func (w wire) Mail(s preview.Specimen) ([]byte, error) {
	return w.mail.Compose(message(s, notice.Address{Channel: notice.ChannelEmail, To: s.To.Email}))
}

// Push is what Apple's and Google's services would be given.
func (w wire) Push(s preview.Specimen) []preview.Payload {
	return []preview.Payload{apnsPayload(s), fcmPayload(s)}
}

func apnsPayload(s preview.Specimen) preview.Payload {
	encoded, err := apns.Encode(s.Content.Push, s.Lane)
	out := preview.Payload{Service: "APNs", Used: len(encoded.Payload), Most: encoded.Most, Text: string(encoded.Payload),
		Headers: []preview.Header{{Name: "apns-push-type", Value: string(encoded.Type)}, {Name: "apns-priority", Value: encoded.Priority}}}
	return withError(out, err)
}

func fcmPayload(s preview.Specimen) preview.Payload {
	text, size, err := fcm.Encode(message(s, notice.Address{Channel: notice.ChannelFCM, To: "REGISTRATION_TOKEN"}), s.At)
	return withError(preview.Payload{Service: "FCM", Used: size, Most: fcm.MaxPayload, Text: string(text)}, err)
}

func withError(p preview.Payload, err error) preview.Payload {
	if err != nil {
		p.Error = err.Error()
	}
	return p
}

// Webhook is a call signed with the example's secret.
func (w wire) Webhook(s preview.Specimen, at time.Time) (preview.Call, error) {
	fields, err := webhook.Headers(exampleSecret, s.ID, at, s.Content.Webhook)
	if err != nil {
		return preview.Call{}, err
	}
	call := preview.Call{Secret: exampleSecret, Body: string(s.Content.Webhook)}
	for _, f := range fields {
		call.Headers = append(call.Headers, preview.Header{Name: f.Name, Value: f.Value})
	}
	return call, nil
}
