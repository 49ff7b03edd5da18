package throttle

import "time"

// A consumer asks for what it is likely to need. Where a frame has few permits
// one too many is a large part of what all have: below fewPermits it guesses only
// while it uses up all that it gets, and where there is but one not at all, and
// asks for what waits.
const fewPermits = 16

const (
	// hop is how long it may take from one that got a permit to the next that
	// wants one: it is no idleness.
	hop = time.Millisecond
	// breath is how long a consumer may do something else, at least, and be
	// taken to have use for more.
	breath = 5 * time.Millisecond
)

// demand is what a consumer has use for, from what it did with what it had.
type demand struct {
	waiting int      // calls of Wait that have no permit yet
	tried   int      // calls of Try that got none, since it asked last
	queued  int      // that want a permit, when it asked last
	unused  []unused // what ended unused, since it asked last
	expect  float64  // permits a frame
	usedUp  int      // grants in a row that were
	idle    idle     // since a grant ended last
}

// idle is for how long nobody wanted a permit.
type idle struct {
	total time.Duration
	since time.Time // zero: somebody does
}

// until is the whole of it at a moment, from which on it is counted anew.
func (i *idle) until(now time.Time) time.Duration {
	total := i.total
	if !i.since.IsZero() {
		total += now.Sub(i.since)
		i.since = now
	}
	i.total = 0
	return total
}

// wants counts those that wait.
func (d *demand) wants(n int, now time.Time) {
	before := d.waiting
	d.waiting += n
	switch {
	case before > 0 && d.waiting == 0:
		d.idle.since = now
	case before == 0 && d.waiting > 0 && !d.idle.since.IsZero():
		if gap := now.Sub(d.idle.since); gap > hop {
			d.idle.total += gap
		}
		d.idle.since = time.Time{}
	}
}

// unused are permits of a frame that nobody used.
type unused struct {
	frame time.Duration // its end, by Redis' clock
	n     int
}

// note learns from a grant that has ended. One that was used up, while there was
// always somebody who wanted more, was too small, by how much nobody knows:
// hunger that lasts multiplies what is expected, so that it is at any rate within
// two seconds. One that was not used at all is a sign of an end.
func (d *demand) note(g *grant, now time.Time) {
	idle := d.idle.until(now)
	left := g.size - g.used
	if left > 0 {
		d.unused = append(d.unused, unused{g.frame, left})
	}
	hungry := left <= g.size/32 || left <= g.size/8 && d.waiting > 0
	switch {
	case hungry && idle <= max(g.span()/8, breath):
		d.hungry(g.size)
	case g.used == 0:
		d.usedUp, d.expect = 0, d.expect/8
	default:
		d.usedUp = 0
		d.learn(g.used)
	}
}

// learn is told how many of a grant were used, where not all were needed. Few
// come and go by chance: it is better to wait for one than to have one too many.
func (d *demand) learn(used int) {
	if used < fewPermits {
		d.expect = min(d.expect, float64(used))
		return
	}
	d.expect = (d.expect + float64(used)) / 2
}

// hungry learns from n permits that were used up while others were wanted: one
// more at first, since few may be chance, and then a multiple.
func (d *demand) hungry(n int) {
	d.usedUp++
	more := float64(n)
	switch {
	case d.usedUp > 8 && n >= fewPermits:
		more *= 4
	case d.usedUp > 3 && n >= fewPermits/2:
		more *= 2
	case d.usedUp > 1:
		more += more/8 + 1
	}
	d.expect = max(d.expect, more)
}

// want is how many permits to ask for in a frame of so many, with some in hand;
// 0: none is needed.
func (d *demand) want(frame, inHand int) int {
	most := 2 * frame // more than it can get, so that it grows at once when others end
	d.expect = min(d.expect, float64(most))
	missing := max(min(d.backlog()-inHand, most), 0)
	if !d.guesses(frame) {
		return missing
	}
	guess := int(d.expect)
	if guess < fewPermits && d.usedUp == 0 {
		guess--
	}
	return max(missing, guess)
}

// guesses reports whether to ask for more than what waits.
func (d *demand) guesses(frame int) bool {
	return frame >= fewPermits || frame > 1 && d.usedUp > 5
}

// backlog is how many are known to want a permit now. What is queued counts only
// while one of them waits here: otherwise something else holds them up.
func (d *demand) backlog() int {
	n := max(d.waiting, d.tried)
	if n > 0 {
		n = max(n, d.queued)
	}
	return n
}

// collect is what to ask for, whether that is for once or for each frame to
// come, and what to give back. It begins the count anew.
func (d *demand) collect(frame, inHand int) (want int, ended []unused, once bool) {
	once = !d.guesses(frame)
	want, ended = d.want(frame, inHand), d.unused
	if want == 0 && d.backlog() == 0 {
		d.usedUp, d.expect = 0, d.expect/2
	}
	d.tried, d.unused = 0, nil
	return want, ended, once
}

// unmet is told that nothing was given. What nobody waits for is expected less.
func (d *demand) unmet() {
	if d.backlog() == 0 {
		d.expect /= 2
	}
}
