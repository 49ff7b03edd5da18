package queue

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

const (
	// backlogEvery is how often the backlog is measured, and backlogSoonest how
	// soon again while much is admitted: between two measurements ingest can
	// overshoot queue.max_backlog by what it takes in that time.
	backlogEvery   = 500 * time.Millisecond
	backlogSoonest = 50 * time.Millisecond
)

// watchBacklog measures until ctx ends.
func (q *Queue) watchBacklog(ctx context.Context) {
	for q.awaitMeasurement(ctx) {
		b := &q.backlog
		entries, bytes := b.since.entries.Load(), b.since.bytes.Load()
		measured, counts, err := q.measure(ctx)
		if err != nil {
			continue // ingest finds out by itself that the store is gone
		}
		b.observe(measured, counts, q.now())
		b.since.entries.Add(-entries)
		b.since.bytes.Add(-bytes)
		b.soon.entries.Store(int64(q.roomLeft(&measured)/4 + 1))
		b.soon.bytes.Store(q.memoryLeft() / 8) // an entry takes more than its bytes
	}
}

// awaitMeasurement waits until it is time to measure again; false when ctx ends.
func (q *Queue) awaitMeasurement(ctx context.Context) bool {
	if !pause(ctx, backlogSoonest) {
		return false
	}
	t := time.NewTimer(backlogEvery - backlogSoonest)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-q.backlog.again:
		return true
	case <-ctx.Done():
		return false
	}
}

// roomLeft is how many admissions fill the part of whoever has the least room
// that it has any. Where nobody has, what is admitted is critical.
func (q *Queue) roomLeft(b *Backlog) int {
	weights := q.Weights()
	least := max(q.bounds.Load().MaxBacklog-b.Total, q.bounds.Load().MaxBacklog/headroom)
	for turn, n := range b.Turns {
		who := tenancy{turn, weights}
		if left := who.share(q.bounds.Load().MaxBacklog, &b.Turns) - n; n > 0 && left > 0 {
			least = min(least, left)
		}
	}
	return least
}

// measure asks the server for everything that Pressure goes by.
func (q *Queue) measure(ctx context.Context) (b Backlog, counts flow, err error) {
	q.tellDrained(ctx)
	counts, tenants, err := q.readMeta(ctx)
	if err != nil {
		return b, counts, err
	}
	q.turns.observe(tenants) // the server may have forgotten them
	if err := q.learnListed(ctx); err != nil {
		return b, counts, err
	}
	pipe := q.rdb.Pipeline()
	lengths := make([]*redis.IntCmd, len(q.streams))
	for i, s := range q.streams {
		lengths[i] = pipe.XLen(ctx, s.key)
	}
	parked := q.askParked(ctx, pipe)
	if _, err := pipe.Exec(ctx); err != nil {
		return b, counts, unavailable(err)
	}
	b = q.sum(lengths)
	b.Parked = parked.sum()
	q.measureMemory(ctx)
	return b, counts, nil
}

// sum adds the streams' lengths up.
func (q *Queue) sum(lengths []*redis.IntCmd) Backlog {
	b := Backlog{Lanes: map[notice.Lane]int{}}
	for i, s := range q.streams {
		n := int(lengths[i].Val())
		b.Total += n
		b.Turns[s.turn] += n
		b.Lanes[s.lane] += n
		b.flow[s.turn][laneIndex(s.lane)] += int64(n)
	}
	return b
}
