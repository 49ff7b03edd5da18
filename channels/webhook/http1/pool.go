package http1

import (
	"sync"
	"time"
)

// pool keeps idle connections: for each target the one used last is taken
// first, so that what a lull leaves over grows old and is closed.
type pool struct {
	perTarget, most int

	mu             sync.Mutex
	targets        map[Target][]*conn // the one kept last at the end
	oldest, newest *conn
	count          int
	reaper         *time.Timer // set while something is kept
	closed         bool
}

func newPool(o Options) *pool {
	return &pool{perTarget: o.IdlePerTarget, most: o.Idle, targets: map[Target][]*conn{}}
}

// take is a kept connection to t that is alive, with its deadline set; nil when
// there is none.
func (p *pool) take(t Target, deadline time.Time) *conn {
	for {
		c := p.pop(t)
		if c == nil {
			return nil
		}
		// The deadline first: the look fails on one that has passed.
		if time.Now().Before(c.ends) && c.Conn.SetDeadline(deadline) == nil && c.quiet() {
			return c
		}
		c.close()
	}
}

func (p *pool) pop(t Target) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.targets[t]
	if len(kept) == 0 {
		return nil
	}
	c := kept[len(kept)-1]
	p.remove(c, len(kept)-1)
	return c
}

// put keeps a connection whose exchange is over, or closes it when it is old,
// or when there are enough of them.
func (p *pool) put(c *conn) {
	now := time.Now()
	c.ends = now.Add(c.limit)
	if c.dies.Before(c.ends) {
		c.ends = c.dies
	}
	if !now.Before(c.ends) || !p.keep(c, now) {
		c.close()
	}
}

func (p *pool) keep(c *conn, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.targets[c.target]
	if p.closed || len(kept) >= p.perTarget || p.most <= 0 {
		return false
	}
	if p.count >= p.most {
		p.drop(p.oldest)
		kept = p.targets[c.target]
	}
	p.targets[c.target] = append(kept, c)
	p.link(c)
	if p.reaper == nil {
		p.reaper = time.AfterFunc(c.ends.Sub(now), p.reap)
	}
	return true
}

// reap closes what was kept long enough, and looks again when the next is due.
func (p *pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	var next time.Time
	for c := p.oldest; c != nil; {
		newer := c.newer
		if !now.Before(c.ends) {
			p.drop(c)
		} else if next.IsZero() || c.ends.Before(next) {
			next = c.ends
		}
		c = newer
	}
	if next.IsZero() {
		p.reaper = nil
		return
	}
	p.reaper.Reset(next.Sub(now))
}

// drop closes a kept connection.
func (p *pool) drop(c *conn) {
	for i, kept := range p.targets[c.target] {
		if kept == c {
			p.remove(c, i)
			break
		}
	}
	c.close()
}

// remove takes a connection out, which is the i-th of its target.
func (p *pool) remove(c *conn, i int) {
	kept := p.targets[c.target]
	copy(kept[i:], kept[i+1:])
	kept[len(kept)-1] = nil
	if kept = kept[:len(kept)-1]; len(kept) == 0 {
		delete(p.targets, c.target)
	} else {
		p.targets[c.target] = kept
	}
	p.unlink(c)
}

func (p *pool) link(c *conn) {
	c.older, c.newer = p.newest, nil
	if p.newest != nil {
		p.newest.newer = c
	} else {
		p.oldest = c
	}
	p.newest = c
	p.count++
}

func (p *pool) unlink(c *conn) {
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		p.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		p.newest = c.older
	}
	c.older, c.newer = nil, nil
	p.count--
}

func (p *pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for p.oldest != nil {
		p.drop(p.oldest)
	}
	if p.reaper != nil {
		p.reaper.Stop()
		p.reaper = nil
	}
}
