package delivery

import (
	"context"
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
// forgotten because Redis was away for a moment.
func (s *settler) commit(ctx context.Context, batch []*queue.Settlement) {
	err := s.p.persist(ctx, "settling deliveries", func() error {
		_, err := s.p.Queue.Settle(ctx, s.p.Consumer, batch)
		return err
	})
	for _, done := range batch {
		s.p.held.drop(done.Lease)
		if err == nil && done.Kind == queue.Later {
			s.p.wakeAt(done.Due)
		}
	}
}

// persist does something on the queue until it succeeds or ctx ends, and says
// once that it cannot, and once that it can again.
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
		if wait == retryFirst {
			p.Log.Warn("the queue does not answer; trying on", "while", what, "error", err)
		}
		if !sleep(ctx, wait+p.Jitter(wait)) {
			return err
		}
		wait = min(2*wait, retryMost)
	}
}
