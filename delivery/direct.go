package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// Most notifications are one delivery that may start now. Such a one is handed
// straight to its channel's sender, under the lease of its event, and what
// became of it is committed as its plan is: it is never written to the
// channel's stream, nor read from there. docs/decisions/007 says what holds
// all the same.

const (
	// defaultPatience is how long a batch of a planner waits for room in the
	// lanes that it can hand deliveries to.
	defaultPatience = 100 * time.Millisecond
	// slowFor is how long a channel is not waited for that let a planner wait
	// in vain: it must not hold up the others' events.
	slowFor = time.Second
	// staleTimes is after how many patiences a delivery that was handed over,
	// and not begun, is written to its stream for anybody to take.
	staleTimes = 5
)

// handed is a delivery that was handed over directly.
type handed struct {
	draft *draft
	at    time.Time // when, on the monotonic clock
}

// direct returns the sender that a draft may be handed to; nil when its plan
// must be written first. Where an unknown outcome is held, it must be known who
// may have sent it: a lease of an event says only that somebody was planning.
func (p *Pipeline) direct(d *draft) *sender {
	if p.Patience < 0 || d.lease.Lost > 0 || len(d.out) != 1 || d.note.Status != "" {
		return nil
	}
	only := &d.out[0]
	if only.Ended.Status != "" || !only.Due.IsZero() || only.Delivery.Chain != nil {
		return nil
	}
	i := slices.IndexFunc(p.senders, func(s *sender) bool { return s.channel == only.Delivery.Address.Channel })
	if i < 0 || p.senders[i].holds() {
		return nil
	}
	return p.senders[i]
}

// holds reports whether the channel's unknown outcomes are held.
func (s *sender) holds() bool { return s.Retry.OnUnknown == config.OnUnknownHold }

// offering is what one channel is to be handed.
type offering struct {
	to    *sender
	tasks []*task
}

// offerings divides drafts into what may be handed over, by channel, and what
// must be written.
func (p *Pipeline) offerings(drafts []*draft) (out []*offering, written []*draft) {
	now := time.Now()
	for _, d := range drafts {
		s := p.direct(d)
		if s == nil {
			written = append(written, d)
			continue
		}
		i := slices.IndexFunc(out, func(o *offering) bool { return o.to == s })
		if i < 0 {
			i = len(out)
			out = append(out, &offering{to: s})
		}
		d.out[0].Delivery.Alone = true
		out[i].tasks = append(out[i].tasks, &task{lease: d.lease, direct: &handed{d, now}, dest: s.destination(&d.out[0].Delivery), names: s.names(&d.out[0].Delivery)})
	}
	return out, written
}

// handOver hands deliveries to their channels, waiting for room as long as the
// planner has patience, and returns those for which there was none. Each
// channel is offered what it has room for before any is waited for.
func (p *Pipeline) handOver(ctx context.Context, lane notice.Lane, offers []*offering) (rest []*draft) {
	i := laneIndex(lane)
	full := offers[:0]
	for _, o := range offers {
		if o.to.open() {
			o.tasks, _ = o.to.lanes.offer(i, o.tasks)
		}
		if len(o.tasks) > 0 {
			full = append(full, o)
		}
	}
	if len(full) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.Patience)
	defer cancel()
	for _, o := range full {
		for _, t := range o.to.awaitOffer(ctx, i, o.tasks) {
			rest = append(rest, t.direct.draft)
		}
	}
	return rest
}

// awaitOffer offers tasks as room comes, until ctx ends, and returns the rest.
// A channel that is paused or slow is not waited for.
func (s *sender) awaitOffer(ctx context.Context, lane int, tasks []*task) []*task {
	if !s.open() || s.isSlow() {
		return tasks
	}
	tasks, freed := s.lanes.offer(lane, tasks)
	if ctx.Err() != nil {
		return tasks // another channel had all the patience; this one may be as fast as ever
	}
	for len(tasks) > 0 && freed != nil {
		select {
		case <-freed:
			tasks, freed = s.lanes.offer(lane, tasks)
		case <-ctx.Done():
			s.noteSlow()
			return tasks
		}
	}
	return tasks
}

// noteSlow says that the channel has not had room in time.
func (s *sender) noteSlow() {
	until := time.Now().Add(slowFor)
	s.slow.Store(&until)
}

func (s *sender) isSlow() bool {
	until := s.slow.Load()
	return until != nil && time.Now().Before(*until)
}

// sweepLoop writes to their streams what was handed over and has waited too
// long in its lane (the channel is paused, or at its rate): another consumer
// may have room, and the queue's depth is to show it. ctx ends the sweeping,
// workCtx the writing of what was swept up.
func (p *Pipeline) sweepLoop(ctx, workCtx context.Context) {
	if p.Patience < 0 {
		return
	}
	for sleep(ctx, p.Patience) {
		for _, s := range p.senders {
			old := s.lanes.stale(time.Now().Add(-staleTimes * p.Patience))
			if len(old) == 0 {
				continue
			}
			s.noteSlow()
			for batch := range slices.Chunk(old, planBatch) {
				p.write(workCtx, draftsOf(batch))
			}
		}
	}
}

func draftsOf(tasks []*task) []*draft {
	out := make([]*draft, len(tasks))
	for i, t := range tasks {
		out[i] = t.direct.draft
	}
	return out
}

// write commits plans: deliveries go to the streams of their channels.
func (p *Pipeline) write(ctx context.Context, drafts []*draft) {
	if len(drafts) == 0 {
		return
	}
	var plans []*queue.Planned
	err := p.persist(ctx, "planning", func() error {
		plans = p.planned(drafts)
		return p.Queue.Plan(ctx, plans)
	})
	if errors.Is(err, queue.ErrFault) && len(drafts) > 1 {
		for _, d := range drafts { // what is wrong with one must not take the others with it
			p.write(ctx, []*draft{d})
		}
		return
	}
	for i, d := range drafts {
		switch {
		case err == nil && plans[i].Again:
			p.planBatch(ctx, d.lane(), []*queue.Lease{d.lease})
			continue
		case errors.Is(err, queue.ErrFault):
			p.Log.Error("an event cannot be planned, and becomes a dead letter", "notification", d.event.ID, "error", err)
			p.finish(&queue.Settlement{Kind: queue.Unreadable, Lease: d.lease, Reason: "unplanned", Entry: queue.Entry{At: p.Now(), Detail: err.Error()}})
			continue // its lease goes with that
		case err == nil:
			p.observe(d)
		}
		p.held.drop(d.lease)
	}
}

// mayBeSent marks the delivery of an event whose consumer was not heard of any
// more: it may have handed it over and sent it. Another consumer's choice of
// channel and ours are the same as long as their configuration is.
func (p *Pipeline) mayBeSent(d *draft) {
	if d.lease.Lost == 0 || d.suspected || len(d.out) != 1 {
		return
	}
	only := &d.out[0]
	if only.Ended.Status != "" || only.Delivery.Chain != nil || p.holds(only.Delivery.Address.Channel) {
		return
	}
	d.suspected = true
	only.Delivery.Attempt, only.Delivery.Unknown = d.lease.Lost-1, true
	only.Before = queue.Entry{At: d.now, Status: notice.StatusRetrying, Attempt: d.lease.Lost, Code: "lease-expired",
		Detail: "the consumer that held it was not heard of any more; it may have been sent"}
}

// holds reports whether a channel's unknown outcomes are held, whoever serves
// it: nobody hands its deliveries over directly.
func (p *Pipeline) holds(c notice.Channel) bool {
	return p.Holds[c] || slices.ContainsFunc(p.senders, func(s *sender) bool { return s.channel == c && s.holds() })
}
