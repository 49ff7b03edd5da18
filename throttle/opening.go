package throttle

import "time"

const (
	// openParts is the part of the slots that may be in flight to a destination
	// that has not answered yet, and openMost how many that are at most: what it
	// takes from the others when it never does.
	openParts, openMost = 20, 4
	// openStep is how many more may be after an answer, until that is twice what
	// were in flight together: twice as many after each round trip.
	openStep = 2
	// hangTimes is how many times its usual answer a destination gives none for
	// that counts as hanging, and hangLeast the shortest time that does. Both are
	// short since a wrong guess costs next to nothing: what is in flight answers.
	hangTimes, hangLeast = 2, 10 * time.Millisecond
)

// opening is how many may be in flight to a destination by what it has proven
// so far: few at first, and more with each answer, as long as they are used.
// After a call that failed while nothing else was answered it is one.
//
// A limit says what a destination bears that answers, and this how much is
// risked on its answering at all: what is sent to one that hangs is lost to the
// others until it times out.
type opening struct {
	first, now, most int
	peak             int // the most in flight together when one was answered
}

func newOpening(slots int) opening {
	first := min(max(slots/openParts, 1), openMost)
	return opening{first: first, now: first, most: slots}
}

// resize goes on with what has been proven, in another number of slots.
func (o *opening) resize(slots int) {
	next := newOpening(slots)
	o.first, o.most, o.now = next.first, slots, min(o.now, slots)
}

// note takes an answer in. inFlight is how many were in flight with it; hung
// says that nothing else was answered for half of its time or more.
func (o *opening) note(came Contact, inFlight int, hung bool) {
	switch {
	case came == Silent && hung:
		o.now, o.peak = 1, 0
	case came == Answered:
		if o.peak = max(o.peak, inFlight); 2*o.peak >= o.now {
			o.now = min(o.now+openStep, o.most)
		}
	}
}

// hangs reports whether a destination gives none of the answers that are
// awaited for longer than it usually takes. It is a guess, which the next
// answer undoes: until then no more is risked on it than at first.
func (at *Destination) hangs(now time.Time) bool {
	return at.silence(now) > max(hangLeast, hangTimes*at.answers.average)
}

// bears is how many may be in flight to a destination that is not down, by how
// it answers. While it is alone nobody waits for it, whether it hangs or not.
func (at *Destination) bears(now time.Time, alone bool) int {
	open := at.opening.now
	if !alone && open > at.opening.first && at.hangs(now) {
		open = at.opening.first
	}
	return min(open, at.limit.value())
}
