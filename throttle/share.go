package throttle

import (
	"context"
	_ "embed" // the script
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillonhq/carillon/config"
)

//go:embed share.lua
var shareLua string

const (
	// frameTime is how much of a rate is handed out at once, at least.
	frameTime = 100 * time.Millisecond
	// askAgain is how soon a consumer asks again that has used up what it got.
	askAgain = 20 * time.Millisecond
	// askAfter is how much later than it might a consumer asks: by then it knows
	// what it has not used of the frame before.
	askAfter = burstTime + 2*time.Millisecond
	// askLater is how much later one asks that used all that it had: those that
	// give something back go first, so that it can have that.
	askLater = 5 * time.Millisecond
	// askLimit bounds the wait for Redis' answer: later, the frame is over.
	askLimit = 500 * time.Millisecond
	// askRest is how long a consumer waits after the first of several failures;
	// askRestMost after the later ones.
	askRest, askRestMost = 25 * time.Millisecond, 400 * time.Millisecond
	// idleTime is how long a consumer that wants nothing stays at hand.
	idleTime = time.Second
)

// frame is how a rate is cut into pieces that are divided among consumers: so
// many permits in a time, at least frameTime and at least one permit.
type frame struct {
	size int
	span time.Duration
}

func frameOf(r config.Rate) frame {
	n := max(1, ceilDiv(int64(r.Count)*int64(frameTime), int64(r.Per)))
	span := time.Duration(float64(n) / r.PerSecond() * float64(time.Second))
	return frame{size: int(n), span: span.Round(time.Microsecond)}
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// keep is how late a permit may be used: burstTime, or five per cent of the
// time between two permits that are far apart, so that a machine under load
// does not miss one that comes once a minute. At most a second.
func (f frame) keep() time.Duration { return min(max(burstTime, f.span/20), time.Second) }

// share is one consumer's part of a rate: it asks for permits while they are
// wanted, a frame ahead, and gives its pace what it gets.
type share struct {
	rates  *Rates
	key    string // in Redis
	name   string // the consumer's
	strict bool   // no second is to have more than the rate, for what is owed
	pace   *Pace

	kick     chan struct{} // somebody waits and there is no permit
	reloaded chan struct{} // the rate is another
	running  atomic.Bool

	// What only run touches.
	clock    redisClock
	held     time.Duration // the end of the last frame that it has permits of, by Redis' clock
	asked    time.Time     // when it asked last
	failures int

	mu   sync.Mutex
	next time.Time // when it asks again
	err  error
}

// wake makes the share ask, if it does not anyway. It takes no lock of the pace.
func (s *share) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
	s.start()
}

func (s *share) start() {
	if s.running.CompareAndSwap(false, true) && !s.rates.begin(s) {
		s.running.Store(false)
	}
}

// reload makes the share ask at once.
func (s *share) reload() {
	select {
	case s.reloaded <- struct{}{}:
	default:
	}
	s.start()
}

// expected is how long it takes at least until somebody who waits may have a
// permit.
func (s *share) expected() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(time.Until(s.next), askAgain)
}

// run asks until nobody has wanted a permit for a while, or ctx ends.
func (s *share) run(ctx context.Context) {
	for {
		at, got := s.ask(ctx)
		if s.note(at); ctx.Err() != nil {
			s.leave()
			return
		}
		if at.IsZero() {
			if !s.rest(ctx) {
				return
			}
			continue
		}
		s.await(ctx, at, got)
	}
}

// rest waits until a permit is wanted again. It is false when none was for a
// while: then run is over, and wake begins it anew.
func (s *share) rest(ctx context.Context) bool {
	idle := time.NewTimer(idleTime)
	defer idle.Stop()
	select {
	case <-s.kick:
		return true
	case <-s.reloaded:
		return true
	case <-ctx.Done():
		return true
	case <-idle.C:
	}
	s.running.Store(false)
	// Who kicked until just now took it to be running.
	return len(s.kick) > 0 && s.running.CompareAndSwap(false, true)
}

// await waits until it is time to ask again. Who got some, and is asked for
// more, asks earlier; who got nothing was told when there will be something.
func (s *share) await(ctx context.Context, at time.Time, got bool) {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	kick := s.kick
	if !got {
		kick = nil
	}
	select {
	case <-timer.C:
	case <-s.reloaded:
	case <-ctx.Done():
	case <-kick:
		timer.Reset(min(time.Until(s.asked.Add(askAgain)), time.Until(at)))
		select {
		case <-timer.C:
		case <-s.reloaded:
		case <-ctx.Done():
		}
	}
}

// ask asks once. at is when to ask again, zero when nothing is wanted, and got
// says whether there was something.
func (s *share) ask(ctx context.Context) (at time.Time, got bool) {
	rate := s.pace.Rate()
	if rate.IsZero() {
		return time.Time{}, false
	}
	select {
	case <-s.kick: // it is heard
	default:
	}
	f := frameOf(rate)
	want, ended, once := s.pace.collect(f.size)
	if want == 0 {
		return s.giveBack(ctx, f, ended), true
	}
	s.asked = time.Now()
	a, err := s.call(ctx, f, want, once, ended)
	if err != nil {
		return s.failed(ctx, err), false
	}
	s.failures = 0
	s.fail(nil)
	s.clock.observe(a.now, s.asked, time.Now())
	s.pace.gave(a.permits, want, f.size)
	if a.permits == 0 {
		s.pace.unmet()
	} else {
		s.held = a.end
		g := newGrant(a.permits, s.clock.local(a.from), s.clock.local(a.to), a.phase, f.keep())
		g.frame = a.end
		s.pace.grant(g)
	}
	if len(ended) == 0 {
		a.back += askLater
	}
	return s.clock.local(a.back).Add(askAfter), a.permits > 0
}

// giveBack tells what has ended unused when nothing is wanted, and that the
// consumer has no part of what is to come. It returns when to look again: zero,
// when all that it was given has been told.
func (s *share) giveBack(ctx context.Context, f frame, ended []unused) time.Time {
	if len(ended) > 0 {
		// Others get a little less when it fails, and are not told of it.
		_, _ = s.call(ctx, f, 0, true, ended)
	}
	return s.pace.ends()
}

// failed takes note of a failure, and returns when to try again. What was given
// and ended unused is not told again: whether it was heard is not known.
func (s *share) failed(ctx context.Context, err error) time.Time {
	if ctx.Err() == nil {
		s.fail(err)
	}
	s.failures++
	return time.Now().Add(min(askRest<<min(s.failures, 10), askRestMost))
}

// answer is what the script says. Its moments are Redis' own, since 1970.
type answer struct {
	now, from, to, back, end time.Duration
	permits                  int
	phase                    float64
}

func (s *share) call(ctx context.Context, f frame, want int, once bool, ended []unused) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	args := append(make([]any, 0, 7+2*len(ended)), s.name, f.size, f.span.Microseconds(), want, once, s.held.Microseconds(), s.strict)
	for _, u := range ended {
		args = append(args, u.frame.Microseconds(), u.n)
	}
	reply, err := s.rates.eval(ctx, s.key, args...)
	if err != nil {
		return answer{}, fmt.Errorf("ask for permits of a shared rate: %w", err)
	}
	if len(reply) != 7 || reply[1] < 0 {
		return answer{}, fmt.Errorf("ask for permits of a shared rate: the script answered %v", reply)
	}
	us := func(i int) time.Duration { return time.Duration(reply[i]) * time.Microsecond }
	return answer{now: us(0), permits: int(reply[1]), from: us(2), to: us(3), phase: float64(reply[4]) / 1e6, back: us(5), end: us(6)}, nil
}

// leave gives up what the consumer has coming, so that the others need not wait
// for its absence to be noticed. A failure is no matter: they will notice.
func (s *share) leave() {
	if s.asked.IsZero() || time.Since(s.asked) > idleTime {
		return
	}
	_, _ = s.call(context.Background(), frame{size: 1, span: frameTime}, 0, true, nil)
}

func (s *share) note(next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = next
}

func (s *share) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}
