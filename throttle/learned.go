package throttle

import (
	"time"

	"golang.org/x/time/rate"
)

const (
	// under is how far under what a destination took before it refused it is
	// called again: the seconds that it counts by are not ours.
	under = 0.97
	// cutMore is by how much more each time, and cutMost by how much at most, a
	// rate is lowered that was refused within two seconds, when what was taken
	// says nothing but that it was too high.
	cutMore, cutMost = 0.1, 0.2
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
type learned struct {
	recent  recent
	began   time.Time // of the run: the first call after a rest
	last    time.Time // call
	taken   int       // in this run
	refused time.Time // when the run was ended by a refusal; zero: it was not
	lately  int       // taken in the second before that, and on its way then

	first   flood
	cut     float64       // by how much the rate was lowered last, as a guess
	pace    *rate.Limiter // nil: as much as may be
	calls   *recent       // that pace let go
	ceiling float64       // that was found; 0: not yet
	patient time.Duration // the probeAfter of this ceiling
	kept    float64       // the highest pace that was borne since the refusal, or set after it
	since   time.Time     // when the pace was set after the refusal
	stepped time.Time     // when it was raised last
	step    float64       // by how much next
	limited time.Time     // when it last held anything up
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
		l.lately++
	}
}

// refuse takes note of a refusal. What else was on its way is refused too,
// which says nothing new.
func (l *learned) refuse(now time.Time) {
	if !l.refused.IsZero() {
		return
	}
	l.refused, l.lately = now, l.recent.count(now)
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
	ran, before := l.refused.Sub(l.began), l.rate()
	next, ceiling := l.estimate(ran, before, float64(l.lately))
	l.notePatience(ceiling, next < doubtful*float64(l.lately))
	l.ceiling, l.step = ceiling, probeStep
	if ceiling == 0 {
		l.step = startStep
	}
	l.since, l.stepped, l.limited = now, now, now
	l.began, l.taken, l.refused = time.Time{}, 0, time.Time{}
	l.kept = max(next, leastRate)
	l.pace = nil // what was saved up in the pause is void
	l.setRate(now, l.kept)
}

// estimate is the rate to go on with, and the ceiling: what was too much. A
// ceiling of 0 is not known.
func (l *learned) estimate(ran time.Duration, before, lately float64) (next, ceiling float64) {
	switch {
	case before == 0:
		l.first = flood{l.taken, lately, ran}
		return max(under*lately, 1), 0
	case l.taken == 0:
		return before * (1 - cutMore), 0
	case l.taken < tellingTaken:
		return before * (1 - cutMore), before
	case l.ceiling > 0 && l.stepped.After(l.since):
		return l.kept, before // which was borne until more was tried
	case l.ceiling == 0:
		if lately > 2*l.first.lately {
			l.first = flood{l.taken, lately * 1.1, ran}
			return under * lately, 0 // the first said little
		}
		found := l.second(ran, before, lately)
		return under * found, found
	case ran < time.Second:
		lately = min(lately, before)
		return under * lately, lately
	case ran < 2*time.Second:
		l.cut = min(l.cut+cutMore, cutMost)
		return before * (1 - l.cut), before
	}
	saved := float64(l.taken) / (1 + ran.Seconds())
	return under * min(max(saved, before*(1-cutMore)), before), before
}

// second is the rate that follows from the second refusal, the first having
// been that of a flood.
func (l *learned) second(ran time.Duration, before, lately float64) float64 {
	switch {
	case ran < time.Second:
		return max(lately, before*0.6)
	case lately > l.first.lately*1.1 && ran > max(2*l.first.ran, 2500*time.Millisecond):
		return max(float64(l.taken-l.first.taken)/(ran-l.first.ran).Seconds(), lately*0.6)
	}
	return min(lately, l.first.lately)
}

// flood is what was taken before the first refusal.
type flood struct {
	taken  int
	lately float64
	ran    time.Duration
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

// rate is the learned rate a second; 0 when there is none.
func (l *learned) rate() float64 {
	if l.pace == nil {
		return 0
	}
	return float64(l.pace.Limit())
}

// guessed reports whether the rate is still sought: by one that began late in a
// flood hardly any was taken, which says nothing of when its like may go.
func (l *learned) guessed() bool {
	return l.ceiling == 0 && (l.pace != nil || !l.refused.IsZero() && l.lately < tellingTaken)
}

func (l *learned) setRate(now time.Time, perSecond float64) {
	perSecond = max(perSecond, leastRate)
	burst := max(1, int(perSecond*paceBurst.Seconds()))
	if l.pace == nil {
		l.pace, l.calls = rate.NewLimiter(rate.Limit(perSecond), burst), &recent{}
		l.pace.AllowN(now, burst-1) // nothing is saved up
		return
	}
	l.pace.SetLimitAt(now, rate.Limit(perSecond))
	l.pace.SetBurstAt(now, burst)
}

// ready reports whether one more may be called now; take is what takes its
// permit.
func (l *learned) ready(now time.Time) bool {
	if l.pace == nil {
		return true
	}
	l.grow(now)
	if l.pace == nil || l.pace.TokensAt(now) >= 1 && float64(l.calls.count(now)) < l.rate() {
		return true
	}
	l.limited = now
	return false
}

// take takes the permit that ready has found.
func (l *learned) take(now time.Time) {
	if l.pace != nil {
		l.pace.AllowN(now, 1)
		l.calls.add(now)
	}
}

// grow raises the rate: fast while there is no ceiling and as long as it holds
// anything up, and beyond it rarely and with care, then ever faster; and forgets
// it when it has become idle.
func (l *learned) grow(now time.Time) {
	switch {
	case now.Sub(l.limited) > forgetAfter, l.ceiling > 0 && l.rate() > forgetTimes*l.ceiling:
		l.pace, l.calls, l.ceiling = nil, nil, 0
	case l.ceiling == 0 && now.Sub(l.stepped) >= startEvery && l.limited.After(l.stepped):
		l.stepped = now
		l.setRate(now, l.rate()*(1+l.step))
		l.step = min(l.step*startGrowth, 1)
	case l.ceiling > 0 && now.Sub(l.since) >= l.patient && now.Sub(l.stepped) >= probeEvery:
		if l.limited.After(l.stepped) {
			l.kept = l.rate() // it was borne
		}
		l.stepped = now
		l.setRate(now, l.rate()*(1+l.step))
		l.step = min(2*l.step, 1)
	}
}

// recent counts what was taken in the last second, in parts of it.
type recent struct {
	counts [recentParts]uint16
	newest int64 // the number of the newest part, since the epoch
}

const (
	recentParts = 51
	recentPart  = time.Second / (recentParts - 1)
)

func (r *recent) add(now time.Time) { r.counts[r.turn(now)]++ }

// turn makes the part of a moment the newest, and returns where it is.
func (r *recent) turn(now time.Time) int64 {
	part := max(now.UnixNano()/int64(recentPart), r.newest)
	r.newest = max(r.newest, part-recentParts)
	for ; r.newest < part; r.newest++ {
		r.counts[(r.newest+1)%recentParts] = 0
	}
	return part % recentParts
}

func (r *recent) count(now time.Time) (n int) {
	r.turn(now)
	for _, c := range r.counts {
		n += int(c)
	}
	return n
}
