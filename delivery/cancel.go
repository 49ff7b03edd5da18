package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// A notification that is canceled is known by its id (queue.Canceled). Whoever
// holds something of it looks before it plans, before it sends, and before it
// parks. What waits in a lane meanwhile, perhaps for a channel that is paused,
// is looked for when the promoter learns of a cancel.

const canceledWords = "canceled by its sender"

// canceled ends a delivery that was not sent because its sender took it back.
func canceled(l *queue.Lease, d *notice.Delivery, now time.Time) *queue.Settlement {
	e := queue.Entry{At: now, Status: notice.StatusCanceled, Attempt: d.Attempt, Detail: canceledWords}
	if l.Lost > 0 || d.Unknown {
		e.Code, e.Detail = "lease-expired", canceledWords+"; the consumer that held it before may have sent it"
	}
	return &queue.Settlement{Kind: queue.Cancel, Lease: l, Delivery: d, Entry: e}
}

// notAgain cancels what would be tried again although its notification was
// canceled while it was being sent. What came of the attempt stays on record.
func (p *Pipeline) notAgain(s *queue.Settlement) *queue.Settlement {
	if s.Kind != queue.Later || !p.Queue.Canceled(s.Delivery.ID) {
		return s
	}
	c := canceled(s.Lease, s.Delivery, s.Entry.At)
	c.Entry.Code, c.Entry.Detail, c.Planned = s.Entry.Code, join(canceledWords, s.Entry.Detail), s.Planned
	return c
}

// dropCanceled leaves out of a batch the events that were canceled, and ends
// them.
func (p *Pipeline) dropCanceled(drafts []*draft) []*draft {
	return slices.DeleteFunc(drafts, func(d *draft) bool {
		if !p.Queue.Canceled(d.event.ID) {
			return false
		}
		p.finish(queue.CanceledEvent(d.lease, &d.event, queue.Entry{At: d.now, Status: notice.StatusCanceled, Detail: canceledWords}))
		return true
	})
}

// learnCancels looks for new cancels, and ends what waits in the lanes of them.
func (p *Pipeline) learnCancels(ctx context.Context) error {
	learned, err := p.Queue.LearnCancels(ctx)
	if err != nil || learned == p.cancels {
		return err
	}
	p.cancels = learned
	for _, s := range p.senders {
		s.endCanceled()
	}
	return nil
}

// endCanceled ends what waits in the lanes and was canceled.
func (s *sender) endCanceled() {
	for _, t := range s.lanes.remove(s.isCanceled) {
		s.p.finish(s.cancel(t, s.p.Now()))
	}
}

func (s *sender) isCanceled(t *task) bool { return s.p.Queue.Canceled(t.id()) }

// leased puts what was leased into a lane. A cancel that was learned of while it
// was on its way there found nothing, and a channel that is paused looks at
// nothing until it goes on: it is looked for here.
func (s *sender) leased(lane int, leases []*queue.Lease) {
	tasks := s.tasksOf(leases)
	s.lanes.put(lane, tasks)
	if s.p.Queue.AnyCanceled() && slices.ContainsFunc(tasks, s.isCanceled) {
		s.endCanceled()
	}
}

// id is that of a task's delivery; empty when it cannot be read.
func (t *task) id() string {
	if t.direct != nil {
		return t.direct.draft.event.ID
	}
	return notice.EncodedID(t.lease.Payload)
}

// cancel ends a task that waited in a lane.
func (s *sender) cancel(t *task, now time.Time) *queue.Settlement {
	if t.direct != nil {
		settled := canceled(t.lease, &t.direct.draft.out[0].Delivery, now)
		settled.Planned = t.direct.draft.now
		return settled
	}
	d, err := readDelivery(t.lease.Payload)
	if err != nil {
		return s.unreadable(t.lease, err)
	}
	return canceled(t.lease, &d, now)
}
