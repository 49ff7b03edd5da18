package throttle

import "time"

const (
	// putOffLeast is the shortest time that anything is put off for: coming
	// back costs the queue two transitions.
	putOffLeast = time.Second
	// putOffMost is how much longer than the shortest time anything is put off
	// for, however much is before it: a destination may get well.
	putOffMost = 5 * time.Minute
	// hiccup is how much longer than the shortest time anything is put off for
	// at least when it is only supposed that a destination is slow, since it has
	// given no answer for a while; ten times that while when it is longer. One
	// that is held to a rate is known better.
	hiccup = 10 * time.Second
	// sharedMost is the same where others send to the destination too, and it was
	// not found what it takes from all of them together: what this one knows of
	// it may be a small part.
	sharedMost = time.Minute
	// downSpacing is the time between two that come back to a destination that
	// is down, whose pace nobody knows.
	downSpacing = 10 * time.Millisecond
	// downSpread is by how many times the pause of a destination that is down
	// its backlog is spread at most.
	downSpread = 5
	// freshFor is how long a destination that has not answered yet may take to
	// show what it is like.
	freshFor = 100 * time.Millisecond
	// briefly is the longest time between two answers of a destination that is
	// worth waiting for with others behind; brieflyFull while hardly any slot is
	// free, when they could not go either.
	briefly, brieflyFull = time.Millisecond, 10 * time.Millisecond
	// supply is how many come back for one that a destination takes which is held
	// to a rate, so that its line never runs dry.
	supply = 1.25
	// amongMost is for how many consumers' parts of what a destination takes one of
	// them has things come back, when there are more. All of them do, so too much
	// comes while each has something put off, and is put off again by whoever has
	// room: that evens out what they have. With one part alone the host would idle
	// once only one of two has any.
	amongMost = 2
	// lineTime is how much of a destination's work, in time, is worth keeping
	// at hand.
	lineTime = 2 * time.Second
)

// PutOff is how long one more that is to go to a destination has to stay away,
// when it has no place and no line to wait in. Each comes back when what was put
// off before it is likely to be done, so that it need not be put off again.
func (d *Destinations) PutOff(at *Destination) time.Duration {
	now := d.rules.Now()
	first, spacing, most := now.Add(putOffLeast), d.interval(at, now), putOffMost
	if d.among > 1 && at.learned.permits == nil {
		most = sharedMost
	}
	if silent := at.silence(now); d.guessed(at) || !at.learned.held() && silent > at.answers.average {
		most = min(max(hiccup, 10*silent), most)
	}
	switch {
	case now.Before(at.paused):
		first = at.paused
	case at.down > 0:
		first, spacing, most = later(at.until, now.Add(probeWait)), downSpacing, min(downSpread*at.down, putOffMost)
	}
	at.back = later(at.back, first)
	due, last := at.back, first.Add(most)
	if due.After(last) {
		at.back = last
		return first.Add(d.rules.Jitter(most)).Sub(now)
	}
	at.back = at.back.Add(spacing)
	return due.Sub(now)
}

// guessed reports whether a destination's rate says nothing of when more may
// go: it is still sought, or is this consumer's own, learned where there is
// nothing to learn together by, and next to nothing beside what others send.
func (d *Destinations) guessed(at *Destination) bool {
	rate := at.learned.perSecond
	return at.learned.guessed() || d.among > 1 && at.learned.permits == nil && rate > 0 && rate < tellingTaken
}

// interval is the time between two places that come free at a destination, as
// far as is known.
func (d *Destinations) interval(at *Destination, now time.Time) time.Duration {
	perSecond := at.learned.perSecond
	if now.Before(at.paused) {
		perSecond = max(at.learned.all().lately, perSecond, 1)
	}
	if perSecond > 0 {
		return time.Duration(float64(time.Second) / (supply * perSecond * d.supplied(at)))
	}
	return max(at.answers.average, at.silence(now)) / time.Duration(max(at.used, 1))
}

// supplied is for how many times a destination's rate this consumer has things
// come back.
func (d *Destinations) supplied(at *Destination) float64 {
	parts := float64(min(d.among, amongMost))
	if d.together() {
		return parts / float64(d.among) // the rate is not its own, but all consumers'
	}
	return parts
}

// silence is for how long a destination has given none of the answers that are
// awaited.
func (at *Destination) silence(now time.Time) time.Duration {
	if at.used == 0 {
		return 0
	}
	return now.Sub(at.answers.progress)
}

// LineRoom is how many that wait for a place at a destination are worth keeping
// at hand, as far as is known: what it takes in two seconds, and two at least;
// of one that is down the probe, and nothing of one that is paused for longer.
func (d *Destinations) LineRoom(at *Destination) int {
	switch now := d.rules.Now(); {
	case at.paused.Sub(now) > lineTime:
		return 0
	case at.down > 0:
		return 1
	}
	return int(max(lineTime/max(d.interval(at, d.rules.Now()), time.Microsecond), 2))
}

// WorthWaiting reports whether a place at a destination is so likely to come
// free within a moment that others may wait behind. free is how many slots are.
func (d *Destinations) WorthWaiting(at *Destination, free int) bool {
	now := d.rules.Now()
	switch {
	case at.used == 0, at.Restless():
		return false
	case !at.answers.known:
		return now.Sub(at.answers.progress) < freshFor
	case free > d.rules.Slots/5:
		return d.interval(at, now) <= briefly
	}
	return d.interval(at, now) <= brieflyFull
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
