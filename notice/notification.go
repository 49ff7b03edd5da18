package notice

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Notification says that somebody is to be told something: who, what, when
// and how urgently. It is the body of POST /v1/notifications and the `event`
// field of an inbox entry.
type Notification struct {
	Template    string         `json:"template,omitzero"`
	Content     *Content       `json:"content,omitzero"`
	To          Recipient      `json:"to"`
	Data        jsontext.Value `json:"data,omitzero"` // a JSON object; nil when absent
	Channels    []Medium       `json:"channels,omitempty"`
	Route       Route          `json:"route,omitzero"`
	Category    string         `json:"category,omitzero"`
	Priority    Lane           `json:"priority,omitzero"`
	SendAt      time.Time      `json:"send_at,omitzero"`
	ExpiresAt   time.Time      `json:"expires_at,omitzero"`
	CollapseKey string         `json:"collapse_key,omitzero"`
}

// Route says how many of the channels are used.
type Route string

// The routes: every channel, or the first that does not fail for good.
const (
	RouteAll   Route = "all"
	RouteFirst Route = "first"
)

// Recipient is the person of a notification. Addresses given here win over
// the stored profile of User.
type Recipient struct {
	User     string    `json:"user,omitzero"`
	Email    string    `json:"email,omitzero"`
	Name     string    `json:"name,omitzero"`
	Locale   string    `json:"locale,omitzero"`   // BCP 47, "de-AT"
	Timezone string    `json:"timezone,omitzero"` // IANA, "Europe/Vienna"
	Devices  []Device  `json:"devices,omitempty"`
	Webhooks []Webhook `json:"webhooks,omitempty"`
}

// HasAddress reports whether r names any place to deliver to.
func (r *Recipient) HasAddress() bool {
	return r.Email != "" || len(r.Devices) > 0 || len(r.Webhooks) > 0
}

// Device is one push address. Token is hex for ios, opaque for android, and
// the whole subscription JSON for web.
type Device struct {
	Platform Platform `json:"platform"`
	Token    string   `json:"token"`
	App      string   `json:"app,omitzero"` // the app's bundle id, where it is not the channel's
	// Environment is which of Apple's services knows the token, where it is
	// not the channel's.
	Environment Environment `json:"environment,omitzero"`
}

// Webhook is one endpoint. Secret is a Standard Webhooks secret
// ("whsec_" + base64); several separated by spaces while rotating.
type Webhook struct {
	URL    string `json:"url"`
	Secret string `json:"secret,omitzero"`
}

// Content is a finished rendering: what a template makes, or what a sender
// gives in place of a template. Only the parts that exist are set.
type Content struct {
	Email   *EmailContent  `json:"email,omitzero"`
	Push    *PushContent   `json:"push,omitzero"`
	Webhook jsontext.Value `json:"webhook,omitzero"` // the body, byte for byte
}

// Has reports whether c has the part of medium m.
func (c *Content) Has(m Medium) bool {
	switch m {
	case MediumEmail:
		return c.Email != nil
	case MediumPush:
		return c.Push != nil
	case MediumWebhook:
		return len(c.Webhook) > 0
	}
	return false
}

// EmailContent is one mail. At least one of HTML and Text is set.
type EmailContent struct {
	Subject string `json:"subject"`
	HTML    string `json:"html,omitzero"`
	Text    string `json:"text,omitzero"`
	// FromName stands before the channel's own address in From; the channel's
	// own name when empty. The address is never the content's to choose.
	FromName string `json:"from_name,omitzero"`
	// ReplyTo is a mailbox for answers, as "Help <help@acme.example>" or bare;
	// they go to From when empty.
	ReplyTo string `json:"reply_to,omitzero"`
	// Attachments come only with content that a sender gives: templates have
	// none.
	Attachments []Attachment `json:"attachments,omitempty"`
}

// PushContent is one push. Data is a JSON object for the app, nil when
// there is none.
type PushContent struct {
	Title   string         `json:"title,omitzero"`
	Body    string         `json:"body,omitzero"`
	Data    jsontext.Value `json:"data,omitzero"`
	Options *PushOptions   `json:"options,omitzero"`
}
