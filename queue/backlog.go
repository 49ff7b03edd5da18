package queue

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// backlogEvery is how often the backlog is measured; between two measurements
// ingest can overshoot queue.max_backlog by what it takes in that time.
const backlogEvery = 500 * time.Millisecond

// Depth is how much waits on one stage and lane, over all partitions.
type Depth struct {
	Stage  string // "events", or a channel
	Lane   notice.Lane
	Length int
	Oldest time.Duration // the age of the oldest entry on the stream
}

// backlog is the last measurement of the streams.
type backlog struct {
	mu    sync.Mutex
	total int
	rate  float64 // entries a second that the backlog shrinks by; ≤ 0 when it grows
	at    time.Time
}

// Pressure reports whether the backlog is past queue.max_backlog, and when it
// is worth trying again.
func (q *Queue) Pressure(notice.Lane) (retryAfter time.Duration, full bool) {
	q.backlog.mu.Lock()
	defer q.backlog.mu.Unlock()
	over := q.backlog.total - q.cfg.MaxBacklog
	if over < 0 {
		return 0, false
	}
	return drainTime(over, q.backlog.rate), true
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
		lengths, err := q.lengths(ctx)
		if err != nil {
			continue // ingest finds out by itself that the store is gone
		}
		total := 0
		for _, n := range lengths {
			total += int(n)
		}
		q.backlog.observe(total, q.now())
	}
}

func (b *backlog) observe(total int, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if dt := now.Sub(b.at).Seconds(); dt > 0 && !b.at.IsZero() {
		b.rate = 0.7*b.rate + 0.3*float64(b.total-total)/dt
	}
	b.total, b.at = total, now
}

// lengths is the length of every stream, in the order of q.streams.
func (q *Queue) lengths(ctx context.Context) ([]int64, error) {
	pipe := q.rdb.Pipeline()
	cmds := make([]*redis.IntCmd, len(q.streams))
	for i, s := range q.streams {
		cmds[i] = pipe.XLen(ctx, s.key)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, unavailable(err)
	}
	out := make([]int64, len(cmds))
	for i, c := range cmds {
		out[i] = c.Val()
	}
	return out, nil
}

// Depths measures every stage and lane.
func (q *Queue) Depths(ctx context.Context) ([]Depth, error) {
	lengths, err := q.lengths(ctx)
	if err != nil {
		return nil, err
	}
	pipe := q.rdb.Pipeline()
	oldest := make([]*redis.XMessageSliceCmd, len(q.streams))
	for i, s := range q.streams {
		if lengths[i] > 0 {
			oldest[i] = pipe.XRangeN(ctx, s.key, "-", "+", 1)
		}
	}
	if pipe.Len() > 0 {
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, unavailable(err)
		}
	}
	return q.depths(lengths, oldest), nil
}

func (q *Queue) depths(lengths []int64, oldest []*redis.XMessageSliceCmd) []Depth {
	type key struct {
		stage string
		lane  notice.Lane
	}
	now := q.now()
	at := map[key]int{}
	var out []Depth
	for i, s := range q.streams {
		k := key{s.stage, s.lane}
		if _, ok := at[k]; !ok {
			at[k] = len(out)
			out = append(out, Depth{Stage: s.stage, Lane: s.lane})
		}
		d := &out[at[k]]
		d.Length += int(lengths[i])
		if oldest[i] != nil && len(oldest[i].Val()) > 0 {
			d.Oldest = max(d.Oldest, now.Sub(entryTime(oldest[i].Val()[0].ID)))
		}
	}
	return out
}

// DeadCounts is the number of dead letters by channel.
func (q *Queue) DeadCounts(ctx context.Context) (map[notice.Channel]int, error) {
	out := map[notice.Channel]int{}
	err := q.walkDead(ctx, DeadFilter{}, func(page []Dead) error {
		for _, d := range page {
			out[d.Channel]++
		}
		return nil
	})
	return out, err
}
