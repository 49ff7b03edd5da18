package throttle

import "time"

const (
	// downAfter is how many connections or answers in a row a destination must
	// fail to give, before it is left alone.
	downAfter = 5
	// downFirst and downMost are how long it is left alone the first time, and
	// at most: each probe that fails doubles it.
	downFirst, downMost = 5 * time.Second, time.Minute
	// probeWait is how long what is put off stays away, at least, while a probe
	// is under way.
	probeWait = time.Second
)

// Contact is what an exchange says of its destination.
type Contact uint8

// The contacts.
const (
	Unclear  Contact = iota // nothing: it was broken off
	Answered                // it is up, and took what it was sent, or did not
	Refusing                // it is up, and says that it has too much to do
	Silent                  // it could not be reached, or did not answer in time
)

// breaker leaves a destination alone that does not answer.
type breaker struct {
	failures int // in a row
	probing  bool
	down     time.Duration // how long it is left alone; 0: it is not
	until    time.Time     // when the next probe may go
	asked    time.Time     // when it asked for the right to probe last; zero: it was answered
	granted  bool          // that right
}

// closedAt reports whether nobody may call now.
func (b *breaker) closedAt(now time.Time) bool {
	return b.down > 0 && (b.probing || now.Before(b.until))
}

// enter makes the next one through a probe, where it is one.
func (b *breaker) enter() { b.probing = b.down > 0 }

// learn takes note of an exchange, and reports whether the destination was down
// and is back.
func (b *breaker) learn(came Contact, now time.Time) (back bool) {
	switch came {
	case Unclear:
		b.probing, b.granted = false, false
	case Answered, Refusing:
		back = b.down > 0
		*b = breaker{}
	case Silent:
		b.fail(now)
	}
	return back
}

func (b *breaker) fail(now time.Time) {
	b.failures++
	switch {
	case b.probing:
		b.down, b.probing, b.granted = min(2*b.down, downMost), false, false
		b.until = now.Add(b.down)
	case b.down == 0 && b.failures >= downAfter:
		b.down, b.until = downFirst, now.Add(downFirst)
	}
	// Otherwise it was on its way when the destination was found down.
}
