package throttle

import (
	"strings"
	"time"

	"github.com/carillonhq/carillon/notice"
)

const (
	// quickly is the longest that a destination's answers may take on average
	// for it to count as quick, and the longest that it may give none while any
	// is awaited.
	quickly = time.Second
	// aloneAfter is how long no other destination may have been called for one
	// to have the whole channel: nobody waits for it then.
	aloneAfter = 10 * time.Second
	// mostDestinations bounds the memory: what is known of a destination that
	// has nothing in flight is forgotten for another, which costs that one some
	// attempts to be found out again. Some 1 MiB with names of 60 bytes.
	mostDestinations = 4096
)

// DestinationRules are what Destinations go by. Every field is needed but where
// it says otherwise.
type DestinationRules struct {
	Slots int // that destinations share: what one consumer has in flight on the channel
	// Places is how many in flight a destination may have at most; 0: a quarter
	// of Slots, or 32 when that is more, and never more than half. Nil: 0 for
	// every one.
	Places func(name string) int
	Now    func() time.Time                       // the clock; time.Now outside tests
	Jitter func(most time.Duration) time.Duration // uniform from 0
	// Told is told what others are to know: that a destination is down, or no
	// more, and that a probe is wanted, which Grant answers. Nil: there are no
	// others, and each probe goes when its time has come.
	Told func(Word)
	// Permits are those of a key of a rate which all consumers share, that a
	// destination of Channel was found to take; Consumer is this one's name among
	// those that learn it together. Nil: each learns its own part of it.
	Permits  func(key string) *Pace
	Channel  notice.Channel
	Consumer string
}

// Destinations bound what one consumer has in flight to each of the hosts that
// a channel sends to, and leave alone a host that does not answer, so that
// nobody waits for another's slow host. What a destination may have depends on
// how it answered lately:
//
//   - a quick one its places, but no more than twice what is free: two that
//     hang from one moment to the next leave a fifth to the others, ten a
//     twentieth. When no other is called, it may have every slot.
//   - a slow one as many as it leaves to the other slow ones, of three quarters
//     of the slots: however many are slow, a quarter is left to the rest.
//   - one that has not answered yet a twentieth of the slots, four at most, and
//     never the last eighth; with each answer it may have two more. One that
//     has been silent for twice as long as it usually takes gets no more than
//     that either, until it answers.
//
// Destinations are not safe for concurrent use: who decides what may begin next
// must hold a lock anyway.
type Destinations struct {
	rules  DestinationRules
	share  int
	byName map[string]*Destination
	among  int // consumers, this one included, as far as they are heard of
	// counted is how many there were at the last count.
	counted int
	slow    int // places in use at slow destinations

	last   *Destination // that was called last
	lastAt time.Time    // when
	other  time.Time    // when any other was; zero: never
}

// Destination is what is known of one of them.
type Destination struct {
	name    string
	places  int     // at most, as configured; 0: the share
	used    int     // places in use
	pins    int     // who counts on its being remembered
	answers answers // how it answers
	limit   limit   // how many in flight it bears
	opening opening // how many are risked on its answering
	learned learned // how many a second it takes
	breaker
	paused  time.Time // until when it asked to be left alone
	because string    // in whose words
	said    time.Time // when its rate was said to the others last
	told    time.Time // when what it took before a refusal was
	back    time.Time // when what was put off last comes back
}

// NewDestinations makes Destinations that know nothing of anybody.
func NewDestinations(r DestinationRules) *Destinations {
	others := 1
	if r.Told != nil {
		others = amongMost // until it is known
	}
	d := &Destinations{rules: r, byName: map[string]*Destination{}, among: others, counted: others}
	d.Resize(r.Slots)
	return d
}

// Resize makes it another number of slots that destinations share, at least one.
// What is in flight stays; what is known of a destination is kept.
func (d *Destinations) Resize(slots int) {
	slots = max(slots, 1)
	d.rules.Slots, d.share = slots, max(1, min(slots/2, max(32, slots/4)))
	for _, at := range d.byName {
		at.limit.resize(slots)
		at.opening.resize(slots)
	}
}

// Entry is whether one more may be sent to a destination now.
type Entry uint8

// The entries.
const (
	Full    Entry = iota // its places are taken, or it is not time yet: one comes free when an answer comes, or in a moment
	Down                 // it is left alone, since it did not answer
	Paused               // it is left alone, since it asked for that
	Entered              // it has a place, and Leave or Withdraw is owed
	Rated                // a configured rate has no permit now: one comes with time
)

// Enter takes a place at a destination, when it may have another one. free is
// how many slots of the channel are free, at least 1: the one that would be
// taken.
func (d *Destinations) Enter(at *Destination, free int) Entry {
	return d.EnterWith(at, free, Needs{})
}

// EnterWith is Enter, which takes a permit of all that is needed too; without
// a place it takes none, and without permits no place.
func (d *Destinations) EnterWith(at *Destination, free int, needs Needs) Entry {
	now := d.rules.Now()
	switch {
	case now.Before(at.paused):
		return Paused
	case at.closedAt(now):
		return Down
	case at.used >= d.allowed(at, free, now), !d.hasProbe(at), !d.inPace(at, now):
		return Full
	case needs.Any() && !needs.Take():
		return Rated
	}
	at.learned.take(now)
	at.learned.called(now)
	at.enter()
	if at.used == 0 {
		at.answers.progress = now
	}
	at.used++
	if at.answers.slow {
		d.slow++
	}
	d.called(at, now)
	return Entered
}

// allowed is how many places a destination may have in use now.
func (d *Destinations) allowed(at *Destination, free int, now time.Time) int {
	d.judge(at, now)
	if at.down > 0 {
		return at.used + 1 // the probe
	}
	most, alone := at.places, at.places == 0 && d.isAlone(at, now)
	if most == 0 {
		most = d.share
	}
	bears := at.bears(now, alone)
	switch {
	case at.answers.slow:
		left := d.rules.Slots - d.rules.Slots/4 - d.slow
		if alone {
			return min(at.used+left, bears)
		}
		return min(most, bears, left)
	case !at.answers.known:
		return min(most, bears, (free-d.rules.Slots/8+1)/2)
	case alone:
		return min(d.rules.Slots, bears)
	}
	return min(most, bears, 2*free)
}

// Leave gives a place back, with how long the answer took and what came.
func (d *Destinations) Leave(at *Destination, took time.Duration, came Contact) {
	now := d.rules.Now()
	at.opening.note(came, at.used, at.silence(now) >= took/2)
	at.note(took, came, now)
	d.tellMore(at, now)
	d.giveBack(at)
	wasDown := at.down
	if at.learn(came, now) {
		at.back = time.Time{} // it is back: what is known of its delays is of the past
	}
	d.tellDown(at, wasDown, now)
	d.judge(at, now)
	d.forgetIfBlank(at)
}

// Withdraw gives a place back that was not used.
func (d *Destinations) Withdraw(at *Destination) {
	d.giveBack(at)
	was := at.probing
	if at.probing, at.granted = false, false; was {
		d.tellDown(at, at.down, d.rules.Now())
	}
	d.forgetIfBlank(at)
}

func (d *Destinations) giveBack(at *Destination) {
	at.used--
	if at.answers.slow {
		d.slow--
	}
}

// judge notes whether a destination is slow now.
func (d *Destinations) judge(at *Destination, now time.Time) {
	slow := at.answers.average > quickly || at.used > 0 && now.Sub(at.answers.progress) > quickly
	if slow == at.answers.slow {
		return
	}
	at.answers.slow = slow
	if slow {
		d.slow += at.used
	} else {
		d.slow -= at.used
	}
}

// called remembers since when one destination alone is called.
func (d *Destinations) called(at *Destination, now time.Time) {
	if d.last != at {
		d.other = d.lastAt
		d.last = at
	}
	d.lastAt = now
}

// isAlone reports whether no other destination was called lately.
func (d *Destinations) isAlone(at *Destination, now time.Time) bool {
	other := d.lastAt
	if d.last == at {
		other = d.other
	}
	return other.IsZero() || now.Sub(other) >= aloneAfter
}

// Pin returns the destination of a name, which is remembered until Unpin.
func (d *Destinations) Pin(name string) *Destination {
	at := d.byName[name]
	if at == nil {
		if len(d.byName) >= mostDestinations {
			d.forgetAny()
		}
		name = strings.Clone(name) // which may be a part of a whole payload
		at = &Destination{name: name, limit: newLimit(d.rules.Slots), opening: newOpening(d.rules.Slots)}
		if d.rules.Places != nil {
			at.places = d.rules.Places(name)
		}
		d.byName[name] = at
	}
	at.pins++
	return at
}

// Unpin ends a Pin. With the last one goes the right to probe that was not used.
func (d *Destinations) Unpin(at *Destination) {
	if at.pins--; at.pins == 0 && !at.probing {
		d.returnProbe(at)
	}
	d.forgetIfBlank(at)
}

// forgetIfBlank keeps the memory small while there is nothing to remember.
func (d *Destinations) forgetIfBlank(at *Destination) {
	if len(d.byName) > mostDestinations/4 && at.idle() && at.failures == 0 && !at.answers.slow && at.back.IsZero() && at.paused.IsZero() && !at.learned.held() && !at.limit.settled {
		d.forget(at)
	}
}

// forgetLooks is how many destinations are looked at for one that is missed
// least.
const forgetLooks = 256

// forgetAny makes room for another: one that is to be left alone, or is held to a
// rate, is forgotten only where nearly all are so.
func (d *Destinations) forgetAny() {
	now, looks := d.rules.Now(), 0
	var spare *Destination
	for _, at := range d.byName {
		if !at.idle() {
			continue
		}
		if spare = at; !at.held(now) {
			break
		}
		if looks++; looks == forgetLooks {
			break
		}
	}
	if spare != nil {
		d.forget(spare)
	}
}

// held reports whether something is known of a destination that holds calls up.
func (at *Destination) held(now time.Time) bool {
	return now.Before(at.paused) || at.down > 0 || at.learned.held()
}

func (d *Destinations) forget(at *Destination) { delete(d.byName, at.name) }

func (at *Destination) idle() bool { return at.used == 0 && at.pins == 0 }

// Known is how many destinations are remembered.
func (d *Destinations) Known() int { return len(d.byName) }

// answers are how a destination answers.
type answers struct {
	known    bool          // it has answered, or failed to
	slow     bool          // by judge
	average  time.Duration // of what answers took, moving
	progress time.Time     // when the last answer came, or the first was awaited
}

// note takes another answer in.
func (p *answers) note(took time.Duration, now time.Time) {
	p.progress = now
	if !p.known {
		p.known, p.average = true, took
		return
	}
	p.average += (took - p.average) / 8
}
