package webhook

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillonhq/carillon/channels"
)

var (
	dead        = channels.Result{Verdict: channels.Retry, Code: "connect"}
	answered204 = channels.Result{Verdict: channels.Sent, Code: "204"}
)

// fails makes a host fail n times in a row.
func fails(t *testing.T, g *gate, name string, n int) {
	t.Helper()
	for range n {
		if r := g.enter(t.Context(), name, 8); r != nil {
			t.Fatalf("refused: %v", r.Err)
		}
		g.leave(name, dead)
	}
}

func wantRefused(t *testing.T, g *gate, name, code string, wait time.Duration) {
	t.Helper()
	r := g.enter(t.Context(), name, 8)
	if r == nil || r.Verdict != channels.Throttled || r.Scope != channels.ScopeHost || r.Code != code || r.RetryAfter != wait || r.Err == nil {
		t.Errorf("got %+v, want throttled for the host, %s, %v", r, code, wait)
	}
}

func TestAHostThatIsDownIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Now)
		fails(t, g, "dead", downAfter)
		wantRefused(t, g, "dead", "host_down", downFirst)
		if r := g.enter(t.Context(), "alive", 8); r != nil {
			t.Errorf("another host is refused: %v", r.Err)
		}
		time.Sleep(downFirst - time.Second)
		wantRefused(t, g, "dead", "host_down", time.Second)
		time.Sleep(time.Second)
		if r := g.enter(t.Context(), "dead", 8); r != nil {
			t.Fatalf("the probe is refused: %v", r.Err)
		}
		wantRefused(t, g, "dead", "host_down", probeWait)
		g.leave("dead", dead)
		wantRefused(t, g, "dead", "host_down", 2*downFirst)
	})
}

func TestAProbeThatIsAnsweredLetsEverybodyIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Now)
		fails(t, g, "h", downAfter)
		time.Sleep(downFirst)
		if r := g.enter(t.Context(), "h", 8); r != nil {
			t.Fatal(r.Err)
		}
		g.leave("h", channels.Result{Verdict: channels.Retry, Code: "503"}) // an answer all the same
		fails(t, g, "h", downAfter-1)
		if r := g.enter(t.Context(), "h", 8); r != nil {
			t.Errorf("refused after %d failures: %v", downAfter-1, r.Err)
		}
	})
}

func TestAProbeThatIsBrokenOffIsFollowedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Now)
		fails(t, g, "h", downAfter)
		time.Sleep(downFirst)
		for range 2 {
			if r := g.enter(t.Context(), "h", 8); r != nil {
				t.Fatal(r.Err)
			}
			g.leave("h", channels.Result{Verdict: channels.Unknown, Code: "canceled"})
		}
	})
}

func TestTheWaitForADeadHostIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Now)
		fails(t, g, "h", downAfter)
		for range 20 {
			time.Sleep(time.Until(g.hosts["h"].until))
			fails(t, g, "h", 1)
		}
		wantRefused(t, g, "h", "host_down", downMost)
	})
}

func TestWhatSaysThatAHostIsDown(t *testing.T) {
	for _, c := range []struct {
		code string
		down bool
	}{{"connect", true}, {"dns", true}, {"tls", true}, {"timeout", true}, {"connection", false}, {"500", false}, {"canceled", false}, {"answer", false}, {"", false}} {
		g := newGate(time.Now)
		for range downAfter {
			g.enter(t.Context(), "h", 8)
			g.leave("h", channels.Result{Code: c.code})
		}
		if down := g.enter(t.Context(), "h", 8) != nil; down != c.down {
			t.Errorf("%q in a row: down is %v, want %v", c.code, down, c.down)
		}
	}
}

func TestAHostHasItsShareOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Now)
		for range 2 {
			if r := g.enter(t.Context(), "slow", 2); r != nil {
				t.Fatal(r.Err)
			}
		}
		began := time.Now()
		r := g.enter(t.Context(), "slow", 2)
		if r == nil || r.Code != "host_busy" || r.RetryAfter != fullFirst || r.Verdict != channels.Throttled || r.Scope != channels.ScopeHost {
			t.Errorf("got %+v, want host_busy", r)
		}
		if took := time.Since(began); took != patience {
			t.Errorf("it waited %v, want %v", took, patience)
		}
		if r := g.enter(t.Context(), "slow", 2); r == nil || r.RetryAfter != 2*fullFirst {
			t.Errorf("got %+v, want twice the wait", r)
		}
		if r := g.enter(t.Context(), "other", 2); r != nil {
			t.Errorf("another host is refused: %v", r.Err)
		}
	})
}

func TestATurnThatIsFreeGoesToWhoWaitedLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Now)
		g.enter(t.Context(), "h", 1)
		came := make(chan int, 2)
		for i := range 2 {
			go func() {
				if g.enter(t.Context(), "h", 1) == nil {
					came <- i
				}
			}()
			synctest.Wait()
		}
		for want := range 2 {
			g.leave("h", answered204)
			if got := <-came; got != want {
				t.Errorf("turn %d went to %d", want, got)
			}
		}
		g.leave("h", answered204)
		if n := g.hosts["h"].inFlight; n != 0 {
			t.Errorf("%d in flight when all have left", n)
		}
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Now)
		g.enter(t.Context(), "h", 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		if r := g.enter(ctx, "h", 1); r == nil || time.Since(began) != 0 {
			t.Errorf("got %+v after %v", r, time.Since(began))
		}
		if n := len(g.hosts["h"].waiting); n != 0 {
			t.Errorf("%d still wait", n)
		}
	})
}

func TestTheOnlyHostThatIsCalledMayHaveTheChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Now)
		g.enter(t.Context(), "h", 1)
		time.Sleep(aloneAfter)
		for range 8 {
			if r := g.enter(t.Context(), "h", 1); r != nil {
				t.Fatalf("refused although nobody else is called: %v", r.Err)
			}
		}
		g.enter(t.Context(), "other", 1)
		if r := g.enter(t.Context(), "h", 1); r == nil {
			t.Error("the other host gained nothing")
		}
	})
}

func TestTheMemoryOfHostsIsBounded(t *testing.T) {
	g := newGate(time.Now)
	for i := range 3 * mostHosts {
		name := fmt.Sprint(i)
		g.enter(t.Context(), name, 1)
		g.leave(name, dead)
	}
	if n := len(g.hosts); n > mostHosts {
		t.Errorf("%d hosts, want %d at most", n, mostHosts)
	}
	healthy := newGate(time.Now)
	for i := range 3 * mostHosts {
		name := fmt.Sprint(i)
		healthy.enter(t.Context(), name, 1)
		healthy.leave(name, answered204)
	}
	if n := len(healthy.hosts); n > mostHosts/4+1 {
		t.Errorf("%d hosts that there is nothing to say of", n)
	}
}
