package throttle

import "time"

const (
	// limitStart is where a limit begins, or the bound when that is less: what
	// is learned of a provider's pace while it has little to do is what its
	// later pace is held against.
	limitStart = 16
	// windowLeast and windowAnswers are how long and how many answers one look
	// at a provider takes at least: a busy machine makes single answers slow.
	windowLeast   = 100 * time.Millisecond
	windowAnswers = 10
	// tolerance is how many times the long-term average a window's may be
	// before it counts as rising, and slack how much longer it must be besides.
	tolerance, slack = 2, 50 * time.Millisecond
	// longParts is the part of the way that the long-term average goes to a
	// window's. It goes down only, until hardly anything is in flight: what makes
	// answers slow then is not us.
	longParts = 8
	fewFlight = 4
	// shrinkRefused and shrinkSlow are what is left of a limit after a refusal
	// or a timeout, and after a window whose answers took longer.
	shrinkRefused, shrinkSlow = 0.7, 0.85
)

// limit is how many may be in flight to one provider: it doubles from window to
// window until the provider first complains, then grows by a twentieth, as long
// as it is used and answers take no longer than they do in the long run; it
// shrinks when they do, and when the provider refuses or is silent. It is never
// under 1 nor over its bound. A provider that is slow, and always alike, has
// all of it.
type limit struct {
	bound   float64
	now     float64
	settled bool // it has shrunk once: it grows with care

	began   time.Time     // of this window
	answers int           // that were no refusals in it
	all     int           // answers in it
	took    time.Duration // by all of them
	peak    int           // the most in flight in it
	refused bool          // in it
	long    float64       // the long-term average, in seconds; 0: none yet
}

func newLimit(bound int) limit {
	bound = max(bound, 1)
	return limit{bound: float64(bound), now: float64(min(bound, limitStart))}
}

// resize changes the bound. Up to a higher one the limit grows as ever, from
// where a new one would begin at least, unless the provider has complained.
func (l *limit) resize(bound int) {
	begin := newLimit(bound)
	l.bound = begin.bound
	l.now = min(l.now, l.bound)
	if !l.settled {
		l.now = max(l.now, begin.now)
	}
}

// value is the limit.
func (l *limit) value() int { return int(l.now) }

// sign is what an answer says of a provider's load.
type sign uint8

const (
	fine    sign = iota // nothing: it took what it could
	refused             // it asks for less, or did not answer
)

// note takes an answer in. inFlight is how many were in flight with it.
func (l *limit) note(s sign, took time.Duration, inFlight int, at time.Time) {
	if l.began.IsZero() {
		l.began = at
	}
	l.peak = max(l.peak, inFlight)
	l.all++
	if s == refused {
		l.refuse()
	} else {
		l.answers++
		l.took += took
	}
	if at.Sub(l.began) >= windowLeast && l.all >= max(windowAnswers, min(l.value(), inFlight)) {
		l.close(at)
	}
}

// refuse shrinks, once in a window: what was in flight together is refused
// together.
func (l *limit) refuse() {
	if l.refused {
		return
	}
	l.refused = true
	l.shrink(shrinkRefused)
}

func (l *limit) shrink(to float64) {
	l.settled = true
	l.now = max(l.now*to, 1)
}

// close ends a window and draws its conclusion.
func (l *limit) close(at time.Time) {
	short := l.long
	if l.answers > 0 {
		short = l.took.Seconds() / float64(l.answers)
	}
	switch {
	case l.refused:
	case l.long > 0 && short > tolerance*l.long && short > l.long+slack.Seconds():
		l.shrink(shrinkSlow)
	case 2*l.peak >= l.value():
		l.grow()
	}
	l.average(short)
	l.began, l.all, l.answers, l.took, l.peak, l.refused = at, 0, 0, 0, 0, false
}

func (l *limit) grow() {
	more := max(1, l.now/20)
	if !l.settled {
		more = l.now
	}
	l.now = min(l.now+more, l.bound)
}

// average moves the long-term average.
func (l *limit) average(short float64) {
	if l.long == 0 {
		l.long = short
	}
	if short < l.long || l.value() <= fewFlight {
		l.long += (short - l.long) / longParts
	}
}
