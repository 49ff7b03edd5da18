package delivery

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/carillonhq/carillon/queue"
)

// held knows every lease that this consumer has, by where its entry stands, so
// that those held long are renewed, and none is worked twice at once.
type held struct {
	mu     sync.Mutex
	leases map[queue.Place]holding
}

// holding is one lease, and when it was leased or last renewed; the zero time
// when it seems lost.
type holding struct {
	lease *queue.Lease
	since time.Time
}

func newHeld() *held { return &held{leases: map[queue.Place]holding{}} }

// add takes leases in, and returns those of entries that were not held yet: a
// group that is made anew hands out what is being worked once more.
func (h *held) add(leases []*queue.Lease) []*queue.Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	fresh := leases[:0]
	for _, l := range leases {
		if _, known := h.leases[l.Place()]; !known {
			h.leases[l.Place()] = holding{l, l.HeldSince()}
			fresh = append(fresh, l)
		}
	}
	return fresh
}

func (h *held) drop(l *queue.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.leases, l.Place())
}

// places are where all that is held now stands.
func (h *held) places() map[queue.Place]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make(map[queue.Place]bool, len(h.leases))
	for at := range h.leases {
		out[at] = true
	}
	return out
}

// olderThan lists what was last renewed before a time.
func (h *held) olderThan(at time.Time) []*queue.Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*queue.Lease
	for _, held := range h.leases {
		if held.since.Before(at) {
			out = append(out, held.lease)
		}
	}
	return out
}

// since is when a lease was last known to be ours.
func (h *held) since(l *queue.Lease) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leases[l.Place()].since
}

// renewed notes when leases were renewed; the zero time says that they could
// not be.
func (h *held) renewed(leases []*queue.Lease, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range leases {
		if held, ok := h.leases[l.Place()]; ok {
			h.leases[l.Place()] = holding{held.lease, at}
		}
	}
}

// renewLoop renews what has been held for a third of the visibility, so that
// one renewal may fail without another consumer taking the entry over.
func (p *Pipeline) renewLoop(ctx context.Context) {
	every := p.Visibility / 6
	for sleep(ctx, every) {
		old := p.held.olderThan(p.Now().Add(-p.Visibility / 3))
		if len(old) == 0 {
			continue
		}
		if _, err := p.renew(ctx, old); err != nil {
			p.Log.Warn("leases could not be renewed", "leases", len(old), "error", err)
		}
	}
}

// renew prolongs leases, and returns how many of them are lost.
func (p *Pipeline) renew(ctx context.Context, leases []*queue.Lease) (int, error) {
	now := p.Now()
	lost, err := p.Queue.Renew(ctx, p.Consumer, leases)
	unknown := remaining(leases, err)
	p.held.renewed(slices.DeleteFunc(slices.Clone(leases), func(l *queue.Lease) bool { return slices.Contains(unknown, l) }), now)
	p.held.renewed(lost, time.Time{})
	return len(lost), err
}

// stillOurs reports whether a lease may be worked. A consumer that stood still
// for longer than the visibility, or had no Redis for so long, asks: another
// one may be sending the delivery by now.
func (p *Pipeline) stillOurs(ctx context.Context, l *queue.Lease) bool {
	if p.held.since(l).After(p.Now().Add(-p.Visibility)) {
		return true
	}
	lost := 0
	err := p.persist(ctx, "asking for a lease", func() (err error) {
		lost, err = p.renew(ctx, []*queue.Lease{l})
		return err
	})
	if err == nil && lost == 0 {
		return true
	}
	p.held.drop(l)
	return false
}

// sleep waits for d, or reports false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
