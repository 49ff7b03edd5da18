package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// Run works the queue until ctx ends, then stops in order: nothing more is
// leased, what is being sent is finished within Grace, everything else is
// handed back at once, and the last transitions are committed.
//
//	inbox ─► admit
//	3 × events reader ─► planner
//	channel × (3 × reader ─► lanes ─► workers) ─► settlers
//	promoter, renewer
func (p *Pipeline) Run(ctx context.Context) {
	sendCtx, endSends := context.WithCancel(context.Background())
	defer endSends()
	settleCtx, endSettling := context.WithCancel(context.Background())
	defer endSettling()
	settle := newSettler(p)
	p.finish = p.finisher(settleCtx, settle)

	var reading, working, settling, tending sync.WaitGroup
	p.startReaders(ctx, settleCtx, &reading)
	for _, s := range p.senders {
		for range s.Slots.Limit() {
			working.Go(func() { s.work(ctx, sendCtx) })
		}
	}
	for range settlers {
		settling.Go(func() { settle.run(settleCtx) })
	}
	tending.Go(func() { p.promoteLoop(ctx) })
	tending.Go(func() { p.renewLoop(settleCtx) })

	<-ctx.Done()
	defer time.AfterFunc(p.Grace, endSends).Stop()
	defer time.AfterFunc(p.Grace+handBackTime, endSettling).Stop()
	for _, s := range p.senders {
		p.handBack(s.lanes.close())
	}
	working.Wait()
	reading.Wait() // a blocked read ends within a second
	for _, s := range p.senders {
		p.handBack(s.lanes.close()) // what such a read brought
	}
	close(settle.in)
	settling.Wait()
	endSettling()
	tending.Wait()
	p.retire()
}

// startReaders starts everything that leases.
func (p *Pipeline) startReaders(ctx, workCtx context.Context, reading *sync.WaitGroup) {
	reading.Go(func() { p.inboxLoop(ctx, workCtx) })
	for _, lane := range notice.Lanes() {
		reading.Go(func() { p.planLoop(ctx, workCtx, lane) })
		for _, s := range p.senders {
			reading.Go(func() { s.readLoop(ctx, lane) })
		}
	}
}

// finisher is how a settlement leaves a worker: counted, and on its way to a
// commit. Once settling has ended for want of a server, the lease runs out and
// another consumer takes it over.
func (p *Pipeline) finisher(ctx context.Context, settle *settler) func(*queue.Settlement) {
	return func(s *queue.Settlement) {
		if s.Delivery != nil && s.Entry.Status.Final() {
			p.metrics.ended(s.Delivery.Address.Channel, s.Entry.Status)
		}
		select {
		case settle.in <- s:
		case <-ctx.Done():
		}
	}
}

// handBack returns deliveries that were leased and not begun.
func (p *Pipeline) handBack(leases []*queue.Lease) {
	if len(leases) == 0 {
		return
	}
	batch := make([]*queue.Settlement, len(leases))
	for i, l := range leases {
		batch[i] = &queue.Settlement{Kind: queue.Requeue, Lease: l}
		p.held.drop(l)
	}
	ctx, cancel := context.WithTimeout(context.Background(), handBackTime)
	defer cancel()
	for len(batch) > 0 {
		n := min(len(batch), settleBatch)
		if _, err := p.Queue.Settle(ctx, p.Consumer, batch[:n]); err != nil {
			p.Log.Warn("leases could not be handed back; they are taken over when they run out", "leases", len(batch), "error", err)
			return
		}
		batch = batch[n:]
	}
}

// handBackTime is how long a stop may spend on handing leases back.
const handBackTime = 5 * time.Second

// retire takes this consumer's name off the groups; one that died is taken off
// by any other, later.
func (p *Pipeline) retire() {
	ctx, cancel := context.WithTimeout(context.Background(), handBackTime)
	defer cancel()
	if err := p.Queue.Retire(ctx, p.Consumer); err != nil {
		p.Log.Debug("the consumer's name stays in the groups for now", "error", err)
	}
}

// readLoop keeps one lane of a channel filled.
func (s *sender) readLoop(ctx context.Context, lane notice.Lane) {
	i := laneIndex(lane)
	reader := s.p.Queue.DeliveryReader(s.p.Consumer, s.channel, lane)
	s.p.leaseLoop(ctx, leaseSource{
		room:    func() int { return s.lanes.awaitRoom(i) },
		read:    reader.Read,
		reclaim: reader.Reclaim,
		take:    func(leases []*queue.Lease) { s.lanes.put(i, leases) },
	})
}

// leaseSource is one stream's worth of leaseLoop.
type leaseSource struct {
	room    func() int // waits for room; 0: stop
	read    func(ctx context.Context, room int) ([]*queue.Lease, error)
	reclaim func(ctx context.Context, room int) ([]*queue.Lease, error)
	take    func([]*queue.Lease)
}

// leaseLoop leases whenever there is room, and looks now and then for what
// dead consumers left. While Redis is away it waits, and goes on by itself.
func (p *Pipeline) leaseLoop(ctx context.Context, s leaseSource) {
	reclaimEvery := p.Visibility / 4
	nextReclaim := p.Now().Add(p.Jitter(reclaimEvery))
	for ctx.Err() == nil {
		room := s.room()
		if room <= 0 {
			return
		}
		leases, err := s.read(ctx, room)
		if err == nil && room > len(leases) && !p.Now().Before(nextReclaim) {
			nextReclaim = p.Now().Add(reclaimEvery)
			var more []*queue.Lease
			more, err = s.reclaim(ctx, room-len(leases))
			leases = append(leases, more...)
		}
		p.held.add(leases)
		if len(leases) > 0 {
			s.take(leases)
		}
		if err != nil && ctx.Err() == nil {
			p.Log.Warn("the queue cannot be read; trying on", "error", err)
			sleep(ctx, retryFirst+p.Jitter(retryMost))
		}
	}
}
