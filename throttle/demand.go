package throttle

// A consumer asks for what it is likely to need. Where a frame has few permits
// one too many is a large part of what all have: below fewPermits it guesses only
// while it uses up all that it gets, and where there is but one not at all, and
// asks for what waits.
const fewPermits = 16

// demand is what a consumer has use for, from what it did with what it had.
type demand struct {
	waiting  int     // calls of Wait that have no permit yet
	tried    int     // calls of Try that got none, since it asked last
	returned int     // permits that ended unused, since it asked last
	expect   float64 // permits a frame
	usedUp   int     // grants in a row that were
}

// note learns from a grant that has ended. One that was used up was too small,
// by how much nobody knows: hunger that lasts doubles what is expected, so that
// it is at any rate within a second or so. One that was not used at all is a
// sign of an end.
func (d *demand) note(g *grant) {
	unused := g.size - g.used
	d.returned += unused
	switch {
	case unused <= g.size/32, unused <= g.size/8 && d.waiting > 0:
		d.hungry(g.size)
	case g.used == 0:
		d.usedUp, d.expect = 0, d.expect/8
	default:
		d.usedUp, d.expect = 0, (d.expect+float64(g.used))/2
	}
}

// hungry learns from permits that were used up.
func (d *demand) hungry(n int) {
	d.usedUp++
	switch {
	case d.usedUp > 3:
		d.expect = max(d.expect, 2*float64(n))
	case d.usedUp > 1:
		d.expect = max(d.expect, 1.125*float64(n)+1)
	default:
		d.expect = max(d.expect, float64(n))
	}
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
	return max(missing, int(d.expect))
}

// guesses reports whether to ask for more than what waits.
func (d *demand) guesses(frame int) bool {
	return frame >= fewPermits || frame > 1 && d.usedUp > 2
}

// backlog is how many are known to want a permit now.
func (d *demand) backlog() int { return max(d.waiting, d.tried) }

// collect is what to ask for, whether that is for once or for each frame to
// come, and what to give back. It begins the count anew.
func (d *demand) collect(frame, inHand int) (want, returned int, once bool) {
	once = !d.guesses(frame)
	want, returned = d.want(frame, inHand), d.returned
	d.tried, d.returned = 0, 0
	if want == 0 {
		d.usedUp, d.expect = 0, d.expect/2
	}
	return want, returned, once
}

// unmet is told that nothing was given. What nobody waits for is expected less.
func (d *demand) unmet() {
	if d.backlog() == 0 {
		d.expect /= 2
	}
}
