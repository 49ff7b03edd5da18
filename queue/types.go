// Package queue keeps notifications and deliveries in Redis Streams from the
// moment they are accepted until they have ended, and the record of what
// became of them. Every transition is one Lua script over one hash slot, so no
// state is reachable by dying between two commands.
package queue

import (
	"errors"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// Admission is a notification on its way in.
type Admission struct {
	Tenant       string
	Notification notice.Notification
	// Key makes the admission idempotent for 24 hours within the tenant; empty
	// for none. Digest tells what the key stands for (see Digest): the same
	// key with another digest is refused with ErrKeyReused.
	Key    string
	Digest uint64
	// Identity, when set, names what the admission was read from (an inbox
	// entry), so that reading it twice admits it once. ReadAt is that
	// entry's own time.
	Identity string
	ReadAt   time.Time
}

// Admitted is what became of an Admission.
type Admitted struct {
	ID        string
	Duplicate bool // the key, or the identity, was admitted before, as ID
	Err       error
}

// The errors of this package that callers tell apart.
var (
	ErrKeyReused   = errors.New("the idempotency key was used before for another body")
	ErrUnavailable = errors.New("the queue's store cannot be reached")
	// ErrFull is an ErrUnavailable of a server whose memory is used up. Nothing
	// was stored.
	ErrFull     = errors.New("the store's memory is used up (maxmemory)")
	ErrNotFound = errors.New("no such id")
	ErrFinished = errors.New("nothing is left to cancel")
)

// Record is what is known of a notification: what was asked, and for each
// delivery every decision in order.
type Record struct {
	ID         string
	Tenant     string
	User       string
	Template   string
	Category   string
	Lane       notice.Lane
	AcceptedAt time.Time
	SendAt     time.Time // zero: at once
	ExpiresAt  time.Time // zero: never
	Timeline   []Entry   // of the notification itself: accepted, planned
	Deliveries []DeliveryRecord

	next   bool   // the next link of its chain is to be planned
	length int    // of the string that it was read from
	was    string // its user, where User was erased by who reads it
}

// DeliveryRecord is one delivery's part of a Record.
type DeliveryRecord struct {
	ID       string
	Channel  notice.Channel
	Address  string // shortened so that it names nobody: "a…@example.com", "…9f3c"
	Status   notice.Status
	Attempt  int
	Timeline []Entry
}

// Entry is one decision in a timeline.
type Entry struct {
	At         time.Time
	Status     notice.Status
	Attempt    int
	Code       string    // the provider's own word, or the rule's name
	Detail     string    // what happened, in words
	ProviderID string    // the provider's id of the message
	Until      time.Time // deferred and retrying: when it goes on
}

// Dead is a delivery, or an unreadable inbox entry, that was given up on and
// is kept until somebody redrives or purges it.
type Dead struct {
	ID      string // the delivery's id
	Tenant  string
	Channel notice.Channel // ChannelInbox for an unreadable entry
	Reason  string         // a short word to filter by: "attempts", "malformed", "unknown-outcome"
	Detail  string         // what happened last, in words
	At      time.Time
	Payload string // the delivery or the entry, as JSON or as it came
}

// DeadFilter selects dead letters; empty fields select all.
type DeadFilter struct {
	Tenant  string
	Channel notice.Channel
	Reason  string
	Since   time.Time // died then or later
	Until   time.Time // died then or earlier
	After   string    // the id to go on after
	Limit   int       // of a list; 0: 100
	Rate    float64   // of RedriveAll: the most in a second; 0: as fast as they go
}
