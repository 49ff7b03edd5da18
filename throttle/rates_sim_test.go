package throttle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"

	"github.com/carillonhq/carillon/config"
)

// luaRedis runs share.lua itself, with the clock of a synctest bubble: what a
// minute of many consumers comes to is known in a second, and is exact.
type luaRedis struct {
	mu    sync.Mutex
	lua   *lua.LState
	asked *lua.LFunction
	state map[string]string
	step  time.Duration // by which the clock was set
	away  bool
	delay func() time.Duration // of one way
}

func newLuaRedis(t testing.TB) *luaRedis {
	t.Helper()
	r := &luaRedis{lua: lua.NewState(), state: map[string]string{}, delay: func() time.Duration { return time.Duration(rand.IntN(2000)) * time.Microsecond }}
	t.Cleanup(r.lua.Close)
	chunk, err := parse.Parse(strings.NewReader(shareLua), "share.lua")
	if err != nil {
		t.Fatal(err)
	}
	proto, err := lua.Compile(chunk, "share.lua")
	if err != nil {
		t.Fatal(err)
	}
	r.asked = r.lua.NewFunctionFromProto(proto)
	r.lua.SetGlobal("redis", r.lua.SetFuncs(r.lua.NewTable(), map[string]lua.LGFunction{"call": r.call}))
	return r
}

var errAway = errors.New("the server is away")

// eval is what Rates call.
func (r *luaRedis) eval(ctx context.Context, key string, args ...any) ([]int64, error) {
	time.Sleep(r.delay())
	reply, err := r.run(key, args)
	time.Sleep(r.delay())
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return reply, err
}

func (r *luaRedis) run(key string, args []any) (reply []int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		return nil, errAway
	}
	l := r.lua
	keys, argv := l.NewTable(), l.NewTable()
	keys.Append(lua.LString(key))
	for _, a := range args {
		if yes, is := a.(bool); is { // as go-redis writes one
			a = map[bool]int{true: 1}[yes]
		}
		argv.Append(lua.LString(fmt.Sprint(a)))
	}
	l.SetGlobal("KEYS", keys)
	l.SetGlobal("ARGV", argv)
	l.Push(r.asked)
	if err := l.PCall(0, 1, nil); err != nil {
		return nil, err
	}
	l.CheckTable(-1).ForEach(func(_, v lua.LValue) { reply = append(reply, int64(v.(lua.LNumber))) })
	l.SetTop(0)
	return reply, nil
}

// call is redis.call, as far as the script uses it.
func (r *luaRedis) call(l *lua.LState) int {
	switch l.CheckString(1) {
	case "TIME":
		now := time.Now().Add(r.step)
		answer := l.NewTable()
		answer.Append(lua.LString(fmt.Sprint(now.Unix())))
		answer.Append(lua.LString(fmt.Sprint(now.Nanosecond() / 1000)))
		l.Push(answer)
	case "GET":
		if v, ok := r.state[l.CheckString(2)]; ok {
			l.Push(lua.LString(v))
		} else {
			l.Push(lua.LFalse)
		}
	case "SET":
		r.state[l.CheckString(2)] = l.CheckString(3)
		l.Push(lua.LTrue)
	default:
		l.RaiseError("the script calls %s", l.CheckString(1))
	}
	return 1
}

// fleet are consumers that share a rate in a bubble.
type fleet struct {
	t     *testing.T
	redis *luaRedis
	rate  config.Rate

	members []*member
	wrong   []string // what check found

	mu   sync.Mutex
	sent []time.Time
}

// member is one of them, with a pace for the key "k".
type member struct {
	*Pace
	fleet *fleet
	rates *Rates
	ctx   context.Context
	stop  context.CancelFunc
	dead  atomic.Bool
	sent  int
}

func (f *fleet) join(name string) *member {
	m := &member{fleet: f, rates: NewRates(nil, "test", name)}
	m.ctx, m.stop = context.WithCancel(f.t.Context())
	m.rates.eval = func(ctx context.Context, key string, args ...any) ([]int64, error) {
		if m.dead.Load() {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return f.redis.eval(ctx, key, args...)
	}
	m.Pace = m.rates.Pace("k", f.rate)
	go m.rates.Run(m.ctx)
	f.members = append(f.members, m)
	return m
}

// kill ends a member without a word.
func (m *member) kill() { m.dead.Store(true); m.stop() }

// work sends as much as it can, each taking a while, for as long as it lives.
// As in a consumer, one worker waits for a permit at a time.
func (m *member) work(workers int, each time.Duration) *member {
	return m.workUntil(m.ctx, workers, each)
}

func (m *member) workUntil(ctx context.Context, workers int, each time.Duration) *member {
	m.Queue(func() int {
		if ctx.Err() != nil {
			return 0
		}
		return workers
	})
	go func() {
		free := make([]time.Time, workers) // when each has done
		for i := 0; ; i = (i + 1) % workers {
			time.Sleep(time.Until(free[i]))
			if !m.send(ctx) {
				return
			}
			free[i] = time.Now().Add(each)
		}
	}()
	return m
}

// arrive sends what comes at random, so many a second, for as long as it lives,
// and knows how many wait.
func (m *member) arrive(perSecond float64) *member {
	var mu sync.Mutex
	var come []time.Time // those that have not been sent, and the next
	next := func(last time.Time) time.Time {
		return last.Add(time.Duration(rand.ExpFloat64() / perSecond * float64(time.Second)))
	}
	come = append(come, next(time.Now()))
	queued := func() int {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		for last := come[len(come)-1]; !last.After(now); last = come[len(come)-1] {
			come = append(come, next(last))
		}
		return len(come) - 1
	}
	m.Queue(queued)
	go func() {
		for {
			if queued() == 0 && sleep(m.ctx, time.Until(come[0])) != nil || !m.send(m.ctx) {
				return
			}
			queued()
			mu.Lock()
			come = come[1:]
			mu.Unlock()
		}
	}()
	return m
}

// sleep waits for a while, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *member) send(ctx context.Context) bool {
	if m.Wait(ctx) != nil {
		return false
	}
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	m.fleet.sent = append(m.fleet.sent, time.Now())
	m.sent++
	return true
}

// took is how many it has sent since it was asked last.
func (m *member) took() (n int) {
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	n, m.sent = m.sent, 0
	return n
}

// inBubble runs a fleet.
func inBubble(t *testing.T, rate config.Rate, run func(f *fleet)) {
	t.Helper()
	for _, wrong := range bubble(t, rate, run) {
		t.Error(wrong)
	}
}

// byChanceInBubble is inBubble for what comes at random: one run in a hundred is
// a permit or two beyond its bounds, and two in a row are a fault.
func byChanceInBubble(t *testing.T, rate config.Rate, run func(f *fleet)) {
	t.Helper()
	unlucky := bubble(t, rate, run)
	if len(unlucky) == 0 {
		return
	}
	t.Logf("once more, since %q", unlucky)
	inBubble(t, rate, run)
}

// bubble returns what a check found wrong.
func bubble(t *testing.T, rate config.Rate, run func(f *fleet)) (wrong []string) {
	t.Helper()
	redis := newLuaRedis(t)
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, redis: redis, rate: rate}
		run(f)
		wrong = f.wrong
		for _, m := range f.members {
			m.stop()
		}
		time.Sleep(2 * time.Second) // for them to leave
	})
	return wrong
}

// sentUntilNow are the moments, in order.
func (f *fleet) sentUntilNow() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.SortedFunc(slices.Values(f.sent), time.Time.Compare)
}

// check wants no second with more than is allowed, and no ten seconds between
// from and to with less than a part of the rate or more than 102 %.
func (f *fleet) check(from, to time.Time, least float64) {
	f.t.Helper()
	sent, rate := f.sentUntilNow(), f.rate.PerSecond()
	if n, at := most(sent, time.Second); float64(n) > allowed(rate)+1e-9 {
		f.note("a second from %v on saw %d of %v", at.Sub(from), n, f.rate)
	}
	if n, at := most(sent, 10*time.Second); float64(n) > max(10.2*rate, 10*rate+1)+1e-9 {
		f.note("ten seconds from %v on saw %d of %v", at.Sub(from), n, f.rate)
	}
	for start := from; !start.Add(10 * time.Second).After(to); start = start.Add(100 * time.Millisecond) {
		n := between(sent, start, start.Add(10*time.Second))
		if float64(n) < min(10*least*rate, 10*rate-3)-1e-9 {
			f.note("ten seconds from %v on saw only %d of %v", start.Sub(from), n, f.rate)
			return
		}
	}
}

func (f *fleet) note(format string, args ...any) {
	f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
}

// allowed is the most that a second may see. Where 20 ms are a few permits only,
// which may be used so late, those count.
func allowed(rate float64) float64 {
	switch {
	case rate <= 20:
		return rate + 1
	case rate < 10*fewPermits:
		return max(1.05*rate+1, rate+2)
	}
	return 1.05 * rate
}

// most is the most moments in any half-open window, and when it begins.
func most(sent []time.Time, window time.Duration) (n int, at time.Time) {
	first := 0
	for i := range sent {
		for sent[i].Sub(sent[first]) >= window {
			first++
		}
		if i-first+1 > n {
			n, at = i-first+1, sent[first]
		}
	}
	return n, at
}

func between(sent []time.Time, from, to time.Time) int {
	i, _ := slices.BinarySearchFunc(sent, from, time.Time.Compare)
	j, _ := slices.BinarySearchFunc(sent, to, time.Time.Compare)
	return j - i
}

func TestTheSumHoldsWhileConsumersComeGoAndDie(t *testing.T) {
	for _, rate := range []config.Rate{{Count: 10, Per: time.Second}, {Count: 37, Per: time.Second}, {Count: 100, Per: time.Second}, {Count: 500, Per: time.Second}, {Count: 5000, Per: time.Second}} {
		t.Run(rate.String(), func(t *testing.T) {
			inBubble(t, rate, func(f *fleet) {
				workers := max(4, rate.Count/20)
				var all []*member
				for i := range 4 {
					all = append(all, f.join(fmt.Sprint(i)).work(workers, 10*time.Millisecond))
				}
				time.Sleep(2 * time.Second)
				start := time.Now()
				time.Sleep(9 * time.Second)
				all[1].kill()
				time.Sleep(10 * time.Second)
				f.join("late").work(workers, 10*time.Millisecond)
				time.Sleep(7 * time.Second)
				all[2].stop()
				time.Sleep(11 * time.Second)
				f.check(start, time.Now(), 0.98)
			})
		})
	}
}

func TestWhatAnIdleConsumerDoesNotUseTheOthersHave(t *testing.T) {
	inBubble(t, config.Rate{Count: 500, Per: time.Second}, func(f *fleet) {
		a, b := f.join("a").work(64, 10*time.Millisecond), f.join("b")
		bCtx, rest := context.WithCancel(b.ctx)
		b.workUntil(bCtx, 64, 10*time.Millisecond)
		start := time.Now()
		time.Sleep(3 * time.Second)
		a.took()
		time.Sleep(5 * time.Second)
		if n := a.took(); n < 1200 || n > 1300 {
			t.Errorf("one of two took %d of 2500", n)
		}
		rest()
		time.Sleep(500 * time.Millisecond)
		a.took()
		if time.Sleep(5 * time.Second); a.took() < 2450 {
			t.Error("what an idle one does not use is not used half a second later")
		}
		b.took()
		b.work(64, 10*time.Millisecond)
		time.Sleep(2 * time.Second)
		b.took()
		time.Sleep(5 * time.Second)
		if n := b.took(); n < 1200 || n > 1300 {
			t.Errorf("one that came back took %d of 2500", n)
		}
		f.check(start.Add(2*time.Second), time.Now(), 0.92)
	})
}

func TestOneThatHasLittleToSendCostsTheOthersNothing(t *testing.T) {
	for _, c := range []struct {
		rate   config.Rate
		little float64 // a second
	}{
		{config.Rate{Count: 500, Per: time.Second}, 150},
		{config.Rate{Count: 500, Per: time.Second}, 3},
		{config.Rate{Count: 100, Per: time.Second}, 30},
		{config.Rate{Count: 20, Per: time.Second}, 3},
		{config.Rate{Count: 5000, Per: time.Second}, 1000},
	} {
		t.Run(fmt.Sprint(c.little, " of ", c.rate), func(t *testing.T) {
			byChanceInBubble(t, c.rate, func(f *fleet) {
				f.join("busy").work(max(8, c.rate.Count/50), 10*time.Millisecond)
				little := f.join("little").arrive(c.little)
				time.Sleep(3 * time.Second)
				start := time.Now()
				little.took()
				time.Sleep(20 * time.Second)
				f.check(start, time.Now(), 0.97)
				if n := float64(little.took()); n < 10*c.little {
					t.Errorf("it sent %v, and has %v a second", n, c.little)
				}
			})
		})
	}
}

// A consumer that stood still must not send what it had coming all at once.
func TestAPermitThatWasNotUsedInTimeIsVoid(t *testing.T) {
	now := time.Now()
	g := newGrant(10, now, now.Add(100*time.Millisecond), 0, 20*time.Millisecond)
	if taken, _ := g.take(now); !taken {
		t.Fatal("the first permit is not there at its moment")
	}
	got := 0
	for taken := true; taken; got++ {
		taken, _ = g.take(now.Add(85 * time.Millisecond))
	}
	if got -= 1; got != 2 {
		t.Errorf("after 85 ms of standing still %d permits could be used, want the 2 of the last 20 ms", got)
	}
	if g.left != 1 || g.used != 3 {
		t.Errorf("%d left, %d used; want 1 and 3", g.left, g.used)
	}
}

func TestWithoutRedisNothingIsGivenAndAfterwardsNotMore(t *testing.T) {
	inBubble(t, config.Rate{Count: 500, Per: time.Second}, func(f *fleet) {
		for i := range 3 {
			f.join(fmt.Sprint(i)).work(64, 10*time.Millisecond)
		}
		time.Sleep(3 * time.Second)
		start := time.Now()
		f.redis.mu.Lock()
		f.redis.away = true
		f.redis.mu.Unlock()
		time.Sleep(3 * time.Second)
		f.redis.mu.Lock()
		f.redis.away, f.redis.state = false, map[string]string{} // it lost its data too
		f.redis.mu.Unlock()
		back := time.Now()
		time.Sleep(3 * time.Second)
		sent := f.sentUntilNow()
		if n := between(sent, start.Add(250*time.Millisecond), back); n != 0 {
			t.Errorf("%d sent while Redis was away", n)
		}
		if n, at := most(sent, time.Second); n > 525 {
			t.Errorf("a second from %v after its return on saw %d", at.Sub(back), n)
		}
		if n := between(sent, back.Add(2*time.Second), time.Now()); n < 480 {
			t.Errorf("%d in the third second after its return", n)
		}
	})
}

func TestAClockThatIsSetHoldsNobodyUp(t *testing.T) {
	for _, step := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			inBubble(t, config.Rate{Count: 100, Per: time.Second}, func(f *fleet) {
				m := f.join("a").work(8, 10*time.Millisecond)
				time.Sleep(3 * time.Second)
				f.redis.mu.Lock()
				f.redis.step = step
				f.redis.mu.Unlock()
				time.Sleep(time.Second)
				m.took()
				if time.Sleep(2 * time.Second); m.took() < 190 {
					t.Error("it does not go on at its rate")
				}
			})
		})
	}
}

func TestASlowRateGoesRound(t *testing.T) {
	inBubble(t, config.Rate{Count: 1, Per: time.Second}, func(f *fleet) {
		var all []*member
		for i := range 4 {
			all = append(all, f.join(fmt.Sprint(i)).work(2, time.Millisecond))
		}
		time.Sleep(41 * time.Second)
		for i, m := range all {
			if n := m.took(); n < 8 || n > 12 {
				t.Errorf("consumer %d has %d of 40", i, n)
			}
		}
		f.check(time.Now().Add(-38*time.Second), time.Now(), 0.98)
	})
}

// The book of what was given was once cleared only where a frame has several
// permits: a slow rate's state grew without end.
func TestTheStateOfARateDoesNotGrow(t *testing.T) {
	for _, rate := range []config.Rate{{Count: 30, Per: time.Minute}, {Count: 5, Per: time.Second}, {Count: 100, Per: time.Second}} {
		t.Run(rate.String(), func(t *testing.T) {
			inBubble(t, rate, func(f *fleet) {
				f.join("a").work(8, 10*time.Millisecond)
				f.join("b").work(8, 10*time.Millisecond)
				time.Sleep(2 * time.Minute)
				states := f.redis.states()
				if len(states) != 1 {
					t.Errorf("%d keys, want one", len(states))
				}
				for key, state := range states {
					if len(state) > 1000 {
						t.Errorf("after two minutes %s takes %d bytes:\n%s", key, len(state), state)
					}
				}
			})
		})
	}
}

// states is a copy of all that is kept.
func (r *luaRedis) states() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.state)
}

// TestTheSumHoldsBesideIrregularConsumers has consumers that send as much as they
// can beside others whose messages come at random, so that what these are
// expected to need and what they do are never the same.
func TestTheSumHoldsBesideIrregularConsumers(t *testing.T) {
	for _, rate := range []int{11, 20, 37, 100, 500, 5000} {
		for _, c := range []struct {
			busy, irregular int
			part            float64 // of the rate, each
		}{{1, 1, 0.01}, {1, 1, 0.1}, {1, 3, 0.03}, {1, 5, 0.1}, {2, 2, 0.1}, {2, 5, 0.03}, {3, 1, 0.05}, {3, 5, 0.1}} {
			t.Run(fmt.Sprintf("%d/s, %d busy and %d of %v", rate, c.busy, c.irregular, c.part), func(t *testing.T) {
				inBubble(t, config.Rate{Count: rate, Per: time.Second}, func(f *fleet) {
					for i := range c.busy {
						f.join(fmt.Sprint("busy", i)).work(max(8, rate/50), 10*time.Millisecond)
					}
					for i := range c.irregular {
						f.join(fmt.Sprint("irregular", i)).arrive(c.part * float64(rate))
					}
					time.Sleep(3 * time.Second)
					start := time.Now()
					time.Sleep(settledFor(rate))
					least := 0.98
					if c.busy == 1 && float64(c.irregular)*c.part >= 0.5 {
						least = 0.96 // what one cannot foresee of the half, the other alone makes up for
					}
					f.check(start, time.Now(), least)
				})
			})
		}
	}
}

// settledFor is for how long a rate is watched: thousands a second are even
// enough that one stretch of ten seconds shows them.
func settledFor(rate int) time.Duration {
	switch {
	case os.Getenv("CARILLON_LONG") != "":
		return time.Minute
	case rate > 1000:
		return 11 * time.Second
	}
	return 20 * time.Second
}
