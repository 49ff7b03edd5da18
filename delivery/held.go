package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/carillonhq/carillon/queue"
)

// held knows every lease that this consumer has, so that those held long are
// renewed.
type held struct {
	mu     sync.Mutex
	leases map[*queue.Lease]time.Time // to when it was leased, or last renewed
}

func newHeld() *held { return &held{leases: map[*queue.Lease]time.Time{}} }

func (h *held) add(leases []*queue.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range leases {
		h.leases[l] = l.HeldSince()
	}
}

func (h *held) drop(l *queue.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.leases, l)
}

// olderThan lists what was last renewed before a time.
func (h *held) olderThan(at time.Time) []*queue.Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*queue.Lease
	for l, since := range h.leases {
		if since.Before(at) {
			out = append(out, l)
		}
	}
	return out
}

func (h *held) renewed(leases []*queue.Lease, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range leases {
		if _, ok := h.leases[l]; ok {
			h.leases[l] = at
		}
	}
}

// renewLoop renews what has been held for a third of the visibility, so that
// one renewal may fail without another consumer taking the entry over.
func (p *Pipeline) renewLoop(ctx context.Context) {
	every := p.Visibility / 6
	for sleep(ctx, every) {
		now := p.Now()
		old := p.held.olderThan(now.Add(-p.Visibility / 3))
		if len(old) == 0 {
			continue
		}
		if err := p.Queue.Renew(ctx, p.Consumer, old); err != nil {
			p.Log.Warn("leases could not be renewed", "leases", len(old), "error", err)
			continue
		}
		p.held.renewed(old, now)
	}
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
