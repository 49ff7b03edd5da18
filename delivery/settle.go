package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/carillonhq/carillon/queue"
)

const (
	settleBatch = 256                   // the most transitions in one commit
	settleQueue = 1024                  // transitions waiting for one; past it, workers wait
	settlers    = 2                     // commits under way at once
	settleEvery = 2 * time.Millisecond  // the shortest time between two commits of one settler
	retryFirst  = 50 * time.Millisecond // wait before a failed command is tried again
	retryMost   = 2 * time.Second       // the longest such wait
)

// settler commits transitions, those that are ready in one round trip. The
// first after a pause goes at once. Under load a commit waits until settleEvery
// after the last: a message that is sent waits for nothing, and a commit of
// twenty costs little more than one of two.
type settler struct {
	p  *Pipeline
	in chan *queue.Settlement
}

func newSettler(p *Pipeline) *settler {
	return &settler{p: p, in: make(chan *queue.Settlement, settleQueue)}
}

// run commits until in is closed and drained, or ctx ends.
func (s *settler) run(ctx context.Context) {
	batch := make([]*queue.Settlement, 0, settleBatch)
	var last time.Time
	for {
		select {
		case first, ok := <-s.in:
			if !ok {
				return
			}
			if early := settleEvery - time.Since(last); early > 0 {
				sleep(ctx, early)
			}
			batch = gather(append(batch[:0], first), s.in, settleBatch)
			last = time.Now()
			s.commit(ctx, batch)
		case <-ctx.Done():
			return
		}
	}
}

// gather adds what is ready to batch, without waiting.
func gather[T any](batch []T, in <-chan T, most int) []T {
	for len(batch) < most {
		select {
		case v, ok := <-in:
			if !ok {
				return batch
			}
			batch = append(batch, v)
		default:
			return batch
		}
	}
	return batch
}

// commit tries until the queue has the transitions: what was sent must not be
// forgotten because Redis was away for a moment. On a cluster each try is for
// those whose master was away.
func (s *settler) commit(ctx context.Context, batch []*queue.Settlement) {
	left := batch
	err := s.p.persist(ctx, "settling deliveries", func() error {
		_, err := s.p.Queue.Settle(ctx, s.p.Consumer, left)
		rest := remaining(left, err)
		s.finished(left, rest)
		left = rest
		return err
	})
	if errors.Is(err, queue.ErrFault) {
		left = s.bury(ctx, left)
	}
	for _, lost := range left {
		s.p.held.drop(lost.Lease)
	}
}

// finished lets go of the leases that a try has ended.
func (s *settler) finished(tried, rest []*queue.Settlement) {
	for _, done := range tried {
		if slices.Contains(rest, done) {
			continue
		}
		s.p.held.drop(done.Lease)
		if done.Kind == queue.Later {
			s.p.wakeAt(done.Due)
		}
	}
}

// bury keeps what the queue can never settle as dead letters, one by one: what
// is wrong with one of them must not take the others with it. It returns those
// that cannot even be buried, which stay on their streams and come back when
// their leases have run out.
func (s *settler) bury(ctx context.Context, batch []*queue.Settlement) (left []*queue.Settlement) {
	for _, one := range batch {
		err := s.settleOne(ctx, one)
		if errors.Is(err, queue.ErrFault) {
			s.p.Log.Error("a delivery cannot be settled, and becomes a dead letter", "stream", one.Lease.Partition(), "error", err)
			err = s.settleOne(ctx, &queue.Settlement{Kind: queue.Unreadable, Lease: one.Lease, Reason: "unsettled",
				Entry: queue.Entry{At: s.p.Now(), Detail: err.Error()}})
		}
		if err != nil {
			s.p.Log.Error("a delivery can neither be settled nor buried; it comes back when its lease has run out", "error", err)
			left = append(left, one)
			continue
		}
		s.p.held.drop(one.Lease)
	}
	return left
}

func (s *settler) settleOne(ctx context.Context, one *queue.Settlement) error {
	return s.p.persist(ctx, "settling a delivery", func() error {
		_, err := s.p.Queue.Settle(ctx, s.p.Consumer, []*queue.Settlement{one})
		return err
	})
}

// remaining is what of a batch an error of the queue says is not done.
func remaining[T any](batch []T, err error) []T {
	if err == nil {
		return nil
	}
	var part *queue.PartError
	if !errors.As(err, &part) {
		return batch
	}
	rest := make([]T, len(part.Members))
	for k, i := range part.Members {
		rest[k] = batch[i]
	}
	return rest
}

// persist does something on the queue until it succeeds, can never succeed, or
// ctx ends, and says once that it cannot, and once that it can again.
func (p *Pipeline) persist(ctx context.Context, what string, do func() error) error {
	wait := retryFirst
	for {
		err := do()
		if err == nil {
			if wait > retryFirst {
				p.Log.Info("the queue answers again", "while", what)
			}
			return nil
		}
		if errors.Is(err, queue.ErrFault) {
			p.Log.Error("the queue cannot do this, however often it is asked", "while", what, "error", err)
			return err
		}
		if wait == retryFirst {
			p.Log.Warn("the queue does not answer; trying on", "while", what, "error", err)
		}
		if !sleep(ctx, wait+p.Jitter(wait)) {
			return err
		}
		wait = min(2*wait, retryMost)
	}
}
