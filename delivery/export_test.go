package delivery

import (
	"context"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// PlanOnce leases events, plans them, and commits what of them has ended, as a
// consumer does that is alone with itself: one command after the other.
func (p *Pipeline) PlanOnce(ctx context.Context, lease func(*queue.Reader) ([]*queue.Lease, error)) {
	settle := p.alone()
	leases, err := lease(p.Queue.EventReader(p.Consumer, notice.LaneNormal))
	if err == nil && len(leases) > 0 {
		p.planBatch(ctx, notice.LaneNormal, p.held.add(leases))
	}
	settle(ctx)
}

// SendOnce leases deliveries of the first channel, and makes an attempt of each,
// one after the other.
func (p *Pipeline) SendOnce(ctx context.Context, lease func(*queue.Reader) ([]*queue.Lease, error)) {
	settle, s := p.alone(), p.senders[0]
	leases, err := lease(p.Queue.DeliveryReader(p.Consumer, s.channel, notice.LaneNormal))
	if err != nil {
		return
	}
	for _, t := range s.tasksOf(p.held.add(leases)) {
		if ctx.Err() != nil {
			return
		}
		if settled := s.deliver(ctx, t); settled != nil {
			p.finish(settled)
		}
		settle(ctx)
	}
}

// PromoteOnce puts back what is due, and learns of cancels.
func (p *Pipeline) PromoteOnce(ctx context.Context) {
	if _, _, err := p.Queue.Promote(ctx); err == nil {
		_ = p.learnCancels(ctx)
	}
}

// alone has what ends committed by who calls settle.
func (p *Pipeline) alone() (settle func(context.Context)) {
	s := newSettler(p)
	p.finish = func(one *queue.Settlement) { s.in <- p.notAgain(one) }
	return func(ctx context.Context) {
		for len(s.in) > 0 && ctx.Err() == nil {
			s.commit(ctx, gather(nil, s.in, settleBatch))
		}
	}
}
