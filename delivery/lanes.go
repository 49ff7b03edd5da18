package delivery

import (
	"slices"
	"sync"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// laneWeights is how many entries of each lane go in one round in which every
// lane has work: the urgent first, and none starved.
var laneWeights = [...]int{16, 4, 1}

// task is a delivery that waits to be sent.
type task struct {
	// lease is of the delivery's entry on its channel's stream; of a delivery
	// that was handed over directly, of its event's.
	lease  *queue.Lease
	direct *handed // nil: it came by its channel's stream
	lane   int     // where it waited, by laneIndex
	turn   int     // its tenant's, of the lease
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
	credit  [3]int
	room    int
	slots   slots
	closed  bool
}

// lane is what waits in one lane.
type lane struct {
	turns  [queue.Turns]line
	served int           // the turn that was served last
	freed  chan struct{} // closed when a turn has room again for what is handed over
}

// line is what waits in one turn of a lane.
type line struct {
	waiting []*task
	handed  int // how many of them were handed over directly
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
	l.filled.L, l.drained.L = &l.mu, &l.mu
	return l
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
func (l *lanes) put(lane int, leases []*queue.Lease) {
	tasks := make([]*task, len(leases))
	for i, lease := range leases {
		tasks[i] = &task{lease: lease, turn: lease.Turn()}
	}
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

// stale takes back what was handed over before a time and is not begun.
func (l *lanes) stale(before time.Time) []*task {
	return l.remove(func(t *task) bool { return t.direct != nil && t.direct.at.Before(before) })
}

// remove takes back what is not begun and is as asked for.
func (l *lanes) remove(which func(*task) bool) (out []*task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.lanes {
		for turn := range l.lanes[i].turns {
			at := &l.lanes[i].turns[turn]
			at.waiting = slices.DeleteFunc(at.waiting, func(t *task) bool {
				if !which(t) {
					return false
				}
				out = append(out, t)
				return true
			})
		}
	}
	for _, t := range out {
		l.leave(t)
	}
	return out
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
	for i := range queue.Turns {
		turn := (in.served + 1 + i) % queue.Turns
		if len(in.turns[turn].waiting) > 0 && l.mayBegin(lane, turn) {
			return turn
		}
	}
	return -1
}

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
			if other != turn && len(l.lanes[i].turns[other].waiting) > 0 {
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
	if l.closed || !l.ready() {
		return nil
	}
	lane, turn := l.turn()
	in := &l.lanes[lane]
	in.served = turn
	at := &in.turns[turn]
	next := at.waiting[0]
	at.waiting[0] = nil
	at.waiting = at.waiting[1:]
	l.slots.begin(lane, turn)
	l.leave(next)
	return next
}

// done says that a task that was taken is worked.
func (l *lanes) done(t *task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots.end(t.lane, t.turn)
	l.filled.Signal()
}

// turn is the most urgent lane that has work and credit left, and the turn in
// it. When none has both, a new round begins. There must be work.
func (l *lanes) turn() (lane, turn int) {
	for {
		for i := range l.lanes {
			if l.credit[i] == 0 {
				continue
			}
			if turn := l.nextTurn(i); turn >= 0 {
				l.credit[i]--
				return i, turn
			}
		}
		l.credit = laneWeights
	}
}

// close wakes everybody who waits, and returns what nobody took.
func (l *lanes) close() []*task {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.filled.Broadcast()
	l.drained.Broadcast()
	var rest []*task
	for i := range l.lanes {
		in := &l.lanes[i]
		for turn := range in.turns {
			rest = append(rest, in.turns[turn].waiting...)
			in.turns[turn] = line{}
		}
		close(in.freed)
		in.freed = make(chan struct{})
	}
	return rest
}
