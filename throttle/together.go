package throttle

import (
	"strconv"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// tellEvery is the least time between two words of what was taken before a
// refusal, while answers to what was on its way come in.
const tellEvery = 50 * time.Millisecond

// skew is how much earlier than its own clock says a consumer may hear that a
// pause is over.
const skew = 300 * time.Millisecond

// LearnedRate is the key of the rate that a destination of a channel was found
// to take when it refused for the so-manieth time, in Rates.
func LearnedRate(c notice.Channel, name string, episode int) string {
	return "learned:" + string(c) + ":" + strconv.Itoa(episode) + ":" + name
}

// together reports whether what destinations bear is learned by all consumers
// together.
func (d *Destinations) together() bool { return d.rules.Permits != nil && d.rules.Told != nil }

// Learned takes what was said of a destination's rate, by another consumer or by
// this one.
func (d *Destinations) Learned(w Word) {
	if !d.together() {
		return
	}
	now := d.rules.Now()
	switch w.Kind {
	case HostTook:
		if at := d.byName[w.Name]; at != nil {
			if at.learned.hear(readTallies(w.Because, at.learned.episode, d.rules.Consumer), now.Add(w.For-tallyLife)) {
				d.tellTook(at, now)
			}
		}
	case HostRate:
		k, ok := readKnown(w.Because, now.Add(min(w.For-rateLife, 0)))
		if !ok || k.perSecond == 0 && d.byName[w.Name] == nil {
			return
		}
		at := d.Pin(w.Name)
		defer d.Unpin(at)
		d.adopt(at, k, now)
	}
}

// hear takes what others were given before a refusal, which they said at a
// moment. This consumer may not have been refused yet. If it was, but later, it
// reports that it counts anew: what it was given in the same second as they, or
// the sum would be of no second that there was.
func (l *learned) hear(others tally, said time.Time) (anew bool) {
	if l.others.taken == 0 {
		l.heard = said
	}
	l.others = others
	late := l.refused.Sub(l.heard)
	if l.refused.IsZero() || others.taken == 0 || late <= 0 || late >= skew {
		return false
	}
	l.refused, l.before = l.heard, l.recent.count(l.heard)
	return true
}

// adopt goes by what another consumer has found out. A refusal that this one
// has not learned from yet is the one that it was learned from, unless its pause
// goes on.
func (d *Destinations) adopt(at *Destination, k known, now time.Time) {
	l := &at.learned
	if !k.newer(l.known) {
		return
	}
	if k.episode != l.episode {
		l.others, l.heard = tally{}, time.Time{}
		if at.paused.Sub(now) < skew {
			l.restart()
		}
	}
	if !l.held() {
		l.limited = now
	}
	l.known, at.said = k, now
	if k.perSecond == 0 {
		l.forget()
		return
	}
	d.pool(at, k.episode)
	l.setRate(now, k.perSecond)
}

// pool has a destination's permits come from those that all consumers share.
// After each refusal they are others: nothing is owed from before it.
func (d *Destinations) pool(at *Destination, episode int) {
	l := &at.learned
	if !d.together() || l.permits != nil && l.pooled == episode {
		return
	}
	if l.permits != nil {
		l.permits.wants(-l.waiting)
	}
	l.permits, l.pooled = d.rules.Permits(LearnedRate(d.rules.Channel, at.name, episode)), episode
	l.permits.wants(l.waiting)
}

// Wait counts how many wait for a destination, which is what the consumer asks
// permits for: with 1 when one begins to, with -1 when it has ended.
func (at *Destination) Wait(more int) {
	at.learned.waiting += more
	if at.learned.permits != nil {
		at.learned.permits.wants(more)
	}
}

// tellMore tells them again what this consumer was given, when an answer came
// that was still on its way: now and then, and with the last.
func (d *Destinations) tellMore(at *Destination, now time.Time) {
	if !at.learned.refused.IsZero() && (at.used == 1 || now.Sub(at.told) >= tellEvery) {
		d.tellTook(at, now)
	}
}

// tellTook tells the others what this consumer was given before a refusal.
func (d *Destinations) tellTook(at *Destination, now time.Time) {
	if l := &at.learned; d.together() && l.taken > 0 {
		at.told = now
		d.rules.Told(Word{Kind: HostTook, Name: at.name, For: tallyLife, Because: l.tally().words(d.rules.Consumer)})
	}
}

// tellRate tells them what is known, when that is another than was said last or
// was said long ago.
func (d *Destinations) tellRate(at *Destination, was int, now time.Time) {
	l := &at.learned
	if d.together() && (l.version != was || l.held() && l.limited.Equal(now) && now.Sub(at.said) > sayRateEvery) {
		at.said = now
		d.rules.Told(Word{Kind: HostRate, Name: at.name, For: rateLife, Because: l.words(now)})
	}
}

// Ready reports whether Try would take a permit, and asks for some where there
// are none.
func (p *Pace) Ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready(time.Now())
}
