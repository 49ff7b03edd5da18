package delivery

import (
	"slices"
	"sync"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/throttle"
)

// laneWeights is how many entries of each lane go in one round in which every
// lane has work: the urgent first, and none starved.
var laneWeights = credits{16, 4, 1}

// credits are how many of each lane may still go in a round.
type credits [3]int

// pick spends a credit of the most urgent lane that has work and credit left.
// When none has both, a new round begins. There must be work.
func (c *credits) pick(hasWork func(lane int) bool) int {
	for {
		for lane := range c {
			if c[lane] > 0 && hasWork(lane) {
				c[lane]--
				return lane
			}
		}
		*c = laneWeights
	}
}

// task is a delivery that waits to be sent.
type task struct {
	// lease is of the delivery's entry on its channel's stream; of a delivery
	// that was handed over directly, of its event's.
	lease  *queue.Lease
	direct *handed // nil: it came by its channel's stream
	lane   int     // where it waited, by laneIndex
	turn   int     // its tenant's, of the lease

	// delivery is the lease's, where its destination had to be known before its
	// turn came; nil: it is decoded then.
	delivery *notice.Delivery
	dest     string           // empty: the channel has one destination, or it cannot be sent
	names    throttle.Names   // that it is counted by
	via      string           // the relay that was chosen; empty: none was
	way                       // pinned; zero: not asked for a place yet
	placed   bool             // it has a place there, and the permits that it needs
	permit   time.Time        // when it got those; zero: it needs none
	rated    bool             // what it lacked last was a permit
	took     time.Duration    // how long the provider took to answer
	came     throttle.Contact // what that said of the destination
	barred   putOff           // its destination is to be left alone, which was heard after it got its place
}

// lanes holds what was leased and is not worked yet, by lane and by turn, and
// says what may be begun. Each turn has room of its own in each lane, so that a
// tenant's flood fills only its own, and a full one holds up no other; so have
// what comes by the stream and what is handed over directly.
type lanes struct {
	mu      sync.Mutex
	filled  sync.Cond // something came, a slot came free, or closed
	drained sync.Cond // a turn has half its room again, or closed
	lanes   [3]lane
	credit  credits
	room    int
	slots   slots
	aside   aside
	refused sync.Cond // something was put off, or closed
	closed  bool
}

// lane is what waits in one lane.
type lane struct {
	turns  [queue.Turns]line
	served rotation
	freed  chan struct{} // closed when a turn has room again for what is handed over
}

// line is what waits in one turn of a lane.
type line struct {
	resumed []*task // were set aside, and have a place at their destination now
	waiting []*task
	handed  int // how many of them were handed over directly
}

// empty reports whether nothing is in a line.
func (t *line) empty() bool { return len(t.resumed)+len(t.waiting) == 0 }

// pop takes the first off a line, and reports whether it had been set aside.
func (t *line) pop() (next *task, resumed bool) {
	from := &t.waiting
	if len(t.resumed) > 0 {
		from, resumed = &t.resumed, true
	}
	next = (*from)[0]
	(*from)[0] = nil
	*from = (*from)[1:]
	return next, resumed
}

// streamed is how many of a line's tasks came by the stream.
func (t *line) streamed() int { return len(t.waiting) - t.handed }

// newLanes makes lanes with room for so many tasks in each turn of each, of
// which slots are worked at a time; reserved of those are kept for critical
// ones.
func newLanes(room, slots, reserved int) *lanes {
	l := &lanes{room: room, credit: laneWeights, slots: newSlots(slots, reserved)}
	for i := range l.lanes {
		l.lanes[i].freed = make(chan struct{})
	}
	l.aside = aside{most: room, lines: map[way]*asideLine{}, hurry: make(chan struct{}, 1)}
	l.filled.L, l.drained.L, l.refused.L = &l.mu, &l.mu, &l.mu
	return l
}

// resize changes how many slots there are, and how much room. What is beyond
// them goes on.
func (l *lanes) resize(room, slots, reserved int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room, l.aside.most = room, room
	l.slots.resize(slots, reserved)
	if l.aside.places != nil {
		l.aside.places.Resize(ordinarySlots(slots, reserved))
	}
	for i := range l.lanes {
		close(l.lanes[i].freed)
		l.lanes[i].freed = make(chan struct{})
	}
	l.filled.Broadcast()
	l.drained.Broadcast()
}

// weighTurns gives tenants' turns their weights.
func (l *lanes) weighTurns(w weigh) { l.slots.weights, l.aside.weights = w, w }

// divide bounds what each destination has in flight, with as much room as a
// turn has for those that wait for one.
func (l *lanes) divide(places *throttle.Destinations) {
	l.aside.places = places
}

func laneIndex(lane notice.Lane) int {
	for i, l := range notice.Lanes() {
		if l == lane {
			return i
		}
	}
	return 1
}

// awaitRoom waits until a turn of a lane has at least half of its room free, so
// that reads stay large, and returns how much each such turn has; false when
// closed.
func (l *lanes) awaitRoom(lane int) (queue.Room, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed {
		if room := l.roomIn(lane); room != (queue.Room{}) {
			return room, true
		}
		l.drained.Wait()
	}
	return queue.Room{}, false
}

// roomIn is how much each turn of a lane may be read, none where less than half
// is free. The room is shared out among the turns that have something waiting:
// what one consumer holds, no other can work.
func (l *lanes) roomIn(lane int) (out queue.Room) {
	turns := &l.lanes[lane].turns
	busy := 0
	for i := range turns {
		if turns[i].streamed() > 0 {
			busy++
		}
	}
	for i := range turns {
		share := l.room / max(busy, 1)
		if have := turns[i].streamed(); have <= share/2 {
			out[i] = share - have
		}
	}
	return out
}

// put adds what was leased from the stream.
func (l *lanes) put(lane int, tasks []*task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(lane, tasks)
}

func (l *lanes) append(lane int, tasks []*task) {
	for _, t := range tasks {
		t.lane = lane
		at := &l.lanes[lane].turns[t.turn]
		at.waiting = append(at.waiting, t)
	}
	if len(tasks) == 1 {
		l.filled.Signal()
		return
	}
	l.filled.Broadcast()
}

// offer takes as much of what is to be handed over as there is room for now,
// half as much as for what comes by the stream, so that neither keeps the other
// out. It returns the rest, and what is closed when there is room again.
func (l *lanes) offer(lane int, tasks []*task) (rest []*task, freed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return tasks, nil
	}
	into := &l.lanes[lane]
	var taken []*task
	for _, t := range tasks {
		t.turn = t.lease.Turn()
		if into.turns[t.turn].handed >= l.room/2 {
			rest = append(rest, t)
			continue
		}
		into.turns[t.turn].handed++
		taken = append(taken, t)
	}
	if len(taken) > 0 {
		l.append(lane, taken)
	}
	return rest, into.freed
}

// stale takes back what was handed over before a time and is not begun. What
// was set aside for want of a place at its destination is left there: it would
// come back by the stream only to be set aside again.
func (l *lanes) stale(before time.Time) []*task {
	return l.remove(func(t *task) bool { return t.direct != nil && t.way == (way{}) && t.direct.at.Before(before) })
}

// remove takes back what is not begun and is as asked for.
func (l *lanes) remove(which func(*task) bool) (out []*task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.lanes {
		for turn := range l.lanes[i].turns {
			at := &l.lanes[i].turns[turn]
			at.waiting, out = without(at.waiting, which, out)
		}
	}
	for _, t := range out {
		l.leave(t)
	}
	for i := range l.lanes {
		for turn := range l.lanes[i].turns {
			at := &l.lanes[i].turns[turn]
			at.resumed, out = without(at.resumed, which, out)
		}
	}
	out = l.aside.remove(which, out)
	for _, t := range out {
		l.aside.abandon(t)
	}
	return out
}

// without takes what is as asked for out of tasks, and appends it to out.
func without(tasks []*task, which func(*task) bool, out []*task) (rest, taken []*task) {
	rest = slices.DeleteFunc(tasks, func(t *task) bool {
		if !which(t) {
			return false
		}
		out = append(out, t)
		return true
	})
	return rest, out
}

// leave notes that a task, taken off its line, waits no more.
func (l *lanes) leave(t *task) {
	in := &l.lanes[t.lane]
	at := &in.turns[t.turn]
	if t.direct == nil {
		// The share of the others grows as well when this was its turn's last.
		if n := at.streamed(); n == 0 || l.roomIn(t.lane)[t.turn] > 0 {
			l.drained.Broadcast()
		}
		return
	}
	at.handed--
	if at.handed == l.room/4 {
		close(in.freed)
		in.freed = make(chan struct{})
	}
}

// await waits until there is work that may be begun; false when closed.
func (l *lanes) await() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed && !l.ready() {
		l.filled.Wait()
	}
	return !l.closed
}

// ready reports whether anything may be begun.
func (l *lanes) ready() bool {
	for i := range l.lanes {
		if l.nextTurn(i) >= 0 {
			return true
		}
	}
	return false
}

// nextTurn is the turn of a lane whose task may be begun next, after the one
// that was served last; -1 when there is none.
func (l *lanes) nextTurn(lane int) int {
	in := &l.lanes[lane]
	return in.served.next(func(turn int) bool {
		return !in.turns[turn].empty() && l.mayBegin(lane, turn) && l.firstMayGo(lane, turn)
	})
}

// firstMayGo reports whether the first of a turn has a place at its
// destination; those that have none are set aside, or put off, before it.
func (l *lanes) firstMayGo(lane, turn int) bool {
	at := &l.lanes[lane].turns[turn]
	for len(at.resumed) == 0 && len(at.waiting) > 0 {
		switch l.aside.admit(at.waiting[0], l.free(lane)) {
		case goes:
			return true
		case stays:
			return false
		}
		away, _ := at.pop()
		l.leave(away)
		if len(l.aside.putOff) > 0 {
			l.refused.Signal()
		}
	}
	return len(at.resumed) > 0
}

// free is how many slots a lane may use that nobody uses or is about to.
func (l *lanes) free(lane int) int { return l.slots.unused(lane) - l.aside.reserved }

// mayBegin reports whether a slot is there for a task of a lane and turn.
func (l *lanes) mayBegin(lane, turn int) bool {
	switch l.slots.free(lane, turn) {
	case yes:
		return true
	case unlessOthersWait:
		return !l.othersWait(lane, turn)
	}
	return false
}

// othersWait reports whether another turn has something waiting that would use
// the same slots.
func (l *lanes) othersWait(lane, turn int) bool {
	for i := range l.lanes {
		if classOf(i) != classOf(lane) {
			continue
		}
		for other := range l.lanes[i].turns {
			if other != turn && !l.lanes[i].turns[other].empty() {
				return true
			}
		}
	}
	return false
}

// take begins the task whose turn it is; nil when nothing may be begun, or
// closed. Whoever takes one says done.
func (l *lanes) take() *task {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.aside.ahead > 0 {
		l.goOn(l.aside.resumeOthers(neighbours, l.free(ordinaryLane)))
	}
	for !l.closed && l.ready() {
		lane, turn := l.turn()
		in := &l.lanes[lane]
		in.served.serve(turn, l.slots.weights)
		next, resumed := in.turns[turn].pop()
		if !resumed {
			l.leave(next)
		}
		if !l.aside.begin(next) {
			continue
		}
		l.slots.begin(lane, turn)
		return next
	}
	return nil
}

// answered says what came of a task whose destination was asked for a place,
// which somebody else may have now.
func (l *lanes) answered(t *task) {
	if t.way == (way{}) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// The slot that it holds will be free in a moment.
	l.goOn(l.aside.leave(t, l.free(ordinaryLane)+1))
}

// tend looks at what is set aside, and reports whether to go on doing so.
func (l *lanes) tend() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.goOn(l.aside.tend(l.free(ordinaryLane)))
		l.filled.Signal() // what waited for a moment may not be worth it any more
	}
	return !l.closed
}

// goOn lets what was set aside begin before everything else of its turn.
func (l *lanes) goOn(tasks []*task) {
	for _, t := range tasks {
		at := &l.lanes[t.lane].turns[t.turn]
		at.resumed = append(at.resumed, t)
		l.filled.Signal()
	}
	if len(l.aside.putOff) > 0 {
		l.refused.Signal()
	}
}

// awaitPutOff waits until there is something to put off, and returns it with
// how long each has to stay away; nil when closed.
func (l *lanes) awaitPutOff() (tasks []*task, waits []putOff) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed && len(l.aside.putOff) == 0 {
		l.refused.Wait()
	}
	if l.closed {
		return nil, nil // close has them
	}
	tasks, l.aside.putOff = l.aside.putOff, nil
	for _, t := range tasks {
		waits = append(waits, l.aside.waitOf(t))
		l.aside.abandon(t)
	}
	l.filled.Signal() // there is room for more
	return tasks, waits
}

// putOff is for how long a delivery is, and why.
type putOff struct {
	wait        time.Duration
	code, words string
	scope       string      // what held it back, for metrics
	label       queue.Label // what it may be called back by; 0: nothing
}

// done says that a task that was taken is worked.
func (l *lanes) done(t *task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots.end(t.lane, t.turn)
	l.filled.Signal()
}

// turn is the lane whose turn it is, and the turn in it. There must be work.
func (l *lanes) turn() (lane, turn int) {
	lane = l.credit.pick(func(lane int) bool {
		turn = l.nextTurn(lane)
		return turn >= 0
	})
	return lane, turn
}

// close wakes everybody who waits, and returns what nobody took.
func (l *lanes) close() []*task {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.filled.Broadcast()
	l.drained.Broadcast()
	l.refused.Broadcast()
	rest := l.aside.clear()
	for i := range l.lanes {
		in := &l.lanes[i]
		for turn := range in.turns {
			rest = append(append(rest, in.turns[turn].resumed...), in.turns[turn].waiting...)
			in.turns[turn] = line{}
		}
		close(in.freed)
		in.freed = make(chan struct{})
	}
	for _, t := range rest {
		l.aside.abandon(t)
	}
	return rest
}
