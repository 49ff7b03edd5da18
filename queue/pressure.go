package queue

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// backlogEvery is how often the backlog is measured; between two measurements
// ingest can overshoot queue.max_backlog by what it takes in that time.
const backlogEvery = 500 * time.Millisecond

// headroom is the part of queue.max_backlog that is kept for who has waited for
// nothing yet: bulk leaves so much of it to the rest, a tenant within its share
// may go beyond it by so much, and what is critical by twice as much.
const headroom = 8

// Backlog is how much waits on the streams, over all stages and partitions.
// What is parked until its time is not in it.
type Backlog struct {
	Total int
	Turns [Turns]int          // of the tenants of each turn
	Lanes map[notice.Lane]int // of each lane
}

// active is how many turns have anything, one of them counted whether it has or
// not.
func (b *Backlog) active(turn int) int {
	n := 0
	for i, length := range b.Turns {
		if length > 0 || i == turn {
			n++
		}
	}
	return n
}

// over is by how much the backlog is past what a tenant of a turn may add to on
// a lane; negative while there is room.
func (b *Backlog) over(turn int, lane notice.Lane, most int) int {
	beyond := most / headroom
	if lane == notice.LaneCritical {
		return b.Total - most - max(2*beyond, 1)
	}
	share := most / b.active(turn)
	if lane == notice.LaneBulk {
		share -= share / headroom
	}
	return max(b.Turns[turn]-share, b.Total-most-max(beyond, 1))
}

// backlog is the last measurement of the streams.
type backlog struct {
	mu   sync.Mutex
	now  Backlog
	rate float64 // entries a second that the backlog shrinks by; ≤ 0 when it grows
	at   time.Time
}

// Pressure reports whether the backlog is past what queue.max_backlog leaves a
// tenant on a lane, and when it is worth trying again. A tenant alone may fill
// it. Where several have something waiting each may fill its part, so that
// whoever floods is refused before anybody else; bulk stops an eighth before,
// and what is critical goes on until a quarter more than all is waiting.
func (q *Queue) Pressure(tenant string, lane notice.Lane) (retryAfter time.Duration, full bool) {
	turn := q.turns.guess(tenant)
	q.backlog.mu.Lock()
	defer q.backlog.mu.Unlock()
	over := q.backlog.now.over(turn, lane, q.cfg.MaxBacklog)
	if over < 0 {
		return 0, false
	}
	return drainTime(over, q.backlog.rate), true
}

// Backlog is what waited when it was last measured, half a second ago at most.
func (q *Queue) Backlog() Backlog {
	q.backlog.mu.Lock()
	defer q.backlog.mu.Unlock()
	return q.backlog.now
}

// drainTime is how long the backlog takes to shrink by over, between a second
// and a minute.
func drainTime(over int, rate float64) time.Duration {
	const unknown, shortest, longest = 5 * time.Second, time.Second, time.Minute
	if rate <= 0 {
		return unknown
	}
	return min(max(time.Duration(float64(over)/rate*float64(time.Second)), shortest), longest)
}

func (q *Queue) watchBacklog(ctx context.Context) {
	for pause(ctx, backlogEvery) {
		if err := q.observeTenants(ctx); err != nil {
			continue // ingest finds out by itself that the store is gone
		}
		lengths, err := q.lengths(ctx)
		if err != nil {
			continue
		}
		q.backlog.observe(q.sum(lengths), q.now())
	}
}

// observeTenants notices when the server has forgotten the tenants' turns.
func (q *Queue) observeTenants(ctx context.Context) error {
	seen, err := q.rdb.HGet(ctx, q.keys.meta(), "tenants").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return unavailable(err)
	}
	n, _ := strconv.Atoi(seen) // none: 0
	q.turns.observe(n)
	return nil
}

// sum adds the streams' lengths up.
func (q *Queue) sum(lengths []int64) Backlog {
	b := Backlog{Lanes: map[notice.Lane]int{}}
	for i, s := range q.streams {
		n := int(lengths[i])
		b.Total += n
		b.Turns[s.turn] += n
		b.Lanes[s.lane] += n
	}
	return b
}

func (b *backlog) observe(measured Backlog, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if dt := now.Sub(b.at).Seconds(); dt > 0 && !b.at.IsZero() {
		b.rate = 0.7*b.rate + 0.3*float64(b.now.Total-measured.Total)/dt
	}
	b.now, b.at = measured, now
}
