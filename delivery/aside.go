package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/throttle"
)

// aside is where deliveries wait whose destination has no place free, so that
// they hold up nothing that is to go elsewhere: each destination has a line, and
// goes on with it the moment a place comes free. What fits into no line is put
// off: it goes back to the queue until it is likely to find one.
//
// docs/decisions/018 says why. The lock of lanes guards all of it.
type aside struct {
	weights  weigh                  // of the turns
	places   *throttle.Destinations // nil: the channel has one destination
	quotas   *throttle.Quotas       // nil: the channel has no rates by name
	relays   channels.Relayed       // nil: the channel has no relays
	paced    func() bool            // the channel has a rate of its own; nil: it has none
	lines    map[way]*asideLine
	split    int           // lines that share their destination's places with others
	ahead    int           // have permits, and are not begun
	hurry    chan struct{} // a line was opened that the clock moves
	ring     []*asideLine  // those with something in it, in no order
	turn     int           // of ring: the line that is looked at next
	waiting  int           // in all lines
	most     int
	reserved int     // have a place, and are not begun
	putOff   []*task // on their way back to the queue
	spare    []*asideLine
}

const (
	// putOffMost is how many may be on their way back to the queue before what
	// is behind them has to wait.
	putOffMost = 256
	// lineParts is the part of aside that one destination's line may fill.
	lineParts = 4
	// neighbours is how many other lines are looked at when a place has come
	// free.
	neighbours = 4
	// tendEvery is how often lines are looked at that nothing moves, and
	// hastenEvery how often those are that the clock moves: what waits there goes
	// at a rate, or at the end of a pause.
	tendEvery, hastenEvery = 100 * time.Millisecond, 5 * time.Millisecond
	// comeTogether is how far apart the moments are to which anything is put off:
	// each at which something is due costs a look at every partition.
	comeTogether = 100 * time.Millisecond
)

// asideLine is what waits for one destination, by lane and turn: the lanes and
// the tenants that share a host share its places as they do the channel's slots.
type asideLine struct {
	way
	rated  bool // what it lacked last was a permit
	lanes  [3]asideLane
	credit credits
	n      int
	ring   int // its index there

	weights weigh
}

type asideLane struct {
	turns  [queue.Turns][]*task
	served rotation
	n      int
}

// may is whether what is first in a lane's turn may begin.
type may uint8

const (
	goes     may = iota
	stays        // others wait behind it, for a moment
	wentAway     // it was taken off: whatever is next may
)

// admit finds a place for a task that is first in its lane and turn. free is
// how many slots are free.
func (a *aside) admit(t *task, free int) may {
	if t.placed || !a.pin(t) {
		return goes
	}
	line := a.lines[t.way]
	entry := throttle.Full // those who came before it wait
	if line == nil {
		entry = a.enter(t.way, free)
	}
	t.rated = entry == throttle.Rated || line != nil && line.rated
	switch {
	case entry == throttle.Entered:
		a.place(t)
		return goes
	case entry != throttle.Down && a.join(t, line):
		return wentAway
	case len(a.putOff) >= putOffMost, !t.rated && t.at != nil && a.places.WorthWaiting(t.at, max(free, 1)):
		return stays
	}
	a.sendAway(t)
	return wentAway
}

// join puts a task into the line of its way, when there is room. Of those that
// wait for a rate whatever can wait longest gives way when the line is full.
func (a *aside) join(t *task, line *asideLine) bool {
	n := 0
	if line != nil {
		n = line.n
	}
	room := a.joinRoom(t.way, n)
	if room == 0 || n >= room && !t.needs.Any() {
		return false
	}
	if line == nil {
		line = a.open(t.way)
		line.rated = t.rated
	}
	a.push(line, t)
	a.trim(line, room)
	return true
}

// joinRoom is how long a line of n may become by one that joins it. Others'
// floods do not keep out the first few that wait for a rate.
func (a *aside) joinRoom(to way, n int) int {
	room := a.room(to)
	switch {
	case a.waiting < a.most:
		return room
	case !to.needs.Any():
		return 0
	case a.waiting < 2*a.most:
		return min(room, max(n, fewWaiting))
	}
	return min(room, n)
}

// room is how long a line may be.
func (a *aside) room(to way) int {
	room := min(a.most/lineParts, to.needs.Room())
	if to.at != nil {
		room = min(room, a.places.LineRoom(to.at))
	}
	return room
}

// sendAway puts a task off.
func (a *aside) sendAway(t *task) { a.putOff = append(a.putOff, t) }

// resume gives places to what waits in a line, as long as there are any, and
// returns what got one. The line of a destination that is down is put off.
func (a *aside) resume(line *asideLine, free int) (out []*task) {
	for line.n > 0 {
		switch a.enter(line.way, free) {
		case throttle.Full:
			line.rated = false
			return out
		case throttle.Rated:
			line.rated = true
			return out
		case throttle.Paused:
			a.trim(line, a.room(line.way))
			return out
		case throttle.Down:
			a.trim(line, 0)
			return out
		}
		t := line.pop()
		a.gone(line, 1)
		a.place(t)
		free--
		out = append(out, t)
	}
	a.close(line)
	return out
}

// trim puts off what a line has beyond its room, the last and the least urgent
// first.
func (a *aside) trim(line *asideLine, room int) {
	for line.n > room {
		t := line.popLast()
		t.rated = line.rated
		a.sendAway(t)
		a.gone(line, 1)
	}
	if line.n == 0 {
		a.close(line)
	}
}

// leave gives a task's place back, with what came of it, and returns what may
// go on now.
func (a *aside) leave(t *task, free int) []*task {
	line := a.nextOf(t.way)
	if t.at != nil {
		a.places.Leave(t.at, t.took, t.came)
	}
	a.unpin(t)
	if line != nil {
		if out := a.resume(line, free); len(out) > 0 {
			return out
		}
	}
	return a.resumeOthers(neighbours, free)
}

// resumeOthers looks at the next few lines, whose destinations may have another
// place because fewer slots are in use.
func (a *aside) resumeOthers(most, free int) (out []*task) {
	for range min(most, len(a.ring)) {
		if len(a.ring) == 0 {
			break
		}
		a.turn = (a.turn + 1) % len(a.ring)
		more := a.resume(a.ring[a.turn], free-len(out))
		out = append(out, more...)
	}
	return out
}

// tend makes every line as long as it may be by now, and returns what may go
// on: a destination that has slowed down keeps less at hand.
func (a *aside) tend(free int) []*task {
	for i := len(a.ring) - 1; i >= 0; i-- {
		a.trim(a.ring[i], a.room(a.ring[i].way))
	}
	return a.resumeOthers(len(a.ring), free)
}

// hasten returns what may go on because time has passed.
func (a *aside) hasten(free int) (out []*task) {
	for i := len(a.ring) - 1; i >= 0; i-- {
		if a.ring[i].restless() {
			out = append(out, a.resume(a.ring[i], free-len(out))...)
		}
	}
	return out
}

// restless reports whether the clock moves any line.
func (a *aside) restless() bool {
	for _, line := range a.ring {
		if line.restless() {
			return true
		}
	}
	return false
}

// recheck notes that the destination of a task that got a place is to be left
// alone since.
func (a *aside) recheck(t *task) {
	if t.at == nil {
		return
	}
	if wait, barred := a.places.Barred(t.at); barred {
		code, words := a.places.Why(t.at)
		t.barred = putOff{wait, code, words, "host", 0}
	}
}

// abandon lets go of a task that will not be sent from here.
func (a *aside) abandon(t *task) {
	if t.placed {
		a.withdraw(t)
	}
	a.unpin(t)
}

// remove takes what is as asked for out of the lines, and appends it to out.
func (a *aside) remove(which func(*task) bool, out []*task) []*task {
	for i := len(a.ring) - 1; i >= 0; i-- {
		line, before := a.ring[i], len(out)
		for lane := range line.lanes {
			in := &line.lanes[lane]
			for turn := range in.turns {
				was := len(out)
				in.turns[turn], out = without(in.turns[turn], which, out)
				in.n -= len(out) - was
			}
		}
		line.n -= len(out) - before
		a.gone(line, len(out)-before)
		if line.n == 0 {
			a.close(line)
		}
	}
	return out
}

// clear empties everything.
func (a *aside) clear() (rest []*task) {
	for len(a.ring) > 0 {
		a.trim(a.ring[0], 0)
	}
	rest, a.putOff = a.putOff, nil
	return rest
}

// open makes a line for what goes one way.
func (a *aside) open(to way) *asideLine {
	var line *asideLine
	if n := len(a.spare); n > 0 {
		line, a.spare = a.spare[n-1], a.spare[:n-1]
	} else {
		line = &asideLine{}
	}
	line.way, line.credit, line.ring, line.weights = to, laneWeights, len(a.ring), a.weights
	a.lines[to] = line
	a.ring = append(a.ring, line)
	if to.divides() {
		a.split++
	}
	if to.needs.Any() {
		a.wakeTending()
	}
	return line
}

// close forgets a line that is empty.
func (a *aside) close(line *asideLine) {
	last := len(a.ring) - 1
	a.ring[line.ring] = a.ring[last]
	a.ring[line.ring].ring = line.ring
	a.ring[last] = nil
	a.ring = a.ring[:last]
	delete(a.lines, line.way)
	if line.divides() {
		a.split--
	}
	line.way, line.rated = way{}, false
	if len(a.spare) < neighbours {
		a.spare = append(a.spare, line)
	}
}

func (l *asideLine) push(t *task) {
	in := &l.lanes[t.lane]
	in.turns[t.turn] = append(in.turns[t.turn], t)
	in.n++
	l.n++
}

// pop takes what goes on next; there must be something.
func (l *asideLine) pop() *task {
	in := &l.lanes[l.credit.pick(func(lane int) bool { return l.lanes[lane].n > 0 })]
	at := in.served.next(func(turn int) bool { return len(in.turns[turn]) > 0 })
	in.served.serve(at, l.weights)
	turn := &in.turns[at]
	t := (*turn)[0]
	(*turn)[0] = nil
	*turn = (*turn)[1:]
	in.n--
	l.n--
	return t
}

// popLast takes what can wait longest: the last of the turn that has most for
// its weight, in the lane that is the least urgent.
func (l *asideLine) popLast() *task {
	lane := len(l.lanes) - 1
	for l.lanes[lane].n == 0 {
		lane--
	}
	in := &l.lanes[lane]
	most := 0
	for turn := range in.turns {
		if len(in.turns[turn])*l.weights.of(most) > len(in.turns[most])*l.weights.of(turn) {
			most = turn
		}
	}
	last := len(in.turns[most]) - 1
	t := in.turns[most][last]
	in.turns[most][last] = nil
	in.turns[most] = in.turns[most][:last]
	in.n--
	l.n--
	return t
}

// divide has the lanes know the destinations of a channel that has many.
func (s *sender) divide() {
	s.lanes.aside.quotas, s.lanes.aside.paced = s.Quotas, func() bool { return s.Pace.Limited() }
	if relays, ok := s.Adapter.(channels.Relayed); ok {
		s.lanes.aside.relays = relays
	}
	many, ok := s.Adapter.(channels.Divided)
	if !ok {
		return
	}
	s.destinations = many
	rules := throttle.DestinationRules{Slots: ordinarySlots(s.Slots.Limit(), s.CriticalSlots), Places: many.Places, Now: time.Now, Jitter: s.p.Jitter}
	if s.Board != nil {
		rules.Told = s.Board.Tell
	}
	if s.Rates != nil {
		rules.Channel, rules.Consumer = s.channel, s.p.Consumer
		rules.Permits = func(key string) *throttle.Pace { return s.Rates.Strict(key, config.Rate{}) }
	}
	s.lanes.divide(throttle.NewDestinations(rules))
}

// destination is where a delivery is sent to; empty when that is all the same.
func (s *sender) destination(d *notice.Delivery) string {
	if s.destinations == nil {
		return ""
	}
	return s.destinations.Destination(d.Address)
}

// tasksOf makes tasks of leases. Where a channel has many destinations they are
// decoded here, by who read them, and not one after the other behind a lock.
func (s *sender) tasksOf(leases []*queue.Lease) []*task {
	tasks := make([]*task, len(leases))
	for i, l := range leases {
		tasks[i] = &task{lease: l, turn: l.Turn()}
		if s.destinations == nil && !s.Quotas.Any() {
			continue
		}
		if d, err := readDelivery(l.Payload); err == nil {
			tasks[i].delivery, tasks[i].dest, tasks[i].names = &d, s.destination(&d), s.names(&d)
		}
	}
	return tasks
}

// tendLoop keeps the lines as long as they may be, and moving, until the lanes
// close.
func (s *sender) tendLoop(ctx context.Context) {
	var tended time.Time
	for every := tendEvery; s.lanes.aside.await(ctx, every); {
		if now := time.Now(); now.Sub(tended) >= tendEvery {
			tended = now
			if !s.lanes.tend() {
				return
			}
			s.Slots.Borne(s.lanes.borne())
		}
		if every = tendEvery; s.lanes.hasten() {
			every = hastenEvery
		}
	}
}

// putOffLoop parks what found no room in its destination's line, until the
// lanes close.
func (s *sender) putOffLoop() {
	for {
		tasks, waits := s.lanes.awaitPutOff()
		if tasks == nil {
			return
		}
		for i, t := range tasks {
			s.p.finish(s.putOff(t, waits[i]))
		}
	}
}

// putOff says what is to be committed for a delivery whose destination has no
// place for it now. It costs no attempt.
func (s *sender) putOff(t *task, o putOff) *queue.Settlement {
	s.p.metrics.throttled.WithLabelValues(o.scope, "defer").Inc()
	d, now := t.known(), s.p.Now()
	settled := s.beforeSend(t.lease, d, now)
	if settled == nil {
		next := decide(attemptOf{delivery: d, result: o.result(), retry: s.Retry, now: now, jitter: o.gathered(now, o.jitter(s.p.Jitter))})
		settled = &queue.Settlement{Kind: next.kind, Lease: t.lease, Delivery: d, Entry: next.entry, Due: next.due, Label: o.label, Reason: next.reason}
	}
	return t.planned(settled)
}

// gathered is a jitter after which what is put off comes back with others.
func (o putOff) gathered(now time.Time, jitter func(time.Duration) time.Duration) func(time.Duration) time.Duration {
	return func(most time.Duration) time.Duration {
		late := jitter(most)
		due := now.Add(o.wait + late)
		return late + due.Add(comeTogether-1).Truncate(comeTogether).Sub(due)
	}
}

// result is what putting off amounts to: nobody was asked.
func (o putOff) result() channels.Result {
	return channels.Result{Verdict: channels.Throttled, Scope: channels.ScopeHost, RetryAfter: o.wait, Code: o.code, Err: errors.New(o.words), Unsent: true}
}

// known is a task's delivery, where its destination is known.
func (t *task) known() *notice.Delivery {
	if t.direct != nil {
		return &t.direct.draft.out[0].Delivery
	}
	return t.delivery
}

// planned adds to what becomes of a task that was handed over when its event
// was planned, since both are committed at once.
func (t *task) planned(settled *queue.Settlement) *queue.Settlement {
	if t.direct != nil {
		settled.Planned = t.direct.draft.now
	}
	return settled
}

// came is what a provider's answer says of its host.
func came(r channels.Result) throttle.Contact {
	switch {
	case r.BrokenOff():
		return throttle.Unclear
	case r.Unreached():
		return throttle.Silent
	case r.Overloaded():
		return throttle.Refusing
	}
	return throttle.Answered
}
