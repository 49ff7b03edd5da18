package delivery

import (
	"context"
	"slices"
	"sync"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

const (
	// planBatch is the most events that are planned together: one look-up, one
	// decision on caps and one transition. A script of so many holds up the
	// server's other clients for a millisecond or two.
	planBatch = 128
	// planners is how many batches of one lane are under way at once, of which
	// one is never of the tenants that the others are busy with: they may be
	// waiting for room in a flood.
	planners = 4
)

// planLoop plans the events of one lane. While one batch waits for Redis others
// are decoded, and the next is read. ctx ends the reading, workCtx the planning
// of what was read.
func (p *Pipeline) planLoop(ctx, workCtx context.Context, lane notice.Lane) {
	reader := p.Queue.EventReader(p.Consumer, lane)
	batches := make(chan []*queue.Lease)
	var busy busyTurns
	var planning sync.WaitGroup
	defer planning.Wait()
	for range planners {
		planning.Go(func() {
			for leases := range batches {
				p.planBatch(workCtx, lane, leases)
				busy.done(leases)
			}
		})
	}
	defer close(batches)
	p.leaseLoop(ctx, leaseSource{
		room: func() (queue.Room, bool) { return busy.room(), true },
		read: func(ctx context.Context, room queue.Room) ([]*queue.Lease, error) {
			if slices.Contains(room[:], 0) {
				return reader.ReadTurns(ctx, room)
			}
			return reader.Read(ctx, planBatch)
		},
		reclaim: reader.Reclaim,
		own:     reader.Own,
		take: func(leases []*queue.Lease) {
			for batch := range slices.Chunk(leases, planBatch) {
				busy.begin(batch)
				batches <- batch
			}
		},
	})
}

// busyTurns counts the planners of a lane that have events of each turn.
type busyTurns struct {
	mu       sync.Mutex
	planners [queue.Turns]int
}

// room is what may be read of each turn: nothing of one that all planners but
// one are busy with, unless that is every turn.
func (b *busyTurns) room() (out queue.Room) {
	b.mu.Lock()
	defer b.mu.Unlock()
	most := max(planners-2, slices.Min(b.planners[:]))
	for turn, n := range b.planners {
		if n <= most {
			out[turn] = planBatch
		}
	}
	return out
}

func (b *busyTurns) begin(batch []*queue.Lease) { b.add(batch, 1) }
func (b *busyTurns) done(batch []*queue.Lease)  { b.add(batch, -1) }

func (b *busyTurns) add(batch []*queue.Lease, n int) {
	var seen [queue.Turns]bool
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range batch {
		if turn := l.Turn(); !seen[turn] {
			seen[turn] = true
			b.planners[turn] += n
		}
	}
}
