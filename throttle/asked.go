package throttle

import (
	"fmt"
	"strings"
	"time"
)

// Pause leaves a destination alone until a moment, because it asked for that in
// these words. Of two pauses the later end holds. What it was sent in the last
// second before is learned from: it goes on at a little less.
func (d *Destinations) Pause(name string, until time.Time, because string) {
	now := d.rules.Now()
	if !until.After(now) {
		return
	}
	at := d.Pin(name)
	defer d.Unpin(at)
	d.resume(at, now)
	if at.learned.refused.IsZero() {
		at.learned.refuse(now)
		d.tellTook(at, now)
	}
	if until.After(at.paused) {
		at.paused, at.because = until, strings.Clone(because)
	}
}

// resume ends a pause whose time is up, and learns from what it was for.
func (d *Destinations) resume(at *Destination, now time.Time) {
	if at.paused.IsZero() || now.Before(at.paused) {
		return
	}
	at.paused, at.because = time.Time{}, ""
	if was := at.learned.version; !at.learned.refused.IsZero() {
		d.pool(at, at.learned.episode+1)
		at.learned.resume(now)
		d.tellRate(at, was, now)
	}
}

// note takes an answer in.
func (at *Destination) note(took time.Duration, came Contact, now time.Time) {
	switch came {
	case Unclear:
		return
	case Answered:
		at.limit.note(fine, took, at.used, now)
		at.learned.took(now)
	case Refusing, Silent:
		at.limit.note(refused, took, at.used, now)
	}
	at.answers.note(took, now)
}

// inPace reports whether the learned rate leaves room for one more now.
func (d *Destinations) inPace(at *Destination, now time.Time) bool {
	d.resume(at, now)
	was := at.learned.version
	ready := at.learned.ready(now)
	if at.learned.held() || was != at.learned.version {
		d.tellRate(at, was, now)
	}
	return ready
}

// Among says how many consumers send to the same destinations: what one of them
// puts off any may get back. Fewer are believed when they are told of twice: of
// those that begin together the first hears of no other, and puts off most of a
// flood by that.
func (d *Destinations) Among(consumers int) {
	d.among, d.counted = max(consumers, d.counted, 1), consumers
}

// Restless reports whether a destination's next place comes by the clock and
// not by an answer: it is paused, or held to a rate.
func (at *Destination) Restless() bool {
	return !at.paused.IsZero() || at.learned.held() || at.down > 0
}

// Barred reports whether what has a place at a destination may not begin any
// more, since it was heard meanwhile that it is to be left alone, and for how
// long.
func (d *Destinations) Barred(at *Destination) (wait time.Duration, barred bool) {
	now := d.rules.Now()
	switch {
	case now.Before(at.paused):
		return at.paused.Sub(now), true
	case at.down > 0 && !at.probing:
		return max(at.until.Sub(now), probeWait), true
	}
	return 0, false
}

// askProbeAgain is how long a wish to probe may go unanswered: a word for which
// the Board had no room is never heard.
const askProbeAgain = 10 * time.Second

// hasProbe reports whether a call may go, if it were a probe: only one of all
// consumers makes it. Whoever has not asked yet asks.
func (d *Destinations) hasProbe(at *Destination) bool {
	if at.down == 0 || at.granted || d.rules.Told == nil {
		return true
	}
	if now := d.rules.Now(); now.Sub(at.asked) >= askProbeAgain {
		at.asked = now
		d.rules.Told(Word{Kind: ProbeWanted, Name: at.name})
	}
	return false
}

// Grant answers a Word that a probe is wanted. When another consumer makes it,
// this one asks again after a while, unless it hears before what came of it. A
// right that this one has no use for any more is given back.
func (d *Destinations) Grant(name string, granted bool) {
	at := d.byName[name]
	if at == nil || at.down == 0 {
		if granted {
			d.rules.Told(Word{Kind: ProbeOver, Name: name})
		}
		return
	}
	at.asked, at.granted = time.Time{}, granted
	switch {
	case !granted:
		at.until = d.rules.Now().Add(probeWait)
	case at.pins == 0:
		d.returnProbe(at)
	}
}

// returnProbe leaves to others the probe that this consumer has the right to and
// will not make, or that was in vain.
func (d *Destinations) returnProbe(at *Destination) {
	if at.granted {
		at.granted = false
		d.rules.Told(Word{Kind: ProbeOver, Name: at.name})
	}
}

// tellDown tells the others when a destination goes down, stays so or is back.
func (d *Destinations) tellDown(at *Destination, was time.Duration, now time.Time) {
	if d.rules.Told == nil {
		return
	}
	switch {
	case at.down > was:
		d.rules.Told(Word{Kind: HostDown, Name: at.name, For: at.until.Sub(now), Because: "it could not be reached or did not answer"})
	case at.down == was && was > 0 && !at.probing && !at.granted && !at.until.After(now):
		d.rules.Told(Word{Kind: ProbeOver, Name: at.name})
	case at.down == 0 && was > 0:
		d.rules.Told(Word{Kind: HostDown, Name: at.name})
	}
}

// Hear takes another consumer's word that a destination is down for so long; 0:
// that it is back.
func (d *Destinations) Hear(name string, down time.Duration) {
	now := d.rules.Now()
	at := d.Pin(name)
	defer d.Unpin(at)
	if down <= 0 {
		if at.down > 0 {
			d.returnProbe(at)
			at.breaker, at.back = breaker{}, time.Time{}
		}
		return
	}
	if !at.probing {
		d.returnProbe(at)
		at.down, at.until = max(at.down, min(down, downMost), downFirst), now.Add(down)
	}
}

// Why says for the timeline why something that is to go to a destination has to
// wait: a code, and words.
func (d *Destinations) Why(at *Destination) (code, words string) {
	host := at.name
	if _, bare, ok := strings.Cut(at.name, "://"); ok {
		host = bare
	}
	switch now := d.rules.Now(); {
	case now.Before(at.paused):
		return "paused", "host " + host + " asked for less (" + at.because + ")"
	case at.down > 0:
		return "host_down", "its host could not be reached lately, and is left alone for a while"
	case at.learned.held():
		return "host_busy", fmt.Sprintf("host %s takes %.1f a second as far as is known, and more are waiting", host, at.learned.perSecond)
	}
	return "host_busy", "its host has as many requests in flight as it may have, and more are waiting"
}

// Borne is how many may be in flight to the destinations that were called
// lately or are about to be, all together; 0 when there are none.
func (d *Destinations) Borne() (n int) {
	for _, at := range d.byName {
		if at.used > 0 || at.pins > 0 {
			n += at.limit.value()
		}
	}
	return n
}

// Standing is what is known of one destination.
type Standing struct {
	Name     string
	InFlight int
	Limit    int     // the most that may be in flight
	Rate     float64 // a second, as learned; 0: none was
	Paused   int64   // for how many ms more; 0: it is not
	Down     int64   // ms until the next probe; 0: it is up
	Probing  bool
	Average  int64 // of its answers, ms
}

// Notable lists at most so many destinations of which there is something to
// say, in no order: they are paused, down, held to a rate, or narrowed.
func (d *Destinations) Notable(most int) (out []Standing) {
	now := d.rules.Now()
	for _, at := range d.byName {
		if len(out) == most {
			break
		}
		if at.down == 0 && !at.learned.held() && !at.paused.After(now) && !at.limit.settled {
			continue
		}
		s := Standing{Name: at.name, InFlight: at.used, Limit: at.limit.value(), Rate: at.learned.perSecond, Paused: max(at.paused.Sub(now), 0).Milliseconds(),
			Probing: at.probing, Average: at.answers.average.Milliseconds()}
		if at.down > 0 {
			s.Down = max(at.until.Sub(now), time.Millisecond).Milliseconds()
		}
		out = append(out, s)
	}
	return out
}
