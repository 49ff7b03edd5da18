package apns

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// redialAfter is how long a place in the pool rests between two dials: Apple
// takes quick connecting and disconnecting for an attack.
const redialAfter = time.Second

var errClosed = errors.New("the adapter is closed")

// pool keeps a fixed number of HTTP/2 connections to one host and hands out
// their streams, never more at once than the server allows. The ready-made
// transports either open a connection for every burst or make requests wait
// for each other on one; both collapse against a service that allows few
// streams.
//
// A fresh connection carries one request until its first answer: Apple allows
// a single stream before it has seen a valid token, and only with an answer
// are the server's settings known to have arrived.
type pool struct {
	dial func(context.Context) (*http.ClientConn, error)
	now  func() time.Time
	rest time.Duration // redialAfter, shorter in tests

	// wake holds a token when a waiting request should look again. A request
	// that was woken and served puts it back for the next.
	wake chan struct{}
	ctx  context.Context // ends with close; what belongs to no request runs under it
	stop context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	slots   []slot
	next    int // where the next search begins, so that connections share the load
	retired []*http.ClientConn
	closed  bool
}

// slot is one place in the pool.
type slot struct {
	conn   *http.ClientConn // nil: none yet
	warm   bool             // an answer was read from conn
	busy   bool             // not warm, and in use
	limit  int              // streams that conn could carry when last looked at
	dialed time.Time        // when the last dial began
	dial   *dialing         // not nil: under way
}

// dialing is an attempt to connect that requests wait for together.
type dialing struct {
	done chan struct{}
	err  error // set before done is closed
}

func newPool(size int, now func() time.Time, rest time.Duration, dial func(context.Context) (*http.ClientConn, error)) *pool {
	ctx, stop := context.WithCancel(context.Background())
	return &pool{
		dial: dial, now: now, rest: rest,
		wake: make(chan struct{}, 1), ctx: ctx, stop: stop,
		slots: make([]slot, size),
	}
}

// warm begins to dial every connection that there is not yet.
func (p *pool) warm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := range p.slots {
		if p.slots[at].conn == nil && !p.closed {
			p.connect(at, &waiting{})
		}
	}
}

// lease is one stream's worth of a connection. Its RoundTrip is to be called
// once, and then give.
type lease struct {
	conn *http.ClientConn
	slot int
}

// take waits for a free stream.
func (p *pool) take(ctx context.Context) (lease, error) {
	for ctx.Err() == nil {
		l, wait, err := p.try()
		if err != nil {
			return lease{}, err
		}
		if l.conn != nil {
			p.signal()
			return l, nil
		}
		if err := p.await(ctx, wait); err != nil {
			return lease{}, err
		}
	}
	return lease{}, ctx.Err()
}

// waiting is what a request without a connection waits for, beside a signal.
type waiting struct {
	dial *dialing      // the connection that is being made; nil when others are up
	rest time.Duration // when nothing is up or under way: until the next dial may begin
}

func (p *pool) await(ctx context.Context, w waiting) error {
	var dialed <-chan struct{}
	if w.dial != nil {
		dialed = w.dial.done
	}
	var rested <-chan time.Time
	if w.rest > 0 {
		t := time.NewTimer(w.rest)
		defer t.Stop()
		rested = t.C
	}
	select {
	case <-p.wake:
		if err := w.failed(); err != nil {
			p.signal() // for a request that can use it
			return err
		}
		return nil
	case <-rested:
		return nil
	case <-dialed:
		return w.dial.err
	case <-p.ctx.Done():
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failed is why the awaited connection could not be made; nil as long as it
// may be.
func (w waiting) failed() error {
	if w.dial == nil {
		return nil
	}
	select {
	case <-w.dial.done:
		return w.dial.err
	default:
		return nil
	}
}

// try takes a free stream when there is one, and otherwise says what to wait
// for. It sees to it that missing connections are being made.
func (p *pool) try() (lease, waiting, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return lease{}, waiting{}, errClosed
	}
	p.sweep()
	w := waiting{rest: p.rest}
	up := false
	for i := range p.slots {
		at := (p.next + i) % len(p.slots)
		s := &p.slots[at]
		p.retireDead(s)
		if s.conn == nil {
			p.connect(at, &w)
			continue
		}
		if s.reserve() {
			p.next = (at + 1) % len(p.slots)
			return lease{s.conn, at}, waiting{}, nil
		}
		up = true
	}
	if up { // a stream becomes free, or the connection dies: both signal
		w = waiting{}
	}
	return lease{}, w, nil
}

// reserve takes a stream of the connection when one is free.
func (s *slot) reserve() bool {
	if !s.warm && s.busy {
		return false
	}
	if s.conn.Reserve() != nil {
		return false
	}
	s.busy = true
	s.limit = s.conn.InFlight() + s.conn.Available()
	return true
}

// retireDead takes away a connection that no request can use any more: it is
// closed, or it takes no new streams though fewer are open than it allowed
// (the server said GOAWAY and ends it when the open ones are done).
func (p *pool) retireDead(s *slot) {
	if s.conn == nil {
		return
	}
	if s.conn.Err() != nil || s.draining() {
		p.retire(s)
	}
}

// draining must look at the requests in flight first: were it the other way
// round, one that ends between the two looks would make a full connection
// seem to be draining.
func (s *slot) draining() bool {
	if !s.warm && s.busy {
		return false // its limit is not known yet
	}
	return s.conn.InFlight() < max(1, s.limit) && s.conn.Available() == 0
}

func (p *pool) retire(s *slot) {
	p.retired = append(p.retired, s.conn)
	s.conn, s.warm, s.busy, s.limit = nil, false, false, 0
}

// sweep closes the retired connections that nothing uses any more.
func (p *pool) sweep() {
	kept := p.retired[:0]
	for _, c := range p.retired {
		if c.Err() == nil && c.InFlight() > 0 {
			kept = append(kept, c)
			continue
		}
		c.Close()
	}
	clear(p.retired[len(kept):])
	p.retired = kept
}

// connect sees to it that the slot is being dialed, or notes in w when it may
// be.
func (p *pool) connect(at int, w *waiting) {
	s := &p.slots[at]
	if s.dial != nil {
		w.dial = s.dial
		return
	}
	if rest := p.rest - p.now().Sub(s.dialed); rest > 0 && !s.dialed.IsZero() {
		w.rest = min(w.rest, rest)
		return
	}
	d := &dialing{done: make(chan struct{})}
	s.dial, s.dialed, w.dial = d, p.now(), d
	p.work.Add(1)
	go p.connectNow(at, d)
}

// connectNow dials. It belongs to no request, since several wait for it; the
// transport's own time limits bound it.
func (p *pool) connectNow(at int, d *dialing) {
	defer p.work.Done()
	conn, err := p.dial(p.ctx)
	d.err = err
	p.mu.Lock()
	p.slots[at].dial = nil
	switch {
	case err == nil && p.closed:
		conn.Close()
	case err == nil:
		p.slots[at].conn = conn
	}
	p.mu.Unlock()
	if err == nil {
		conn.SetStateHook(func(*http.ClientConn) { p.signal() })
	}
	close(d.done)
	p.signal()
}

// give returns a lease. answered says that the request got an answer; lost,
// that the connection takes no more.
func (p *pool) give(l lease, answered, lost bool) {
	p.mu.Lock()
	s := &p.slots[l.slot]
	if s.conn == l.conn {
		s.warm = s.warm || answered
		s.busy = false
		if lost {
			p.retire(s)
		}
	}
	p.mu.Unlock()
	p.signal()
}

// signal wakes one waiting request.
func (p *pool) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// close ends every connection, interrupting what is under way, and waits for
// the pool's own goroutines.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.stop()
	conns := p.retired
	p.retired = nil
	for i := range p.slots {
		if c := p.slots[i].conn; c != nil {
			conns = append(conns, c)
		}
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
	p.work.Wait()
}
