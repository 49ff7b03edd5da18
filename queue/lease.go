package queue

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
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

// Turn is the turn of the entry's tenant, below Turns; 0 for the inbox.
func (l *Lease) Turn() int {
	if l.from == nil {
		return 0
	}
	return l.from.turn
}

// Partition is the partition of the leased entry; -1 for the inbox.
func (l *Lease) Partition() int {
	if l.from == nil {
		return -1
	}
	return l.from.partition
}

func leaseOf(from *stream, m redis.XMessage, now time.Time) *Lease {
	payload, _ := m.Values["d"].(string)
	return &Lease{Payload: []byte(payload), entry: m.ID, from: from, at: now}
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
// that are this consumer's no longer: another one has taken them over. An error
// is a *PartError, of those of which neither is known.
func (q *Queue) Renew(ctx context.Context, consumer string, leases []*Lease) (lost []*Lease, err error) {
	byStream := map[string]*renewal{}
	var calls []*call
	for i, l := range leases {
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
		r.members = append(r.members, i)
	}
	if len(calls) == 0 {
		return nil, nil
	}
	_ = q.runAll(ctx, calls) // each call has its own error
	var failed *PartError
	for _, r := range byStream {
		held, err := r.answers(len(r.members))
		if err != nil {
			failed = failed.with(err, r.members)
			continue
		}
		for k, i := range r.members {
			if held[k] == 0 {
				lost = append(lost, leases[i])
			}
		}
	}
	if failed != nil {
		return lost, failed
	}
	return lost, nil
}

// renewal is the part of a Renew that is about one stream.
type renewal struct {
	call
	members []int
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
