package delivery

import (
	"context"
	"time"
)

// promoteEvery is the longest time between two looks at what is parked: what
// another consumer parks for sooner than that is up to this late.
const promoteEvery = 100 * time.Millisecond

// promoteRest is the least time between two looks, each of which asks every
// partition: what is due in it goes together, so much late at most.
const promoteRest = 5 * time.Millisecond

// promoteLoop puts parked deliveries back when they are due. Every consumer
// does; the script makes sure that each is put back once.
func (p *Pipeline) promoteLoop(ctx context.Context) {
	for ctx.Err() == nil {
		promoted, next, err := p.Queue.Promote(ctx)
		if failed := p.learnCancels(ctx); err == nil {
			err = failed
		}
		if promoted > 0 && !next.IsZero() && !next.After(p.Now()) {
			continue // there was more than a batch
		}
		if err != nil {
			sleep(ctx, retryFirst+p.Jitter(retryMost))
			continue
		}
		p.awaitDue(ctx, next)
	}
}

// awaitDue waits until next, at most promoteEvery, or until something is
// parked that is due before.
func (p *Pipeline) awaitDue(ctx context.Context, next time.Time) {
	wait := promoteEvery
	if !next.IsZero() {
		wait = min(wait, next.Sub(p.Now()))
	}
	timer := time.NewTimer(max(wait, promoteRest))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case due := <-p.wake:
			if until := due.Sub(p.Now()); until < wait {
				wait = until
				timer.Reset(max(wait, promoteRest))
			}
		case <-ctx.Done():
			return
		}
	}
}

// wakeAt tells the promoter of something due. It never blocks: a promoter that
// misses it looks again soon anyway.
func (p *Pipeline) wakeAt(due time.Time) {
	select {
	case p.wake <- due:
	default:
	}
}
