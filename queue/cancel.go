package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/carillonhq/carillon/notice"
)

const (
	// cancelPatience is how long Cancel waits for what consumers hold to be
	// decided: they look for cancels every 100 ms at least.
	cancelPatience = 1500 * time.Millisecond
	// cancelPoll is how often it looks whether it is.
	cancelPoll = 25 * time.Millisecond
	// cancelRaces is how often a cancel may find that the record has changed
	// between its reading and the script.
	cancelRaces = 20
	// leasedMost is how many leased entries of a stream a cancel looks through.
	// Past it everything on the stream counts as held.
	leasedMost = 4096
)

// Cancellation is what became of the parts of a notification that were open
// when it was canceled.
type Cancellation struct {
	// Canceled are the deliveries that will not be sent, or the notification's
	// own id when it had none yet. Their record says so.
	Canceled []string
	// TooLate are the deliveries, or the notification's own id, that somebody
	// was sending, or may have been. What becomes of that attempt stands; there
	// will be no further one.
	TooLate []string
}

// Cancel ends everything of a notification that has not been sent: what is
// parked, what waits on a stream, and what a consumer holds and has not begun.
// For the last it waits up to 1.5 s. ErrFinished says that nothing was
// canceled, ErrNotFound that the tenant has no such id.
func (q *Queue) Cancel(ctx context.Context, tenant, id string) (Cancellation, error) {
	var out Cancellation
	var undecided map[string]bool
	deadline := time.Now().Add(cancelPatience)
	for races := 0; ; {
		r, err := q.Record(ctx, tenant, id)
		if err != nil {
			return out, err
		}
		out.decided(r, undecided)
		parts, current, err := q.cancelAsRead(ctx, r, "canceled by its sender", false)
		if err != nil {
			return out, err
		}
		if !current { // what changed it may be the very decision that is waited for
			if races++; races < cancelRaces {
				continue
			}
			return out, changesTooFast(id)
		}
		out.Canceled = append(out.Canceled, parts.Canceled...)
		undecided = setOf(parts.TooLate)
		if len(undecided) == 0 || time.Now().After(deadline) || !pause(ctx, cancelPoll) {
			break
		}
	}
	for part := range undecided {
		out.TooLate = append(out.TooLate, part)
	}
	if len(out.Canceled) == 0 {
		return out, ErrFinished
	}
	return out, nil
}

func setOf(ids []string) map[string]bool {
	out := make(map[string]bool, len(ids))
	for _, id := range ids {
		out[id] = true
	}
	return out
}

// decided takes in what a record says of the parts that were undecided.
func (c *Cancellation) decided(r Record, undecided map[string]bool) {
	// An event that somebody held has become deliveries, or has ended.
	planned := undecided[r.ID]
	if planned && !r.Open() && len(r.Timeline) > 0 && r.Timeline[len(r.Timeline)-1].Status.Final() {
		c.decide(r.ID, r.Timeline[len(r.Timeline)-1].Status)
	}
	for _, d := range r.Deliveries {
		if d.Status.Final() && (planned || undecided[d.ID]) {
			c.decide(d.ID, d.Status)
		}
	}
}

func (c *Cancellation) decide(id string, ended notice.Status) {
	if slices.Contains(c.Canceled, id) || slices.Contains(c.TooLate, id) {
		return
	}
	if ended == notice.StatusCanceled {
		c.Canceled = append(c.Canceled, id)
		return
	}
	c.TooLate = append(c.TooLate, id)
}

// cancel ends what nobody holds of a notification, with all that is collected
// for it, which is for the same person. TooLate is what somebody does.
func (q *Queue) cancel(ctx context.Context, r Record, why string) (Cancellation, error) {
	who := r.was
	for range cancelRaces {
		r.was = who
		out, current, err := q.cancelAsRead(ctx, r, why, true)
		if current || err != nil {
			return out, err
		}
		if r, err = q.Record(ctx, r.Tenant, r.ID); err != nil {
			return out, err
		}
	}
	return Cancellation{}, changesTooFast(r.ID)
}

// cancelAsRead is cancel by a record that was read before; not current, and
// nothing done, when it has changed since.
func (q *Queue) cancelAsRead(ctx context.Context, r Record, why string, whole bool) (out Cancellation, current bool, err error) {
	parts := r.openParts()
	if len(parts) == 0 {
		return out, true, nil
	}
	c, err := q.cancelCall(r, parts, why, whole)
	if err != nil {
		return out, false, err
	}
	if err := q.run(ctx, c); err != nil {
		return out, false, err
	}
	answers, err := c.reply.Int64Slice()
	if err != nil {
		return out, false, unavailable(err)
	}
	if len(answers) != len(parts) {
		return out, false, nil
	}
	out.take(parts, answers)
	q.tellParked(ctx, r, parts, answers)
	return out, true, nil
}

func changesTooFast(id string) error {
	return fmt.Errorf("%w: the record of %s changes too fast to be canceled", ErrUnavailable, id)
}

// The answers of cancel.lua.
const (
	heldBySomebody = 0
	wasParked      = 1
)

func (c *Cancellation) take(parts []part, answers []int64) {
	for i, part := range parts {
		if answers[i] == heldBySomebody {
			c.TooLate = append(c.TooLate, part.id)
		} else {
			c.Canceled = append(c.Canceled, part.id)
		}
	}
}

// part is a delivery that is open, or the notification while it is an event.
type part struct {
	id      string
	ordinal int
	stage   string // whose streams it may be on
}

// openParts are what of a notification may still happen.
func (r Record) openParts() (out []part) {
	if r.next || len(r.Deliveries) == 0 && r.Open() {
		return []part{{r.ID, whole, stageEvents}}
	}
	for _, d := range r.Deliveries {
		if _, _, ordinal, err := notice.SplitID(d.ID); err == nil && !d.Status.Final() {
			out = append(out, part{d.ID, ordinal, string(d.Channel)})
		}
	}
	return out
}

func (q *Queue) cancelCall(r Record, parts []part, why string, whole bool) (*call, error) {
	p, _, _, err := notice.SplitID(r.ID)
	if err != nil {
		return nil, fmt.Errorf("canceling: %w", err)
	}
	now := q.now()
	entry := Entry{At: now, Status: notice.StatusCanceled, Detail: why}
	// Whether a key answers with this id is not in the record; keep it as if.
	life := q.recordLife(true, r.AcceptedAt, now).Milliseconds()
	c := &call{script: q.scripts.cancel,
		keys: []string{q.keys.later(p), q.keys.parked(p), q.keys.record(p, r.ID), q.keys.canceled(p), q.keys.cancels(p), q.keys.waiting(p), q.keys.waits(p)},
		args: []any{life, openLife.Milliseconds(), r.length, group, leasedMost, markOf(r.ID), flag(whole)}}
	for _, part := range parts {
		// A tenant's turn may have been another one when the part was written.
		for turn := range Turns {
			c.keys = append(c.keys, q.keys.stream(p, part.stage, r.Lane, turn))
		}
		c.args = append(c.args, part.id, appendEntry(nil, part.ordinal, r.AcceptedAt, entry), len(c.keys)-Turns+1, len(c.keys))
	}
	return c, nil
}
