package webhook

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/carillonhq/carillon/channels"
)

const (
	// downAfter is how many connections or answers in a row a host must fail
	// to give, before it is left alone.
	downAfter = 5
	// downFirst and downMost are how long it is left alone the first time, and
	// at most: each probe that fails doubles it.
	downFirst, downMost = 5 * time.Second, time.Minute
	// probeWait is how long a delivery stays away while a probe is under way.
	probeWait = time.Second
	// patience is how long a delivery waits for its turn at a host whose share
	// is in use. It holds a slot of the channel meanwhile, so others wait no
	// longer than this for it.
	patience = 50 * time.Millisecond
	// fullFirst and fullMost are how long a host is left alone that did not
	// give a turn within patience; it doubles while that goes on, since what
	// comes back in vain costs the queue.
	fullFirst, fullMost = time.Second, 8 * time.Second
	// aloneAfter is how long no other host may have been called for one host
	// to have the whole channel: nobody waits for it then.
	aloneAfter = 10 * time.Second
	// mostHosts bounds the memory: what is known of a host is forgotten for
	// another, which costs it some attempts to be found down again.
	mostHosts = 4096
)

// gate keeps the trouble of one host from the others: it bounds the requests in
// flight to each, and leaves alone a host that cannot be reached.
type gate struct {
	now func() time.Time

	mu    sync.Mutex
	hosts map[string]*host
	last  string    // the host called last
	alone time.Time // since when no other was
}

// host is what is known of one host.
type host struct {
	inFlight int
	waiting  []chan struct{} // closed when it is their turn, the first come first
	failures int             // in a row
	probing  bool
	down     time.Duration // how long it is left alone; 0: it is not
	until    time.Time     // when the next probe may go
	full     time.Duration // how long it was left alone last for want of a turn
}

func newGate(now func() time.Time) *gate {
	return &gate{now: now, hosts: map[string]*host{}, alone: now()}
}

// enter waits for a turn at a host. refused is nil when there is one; leave is
// owed then.
func (g *gate) enter(ctx context.Context, name string, limit int) (refused *channels.Result) {
	turn, refused := g.ask(name, limit)
	if refused != nil || turn == nil {
		return refused
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-turn:
		return nil
	case <-late.C:
	case <-ctx.Done():
	}
	return g.giveUp(name, turn)
}

// ask gives a turn at once (nil, nil), or a channel to wait at, or refuses.
func (g *gate) ask(name string, limit int) (turn chan struct{}, refused *channels.Result) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	h := g.host(name)
	switch {
	case h.down > 0 && now.Before(h.until):
		return nil, hostDown(h.until.Sub(now))
	case h.down > 0 && h.probing:
		return nil, hostDown(probeWait)
	case h.down > 0:
		h.probing = true
	case h.inFlight >= limit && !g.isAlone(name, now):
		turn = make(chan struct{})
		h.waiting = append(h.waiting, turn)
		return turn, nil
	}
	g.note(name, now)
	h.inFlight++
	return nil, nil
}

// giveUp stops waiting, unless the turn has come meanwhile.
func (g *gate) giveUp(name string, turn chan struct{}) *channels.Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.host(name)
	i := slices.Index(h.waiting, turn)
	if i < 0 {
		return nil
	}
	h.waiting = slices.Delete(h.waiting, i, i+1)
	h.full = min(max(2*h.full, fullFirst), fullMost)
	return hostFull(h.full)
}

// leave ends a turn, with what came of it.
func (g *gate) leave(name string, came channels.Result) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.host(name)
	h.inFlight--
	g.judge(h, came)
	if len(h.waiting) > 0 {
		h.inFlight++
		close(h.waiting[0])
		h.waiting = slices.Delete(h.waiting, 0, 1)
	} else {
		h.full = 0
	}
	if len(g.hosts) > mostHosts/4 && h.blank() {
		delete(g.hosts, name)
	}
}

// judge counts what says that a host is down. An answer, whatever it is, says
// that it is up; a send that was broken off says nothing.
func (g *gate) judge(h *host, came channels.Result) {
	probe := h.probing
	switch came.Code {
	case "canceled":
		h.probing = false
		return
	case "connect", "dns", "tls", "timeout":
	default:
		h.failures, h.down, h.probing = 0, 0, false
		return
	}
	h.failures++
	switch {
	case h.down > 0 && !probe:
		// One that was on its way when the host was found down.
	case h.down > 0:
		h.down, h.probing = min(2*h.down, downMost), false
		h.until = g.now().Add(h.down)
	case h.failures >= downAfter:
		h.down, h.until = downFirst, g.now().Add(downFirst)
	}
}

func (h *host) blank() bool {
	return h.inFlight == 0 && len(h.waiting) == 0 && h.failures == 0 && h.down == 0
}

// host is what is known of a name; room is made by forgetting another.
func (g *gate) host(name string) *host {
	if h := g.hosts[name]; h != nil {
		return h
	}
	if len(g.hosts) >= mostHosts {
		for other, h := range g.hosts {
			if h.inFlight == 0 && len(h.waiting) == 0 {
				delete(g.hosts, other)
				break
			}
		}
	}
	h := &host{}
	g.hosts[name] = h
	return h
}

// note remembers since when one host alone is called.
func (g *gate) note(name string, now time.Time) {
	if g.last != name {
		g.last, g.alone = name, now
	}
}

// isAlone reports whether no other host had a turn lately.
func (g *gate) isAlone(name string, now time.Time) bool {
	return g.last == name && now.Sub(g.alone) >= aloneAfter
}

func hostDown(wait time.Duration) *channels.Result {
	return &channels.Result{Verdict: channels.Throttled, Scope: channels.ScopeHost, RetryAfter: wait, Code: "host_down",
		Err: errors.New("the endpoint's host could not be reached lately; it is left alone for a while")}
}

func hostFull(wait time.Duration) *channels.Result {
	return &channels.Result{Verdict: channels.Throttled, Scope: channels.ScopeHost, RetryAfter: wait, Code: "host_busy",
		Err: errors.New("the endpoint's host has as many requests in flight as one host may have")}
}
