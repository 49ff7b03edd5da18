package email

import (
	"context"
	"sync"
	"time"
)

const (
	// idleLimit is how long an unused connection is kept: shorter than the
	// minutes after which relays hang up.
	idleLimit = 30 * time.Second
	// ageLimit is how long a connection is used at all, so that a change of the
	// relay's address or certificate is followed.
	ageLimit = 10 * time.Minute
)

// pool keeps up to a number of connections to the relay, busy and idle
// together. Who takes one holds a slot until giving it back; waiting for a slot
// is first come, first served.
type pool struct {
	connect func(context.Context) (*session, error)
	slots   chan struct{}
	mails   int // the most over one connection
	now     func() time.Time

	mu     sync.Mutex
	idle   []*session // the most recently used last
	closed bool
}

func newPool(connect func(context.Context) (*session, error), size, mails int, now func() time.Time) *pool {
	return &pool{connect: connect, slots: make(chan struct{}, max(1, size)), mails: max(1, mails), now: now}
}

// take is an idle connection or a new one. It must be given back.
func (p *pool) take(ctx context.Context) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, &failure{stageConnect, err}
	}
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, &failure{stageConnect, ctx.Err()}
	}
	if s := p.pop(); s != nil {
		return s, nil
	}
	return p.open(ctx)
}

// open makes a new connection in the slot that the caller holds; when that
// fails the slot is free again.
func (p *pool) open(ctx context.Context) (*session, error) {
	s, err := p.connect(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	s.born = p.now()
	return s, nil
}

// replace ends dead and makes a new connection in its place.
func (p *pool) replace(ctx context.Context, dead *session) (*session, error) {
	dead.hangUp()
	return p.open(ctx)
}

// give returns a connection, to be used again unless it is dead, old or has
// carried its number of mails.
func (p *pool) give(s *session) {
	// The slot is freed last: whoever gets it finds the connection idle, so
	// that there are never more connections than slots.
	defer func() { <-p.slots }()
	switch {
	case s.dead:
		s.hangUp()
	case s.mails < p.mails && p.now().Sub(s.born) < ageLimit && p.push(s):
	default:
		s.quit()
	}
}

func (p *pool) push(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	s.reused = true
	if s.expiry == nil {
		s.expiry = time.AfterFunc(idleLimit, func() { p.expire(s) })
	} else {
		s.expiry.Reset(idleLimit)
	}
	p.idle = append(p.idle, s)
	return true
}

func (p *pool) pop() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	last := len(p.idle) - 1
	s := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	s.expiry.Stop()
	return s
}

// expire ends a connection that nobody took in time. Being in the idle list
// decides whose it is: one that was taken meanwhile is left alone.
func (p *pool) expire(s *session) {
	if p.remove(s) {
		s.quit()
	}
}

func (p *pool) remove(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.idle {
		if other == s {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return true
		}
	}
	return false
}

func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range idle {
		s.expiry.Stop()
		wg.Go(s.quit)
	}
	wg.Wait()
}
