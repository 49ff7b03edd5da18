package queue

import (
	"context"
	"fmt"

	"github.com/carillonhq/carillon/notice"
)

// Cancel ends every part of a notification that is parked: scheduled,
// deferred, or waiting for another attempt. It returns how many deliveries
// that were; ErrFinished when there was none, ErrNotFound for an id that the
// tenant does not have. What is on a stream is on its way and goes out.
func (q *Queue) Cancel(ctx context.Context, tenant, id string) (int, error) {
	r, err := q.Record(ctx, tenant, id)
	if err != nil {
		return 0, err
	}
	p, _, _, err := notice.SplitID(r.ID)
	if err != nil {
		return 0, fmt.Errorf("canceling: %w", err)
	}
	n, err := q.cancel(ctx, p, r, "canceled by its sender")
	if err == nil && n == 0 {
		err = ErrFinished
	}
	return n, err
}

// cancel ends what is parked of a notification in partition p, and returns how
// much that was.
func (q *Queue) cancel(ctx context.Context, p int, r Record, why string) (int, error) {
	now := q.now()
	entry := Entry{At: now, Status: notice.StatusCanceled, Detail: why}
	// Whether a key answers with this id is not in the record; keep it as if.
	life := q.recordLife(true, r.AcceptedAt, now).Milliseconds()
	c := &call{script: q.scripts.cancel, keys: []string{q.keys.later(p), q.keys.parked(p), q.keys.record(p, r.ID)}, args: []any{life}}
	c.args = append(c.args, r.ID, appendEntry(nil, whole, r.AcceptedAt, entry))
	for _, d := range r.Deliveries {
		_, _, ordinal, err := notice.SplitID(d.ID)
		if err != nil {
			return 0, fmt.Errorf("canceling: %w", err)
		}
		c.args = append(c.args, d.ID, appendEntry(nil, ordinal, r.AcceptedAt, entry))
	}
	if err := q.run(ctx, c); err != nil {
		return 0, err
	}
	n, err := c.reply.Int()
	if err != nil {
		return 0, unavailable(err)
	}
	return n, nil
}
