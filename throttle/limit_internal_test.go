package throttle

import (
	"math/rand/v2"
	"testing"
	"time"
)

// model is a provider whose answers take longer the more it has in flight.
type model struct {
	base    time.Duration
	bears   int  // in flight, before answers take longer; 0: any number
	refuses bool // what it does not bear, in place of taking longer
	noise   float64
	random  *rand.Rand
}

func (m model) answer(inFlight int) (time.Duration, sign) {
	took := m.base
	if m.bears > 0 && inFlight > m.bears {
		if m.refuses {
			return m.base, refused
		}
		took = took * time.Duration(inFlight) / time.Duration(m.bears)
	}
	return time.Duration(float64(took) * (1 + m.noise*m.random.ExpFloat64())), fine
}

// settle keeps a limit used for a while, and returns the least and the most it
// was in the last half.
func settle(m model, bound int, length time.Duration) (least, most int) {
	m.random = rand.New(rand.NewPCG(1, 2))
	l, now := newLimit(bound), simulated
	least = max(bound, 1)
	for end := now.Add(length); now.Before(end); {
		inFlight := l.value()
		took, says := m.answer(inFlight)
		now = now.Add(max(took/time.Duration(inFlight), time.Microsecond))
		l.note(says, took, inFlight, now)
		if now.Sub(simulated) > length/2 {
			least, most = min(least, l.value()), max(most, l.value())
		}
	}
	return least, most
}

func TestWhatALimitSettlesAt(t *testing.T) {
	for name, tc := range map[string]struct {
		model       model
		bound       int
		least, most int
	}{
		"quick and alike: the bound":         {model{base: time.Millisecond}, 256, 256, 256},
		"slow and alike: the bound":          {model{base: 2 * time.Second}, 64, 64, 64},
		"quick on a busy machine: the bound": {model{base: time.Millisecond, noise: 20}, 64, 64, 64},
		"50 ms, with a long tail: the bound": {model{base: 50 * time.Millisecond, noise: 1}, 64, 64, 64},
		"bears 20, and then takes longer":    {model{base: 100 * time.Millisecond, bears: 20}, 256, 20, 64},
		"bears 20, and refuses more":         {model{base: 20 * time.Millisecond, bears: 20, refuses: true}, 256, 9, 22},
		"bears 1, and refuses more":          {model{base: 20 * time.Millisecond, bears: 1, refuses: true}, 64, 1, 3},
		"a bound of 1 is never passed":       {model{base: time.Millisecond}, 1, 1, 1},
		"a bound of 0 is 1":                  {model{base: time.Millisecond}, 0, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			least, most := settle(tc.model, tc.bound, 2*time.Minute)
			if least < tc.least || most > tc.most {
				t.Errorf("from %d to %d, want %d to %d", least, most, tc.least, tc.most)
			}
		})
	}
}

func TestALimitThatIsNotUsedDoesNotGrow(t *testing.T) {
	l, now := newLimit(64), simulated
	for range 1000 {
		now = now.Add(10 * time.Millisecond)
		l.note(fine, 5*time.Millisecond, 1, now)
	}
	if l.value() != limitStart {
		t.Errorf("%d after a thousand answers one by one, want %d", l.value(), limitStart)
	}
}

func TestWhatIsRefusedTogetherShrinksALimitOnce(t *testing.T) {
	l := newLimit(64)
	for range 16 {
		l.note(refused, time.Millisecond, 16, simulated)
	}
	if want := 11; l.value() != want {
		t.Errorf("%d after 16 refusals at once, want %d", l.value(), want)
	}
}

func TestALimitFollowsItsBound(t *testing.T) {
	complained := func(l *limit) { l.refuse() }
	for name, tc := range map[string]struct {
		before, after int
		first         func(*limit)
		want          int
	}{
		"raised, it begins like a new one":     {4, 64, func(*limit) {}, limitStart},
		"raised after a complaint, it is kept": {4, 64, complained, 2},
		"lowered, it is not over the bound":    {64, 7, func(*limit) {}, 7},
		"lowered to nothing it is one":         {64, 0, complained, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimit(tc.before)
			tc.first(&l)
			if l.resize(tc.after); l.value() != tc.want {
				t.Errorf("%d, want %d", l.value(), tc.want)
			}
			now := simulated
			for range 1000 { // it is used, and answers are alike
				now = now.Add(10 * time.Millisecond)
				l.note(fine, 5*time.Millisecond, l.value(), now)
			}
			if want := max(tc.after, 1); l.value() < want*4/5 || l.value() > want {
				t.Errorf("%d after it was used for ten seconds, want about the bound of %d", l.value(), want)
			}
		})
	}
}
