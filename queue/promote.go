package queue

import (
	"context"
	"fmt"
	"strconv"
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
		calls[p] = &call{script: q.scripts.promote, keys: []string{q.keys.later(p), q.keys.parked(p), q.keys.waiting(p), q.keys.waits(p)},
			args: []any{"(" + strconv.FormatInt(now.UnixMilli()+1, 10), promoteBatch, q.keys.tag(p)}}
	}
	_ = q.runAll(ctx, calls) // each call has its own error
	for _, c := range calls {
		n, nextDue, failed := q.promotion(c)
		if failed != nil {
			err = failed
			continue
		}
		promoted += n
		if n == 0 && nextDue <= now.UnixMilli() {
			continue // its stream is not there for now, see promote.lua
		}
		if due := time.UnixMilli(nextDue); nextDue >= 0 && (next.IsZero() || due.Before(next)) {
			next = due
		}
	}
	return promoted, next, err
}

// promotion reads one partition's answer: how much was promoted, and when the
// next is due in unix ms. What went back to its stream makes the backlog grow.
func (q *Queue) promotion(c *call) (promoted int, next int64, err error) {
	if c.err != nil {
		return 0, 0, c.err
	}
	got, err := c.reply.Slice()
	if err != nil {
		return 0, 0, unavailable(err)
	}
	numbers, ok := make([]int64, len(got)), len(got) >= 2 && len(got)%2 == 0
	for i, v := range got {
		if n, isNumber := v.(int64); isNumber {
			numbers[i] = n
		}
	}
	if !ok {
		return 0, 0, fmt.Errorf("%w: a script answered %d values for a promotion", ErrFault, len(got))
	}
	for i := 2; i < len(got); i += 2 {
		if suffix, isText := got[i].(string); isText {
			q.drained.addTo(suffix, -int(numbers[i+1]))
		}
	}
	return int(numbers[0]), numbers[1], nil
}
