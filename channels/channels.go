// Package channels defines what an adapter to a provider is: it takes one
// finished message, speaks the provider's protocol, and classifies the answer.
// Deciding whether a message may go now, and what follows from the answer,
// belongs elsewhere. Each adapter lives in a folder of its own.
package channels

import (
	"context"
	"fmt"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// Adapter sends messages over one channel. Send blocks until the provider has
// answered, ctx ends, or the adapter's own timeout passes; it is called from
// many goroutines at once and never retries by itself.
type Adapter interface {
	Channel() notice.Channel
	Send(ctx context.Context, m Message) Result
}

// Divided is an Adapter whose addresses are at many destinations, which answer
// each for itself: what one of them has in flight is bounded, and one that does
// not answer is left alone, without the others'.
type Divided interface {
	Adapter
	// Destination names who answers for an address, the same for every address
	// there; empty when it is none's, and nothing is bounded. It is called for
	// every delivery.
	Destination(a notice.Address) string
	// Places is how many in flight a destination may have in one consumer, as
	// configured; 0: it is not. It is asked once in a while.
	Places(destination string) int
}

// Relayed is an Adapter that sends by several relays, of which each may have a
// rate.
type Relayed interface {
	Adapter
	// Choose says by which relay the next message is to go: of those that work,
	// in turn, the first whose account's rate lets it go about now, or else the
	// one that lets it go first. wait is how long one more has to wait for the
	// rate of an account; 0: not for long. It is called for every message, under
	// a lock.
	Choose(wait func(account string) time.Duration) Relay
}

// Relay is one of an adapter's relays.
type Relay struct {
	Key     string // tells it from the adapter's others
	Account string // whose rate what it sends is counted by
}

// Message is one finished message for one address.
type Message struct {
	ID          string // the delivery's id: the same on every attempt
	Tenant      string
	Template    string
	Category    string
	Lane        notice.Lane
	To          notice.Person
	Address     notice.Address
	Content     notice.Content // only the part of the adapter's medium is set
	AcceptedAt  time.Time
	ExpiresAt   time.Time // zero: never
	CollapseKey string
	Attempt     int    // 1 for the first
	Unsubscribe string // email: the one-click link (RFC 8058) by which the reader leaves the category; empty when there is none

	// Via is the Key of the relay that has been chosen, and whose permit has been
	// taken; empty: the adapter chooses.
	Via string
	// Permit takes a permit of the rate of any other relay's account, when there
	// is one now; nil: no relay has a rate.
	Permit func(account string) bool
}

// Verdict is what a provider's answer means for the message.
type Verdict uint8

// The verdicts. docs/state-machine.md says what follows from each.
const (
	Unknown   Verdict = iota // it may have arrived: the connection died before an answer was read
	Sent                     // the provider took it
	Retry                    // it may work later; costs an attempt
	Throttled                // the provider asks for less; costs no attempt
	Rejected                 // this message can never go
	Gone                     // this address is dead
	Broken                   // our own credential or set-up is refused; costs no attempt
)

// String is the verdict's name in records, logs and metrics.
func (v Verdict) String() string {
	switch v {
	case Unknown:
		return "unknown"
	case Sent:
		return "sent"
	case Retry:
		return "retry"
	case Throttled:
		return "throttled"
	case Rejected:
		return "rejected"
	case Gone:
		return "gone"
	case Broken:
		return "broken"
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// Scope is how much of a channel a Throttled result speaks for.
type Scope uint8

// The scopes of a Throttled result.
const (
	ScopeChannel Scope = iota // the whole channel
	ScopeHost                 // the destination host
	ScopeDevice               // the one address
	ScopeRelay                // the relays that work, each of which is at its rate: nobody was asked, and nothing is paused
)

// Result is a provider's answer, classified.
type Result struct {
	Verdict    Verdict
	Scope      Scope         // of Throttled; of Retry with a RetryAfter ScopeHost when that is for the whole host
	RetryAfter time.Duration // what the provider asked for; 0 when it did not
	ProviderID string        // the provider's own id of the message
	Code       string        // the provider's own word: "BadDeviceToken", "4.2.2", "429"
	// GoneSince is since when the address of a Gone result has been dead, where
	// the provider says so: an address that was registered again after it is
	// alive. Zero: since the attempt began.
	GoneSince time.Time
	// Unsent says that the result was decided here: the provider saw nothing of
	// the message, so that nothing follows for it, or for our standing with it.
	Unsent bool
	// Err says what happened in words that are safe to log and record: no
	// secret, no address, no content. Nil when Sent.
	Err error
}
