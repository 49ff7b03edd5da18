package throttle

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillonhq/carillon/config"
)

// burstTime is how late a permit may be used, and so how much of its rate one
// may send at once: 20 ms, so that a second sees at most 2 % more than the rate
// (one more where 20 ms are less than one permit).
const burstTime = 20 * time.Millisecond

// Pace holds one consumer to a rate, or to its part of one. Waiters are served
// in the order in which they came. Rates.Pace makes those whose rate is shared
// by all consumers.
type Pace struct {
	turn    chan struct{} // held by the one waiter that is next
	source  *share        // where permits come from; nil: the rate is its own
	limited atomic.Bool   // there is a rate
	queue   atomic.Pointer[func() int]

	mu      sync.Mutex
	rate    config.Rate
	grants  []*grant
	changed chan struct{} // closed when there are other grants, or another rate
	demand  demand
	others  float64 // the others' part of the rate, as far as is known
}

// NewPace makes the pace of a rate that nobody shares. The zero Rate is no
// limit.
func NewPace(r config.Rate) *Pace {
	p := newPace(r)
	p.own()
	return p
}

func newPace(r config.Rate) *Pace {
	p := &Pace{turn: make(chan struct{}, 1), rate: r, changed: make(chan struct{})}
	p.limited.Store(!r.IsZero())
	return p
}

// own gives the pace permits without end.
func (p *Pace) own() {
	p.grants = nil
	if !p.rate.IsZero() {
		p.grants = []*grant{endless(p.rate)}
	}
}

// Queue has the pace ask waiting how many want a permit, those that are in Wait
// among them, when it is about to ask for some: of callers that Wait one at a
// time it would not know.
func (p *Pace) Queue(waiting func() int) { p.queue.Store(&waiting) }

// queued is what Queue's function says; 0 without one.
func (p *Pace) queued() int {
	if waiting := p.queue.Load(); waiting != nil {
		return (*waiting)()
	}
	return 0
}

// Rate is what it holds to, alone or with others; zero: no limit.
func (p *Pace) Rate() config.Rate {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate
}

// Limited reports whether there is a rate.
func (p *Pace) Limited() bool { return p.limited.Load() }

// Replace changes the rate, for whoever waits too. A rate of its own changes at
// once; a shared one with the next frame, and while consumers have different
// ones the lowest holds.
func (p *Pace) Replace(r config.Rate) {
	p.mu.Lock()
	if r == p.rate {
		p.mu.Unlock()
		return
	}
	p.rate = r
	p.limited.Store(!r.IsZero())
	if p.source == nil {
		p.own()
	}
	p.signal()
	p.mu.Unlock()
	if p.source != nil {
		p.source.reload()
	}
}

// signal makes whoever waits look again. The caller holds mu.
func (p *Pace) signal() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Wait takes one permit as soon as there is one. It returns ctx's error, and
// has taken none, when ctx ends first.
func (p *Pace) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil || !p.limited.Load() {
		return err
	}
	p.wants(1)
	defer p.wants(-1)
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		taken, wait, changed := p.take()
		if taken {
			return nil
		}
		if err := await(ctx, wait, changed); err != nil {
			return err
		}
	}
}

// Try takes a permit if there is one now. If not, wait is about when there may
// be one, for a caller that has something better to do than to Wait. A permit
// is kept for nobody: who comes late finds what there is then.
func (p *Pace) Try() (taken bool, wait time.Duration) {
	if !p.limited.Load() {
		return true, 0
	}
	if taken, wait, _ = p.take(); taken {
		return true, 0
	}
	p.mu.Lock()
	p.demand.tried++
	p.mu.Unlock()
	if wait == 0 {
		wait = p.source.expected()
	}
	return false, wait
}

// wants counts those that wait.
func (p *Pace) wants(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.demand.wants(n, time.Now())
}

// take is one try. When it got no permit, wait is when there is one, 0 when
// that is not known, and changed closes when another try is due.
func (p *Pace) take() (taken bool, wait time.Duration, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate.IsZero() {
		return true, 0, p.changed
	}
	now := time.Now()
	p.expire(now)
	for _, g := range p.grants {
		got, until := g.take(now)
		if got {
			return true, 0, p.changed
		}
		if until > 0 && (wait == 0 || until < wait) {
			wait = until
		}
	}
	if wait == 0 {
		p.source.wake()
	}
	return false, wait, p.changed
}

// expire forgets the grants that have ended. The caller holds mu.
func (p *Pace) expire(now time.Time) {
	for len(p.grants) > 0 && p.grants[0].ended(now) {
		p.demand.note(p.grants[0], now)
		p.grants = p.grants[1:]
	}
}

// grant gives the pace permits, behind those that it has.
func (p *Pace) grant(g *grant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grants = append(p.grants, g)
	p.signal()
}

// collect is what to ask for in a frame of so many permits, for once or for each
// frame to come, and how many have ended unused.
func (p *Pace) collect(frame int) (want int, ended []unused, once bool) {
	queued := p.queued() // which may have locks of its own
	p.mu.Lock()
	defer p.mu.Unlock()
	p.demand.queued = queued
	p.expire(time.Now())
	inHand := 0
	for _, g := range p.grants {
		inHand += g.left
	}
	return p.demand.collect(frame, inHand)
}

// unmet is told that there were no permits.
func (p *Pace) unmet() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.demand.unmet()
}

// ends is when the first of the permits that it has end; zero: it has none.
func (p *Pace) ends() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.grants) == 0 {
		return time.Time{}
	}
	return p.grants[0].end
}
