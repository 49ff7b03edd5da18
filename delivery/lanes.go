package delivery

import (
	"sync"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// laneWeights is how many entries of each lane go in one round in which every
// lane has work: the urgent first, and none starved.
var laneWeights = [...]int{16, 4, 1}

// lanes holds what was leased and is not worked yet, by lane. Each lane has
// room of its own, so that a full one holds up no other.
type lanes struct {
	mu      sync.Mutex
	filled  sync.Cond // something came, or closed
	drained sync.Cond // a lane has half its room again, or closed
	waiting [3][]*queue.Lease
	credit  [3]int
	room    int
	closed  bool
}

func newLanes(room int) *lanes {
	l := &lanes{room: room, credit: laneWeights}
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
	for !l.closed && len(l.waiting[lane]) > l.room/2 {
		l.drained.Wait()
	}
	if l.closed {
		return 0
	}
	return l.room - len(l.waiting[lane])
}

func (l *lanes) put(lane int, leases []*queue.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[lane] = append(l.waiting[lane], leases...)
	if len(leases) == 1 {
		l.filled.Signal()
		return
	}
	l.filled.Broadcast()
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
func (l *lanes) take() *queue.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.empty() {
		return nil
	}
	lane := l.turn()
	next := l.waiting[lane][0]
	l.waiting[lane][0] = nil
	l.waiting[lane] = l.waiting[lane][1:]
	if len(l.waiting[lane]) == l.room/2 {
		l.drained.Broadcast()
	}
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
func (l *lanes) close() []*queue.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.filled.Broadcast()
	l.drained.Broadcast()
	var rest []*queue.Lease
	for i := range l.waiting {
		rest = append(rest, l.waiting[i]...)
		l.waiting[i] = nil
	}
	return rest
}
