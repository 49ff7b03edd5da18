package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

// open is an adapter whose addresses are at many hosts, with no bound of their
// own.
type open struct{ hosts }

func (open) Places(string) int { return 0 }

// startTogether runs a consumer whose webhooks go to many hosts, and which
// hears what the others are told.
func (w *world) startTogether(name string) *running {
	shared := throttle.NewRates(w.rdb, "t", name)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { shared.Run(ctx) })
	w.t.Cleanup(func() { cancel(); done.Wait() })
	return w.start(name, func(o *delivery.Options) {
		for i := range o.Channels {
			c := &o.Channels[i]
			c.Rates = shared
			c.Board = throttle.NewBoard(w.rdb, "t", c.Adapter.Channel(), name)
			if c.Adapter == channels.Adapter(w.webhook) {
				c.Adapter = open{hosts{w.webhook}}
			}
		}
	})
}

// meter is a receiver that takes so many in each second of its clock, and asks
// for two seconds of rest when more come.
type meter struct {
	limit int

	mu      sync.Mutex
	began   time.Time
	second  int64
	used    int
	taken   []int // by second since it began
	refused int
	last    time.Time // refusal
	early   int       // came while it had asked for rest
}

const askedRest = 2 * time.Second

func (m *meter) send(context.Context, channels.Message) channels.Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.began.IsZero() {
		m.began = now
	}
	if now.Unix() != m.second {
		m.second, m.used = now.Unix(), 0
	}
	if m.used >= m.limit {
		m.refused, m.last = m.refused+1, now
		return channels.Result{Verdict: channels.Throttled, Scope: channels.ScopeHost, RetryAfter: askedRest, Code: "429", Err: errors.New("the endpoint asks for less")}
	}
	if since := now.Sub(m.last); since > 500*time.Millisecond && since < askedRest-100*time.Millisecond {
		m.early++
	}
	m.used++
	for at := int(now.Sub(m.began) / time.Second); len(m.taken) <= at; {
		m.taken = append(m.taken, 0)
	}
	m.taken[int(now.Sub(m.began)/time.Second)]++
	return channels.Result{Verdict: channels.Sent, Code: "200"}
}

// copied is what it has counted until now: the consumers go on.
func (m *meter) copied() *meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &meter{limit: m.limit, taken: slices.Clone(m.taken), refused: m.refused, early: m.early}
}

// settled is the mean of what was taken in a second, from one on and before
// another.
func (m *meter) settled(from, to int) float64 {
	n := 0
	for i := from; i < min(to, len(m.taken)); i++ {
		n += m.taken[i]
	}
	return float64(n) / float64(to-from)
}

// plain is a client that does nothing but keep to a rate, by permits that are
// void 20 ms after their moment as a consumer's are: what it gets done in a time
// is what the machine has left for that.
type plain struct {
	mu   sync.Mutex
	sent []int // by second since it began
}

func (p *plain) run(ctx context.Context, perSecond float64) {
	began, last, have := time.Now(), time.Now(), 0.0
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		now := <-ticker.C
		have = min(have+perSecond*now.Sub(last).Seconds(), perSecond*0.02+1)
		last = now
		p.mu.Lock()
		for at := int(now.Sub(began) / time.Second); len(p.sent) <= at; {
			p.sent = append(p.sent, 0)
		}
		p.sent[len(p.sent)-1] += int(have)
		p.mu.Unlock()
		have -= float64(int(have))
	}
}

// best is the most that was done in three seconds in a row, from one on: a
// moment at which the machine stood still is none of a consumer's doing.
func best(bySecond []int, from int) (most int) {
	for i := from; i+3 < len(bySecond); i++ {
		most = max(most, bySecond[i]+bySecond[i+1]+bySecond[i+2])
	}
	return most
}

// runMeter floods a meter of 300 a second from so many consumers for so long.
func runMeter(t *testing.T, consumers int, length time.Duration) *meter {
	w := newWorld(t, setup{slots: 64, jitter: func(d time.Duration) time.Duration { return d / 2 }})
	m := &meter{limit: 300}
	w.webhook.script(m.send)
	ids := w.admitTo(300*int(length/time.Second)+3000, "limited")["limited"]
	for i := range consumers {
		w.startTogether(fmt.Sprint("c", i))
	}
	w.await("the first answer", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.taken) > 0 })
	timer := time.NewTimer(length)
	<-timer.C
	longest := 0 // timeline
	for _, id := range ids[len(ids)-200:] {
		for _, d := range w.record(id).Deliveries {
			longest = max(longest, len(d.Timeline))
		}
	}
	if longest > 8 {
		t.Errorf("a delivery was put off %d times", longest-1)
	}
	m = m.copied()
	t.Logf("%d consumers: %v a second, %d refused, longest timeline %d", consumers, m.taken, m.refused, longest)
	return m
}

func TestAHostThatRefusesAboveARateIsSentWhatItTakes(t *testing.T) {
	// The simulation in throttle has the exact figures. A busy machine loses what
	// the clock of a rate hands out while it stands still, so this one is held
	// against a client that does nothing else in the same moments.
	length := 14
	if os.Getenv("CARILLON_LONG") != "" {
		length = 60
	}
	for _, consumers := range []int{1, 2} {
		t.Run(fmt.Sprint(consumers, " consumers"), func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			other := &plain{}
			go other.run(ctx, 300)
			m := runMeter(t, consumers, time.Duration(length)*time.Second)
			total := m.settled(0, length) * float64(length)
			if share := float64(m.refused) / (total + float64(m.refused)); share > .05 {
				t.Errorf("%.3f of all were refused", share)
			}
			t.Logf("%.0f a second from the tenth on", m.settled(10, length-1))
			other.mu.Lock()
			defer other.mu.Unlock()
			if got, could := best(m.taken, 4), best(other.sent, 4); float64(got) < 0.7*float64(could) {
				t.Errorf("%d in its best three seconds, of the %d that a client could send which does nothing else; want seven tenths", got, could)
			}
			if m.early > 10 {
				t.Errorf("%d came while it had asked for rest", m.early)
			}
		})
	}
}

func TestAPauseThatOneConsumerWasToldOfHoldsForTheOtherAndEndsOnTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{slots: 8, jitter: func(time.Duration) time.Duration { return 0 }})
	const rest = 3 * time.Second
	var mu sync.Mutex
	lag := queuetest.WatchLateness(t)
	var asked time.Time
	var after []time.Duration // what came after the host had asked for rest
	w.webhook.script(func(_ context.Context, m channels.Message) channels.Result {
		mu.Lock()
		defer mu.Unlock()
		if toHost("h")(m) {
			if asked.IsZero() {
				asked = time.Now()
				return channels.Result{Verdict: channels.Throttled, Scope: channels.ScopeHost, RetryAfter: rest, Code: "429"}
			}
			after = append(after, time.Since(asked))
		}
		return channels.Result{Verdict: channels.Sent, Code: "200"}
	})
	w.startTogether("a")
	w.startTogether("b")
	w.admitTo(1, "h")
	w.await("the host to ask for rest", func() bool { mu.Lock(); defer mu.Unlock(); return !asked.IsZero() })
	w.await("the word of it", func() bool { return w.rdb.ZCard(t.Context(), "{t:webhook}:pauses").Val() >= 1 })
	// Both have work, which has them listen, before more goes to the host.
	ids := w.admitTo(40, "other")["other"]
	w.sentAll("everything to the other host", ids)
	time.Sleep(time.Until(asked.Add(600 * time.Millisecond)))
	ids = w.admitTo(40, "h")["h"]
	w.sentAll("everything to the host", ids)
	mu.Lock()
	defer mu.Unlock()
	if after[0] < rest {
		t.Errorf("the first came %v after it had asked for %v", after[0], rest)
	}
	if late := lag(); after[0] > rest+time.Second+5*late { // some hand-overs from its moment to its arrival
		t.Errorf("the first came %v after it had asked for %v, on a machine that was late by %v", after[0], rest, late)
	}
	d := w.ended(ids[len(ids)-1]).Deliveries[0]
	for _, e := range d.Timeline {
		if e.Status == notice.StatusDeferred && !strings.Contains(e.Detail, "host h asked for less (429, Retry-After 3s)") && e.Code == "paused" {
			t.Errorf("the timeline says %q", e.Detail)
		}
	}
}

func TestOfFourConsumersOneProbesAHostThatIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{slots: 8})
	var mu sync.Mutex
	var calls []time.Time
	w.webhook.script(func(_ context.Context, m channels.Message) channels.Result {
		if toHost("dead")(m) {
			mu.Lock()
			calls = append(calls, time.Now())
			mu.Unlock()
			return channels.Result{Verdict: channels.Retry, Code: "connect", Err: errors.New("connection refused")}
		}
		return channels.Result{Verdict: channels.Sent, Code: "200"}
	})
	for i := range 4 {
		w.startTogether(fmt.Sprint("c", i))
	}
	w.admitTo(400, "dead")
	// Down at once in each, the first probes come after 5 s, and then after 10.
	time.Sleep(9 * time.Second)
	mu.Lock()
	defer mu.Unlock()
	first, probes := calls[0], 0
	for _, at := range calls {
		if at.Sub(first) > 3*time.Second {
			probes++
			t.Log("a probe after ", at.Sub(first))
		}
	}
	t.Logf("%d calls, %d of them probes", len(calls), probes)
	if probes != 1 {
		t.Errorf("%d probes within 9 s by four consumers, want one", probes)
	}
}
