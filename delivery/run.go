package delivery

import (
	"context"
	"errors"
	"slices"
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
//	promoter, renewer, tidier, sweeper; for each channel what tends to its lines
//	of destinations, and puts off what has no room there
func (p *Pipeline) Run(ctx context.Context) {
	sendCtx, endSends := context.WithCancel(context.Background())
	defer endSends()
	settleCtx, endSettling := context.WithCancel(context.Background())
	defer endSettling()
	planCtx, endPlanning := context.WithCancel(context.Background())
	defer endPlanning()
	settle := newSettler(p)
	p.finish = p.finisher(settleCtx, settle)

	for _, s := range p.senders {
		s.listenFirst(ctx)
	}
	var reading, working, settling, tending sync.WaitGroup
	p.startReaders(ctx, planCtx, &reading)
	for _, s := range p.senders {
		s.crew.open(s.Slots.Limit(), func() { working.Go(func() { s.work(ctx, sendCtx) }) })
		working.Go(s.putOffLoop)
		tending.Go(func() { s.tendLoop(ctx) })
		tending.Go(func() { s.listenLoop(settleCtx) })
	}
	for range settlers {
		settling.Go(func() { settle.run(settleCtx) })
	}
	// These two end deliveries as well, and so are waited for before settling ends.
	working.Go(func() { p.promoteLoop(ctx) })
	working.Go(func() { p.sweepLoop(ctx, planCtx) })
	tending.Go(func() { p.renewLoop(settleCtx) })
	tending.Go(func() { p.tidyLoop(ctx) })

	<-ctx.Done()
	defer time.AfterFunc(p.Grace, endSends).Stop()
	stopped := time.Now()
	// What is being planned can be planned again by anybody: while Redis is
	// away nobody waits for it. What was sent must be told as long as may be.
	defer time.AfterFunc(handBackTime, endPlanning).Stop()
	defer time.AfterFunc(p.Grace+handBackTime, endSettling).Stop()
	rest := p.closeLanes()
	// A blocked read ends within a second. Before it has, it would lease again
	// what is handed back.
	reading.Wait()
	p.handBack(append(rest, p.closeLanes()...))
	working.Wait()
	left := max(p.Grace-time.Since(stopped), handBackTime)
	defer time.AfterFunc(left, endSettling).Stop()
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
		s = p.notAgain(s)
		if s.Delivery != nil && s.Delivery.Address.Channel != "" && s.Entry.Status.Final() {
			p.metrics.ended(s.Delivery.Address.Channel, s.Entry.Status)
		}
		select {
		case settle.in <- s:
		case <-ctx.Done():
		}
	}
}

// closeLanes stops the workers from beginning anything more, and returns what
// nobody has begun.
func (p *Pipeline) closeLanes() (rest []*queue.Lease) {
	for _, s := range p.senders {
		s.crew.close()
		for _, t := range s.lanes.close() {
			rest = append(rest, t.lease)
		}
	}
	return rest
}

// handBack returns what was leased and not begun: deliveries, and the events of
// those that were handed over.
func (p *Pipeline) handBack(leases []*queue.Lease) {
	if len(leases) == 0 {
		return
	}
	batch := make([]*queue.Settlement, len(leases))
	for i, l := range leases {
		keepLost(l)
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

// keepLost writes into a delivery that is handed back that it may have been
// sent, which its next consumer could not know.
func keepLost(l *queue.Lease) {
	if l.Lost == 0 {
		return
	}
	var d notice.Delivery
	if d.UnmarshalBinary(l.Payload) != nil {
		return // its next consumer finds out
	}
	d.Attempt += l.Lost - 1
	d.Unknown = true
	if payload, err := d.AppendBinary(nil); err == nil {
		l.Payload = payload
	}
}

// handBackTime is how long a stop may spend on handing leases back.
const handBackTime = 5 * time.Second

// retire takes this consumer's name off the groups; that of one that died is
// taken off by any other's tidyLoop.
func (p *Pipeline) retire() {
	ctx, cancel := context.WithTimeout(context.Background(), handBackTime)
	defer cancel()
	if err := p.Queue.Retire(ctx, p.Consumer); err != nil {
		p.Log.Debug("the consumer's name stays in the groups for now", "error", err)
	}
}

// tidyLoop takes the names of consumers that died off the groups, soon after
// the start and now and then: each process has a name of its own, and they
// would pile up.
func (p *Pipeline) tidyLoop(ctx context.Context) {
	for wait := p.Visibility; sleep(ctx, wait+p.Jitter(wait/10)); wait = 10 * p.Visibility {
		if err := p.Queue.Retire(ctx, ""); err != nil {
			p.Log.Debug("the names of dead consumers stay in the groups for now", "error", err)
		}
	}
}

// readLoop keeps one lane of a channel filled.
func (s *sender) readLoop(ctx context.Context, lane notice.Lane) {
	i := laneIndex(lane)
	reader := s.p.Queue.DeliveryReader(s.p.Consumer, s.channel, lane)
	s.p.leaseLoop(ctx, leaseSource{
		room:    func() (queue.Room, bool) { return s.lanes.awaitRoom(i) },
		read:    reader.ReadTurns,
		reclaim: reader.Reclaim,
		own:     reader.Own,
		take:    func(leases []*queue.Lease) { s.leased(i, leases) },
	})
}

// leaseSource is one stream's worth of leaseLoop.
type leaseSource struct {
	room    func() (queue.Room, bool) // waits for room; false: stop
	read    func(ctx context.Context, room queue.Room) ([]*queue.Lease, error)
	reclaim func(ctx context.Context, room int) ([]*queue.Lease, error)
	own     func(ctx context.Context) ([]*queue.Lease, error)
	take    func([]*queue.Lease)
}

// leaseLoop leases whenever there is room, and looks now and then for what
// dead consumers left. While Redis is away it waits, and goes on by itself.
func (p *Pipeline) leaseLoop(ctx context.Context, s leaseSource) {
	every := p.Visibility / 4
	nextReclaim := p.Now().Add(p.Jitter(every))
	var lost lostReplies
	for ctx.Err() == nil {
		room, ok := s.room()
		if !ok {
			return
		}
		var leases []*queue.Lease
		var err error
		// Both first, so that a long queue does not keep what was left behind.
		switch now := p.Now(); {
		case lost.lookNow(now):
			leases, err = p.unknownToUs(func() ([]*queue.Lease, error) { return s.own(ctx) })
		case !now.Before(nextReclaim):
			nextReclaim = now.Add(every)
			leases, err = p.unknownToUs(func() ([]*queue.Lease, error) { return s.reclaim(ctx, room.Most()) })
		}
		if len(leases) == 0 && (err == nil || errors.Is(err, queue.ErrPartly)) {
			leases, err = s.read(ctx, room)
		}
		if leases = p.held.add(leases); len(leases) > 0 {
			s.take(leases)
		}
		if p.noteRead(ctx, err); err != nil && ctx.Err() == nil {
			if errors.Is(err, queue.ErrPartly) {
				lost.during(p.Now())
				continue // the rest goes on; the reader leaves the part alone for a while
			}
			sleep(ctx, retryFirst+p.Jitter(retryMost))
			// After an outage every consumer renews what it holds before
			// anybody takes leases for lost.
			nextReclaim = p.Now().Add(p.Visibility / 2)
			lost.after(p.Now())
		}
	}
}

// lostReplies says when to look for entries that came in replies which were
// lost: as soon as the server answers again, and a few times after that, since
// a server that stood still works on what it was sent before.
type lostReplies struct{ next, until time.Time }

const (
	lookEvery = time.Second
	lookFor   = 5 * time.Second
)

func (l *lostReplies) after(failure time.Time) { l.next, l.until = failure, failure.Add(lookFor) }

// during is for a part of the server that is away: there is no moment at which
// all of it answers again, so it is looked for all the time.
func (l *lostReplies) during(failure time.Time) { l.until = failure.Add(lookFor) }

func (l *lostReplies) lookNow(now time.Time) bool {
	if now.Before(l.next) || now.After(l.until) {
		return false
	}
	l.next = now.Add(lookEvery)
	return true
}

// noteRead says once that the queue cannot be read, whichever of the many
// readers finds it out, and once that it can again.
func (p *Pipeline) noteRead(ctx context.Context, err error) {
	switch {
	case err != nil && ctx.Err() == nil:
		if !p.away.Swap(true) {
			p.Log.Warn("the queue cannot be read; trying on", "error", err)
		}
	case err == nil && p.away.Load() && p.away.Swap(false):
		p.Log.Info("the queue can be read again")
	}
}

// unknownToUs leaves out what this consumer holds and knows of: it may be
// among what dead consumers left, when it could not be renewed in time. What is
// known is looked up first, since it may be settled in the meantime.
func (p *Pipeline) unknownToUs(find func() ([]*queue.Lease, error)) ([]*queue.Lease, error) {
	ours := p.held.places()
	found, err := find()
	return slices.DeleteFunc(found, func(l *queue.Lease) bool { return ours[l.Place()] }), err
}
