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
}

// lanes holds what was leased and is not worked yet, by lane. Each lane has
// room of its own, so that a full one holds up no other, and so have what comes
// by the stream and what is handed over directly.
type lanes struct {
	mu      sync.Mutex
	filled  sync.Cond // something came, or closed
	drained sync.Cond // a lane has half its room again, or closed
	waiting [3][]*task
	handed  [3]int           // how many of those waiting were handed over directly
	freed   [3]chan struct{} // closed when there is room again for what is handed over
	credit  [3]int
	room    int
	closed  bool
}

func newLanes(room int) *lanes {
	l := &lanes{room: room, credit: laneWeights}
	for i := range l.freed {
		l.freed[i] = make(chan struct{})
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

// awaitRoom waits until a lane has at least half of its room free, so that
// reads stay large, and returns how much is free; 0 when closed.
func (l *lanes) awaitRoom(lane int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed && l.streamed(lane) > l.room/2 {
		l.drained.Wait()
	}
	if l.closed {
		return 0
	}
	return l.room - l.streamed(lane)
}

// streamed is how many of a lane's tasks came by the stream.
func (l *lanes) streamed(lane int) int { return len(l.waiting[lane]) - l.handed[lane] }

// put adds what was leased from the stream.
func (l *lanes) put(lane int, leases []*queue.Lease) {
	tasks := make([]*task, len(leases))
	for i, lease := range leases {
		tasks[i] = &task{lease: lease}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(lane, tasks)
}

func (l *lanes) append(lane int, tasks []*task) {
	l.waiting[lane] = append(l.waiting[lane], tasks...)
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
	n := min(len(tasks), max(0, l.room/2-l.handed[lane]))
	if n > 0 {
		l.handed[lane] += n
		l.append(lane, tasks[:n])
	}
	return tasks[n:], l.freed[lane]
}

// stale takes back what was handed over before a time and is not begun.
func (l *lanes) stale(before time.Time) (out []*task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.waiting {
		if l.handed[i] == 0 {
			continue
		}
		l.waiting[i] = slices.DeleteFunc(l.waiting[i], func(t *task) bool {
			old := t.direct != nil && t.direct.at.Before(before)
			if old {
				out = append(out, t)
				l.leave(i, t)
			}
			return old
		})
	}
	return out
}

// leave notes that a task waits no more.
func (l *lanes) leave(lane int, t *task) {
	if t.direct == nil {
		if l.streamed(lane) == l.room/2 {
			l.drained.Broadcast()
		}
		return
	}
	l.handed[lane]--
	if l.handed[lane] == l.room/4 {
		close(l.freed[lane])
		l.freed[lane] = make(chan struct{})
	}
}

// await waits until there is work; false when closed.
func (l *lanes) await() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed && l.empty() {
		l.filled.Wait()
	}
	return !l.closed
}

func (l *lanes) empty() bool {
	return len(l.waiting[0])+len(l.waiting[1])+len(l.waiting[2]) == 0
}

// take returns the entry whose turn it is; nil when there is none, or closed.
func (l *lanes) take() *task {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.empty() {
		return nil
	}
	lane := l.turn()
	next := l.waiting[lane][0]
	l.waiting[lane][0] = nil
	l.waiting[lane] = l.waiting[lane][1:]
	l.leave(lane, next)
	return next
}

// turn is the most urgent lane that has work and credit left. When none has
// both, a new round begins.
func (l *lanes) turn() int {
	for {
		for i := range l.waiting {
			if len(l.waiting[i]) > 0 && l.credit[i] > 0 {
				l.credit[i]--
				return i
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
	for i := range l.waiting {
		rest = append(rest, l.waiting[i]...)
		l.waiting[i], l.handed[i] = nil, 0
		close(l.freed[i])
		l.freed[i] = make(chan struct{})
	}
	return rest
}
