package throttle

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/carillonhq/carillon/config"
)

const (
	// under is how far under what a destination took before it refused it is
	// called again: the seconds that it counts by are not ours.
	under = 0.97
	// cutMore is by how much a rate is lowered that was too high, and of which
	// nothing else is known: twice as much the next time, and cutMost at most,
	// unless it was borne for longer than steadyAfter. cutFew is by how much where
	// hardly any was taken.
	cutFew           = 0.1
	steadyAfter      = 20 * time.Second
	cutMore, cutMost = 0.04, 0.2
	// atOnce is how soon a rate is refused that is more than a receiver takes
	// which counts by the second: in the first whole one.
	atOnce = 1500 * time.Millisecond
	// probeAfter is how long a rate is kept before more than the last ceiling is
	// tried. It doubles, up to probeMost, with every ceiling that is found where
	// the last one was.
	probeAfter, probeMost = time.Minute, 16 * time.Minute
	// probeSoon is how long a rate is kept that is less than doubtful of what was
	// just taken: the machine may have been too busy to tell.
	probeSoon, doubtful = 15 * time.Second, 0.9
	// probeStep is by how much more is tried the first time, and probeEvery the
	// time until it is doubled.
	probeStep, probeEvery = 0.02, 15 * time.Second
	// sameCeiling is how near two ceilings are that count as one.
	sameCeiling = 0.1
	// forgetTimes is how many times the ceiling a destination has to take for it
	// to be forgotten, and forgetAfter how long it may not have been held to its
	// rate.
	forgetTimes, forgetAfter = 4, 5 * time.Minute
	// tellingTaken is how many taken tell what a destination takes in a second.
	// After fewer its rate is doubled every startEvery until it refuses again.
	tellingTaken           = 16
	startEvery             = 500 * time.Millisecond
	startStep, startGrowth = 0.04, 1.6
	// paceBurst is how much of a rate may go at once, to make up for what a busy
	// machine was late with. No more than the rate goes in any second, so a
	// receiver that counts by the second sees nothing of it.
	paceBurst = 100 * time.Millisecond
	// lockedFrom and lockedTo are how long two runs over the edge of a second
	// take that begin where the first ended, and apart how much slower than one
	// of them the next has to be for them to end apart.
	lockedFrom, lockedTo = 850 * time.Millisecond, 1020 * time.Millisecond
	apart                = 0.75
	// edgeRough is how much less than what a run was given a guess may be that
	// goes by its mean speed.
	edgeRough = 0.85
	// leastRate is the lowest rate that is learned, a second.
	leastRate = 0.5
)

// learned is the rate that a destination is found to take, from what it took
// before it asked for less. Nothing is known of one that never did.
//
// Two kinds of receivers are told apart by when they refuse. One that counts by
// the second does within two: what it took within one of them is its rate. One
// that saves up what was not used takes longer, the longer the nearer its rate
// is, and has then taken its rate and what was saved, which is supposed to be a
// second's worth. docs/decisions/026 says more.
//
// Where consumers learn together (docs/decisions/031) what is known is the same
// for all of them, and each adds what it was given itself.
type learned struct {
	known
	recent  recent
	began   time.Time // of the run: the first call after a rest
	last    time.Time // call
	taken   int       // in this run
	refused time.Time // when the run was ended by a refusal; zero: it was not
	before  int       // taken in the second before that
	onWay   int       // taken that was on its way then
	others  tally     // what other consumers say that they were given in it
	heard   time.Time // when the first of them said so

	pace    *rate.Limiter // of a rate that is this consumer's own
	calls   *recent       // that pace let go
	permits *Pace         // of a rate that all consumers share; nil: it is this one's own
	pooled  int           // the episode that permits are for
	waiting int           // wait for a permit
	limited time.Time     // when the rate last held anything up
}

// restEnds is the time without a call after which a run is a new one.
const restEnds = time.Second

// called takes note of a call.
func (l *learned) called(now time.Time) {
	if now.Sub(l.last) > restEnds && l.refused.IsZero() || l.began.IsZero() {
		l.began, l.taken = now, 0
	}
	l.last = now
}

// took takes note of a call that was taken.
func (l *learned) took(now time.Time) {
	l.recent.add(now)
	l.taken++
	if !l.refused.IsZero() {
		l.onWay++
	}
}

// refuse takes note of a refusal. What else was on its way is refused too,
// which says nothing new.
func (l *learned) refuse(now time.Time) {
	if !l.refused.IsZero() {
		return
	}
	if ago := now.Sub(l.heard); l.others.episode == l.episode && l.others.taken > 0 && ago > 0 && ago < skew {
		now = l.heard // another consumer was refused first
	}
	l.refused, l.before, l.onWay = now, l.recent.count(now), 0
	if l.began.IsZero() {
		l.began = now
	}
}

// resume learns from the refusal that the pause was for, now that the answers
// to all that was on its way have come, and begins another run.
func (l *learned) resume(now time.Time) {
	if l.refused.IsZero() {
		return
	}
	t := l.all()
	next, ceiling := l.estimate(t, l.perSecond)
	told := t.lately
	if l.ceiling == 0 && l.perSecond > 0 {
		told = min(told, l.first.lately) // more was tried meanwhile
	}
	l.notePatience(ceiling, next < doubtful*told)
	l.ceiling, l.step = ceiling, probeStep
	if ceiling == 0 {
		l.step = startStep
	}
	l.kept = max(next, leastRate)
	l.since, l.stepped, l.limited = now, now, now
	l.version, l.weight, l.episode = l.version+1, int(t.lately), l.episode+1
	l.restart()
	l.setRate(now, l.kept)
}

// restart begins another run. What was saved up in the pause is void.
func (l *learned) restart() {
	l.began, l.taken, l.refused, l.others, l.heard = time.Time{}, 0, time.Time{}, tally{}, time.Time{}
	l.pace = nil
}

// all is what was taken in the run that a refusal has ended, by all consumers.
func (l *learned) all() flood {
	own := l.tally()
	return flood{own.taken + l.others.taken, float64(own.lately + l.others.lately), max(own.ran, l.others.ran), l.refused}
}

// tally is what this consumer was given of it.
func (l *learned) tally() tally {
	return tally{l.episode, l.before + l.onWay, l.taken, l.refused.Sub(l.began)}
}

// estimate is the rate to go on with, and the ceiling: what was too much. A
// ceiling of 0 is not known.
func (l *learned) estimate(t flood, before float64) (next, ceiling float64) {
	lately := t.lately
	switch {
	case before == 0:
		l.first = t
		return max(under*lately, 1), 0
	case t.taken == 0:
		return before * (1 - cutFew), 0
	case t.taken < tellingTaken:
		return before * (1 - cutFew), before
	case l.ceiling > 0 && l.stepped.After(l.since):
		return l.kept, before // which was borne until more was tried
	case l.ceiling == 0:
		if lately > 2*l.first.lately {
			l.first = flood{t.taken, lately * 1.1, t.ran, t.ended}
			return under * lately, 0 // the first said little
		}
		if l.locked(t) {
			l.first, l.doubt = t, lately
			return under * lately * apart, 0
		}
		found := l.second(t, before)
		return under * found, found
	case t.ran < time.Second:
		lately = min(lately, before)
		return under * lately, lately
	}
	return l.lower(t, before), before
}

// lower is the rate after one that was borne for a while, and was too high.
func (l *learned) lower(t flood, before float64) float64 {
	if t.ran < atOnce && l.doubt > 0 {
		least := min(under*l.doubt, before*(1-cutMore))
		l.cut, l.doubt = cutMore, 0
		return least
	}
	if l.doubt = 0; t.ran > steadyAfter {
		l.cut = 0
	}
	l.cut = min(max(2*l.cut, cutMore), cutMost)
	least := before * (1 - l.cut)
	if t.ran < 2*time.Second {
		return least
	}
	saved := float64(t.taken) / (1 + t.ran.Seconds())
	return max(under*min(saved, before), least)
}

// second is the rate that follows from the second refusal, the first having
// been that of a flood.
func (l *learned) second(t flood, before float64) float64 {
	switch {
	case t.ran < time.Second:
		return max(t.lately, before*0.5)
	case t.lately > l.first.lately*1.1 && t.ran > max(2*l.first.ran, 3*time.Second):
		return max(float64(t.taken-l.first.taken)/(t.ran-l.first.ran).Seconds(), t.lately*0.6)
	}
	found := min(t.lately, l.first.lately)
	edge := l.overTheEdge(t, found)
	if l.doubt > 0 && edge > 0 { // both runs were even: it is exact
		l.doubt = 0
		return edge
	}
	l.doubt = edge
	return found
}

// locked reports whether a run was refused after as much, within as long a
// second, as the one before. Where each pause is of whole seconds, runs of much
// the same rate begin and end at the same moment of the destination's second,
// over the edge of one, and none says how much of it was in which. One that is
// slower ends at another moment.
func (l *learned) locked(t flood) bool {
	return l.doubt == 0 && t.ran > lockedFrom && t.ran < lockedTo && t.lately > doubtful*l.first.lately
}

// overTheEdge is what the destination takes if the first flood began in one of
// its seconds and ended in the next: less than most. Which part of the flood was
// in the second one follows from how far into a second the next run was refused,
// both having been given as much in theirs. It is rough, since a flood is not
// even. Zero is for one that was not so: that few would not have let the next
// run come as far, which two of its seconds saw at most.
func (l *learned) overTheEdge(t flood, most float64) float64 {
	if t.ran > 2*time.Second || l.first.ran <= 0 || l.first.ran > time.Second {
		return 0
	}
	fast, slow := float64(l.first.taken)/l.first.ran.Seconds(), float64(t.taken)/t.ran.Seconds()
	if even := l.doubt > 0; !even && fast < 2*slow || even && fast < doubtful*slow/apart {
		return most * (1 - cutMost)
	}
	later := t.ended.Add(-t.ran).Sub(l.first.ended) % time.Second // in a second than the flood ended
	into := (t.ran + later - time.Second).Seconds() * slow / (fast - slow)
	found := fast * into
	if found < float64(t.taken)/2*edgeRough {
		return 0
	}
	return min(found, most)
}

// flood is what was taken before the first refusal.
type flood struct {
	taken  int
	lately float64
	ran    time.Duration
	ended  time.Time // by the refusal
}

// notePatience waits longer with the next probe when the last one found what
// was known, and not for long when what it found is in doubt.
func (l *learned) notePatience(ceiling float64, doubt bool) {
	if doubt {
		l.patient = probeSoon
		return
	}
	if l.ceiling > 0 && ceiling > l.ceiling*(1-sameCeiling) && ceiling < l.ceiling*(1+sameCeiling) {
		l.patient = min(2*l.patient, probeMost)
		return
	}
	l.patient = probeAfter
}

// held reports whether there is a learned rate.
func (l *learned) held() bool { return l.perSecond > 0 }

// guessed reports whether the rate is still sought: by one that began late in a
// flood hardly any was taken, which says nothing of when its like may go.
func (l *learned) guessed() bool {
	return l.ceiling == 0 && (l.held() || !l.refused.IsZero() && l.all().lately < tellingTaken)
}

func (l *learned) setRate(now time.Time, perSecond float64) {
	l.perSecond = max(perSecond, leastRate)
	if l.permits != nil {
		l.permits.Replace(asRate(l.perSecond))
		return
	}
	burst := max(1, int(l.perSecond*paceBurst.Seconds()))
	if l.pace == nil {
		l.pace, l.calls = rate.NewLimiter(rate.Limit(l.perSecond), burst), &recent{}
		l.pace.AllowN(now, burst-1) // nothing is saved up
		return
	}
	l.pace.SetLimitAt(now, rate.Limit(l.perSecond))
	l.pace.SetBurstAt(now, burst)
}

// forget ends the rate: as much may go as may be.
func (l *learned) forget() {
	l.perSecond, l.ceiling = 0, 0
	l.pace, l.calls = nil, nil
	if l.permits != nil {
		l.permits.Replace(config.Rate{})
	}
}

// ready reports whether one more may be called now; take is what takes its
// permit.
func (l *learned) ready(now time.Time) bool {
	if !l.held() {
		return true
	}
	l.grow(now)
	switch {
	case !l.held(), l.permits == nil && l.pace.TokensAt(now) >= 1 && float64(l.calls.count(now)) < l.perSecond:
		return true
	case l.permits != nil && l.permits.Ready():
		return true
	case l.permits == nil || l.backlogged():
		l.limited = now
	}
	return false
}

// backlogged reports whether more wait than do for the mere moment of their
// permits, which are asked for once something waits.
func (l *learned) backlogged() bool {
	return float64(l.waiting) > l.perSecond*frameTime.Seconds()
}

// take takes the permit that ready has found.
func (l *learned) take(now time.Time) {
	switch {
	case !l.held():
	case l.permits != nil:
		l.permits.Try()
	default:
		l.pace.AllowN(now, 1)
		l.calls.add(now)
	}
}

// grow raises the rate: fast while there is no ceiling and as long as it holds
// anything up, and beyond it rarely and with care, then ever faster; and forgets
// it when it has become idle.
func (l *learned) grow(now time.Time) {
	switch {
	case now.Sub(l.limited) > forgetAfter, l.ceiling > 0 && l.perSecond > forgetTimes*l.ceiling:
		l.forget()
		l.version++
	case l.ceiling == 0 && now.Sub(l.stepped) >= startEvery && l.limited.After(l.stepped):
		l.raise(now)
		l.step = min(l.step*startGrowth, 1)
	case l.ceiling > 0 && now.Sub(l.since) >= l.patient && now.Sub(l.stepped) >= probeEvery:
		if l.limited.After(l.stepped) {
			l.kept = l.perSecond // it was borne
		}
		l.raise(now)
		l.step = min(2*l.step, 1)
	}
}

func (l *learned) raise(now time.Time) {
	l.stepped = now
	l.version++
	l.setRate(now, l.perSecond*(1+l.step))
}

// recent counts what was taken in the last second, in parts of it, or in the
// second that ended a little before.
type recent struct {
	counts [keptParts]uint16
	began  time.Time // a moment before the first: a machine's clock may be set meanwhile
	newest int64     // the number of the newest part, since then
}

const (
	recentParts = 51
	recentPart  = time.Second / (recentParts - 1)
	// keptParts is how many are known of: it may be heard a little later when a
	// second ended.
	keptParts = recentParts + int64(2*skew/recentPart)
)

func (r *recent) add(now time.Time) { r.counts[r.turn(now)]++ }

// turn makes the part of a moment the newest, and returns where it is.
func (r *recent) turn(now time.Time) int64 {
	part := max(r.part(now), r.newest)
	r.newest = max(r.newest, part-keptParts)
	for ; r.newest < part; r.newest++ {
		r.counts[(r.newest+1)%keptParts] = 0
	}
	return part % keptParts
}

// part is the number of the part that a moment is in.
func (r *recent) part(at time.Time) int64 {
	if r.began.IsZero() {
		r.began = at.Add(-time.Minute - time.Duration(at.UnixNano())%recentPart)
	}
	return int64(at.Sub(r.began) / recentPart)
}

// count is how many were in the second until now, or until a moment that is no
// more than twice the skew ago.
func (r *recent) count(until time.Time) (n int) {
	r.turn(until)
	last := min(r.part(until), r.newest)
	for part := max(last-recentParts+1, r.newest-keptParts+1, 0); part <= last; part++ {
		n += int(r.counts[part%keptParts])
	}
	return n
}
