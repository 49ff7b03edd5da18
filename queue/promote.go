package queue

import (
	"context"
	"time"
)

// promoteBatch is the most one script puts back: a script holds up every other
// client of its server while it runs.
const promoteBatch = 200

// Promote puts everything that is due back on its streams and returns how much
// that was, and when the next parked entry is due; zero when nothing is
// parked. A partition with more than a batch of due entries is due at once. One
// that is away is the error, and holds up no other.
func (q *Queue) Promote(ctx context.Context) (promoted int, next time.Time, err error) {
	now := q.now()
	calls := make([]*call, q.cfg.Partitions)
	for p := range calls {
		calls[p] = &call{script: q.scripts.promote, keys: []string{q.keys.later(p), q.keys.parked(p)},
			args: []any{now.UnixMilli(), promoteBatch, q.keys.tag(p)}}
	}
	_ = q.runAll(ctx, calls) // each call has its own error
	for _, c := range calls {
		got, failed := c.answers(2)
		if failed != nil {
			err = failed
			continue
		}
		promoted += int(got[0])
		if got[0] == 0 && got[1] <= now.UnixMilli() {
			continue // its stream is not there for now, see promote.lua
		}
		if due := time.UnixMilli(got[1]); got[1] >= 0 && (next.IsZero() || due.Before(next)) {
			next = due
		}
	}
	return promoted, next, err
}
