package notice

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Event is a notification as it is kept on the queue from its acceptance
// until it is planned: the sender's words, and what the gateway added.
type Event struct {
	ID           string       `json:"id"` // see NewID
	Tenant       string       `json:"tenant"`
	AcceptedAt   time.Time    `json:"at"`
	Keyed        bool         `json:"keyed,omitzero"` // an idempotency key answers with this id
	Notification Notification `json:"n"`
	Planned      int          `json:"planned,omitzero"` // deliveries that the earlier links of its chain had
}

// Chain is how a notification with the route first goes on when a delivery, and
// all that are tried together with it, have failed for good.
type Chain struct {
	First int   `json:"first"` // the ordinals of the deliveries of this link
	Last  int   `json:"last"`
	Rest  Event `json:"rest"` // the notification, as it is planned for the links that follow
}

// Delivery is one message to one address: the unit of retry, limit, state and
// scale. It is self-contained, so that working it needs no look-up.
type Delivery struct {
	ID          string         `json:"id"` // stable over every attempt and redrive
	Tenant      string         `json:"tenant"`
	Template    string         `json:"template,omitzero"`
	Version     string         `json:"version,omitzero"` // of Template, pinned when planned
	Content     *Content       `json:"content,omitzero"` // in place of Template
	Data        jsontext.Value `json:"data,omitzero"`
	Category    string         `json:"category,omitzero"`
	Lane        Lane           `json:"lane"`
	To          Person         `json:"to,omitzero"`
	Address     Address        `json:"addr"`
	AcceptedAt  time.Time      `json:"at"`
	ExpiresAt   time.Time      `json:"exp,omitzero"`
	CollapseKey string         `json:"collapse,omitzero"`
	Attempt     int            `json:"attempt,omitzero"` // attempts that have been made and counted
	Unknown     bool           `json:"unknown,omitzero"` // the last attempt's outcome is not known
	Alone       bool           `json:"alone,omitzero"`   // the notification's only delivery
	Keyed       bool           `json:"keyed,omitzero"`   // an idempotency key answers with the notification's id
	Chain       *Chain         `json:"chain,omitempty"`  // route first: what follows; nil: nothing
	// Quiet are the quiet hours that the recipient keeps, by the clock of
	// To.Timezone, as HH:MM-HH:MM; empty: none that this delivery respects.
	Quiet string `json:"quiet,omitzero"`
	// Digest is the template that this delivery goes by together with what the
	// queue has collected for it meanwhile; empty: it goes by itself.
	Digest string `json:"digest,omitzero"`
}

// Person is what a rendering may know of the recipient.
type Person struct {
	User     string `json:"user,omitzero"`
	Name     string `json:"name,omitzero"`
	Email    string `json:"email,omitzero"`
	Locale   string `json:"locale,omitzero"`
	Timezone string `json:"timezone,omitzero"`
}

// Address is one place to deliver to. Which fields are set follows from
// Channel: To is the mailbox, the device token, the Web Push subscription
// JSON or the webhook's URL.
type Address struct {
	Channel Channel `json:"c"`
	To      string  `json:"to"`
	App     string  `json:"app,omitzero"`    // push: the app's bundle id, where it is not the channel's
	Secret  string  `json:"secret,omitzero"` // webhook: Standard Webhooks secrets, separated by spaces
	// Environment is which of Apple's services knows the token; empty: the
	// channel's.
	Environment Environment `json:"env,omitzero"`
}
