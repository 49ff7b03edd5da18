package throttle

import (
	"time"

	"github.com/carillonhq/carillon/config"
)

// takeAll takes one permit of each pace, or none of any. Of these paces nobody
// else may call it at the same time, which holds several locks at once.
func takeAll(paces []*Pace) bool {
	now := time.Now()
	for _, p := range paces {
		p.mu.Lock()
		defer p.mu.Unlock()
	}
	for _, p := range paces {
		if !p.ready(now) {
			return false
		}
	}
	for _, p := range paces {
		for _, g := range p.grants {
			if taken, _ := g.take(now); taken {
				break
			}
		}
	}
	return true
}

// ready reports whether there is a permit now, and asks for some when there is
// none to come. The caller holds mu.
func (p *Pace) ready(now time.Time) bool {
	if p.rate.IsZero() {
		return true
	}
	p.expire(now)
	coming := false
	for _, g := range p.grants {
		ready, more := g.ready(now)
		if ready {
			return true
		}
		coming = coming || more
	}
	if !coming && p.source != nil {
		p.source.wake()
	}
	return false
}

// ready reports whether a permit is there now, and whether there is one now or
// later.
func (g *grant) ready(now time.Time) (ready, more bool) {
	if g.size > 0 && now.Before(g.first) {
		return false, true
	}
	g.drop(now)
	if g.size > 0 && g.left == 0 {
		return false, false
	}
	return g.limit.TokensAt(now) >= 1, true
}

// part is the rate, and this consumer's part of it, from 0 to 1, by what it got
// lately when it wanted all of it.
func (p *Pace) part() (config.Rate, float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate, max(1-p.others, 1.0/64)
}

// gave learns the consumer's part of the rate from what it was given of a
// frame, when it wanted at least so much.
func (p *Pace) gave(permits, want, frame int) {
	if want < frame {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	others := 1 - min(float64(permits)/float64(frame), 1)
	p.others += (others - p.others) / 8
}
