package throttle

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// limiter is a receiver that answers 429 above its rate.
type limiter interface{ take(now time.Time) bool }

// may takes a permit, if there is one.
func (l *learned) may(now time.Time) bool {
	if !l.ready(now) {
		return false
	}
	l.take(now)
	return true
}

// window counts by the second, as most receivers do.
type window struct {
	limit, used int
	phase       time.Duration
	second      int64
}

func (w *window) take(now time.Time) bool {
	if second := now.Add(w.phase).Unix(); second != w.second {
		w.second, w.used = second, 0
	}
	if w.used >= w.limit {
		return false
	}
	w.used++
	return true
}

// bucket saves up what is not used.
type bucket struct {
	rate, most, have float64
	at               time.Time
}

func (b *bucket) take(now time.Time) bool {
	if b.at.IsZero() {
		b.at, b.have = now, b.most
	}
	b.have = min(b.most, b.have+b.rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.have < 1 {
		return false
	}
	b.have--
	return true
}

// answering is a consumer's call on its way.
type answering struct {
	at    time.Time
	taken bool
}

// caller is one consumer of the simulation.
type caller struct {
	l      learned
	paused time.Time
	flight []answering
	hears  time.Time // when it hears of another's pause
	until  time.Time // that pause's end
}

// simulation has consumers flood one receiver that asks for two seconds.
type simulation struct {
	callers []*caller
	to      limiter
	perMS   float64       // calls of one consumer that is not held
	answer  time.Duration // how long the receiver takes
	random  *rand.Rand
	log     func(format string, args ...any)

	taken, refused int
	bySecond       []int
}

// simulated is when a simulation begins.
var simulated = time.Unix(1_800_000_000, 0)

const simulatedPause = 2 * time.Second

func (s *simulation) run(began time.Time, length time.Duration) {
	for passed := time.Duration(0); passed < length; passed += time.Millisecond {
		now := began.Add(passed)
		if int(passed/time.Second) >= len(s.bySecond) {
			s.bySecond = append(s.bySecond, 0)
		}
		for _, c := range s.callers {
			s.hear(c, now)
			s.call(c, now)
		}
	}
}

// hear takes in the answers that have come.
func (s *simulation) hear(c *caller, now time.Time) {
	for len(c.flight) > 0 && !c.flight[0].at.After(now) {
		if c.flight[0].taken {
			c.l.took(now)
		} else {
			c.l.refuse(now)
			s.pause(c, now)
		}
		c.flight = c.flight[1:]
	}
	if !c.hears.IsZero() && !now.Before(c.hears) {
		c.hears = time.Time{}
		c.l.refuse(now)
		c.paused = later(c.paused, c.until)
	}
}

func (s *simulation) pause(c *caller, now time.Time) {
	c.paused = now.Add(simulatedPause)
	for _, other := range s.callers {
		if other != c && other.hears.IsZero() {
			other.hears, other.until = now.Add(time.Duration(s.random.Int64N(int64(250*time.Millisecond)))), c.paused
		}
	}
}

func (s *simulation) call(c *caller, now time.Time) {
	if now.Before(c.paused) {
		return
	}
	if !c.l.refused.IsZero() {
		c.l.resume(now)
		if s.log != nil {
			s.log("%v: goes on at %.0f/s", now.Sub(simulated).Round(10*time.Millisecond), c.l.perSecond)
		}
	}
	n := int(s.perMS + s.random.Float64())
	for range n {
		if len(c.flight) >= 64 || !c.l.may(now) {
			return
		}
		c.l.called(now)
		taken := s.to.take(now)
		c.flight = append(c.flight, answering{now.Add(s.answer), taken})
		if taken {
			s.taken++
			s.bySecond[len(s.bySecond)-1]++
		} else {
			s.refused++
		}
	}
}

// settles simulates a minute, and returns what part of what is allowed was
// taken after the first ten seconds, and what part of all calls was refused.
func settles(seed uint64, to func(*rand.Rand) limiter, consumers int, perMS float64) (share, refused float64) {
	random := rand.New(rand.NewPCG(seed, 1))
	s := &simulation{to: to(random), perMS: perMS, answer: 5 * time.Millisecond, random: random}
	for range consumers {
		s.callers = append(s.callers, &caller{})
	}
	s.run(simulated, time.Minute)
	settled := 0
	for _, n := range s.bySecond[10:] {
		settled += n
	}
	return float64(settled) / (50 * simulatedRate), float64(s.refused) / float64(s.refused+s.taken)
}

const simulatedRate = 300

func TestAReceiverThatRefusesAboveARateIsSettledWithinTenSeconds(t *testing.T) {
	seeds := uint64(5)
	if os.Getenv("CARILLON_LONG") != "" {
		seeds = 11
	}
	for _, tc := range []struct {
		name          string
		to            func(*rand.Rand) limiter
		median, worst float64 // of what it allows, of many runs
	}{
		{"a window of one second", func(r *rand.Rand) limiter {
			return &window{limit: simulatedRate, phase: time.Duration(r.Int64N(int64(time.Second)))}
		}, .95, .89},
		{"a bucket of one second's worth", func(*rand.Rand) limiter { return &bucket{rate: simulatedRate, most: simulatedRate} }, .92, .85},
		{"a bucket of a tenth of a second's", func(*rand.Rand) limiter { return &bucket{rate: simulatedRate, most: simulatedRate / 10} }, .8, .65},
	} {
		for _, consumers := range []int{1, 2, 4} {
			for _, perMS := range []float64{1, 3, 8} {
				t.Run(fmt.Sprint(tc.name, ", ", consumers, " consumers of ", perMS*1000, " a second"), func(t *testing.T) {
					t.Parallel()
					var shares []float64
					worstRefused := 0.0
					for seed := range seeds {
						share, refused := settles(seed, tc.to, consumers, perMS)
						shares = append(shares, share)
						worstRefused = max(worstRefused, refused)
					}
					slices.Sort(shares)
					t.Logf("median %.3f, worst %.3f of the rate; at most %.4f refused", shares[seeds/2], shares[0], worstRefused)
					if shares[seeds/2] < tc.median || shares[0] < tc.worst || worstRefused > .03 {
						t.Errorf("median %.3f, worst %.3f, refused %.4f; want %v, %v and under 0.03", shares[seeds/2], shares[0], worstRefused, tc.median, tc.worst)
					}
				})
			}
		}
	}
}

// drive calls a receiver at a rate it takes for a while.
func drive(l *learned, now time.Time, length time.Duration, perSecond float64) (later time.Time, held int) {
	gap := time.Duration(float64(time.Second) / perSecond)
	for end := now.Add(length); now.Before(end); now = now.Add(gap) {
		if !l.may(now) {
			held++
			continue
		}
		l.called(now)
		l.took(now)
	}
	return now, held
}

// knownRate is a destination that was found to take some 300 a second.
func knownRate() (*learned, time.Time) {
	l, now := &learned{}, simulated
	now, _ = drive(l, now, 300*time.Millisecond, 1000)
	for range 2 { // the first says little, and the second is believed
		l.refuse(now)
		now = now.Add(simulatedPause)
		l.resume(now)
		now, _ = drive(l, now, 500*time.Millisecond, 1000)
	}
	return l, now
}

func TestALearnedRateIsKeptForAMinuteAndThenExceededByAFiftieth(t *testing.T) {
	l, now := knownRate()
	rate := l.perSecond
	now, held := drive(l, now, 58*time.Second, 1000)
	if l.perSecond != rate || held == 0 {
		t.Fatalf("%.1f/s after a minute, held up %d; want %.1f", l.perSecond, held, rate)
	}
	now, _ = drive(l, now, 3*time.Second, 1000)
	if got := l.perSecond / rate; got < 1.019 || got > 1.021 {
		t.Errorf("%.3f times the rate after a minute, want 1.02", got)
	}
	drive(l, now, 5*time.Minute, 1000)
	if l.perSecond != 0 {
		t.Errorf("%.1f/s of a destination that takes everything, want it forgotten", l.perSecond)
	}
}

func TestACeilingThatIsFoundAgainIsProbedHalfAsOften(t *testing.T) {
	l, now := knownRate()
	before := l.patient
	for range 8 {
		for l.refused.IsZero() {
			if now, _ = drive(l, now, time.Second, 1000); l.perSecond > 300 || l.perSecond == 0 {
				l.refuse(now)
			}
		}
		now = now.Add(simulatedPause)
		l.resume(now)
		t.Logf("%v: %.1f/s of %.1f, patient %v", now.Sub(simulated), l.perSecond, l.ceiling, l.patient)
	}
	if l.patient < 4*before || l.patient > probeMost {
		t.Errorf("it is probed after %v, at first %v", l.patient, before)
	}
}

func TestARateThatHoldsNothingUpIsForgotten(t *testing.T) {
	l, now := knownRate()
	drive(l, now, forgetAfter+10*time.Second, 5)
	if l.perSecond != 0 {
		t.Errorf("%.1f/s after %v in which it held up nothing", l.perSecond, forgetAfter)
	}
}

func TestOneThatRefusesEverythingIsCalledRarelyAndSoonAgainWhenItIsWell(t *testing.T) {
	l, now := &learned{}, simulated
	calls := 0
	for range 10 { // refuses everything for half a minute
		if !l.may(now) {
			t.Fatal("not a single one after a pause")
		}
		l.called(now)
		calls++
		l.refuse(now)
		now = now.Add(3 * time.Second)
		l.resume(now)
	}
	if r := l.perSecond; r > 2 {
		t.Errorf("%.1f/s for one that takes nothing", r)
	}
	drive(l, now, 3*time.Minute, 1000)
	if r := l.perSecond; r != 0 && r < 100 {
		t.Errorf("%.1f/s three minutes after it is well", r)
	}
}

func TestFewerConsumersAreBelievedWhenTheyAreToldOfTwice(t *testing.T) {
	d := NewDestinations(DestinationRules{Slots: 64, Now: func() time.Time { return simulated }, Told: func(Word) {}})
	for i, step := range []struct{ told, want int }{{1, 2}, {2, 2}, {4, 4}, {2, 4}, {2, 2}, {1, 2}, {1, 1}} {
		if d.Among(step.told); d.among != step.want {
			t.Errorf("count %d: told of %d, it goes by %d consumers, want %d", i, step.told, d.among, step.want)
		}
	}
}

func TestWhatIsLateIsMadeUpForWithinWhatASecondMayHave(t *testing.T) {
	l := &learned{}
	now := simulated
	l.ceiling, l.since, l.stepped, l.limited, l.patient = 100, now, now, now, probeAfter
	l.setRate(now, 100)
	count := func(length time.Duration) (n int) {
		for end := now.Add(length); now.Before(end); now = now.Add(time.Millisecond) {
			if l.may(now) {
				n++
			}
		}
		return n
	}
	count(2 * time.Second)
	now = now.Add(80 * time.Millisecond) // in which the machine did something else
	if n := count(10 * time.Millisecond); n < 8 || n > 10 {
		t.Errorf("%d went at once after 80 ms, want the 8 that were late", n)
	}
	if n := count(time.Second); n > 101 {
		t.Errorf("%d in the second after, at 100 a second", n)
	}
}

func TestARateThatWasBorneIsWhatARefusalLeadsBackTo(t *testing.T) {
	l, now := knownRate()
	rate := l.perSecond
	now, _ = drive(l, now, l.patient+probeEvery+time.Second, 1000)
	l.refuse(now)
	l.resume(now.Add(simulatedPause))
	if got := l.perSecond / rate; got < 1.019 || got > 1.021 {
		t.Errorf("it goes on at %.3f times the rate, want the 1.02 that were borne", got)
	}
}

func TestAFloodOverTheEdgeOfASecondIsOnlyBelievedInWhereTheNextRunBearsItOut(t *testing.T) {
	ended := simulated
	after := func(taken int, ran, pause time.Duration) flood {
		return flood{taken, float64(min(taken, 494)), ran, ended.Add(pause + ran)}
	}
	for name, c := range map[string]struct {
		first, next flood
		want        float64
	}{
		// 200 in the 50 ms before the edge, 300 in the 75 ms after it; then 484 a
		// second from 600 ms after an edge on.
		"300 a second, 200 of the flood before the edge": {flood{500, 500, 125 * time.Millisecond, ended}, after(494, 1020*time.Millisecond, 2525*time.Millisecond), 300},
		// One that counts the second before each call has no edge: half of the
		// 300 that it takes would have been refused sooner.
		"300 in any second": {flood{300, 300, 80 * time.Millisecond, ended}, after(381, 1360*time.Millisecond, 2*time.Second), 0},
	} {
		l := learned{known: known{first: c.first}}
		if got := l.overTheEdge(c.next, min(c.first.lately, c.next.lately)); got < c.want*0.99 || got > c.want*1.01 {
			t.Errorf("%s: %.1f, want %.1f", name, got, c.want)
		}
	}
}
