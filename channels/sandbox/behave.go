package sandbox

import (
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// Cut is where a connection is dropped in place of an answer.
type Cut string

// The cuts. Over HTTP/2 it is the stream that is reset, so that other
// requests on the connection go on.
const (
	CutNone   Cut = ""
	CutBefore Cut = "before" // before the request's body is read: it cannot have been acted on
	CutAfter  Cut = "after"  // when it was read, without an answer: it may have been acted on
	CutBody   Cut = "body"   // in the middle of the answer
)

// Behaviour is what a stand-in does wrong. The zero Behaviour does nothing
// wrong. A Status below 300 is a success with that status; a Delay alone is a
// provider that is slow, and the message counts as received even when the
// sender has given up.
type Behaviour struct {
	Delay time.Duration // before the answer
	// Status is the HTTP status to answer with; for email the SMTP code, 400
	// to 599, where 421 also closes the connection.
	Status int
	// Reason is the provider's own word, where there is one: "Unregistered"
	// (APNs), "UNREGISTERED" (FCM), "4.2.2 mailbox full" (SMTP, an enhanced
	// code first). What usually goes with Status when empty.
	Reason     string
	RetryAfter time.Duration // the Retry-After header, rounded up to seconds; SMTP has none
	Cut        Cut           // drops the connection; Status tells what CutBody begins to say
	Share      float64       // of the requests, above 0 to 1; all of them when 0
	Times      int           // so many requests, then behave; until told otherwise when 0
}

// Validate reports what channel c cannot show of b, with the mend.
func (b Behaviour) Validate(c notice.Channel) error {
	least, most := 200, 599
	if c == notice.ChannelEmail {
		least, most = 400, 599
	}
	switch {
	case !c.Valid():
		return fmt.Errorf("channel %q: there is no such channel: use one of %v", c, notice.Channels())
	case b.Status != 0 && (b.Status < least || b.Status > most):
		return fmt.Errorf("status %d: %s wants %d to %d, or 0 for none", b.Status, c, least, most)
	case b.Delay < 0 || b.Delay > time.Hour:
		return fmt.Errorf("delay %v: use 0 to 1h", b.Delay)
	case b.RetryAfter < 0 || b.RetryAfter > 24*time.Hour:
		return fmt.Errorf("retry_after %v: use 0 to 24h", b.RetryAfter)
	case b.RetryAfter > 0 && c == notice.ChannelEmail:
		return fmt.Errorf("retry_after %v: SMTP has none: leave it out", b.RetryAfter)
	case b.Cut != CutNone && b.Cut != CutBefore && b.Cut != CutAfter && b.Cut != CutBody:
		return fmt.Errorf("cut %q: use before, after, body or nothing", b.Cut)
	case !(b.Share >= 0 && b.Share <= 1): // also refuses NaN
		return fmt.Errorf("share %v: use 0 to 1, where 0 is all", b.Share)
	case b.Times < 0:
		return fmt.Errorf("times %d: use 0, for until told otherwise, or more", b.Times)
	}
	return validReason(b.Reason)
}

// validReason refuses what would break out of a line of SMTP.
func validReason(reason string) error {
	for _, r := range reason {
		if r < ' ' || r == 0x7f {
			return fmt.Errorf("reason %q: control characters cannot be sent: leave them out", reason)
		}
	}
	if len(reason) > 200 {
		return fmt.Errorf("reason of %d bytes: use at most 200", len(reason))
	}
	return nil
}

// wrong reports whether b is anything but good behaviour.
func (b Behaviour) wrong() bool {
	return b.Delay != 0 || b.Status != 0 || b.Cut != CutNone || b.RetryAfter != 0
}

// fails reports whether a request that b takes is refused.
func (b Behaviour) fails() bool { return b.Cut != CutNone || b.Status >= 300 }

// describe is what happened to a request that b refused, for the log of
// refusals.
func (b Behaviour) describe() string {
	switch b.Cut {
	case CutBefore:
		return "connection cut before the request was read"
	case CutAfter:
		return "connection cut after the request was read"
	case CutBody:
		return "connection cut in the middle of the answer"
	}
	if b.Reason == "" {
		return "told to answer " + strconv.Itoa(b.Status)
	}
	return "told to answer " + strconv.Itoa(b.Status) + " " + b.Reason
}

// behaviours is what each channel was told to do.
type behaviours struct {
	random func() float64

	mu  sync.Mutex
	now map[notice.Channel]Behaviour
}

func newBehaviours(random func() float64) *behaviours {
	return &behaviours{random: random, now: map[notice.Channel]Behaviour{}}
}

func (b *behaviours) set(c notice.Channel, to Behaviour) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !to.wrong() {
		delete(b.now, c)
		return
	}
	b.now[c] = to
}

// draw decides how the next request of c is treated, and uses up one of Times
// when it is treated badly.
func (b *behaviours) draw(c notice.Channel) Behaviour {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, ok := b.now[c]
	if !ok || now.Share > 0 && now.Share < 1 && b.random() >= now.Share {
		return Behaviour{}
	}
	if now.Times == 1 {
		delete(b.now, c)
	} else if now.Times > 1 {
		left := now
		left.Times--
		b.now[c] = left
	}
	return now
}

// current is what each misbehaving channel will do next.
func (b *behaviours) current() map[notice.Channel]Behaviour {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.now)
}
