package throttle

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/carillonhq/carillon/config"
)

// burstTime is how much of its rate a channel may send at once: 20 ms, so that
// a second sees at most 2 % more than the rate (one more where 20 ms are less
// than one permit).
const burstTime = 20 * time.Millisecond

// Pace holds one consumer's part of a channel to its rate. Waiters are served
// in the order in which they came.
type Pace struct {
	full  float64       // permits a second with the whole share; +Inf: no limit
	turn  chan struct{} // held by the one waiter that is next
	limit *rate.Limiter

	mu      sync.Mutex
	share   float64
	changed chan struct{} // closed when the share changes
}

// NewPace makes the pace of a channel's rate, which it has for itself until
// SetShare says otherwise. The zero Rate is no limit.
func NewPace(r config.Rate) *Pace {
	p := &Pace{full: math.Inf(1), turn: make(chan struct{}, 1), limit: rate.NewLimiter(rate.Inf, 1), share: -1, changed: make(chan struct{})}
	if !r.IsZero() {
		p.full = r.PerSecond()
	}
	p.SetShare(1)
	return p
}

// SetShare gives the consumer a part of the channel's rate, from 0 (none: Wait
// waits until there is some) to 1 (all of it). It takes effect at once, for
// whoever waits too.
func (p *Pace) SetShare(share float64) {
	share = min(max(share, 0), 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if share == p.share {
		return
	}
	p.share = share
	if !math.IsInf(p.full, 1) {
		perSecond := p.full * share
		p.limit.SetLimit(rate.Limit(perSecond))
		p.limit.SetBurst(max(1, int(perSecond*burstTime.Seconds())))
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// Share is what SetShare gave last; 1 before it did.
func (p *Pace) Share() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.share
}

// state is the share and the channel that closes when it changes, of one
// moment.
func (p *Pace) state() (share float64, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.share, p.changed
}

// Wait takes one permit as soon as there is one. It returns ctx's error, and
// has taken none, when ctx ends first.
func (p *Pace) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil || math.IsInf(p.full, 1) {
		return err
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		taken, err := p.step(ctx)
		if taken || err != nil {
			return err
		}
	}
}

// step waits for one permit, or for a change of the share, after which the
// wait has another length.
func (p *Pace) step(ctx context.Context) (taken bool, err error) {
	share, changed := p.state()
	if share == 0 {
		select {
		case <-changed:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	permit := p.limit.Reserve()
	delay := permit.Delay()
	if delay == 0 {
		return true, nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true, nil
	case <-changed:
		permit.Cancel()
		return false, nil
	case <-ctx.Done():
		permit.Cancel()
		return false, ctx.Err()
	}
}

// Try takes a permit if there is one now. If not, wait is about when there may
// be one, for a caller that has something better to do than to Wait; an hour
// when the share is 0.
func (p *Pace) Try() (taken bool, wait time.Duration) {
	if math.IsInf(p.full, 1) {
		return true, 0
	}
	share, _ := p.state()
	if share == 0 {
		return false, time.Hour
	}
	permit := p.limit.Reserve()
	if delay := permit.Delay(); delay > 0 {
		permit.Cancel()
		return false, delay
	}
	return true, 0
}
