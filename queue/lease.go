package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// Lease is one entry that this consumer holds until it settles it, or until
// queue.visibility has passed without a renewal.
type Lease struct {
	Payload []byte
	// Lost is how many consumers held it before and were not heard of any
	// more: each may have sent it.
	Lost int

	entry string
	from  *stream // nil: the inbox
	at    time.Time
}

// Place is where an entry stands: two leases of the same place are of the same
// entry.
type Place struct{ stream, entry string }

// Place is where the leased entry stands.
func (l *Lease) Place() Place {
	if l.from == nil {
		return Place{entry: l.entry}
	}
	return Place{l.from.key, l.entry}
}

// Partition is the partition of the leased entry; -1 for the inbox.
func (l *Lease) Partition() int {
	if l.from == nil {
		return -1
	}
	return l.from.partition
}

// Reader reads one stage and lane in every partition under one consumer's
// name. It is for one goroutine.
type Reader struct {
	q        *Queue
	consumer string
	streams  []*stream
	// groups are the streams that one command may read together: all of them
	// on a single server, those of one slot on a cluster.
	groups [][]string
	byKey  map[string]*stream
	next   int // the group, and for Reclaim the stream, whose turn it is
}

// EventReader reads accepted events of one lane.
func (q *Queue) EventReader(consumer string, lane notice.Lane) *Reader {
	return q.newReader(consumer, stageEvents, lane)
}

// DeliveryReader reads deliveries of one channel and lane.
func (q *Queue) DeliveryReader(consumer string, c notice.Channel, lane notice.Lane) *Reader {
	return q.newReader(consumer, string(c), lane)
}

func (q *Queue) newReader(consumer, stage string, lane notice.Lane) *Reader {
	r := &Reader{q: q, consumer: consumer, byKey: map[string]*stream{}}
	for i := range q.streams {
		if s := &q.streams[i]; s.stage == stage && s.lane == lane {
			r.streams = append(r.streams, s)
			r.byKey[s.key] = s
		}
	}
	for _, s := range r.streams {
		if q.cluster || len(r.groups) == 0 {
			r.groups = append(r.groups, nil)
		}
		last := len(r.groups) - 1
		r.groups[last] = append(r.groups[last], s.key)
	}
	return r
}

// Read leases up to about room entries, waiting a second at most for the
// first. Missing streams and groups are made again.
func (r *Reader) Read(ctx context.Context, room int) ([]*Lease, error) {
	// On a cluster each slot is asked in turn; only a full round without work
	// may wait, and then in one slot at a time, so the wait is shared out.
	var out []*Lease
	for range r.groups {
		keys := r.groups[r.next%len(r.groups)]
		r.next++
		got, err := r.read(ctx, keys, ">", max(1, (room-len(out))/len(keys)), r.wait(len(out)))
		if err != nil {
			return out, r.q.recover(ctx, err)
		}
		if out = append(out, got...); len(out) >= room {
			break
		}
	}
	return out, nil
}

func (r *Reader) wait(have int) time.Duration {
	if have > 0 {
		return -1
	}
	return max(blockTime/time.Duration(len(r.groups)), 10*time.Millisecond)
}

// Own returns everything that this consumer holds by the server's account. It
// may be more than the consumer knows of: when the reply to a Read is lost, the
// entries are leased all the same.
func (r *Reader) Own(ctx context.Context) ([]*Lease, error) {
	var out []*Lease
	for _, keys := range r.groups {
		got, err := r.read(ctx, keys, "0", ownMost, -1)
		if err != nil {
			return out, r.q.recover(ctx, err)
		}
		out = append(out, got...)
	}
	return out, nil
}

// ownMost bounds one answer of Own for each stream; a consumer holds fewer.
const ownMost = 2048

// read reads entries that nobody holds (from ">"), or those that this consumer
// holds (from "0").
func (r *Reader) read(ctx context.Context, keys []string, from string, count int, block time.Duration) ([]*Lease, error) {
	streams := make([]string, 0, 2*len(keys))
	streams = append(streams, keys...)
	for range keys {
		streams = append(streams, from)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout+max(block, 0))
	defer cancel()
	found, err := r.q.readers.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: group, Consumer: r.consumer, Streams: streams, Count: int64(count), Block: block,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", keys[0], err)
	}
	now := r.q.now()
	var out []*Lease
	for _, s := range found {
		for _, m := range s.Messages {
			if m.Values != nil { // nil: deleted while it was held
				out = append(out, leaseOf(r.byKey[s.Stream], m, now))
			}
		}
	}
	return out, nil
}

func leaseOf(from *stream, m redis.XMessage, now time.Time) *Lease {
	payload, _ := m.Values["d"].(string)
	return &Lease{Payload: []byte(payload), entry: m.ID, from: from, at: now}
}

// Reclaim leases up to room entries whose consumers have not been heard of for
// queue.visibility, from one partition after the other. They may be this
// consumer's own, when it could not renew them in time.
func (r *Reader) Reclaim(ctx context.Context, room int) ([]*Lease, error) {
	var out []*Lease
	for range r.streams {
		s := r.streams[r.next%len(r.streams)]
		r.next++
		found, err := r.reclaim(ctx, s, room-len(out))
		if out = append(out, found...); err != nil {
			return out, r.q.recover(ctx, fmt.Errorf("reclaiming from %s: %w", s.key, err))
		}
		if len(out) >= room {
			break
		}
	}
	return out, nil
}

func (r *Reader) reclaim(ctx context.Context, s *stream, room int) ([]*Lease, error) {
	found, _, err := r.q.rdb.XAutoClaim(ctx, &redis.XAutoClaimArgs{
		Stream: s.key, Group: group, Consumer: r.consumer, MinIdle: r.q.cfg.Visibility.Std(), Start: "0", Count: int64(room),
	}).Result()
	if err != nil {
		return nil, err
	}
	now := r.q.now()
	var out []*Lease
	for _, m := range found {
		if m.Values != nil { // nil: settled while it was pending
			l := leaseOf(s, m, now)
			l.Lost = 1
			out = append(out, l)
		}
	}
	return out, r.countLost(ctx, s, out)
}

// countLost reads how often each entry was leased, of which the last time is
// ours. Without it, what kills every consumer that works it would be the first
// attempt for ever.
func (r *Reader) countLost(ctx context.Context, s *stream, leases []*Lease) error {
	if len(leases) == 0 {
		return nil
	}
	pipe := r.q.rdb.Pipeline()
	asked := make([]*redis.XPendingExtCmd, len(leases))
	for i, l := range leases {
		asked[i] = pipe.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: s.key, Group: group, Start: l.entry, End: l.entry, Count: 1})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for i, l := range leases {
		if found := asked[i].Val(); len(found) == 1 {
			l.Lost = max(1, int(found[0].RetryCount)-1)
		}
	}
	return nil
}

// Renew prolongs the leases by another queue.visibility, and returns those
// that are this consumer's no longer: another one has taken them over.
func (q *Queue) Renew(ctx context.Context, consumer string, leases []*Lease) (lost []*Lease, err error) {
	byStream := map[string]*renewal{}
	var calls []*call
	for _, l := range leases {
		key := q.keys.inbox()
		if l.from != nil {
			key = l.from.key
		}
		r := byStream[key]
		if r == nil {
			r = &renewal{call: call{script: q.scripts.renew, keys: []string{key}, args: []any{group, consumer}}}
			byStream[key] = r
			calls = append(calls, &r.call)
		}
		r.args = append(r.args, l.entry)
		r.leases = append(r.leases, l)
	}
	if len(calls) == 0 {
		return nil, nil
	}
	if err := q.runAll(ctx, calls); err != nil {
		return nil, err
	}
	for _, r := range byStream {
		held, err := ints(r.reply, len(r.leases))
		if err != nil {
			return nil, err
		}
		for i, l := range r.leases {
			if held[i] == 0 {
				lost = append(lost, l)
			}
		}
	}
	return lost, nil
}

// renewal is the part of a Renew that is about one stream.
type renewal struct {
	call
	leases []*Lease
}

// HeldSince is when the entry was leased.
func (l *Lease) HeldSince() time.Time { return l.at }

// Retire forgets a consumer that holds nothing any more; with an empty name
// all that have been silent for ten times queue.visibility.
func (q *Queue) Retire(ctx context.Context, consumer string) error {
	long := 10 * q.cfg.Visibility.Std().Milliseconds()
	calls := []*call{{script: q.scripts.retire, keys: []string{q.keys.inbox()}, args: []any{group, consumer, long}}}
	for _, s := range q.streams {
		calls = append(calls, &call{script: q.scripts.retire, keys: []string{s.key}, args: []any{group, consumer, long}})
	}
	return q.runAll(ctx, calls)
}
