package queue

import (
	"context"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"
)

// Label is what a delivery is parked under that may be called back together with
// others; 0: none. It is a digest of a name: two names may share one.
type Label uint16

const (
	// labels is how many there are: the fraction of a due time, which is in ms
	// and takes most of a score's 53 bits, has room for them.
	labels = 1024
	// recallBatch is how many parked ones a script looks at.
	recallBatch = 1000
)

// LabelOf is the label of a name.
func LabelOf(name string) Label {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // it cannot fail
	return Label(h.Sum32()%(labels-1) + 1)
}

// score is a due time in ms with its label.
func (m Label) score(due time.Time) any {
	if m == 0 {
		return due.UnixMilli()
	}
	return strconv.FormatFloat(float64(due.UnixMilli())+float64(m)/labels, 'f', -1, 64)
}

// Recall has what is parked under some labels come back sooner: of each label so
// many a second, over all partitions, in the order in which they would have come.
// Nothing comes later than it would have. Where two labels are the same the slower
// pace holds. A partition that is away is the error, and holds up no other.
func (q *Queue) Recall(ctx context.Context, perSecond map[Label]float64) error {
	if len(perSecond) == 0 {
		return nil
	}
	recalls := make([]*recall, q.cfg.Partitions)
	for p := range recalls {
		recalls[p] = q.newRecall(p, perSecond)
	}
	var failed error
	for len(recalls) > 0 && ctx.Err() == nil {
		var calls []*call
		for _, r := range recalls {
			calls = append(calls, r.call)
		}
		_ = q.runAll(ctx, calls) // each call has its own error
		left := recalls[:0]
		for _, r := range recalls {
			more, err := r.next()
			if err != nil {
				failed = fmt.Errorf("calling back what is parked: %w", err)
			} else if more {
				left = append(left, r)
			}
		}
		recalls = left
	}
	if failed == nil && ctx.Err() != nil {
		failed = fmt.Errorf("calling back what is parked: %w", ctx.Err())
	}
	return failed
}

// recall is a walk through what one partition has parked.
type recall struct {
	*call
	seen int
}

// recallHead is how many arguments there are before those of the labels.
const recallHead = 3

func (q *Queue) newRecall(p int, perSecond map[Label]float64) *recall {
	args := []any{0, recallBatch, len(perSecond)}
	now := strconv.FormatInt(q.now().UnixMilli(), 10)
	for label, n := range perSecond {
		// Each partition has its part of what is parked, and so of the pace.
		every := 1000 * float64(q.cfg.Partitions) / n
		args = append(args, int(label), now, strconv.FormatFloat(every, 'f', -1, 64))
	}
	return &recall{call: &call{script: q.scripts.recall, keys: []string{q.keys.waiting(p)}, args: args}}
}

// next takes an answer in, and reports whether there may be more to look at.
func (r *recall) next() (more bool, err error) {
	if r.err != nil {
		return false, r.err
	}
	got, err := r.reply.Slice()
	if err != nil {
		return false, unavailable(err)
	}
	n, ok := got[0].(int64)
	if !ok || len(got) != 1+(len(r.args)-recallHead)/3 {
		return false, fmt.Errorf("%w: a script answered %d values to a recall", ErrFault, len(got))
	}
	r.seen += int(n)
	r.args[0] = r.seen
	for i, due := range got[1:] {
		r.args[recallHead+3*i+1] = due
	}
	return n == recallBatch, nil
}
