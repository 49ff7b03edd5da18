package queue

import (
	"context"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Parked is what is on no stream until its time has come, over all partitions.
type Parked struct {
	// Scheduled waits for a moment that was chosen beforehand: a send_at, the
	// end of quiet hours, a place under a cap.
	Scheduled int
	// Waiting waits for its provider: the next attempt, the end of a pause, room
	// at a busy host. Of those Turns are of the tenants of each turn.
	Waiting int
	Turns   [Turns]int
}

// Total is everything that is parked.
func (p *Parked) Total() int { return p.Scheduled + p.Waiting }

// Parked measures what is parked.
func (q *Queue) Parked(ctx context.Context) (Parked, error) {
	pipe := q.rdb.Pipeline()
	asked := q.askParked(ctx, pipe)
	if _, err := pipe.Exec(ctx); err != nil {
		return Parked{}, unavailable(err)
	}
	return asked.sum(), nil
}

// parkedReplies are of each partition.
type parkedReplies struct {
	scheduled, waiting []*redis.IntCmd
	turns              []*redis.MapStringStringCmd
}

func (q *Queue) askParked(ctx context.Context, pipe redis.Pipeliner) (asked parkedReplies) {
	for p := range q.cfg.Partitions {
		asked.scheduled = append(asked.scheduled, pipe.ZCard(ctx, q.keys.later(p)))
		asked.waiting = append(asked.waiting, pipe.ZCard(ctx, q.keys.waiting(p)))
		asked.turns = append(asked.turns, pipe.HGetAll(ctx, q.keys.waits(p)))
	}
	return asked
}

func (r *parkedReplies) sum() (out Parked) {
	for p := range r.scheduled {
		out.Scheduled += int(r.scheduled[p].Val())
		out.Waiting += int(r.waiting[p].Val())
		for of, text := range r.turns[p].Val() {
			turn, wrong := strconv.Atoi(of)
			n, _ := strconv.Atoi(text)
			if wrong == nil && turn >= 0 && turn < Turns {
				out.Turns[turn] += n
			}
		}
	}
	return out
}
