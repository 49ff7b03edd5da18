package queue

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// headroom is the part of a bound that is kept for who has waited for nothing
// yet: bulk leaves so much of it to the rest, a tenant within its share may go
// beyond it by so much, and what is critical by twice as much.
const headroom = 8

// Backlog is how much waits on the streams, over all stages and partitions, and
// beside them.
type Backlog struct {
	Total  int                 // on the streams
	Turns  [Turns]int          // of those, of the tenants of each turn
	Lanes  map[notice.Lane]int // of those, of each lane
	Parked Parked

	flow flow // of each turn and lane
}

// Refusal is why a notification is not taken at present.
type Refusal struct {
	RetryAfter time.Duration // when it is likely to be taken; each caller is told another moment
	Why        string        // in words for the caller
}

// tenancy is what a caller has of what all share: its turn, the turns' weights.
type tenancy struct {
	turn    int
	weights [Turns]int
}

// share is a tenant's part of a bound: by weight among the turns that have
// anything, its own counted whether it has or not.
func (t *tenancy) share(most int, held *[Turns]int) int {
	sum := 0
	for i, n := range held {
		if n > 0 || i == t.turn {
			sum += t.weights[i]
		}
	}
	// In this order: a bound may be as large as an int.
	return most/sum*t.weights[t.turn] + most%sum*t.weights[t.turn]/sum
}

// excess is by how much a bound is passed, by whose entries.
type excess struct {
	entries int
	turn    int // everyTurn: of all tenants together
}

// over is by how much the held entries are past what a tenant may add to on a
// lane; negative while there is room.
func (t *tenancy) over(held *[Turns]int, total int, lane notice.Lane, most int) excess {
	beyond := most / headroom
	if lane == notice.LaneCritical {
		return excess{total - most - max(2*beyond, 1), everyTurn}
	}
	share := t.share(most, held)
	if lane == notice.LaneBulk {
		share -= share / headroom
	}
	own, all := excess{held[t.turn] - share, t.turn}, excess{total - most - max(beyond, 1), everyTurn}
	if all.entries > own.entries {
		return all
	}
	return own
}

// backlog is what was measured last.
type backlog struct {
	mu     sync.Mutex
	now    Backlog
	drain  drain
	parked parkedTrend
	stores []store // of each partition, or one for all
	tight  time.Time
	since  intake // admitted since the measurement
	soon   intake // at which to measure again at once
	again  chan struct{}
}

// intake is how much was admitted.
type intake struct{ entries, bytes atomic.Int64 }

// parkedTrend is since when what waits for providers has not become less.
type parkedTrend struct {
	last  int
	moved time.Time
}

// Pressure reports why a tenant's notification is not taken at present, and when
// it is worth trying again: the backlog, what is parked, or Redis' memory is past
// what the configuration leaves to that tenant on that lane.
//
// A tenant alone may fill a bound. Where several have something waiting each may
// fill its part, by weight, so that whoever floods is refused before anybody
// else; bulk stops an eighth before, and what is critical goes on until a quarter
// more than all is waiting. It never waits: it goes by a measurement that is half
// a second old at most, and younger while much is admitted.
func (q *Queue) Pressure(tenant string, n *notice.Notification) (Refusal, bool) {
	lane := n.Priority
	if lane == "" {
		lane = notice.LaneNormal
	}
	who := q.tenancyOf(tenant)
	now := q.now()
	b := &q.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	wait, why := b.refuse(q, &who, lane, n.SendAt.After(now), now)
	if why == "" {
		wait, why = q.memoryPressure(tenant, n, lane, now)
	}
	if why == "" {
		return Refusal{}, false
	}
	return Refusal{RetryAfter: q.spread(wait), Why: why}, true
}

// refuse says why not, and how long that is likely to be so; "" when it is not.
func (b *backlog) refuse(q *Queue, who *tenancy, lane notice.Lane, scheduled bool, now time.Time) (time.Duration, string) {
	if over := who.over(&b.now.Turns, b.now.Total, lane, q.bounds.Load().MaxBacklog); over.entries >= 0 {
		return b.drain.wait(over.entries+1, over.turn, lane, now), fullWords(over, lane, "queue.max_backlog")
	}
	parked := &b.now.Parked
	if most := q.bounds.Load().MaxWaiting; most > 0 {
		if over := who.over(&parked.Turns, parked.Waiting, lane, most); over.entries >= 0 {
			return growing(now.Sub(b.parked.moved)), fullWords(over, lane, "queue.max_waiting") + ": its providers are away or slow"
		}
	}
	if most := q.bounds.Load().MaxScheduled; scheduled && most > 0 && parked.Scheduled >= most {
		return stalledRetry, "too much is scheduled for later (queue.max_scheduled)"
	}
	return 0, ""
}

func fullWords(over excess, lane notice.Lane, bound string) string {
	if over.turn == everyTurn {
		return fmt.Sprintf("the queue is full, for the lane %q (%s)", lane, bound)
	}
	return fmt.Sprintf("your part of the queue is full, for the lane %q (%s)", lane, bound)
}

// spread gives each caller another moment, up to a quarter later and a second at
// least, so that they do not all come back at once.
func (q *Queue) spread(wait time.Duration) time.Duration {
	return wait + time.Duration(q.random()*float64(max(wait/4, time.Second)))
}

// Backlog is what waited when it was last measured, half a second ago at most.
func (q *Queue) Backlog() Backlog {
	q.backlog.mu.Lock()
	defer q.backlog.mu.Unlock()
	return q.backlog.now
}

// observe takes a measurement in.
func (b *backlog) observe(measured Backlog, counts flow, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if waiting := measured.Parked.Waiting; waiting < b.parked.last || waiting == 0 || b.parked.moved.IsZero() {
		b.parked.moved = now
	}
	b.parked.last = measured.Parked.Waiting
	b.now = measured
	b.drain.observe(counts, measured.flow, now)
}

// admitted counts admissions. When they may have filled what room there was, it
// has the backlog measured at once.
func (b *backlog) admitted(entries, bytes int) {
	if entries == 0 {
		return
	}
	e, n := b.since.entries.Add(int64(entries)), b.since.bytes.Add(int64(bytes))
	if e < b.soon.entries.Load() && n < b.soon.bytes.Load() {
		return
	}
	select {
	case b.again <- struct{}{}:
	default: // about to be
	}
}
