package queue

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// Depth is how much waits on one stage and lane, over all partitions.
type Depth struct {
	Stage  string // "events", or a channel
	Lane   notice.Lane
	Length int
	Oldest time.Duration // the age of the oldest entry on the stream
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
