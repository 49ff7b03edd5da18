package throttle

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// prober is a consumer with one destination that is down, and what it says.
type prober struct {
	*room
	said []Word
}

func newProber(t *testing.T) *prober {
	p := &prober{room: newRoom(t, 20, nil)}
	p.rules.Told = func(w Word) { p.said = append(p.said, w) }
	return p
}

// wants is a destination that is down, whose next probe is due, and for which a
// delivery waits that has asked for it.
func (p *prober) wants() *Destination {
	p.t.Helper()
	p.silent("h", downAfter)
	p.clock.pass(downFirst)
	at := p.Pin("h")
	if got := p.Enter(at, 20); got != Full || p.count(ProbeWanted) != 1 {
		p.t.Fatalf("entered as %d, and said %+v; want it to ask for the probe", got, p.said)
	}
	return at
}

func (p *prober) count(kind Kind) (n int) {
	for _, w := range p.said {
		if w.Kind == kind {
			n++
		}
	}
	return n
}

// Whoever has the right to probe a host and has nothing to send there must not
// keep it: for as long as it lives, no other consumer could find out.
func TestTheRightToProbeAHostIsGivenBackByWhoHasNothingToSendThere(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(p *prober, at *Destination)
	}{
		{"what waited was put off before it was granted", func(p *prober, at *Destination) { p.Unpin(at); p.Grant("h", true) }},
		{"what waited was canceled after it was granted", func(p *prober, at *Destination) { p.Grant("h", true); p.Unpin(at) }},
		{"another found the host well before it was granted", func(p *prober, _ *Destination) { p.Hear("h", 0); p.Grant("h", true) }},
		{"another found the host well after it was granted", func(p *prober, _ *Destination) { p.Grant("h", true); p.Hear("h", 0) }},
		{"another found the host well while its probe is under way", func(p *prober, at *Destination) {
			p.Grant("h", true)
			p.Enter(at, 20)
			p.Hear("h", 0)
			p.Leave(at, time.Millisecond, Answered)
		}},
		{"another found it down after it was granted", func(p *prober, _ *Destination) { p.Grant("h", true); p.Hear("h", time.Minute) }},
		{"the host is not known any more", func(p *prober, at *Destination) { p.Unpin(at); p.forget(at); p.Grant("h", true) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProber(t)
			if c.then(p, p.wants()); p.count(ProbeOver) != 1 {
				t.Errorf("said %+v, want the right given back once", p.said)
			}
		})
	}
}

func TestTheRightToProbeAHostIsKeptUntilTheProbeIsAnswered(t *testing.T) {
	p := newProber(t)
	at := p.wants()
	p.Grant("h", true)
	if got := p.Enter(at, 20); got != Entered {
		t.Fatalf("entered as %d, want the probe", got)
	}
	p.Unpin(at)
	if p.count(ProbeOver) != 0 {
		t.Fatal("given back while its probe is under way")
	}
	p.Leave(at, time.Millisecond, Answered)
	if last := p.said[len(p.said)-1]; last.Kind != HostDown || last.For != 0 || p.count(ProbeOver) != 0 {
		t.Errorf("said %+v, want only that the host is back, which ends the right", p.said)
	}
}

// A word for which there was no room is never answered.
func TestWhoHearsNothingOfItsWishToProbeAsksAgain(t *testing.T) {
	p := newProber(t)
	at := p.wants()
	p.clock.pass(askProbeAgain - time.Millisecond)
	if p.Enter(at, 20); p.count(ProbeWanted) != 1 {
		t.Fatalf("asked %d times within %v, want once", p.count(ProbeWanted), askProbeAgain)
	}
	p.clock.pass(time.Millisecond)
	if p.Enter(at, 20); p.count(ProbeWanted) != 2 {
		t.Errorf("asked %d times, want again after %v", p.count(ProbeWanted), askProbeAgain)
	}
	p.Grant("h", true)
	if got := p.Enter(at, 20); got != Entered {
		t.Errorf("entered as %d once it was granted, want the probe", got)
	}
}

// However a right came to be kept, it is not renewed for as long as its consumer
// lives.
func TestARightToProbeIsNotRenewedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &Board{held: map[string]time.Time{"k": time.Now(), "bh": time.Now().Add(time.Minute)}}
		time.Sleep(claimMost)
		if got := b.underWay(); len(got) != 2 {
			t.Fatalf("after %v it renews %v, want both", claimMost, got)
		}
		time.Sleep(time.Nanosecond)
		if got := b.underWay(); !slices.Equal(got, []string{"bh"}) {
			t.Errorf("a moment later it renews %v, want what was claimed later alone", got)
		}
	})
}
