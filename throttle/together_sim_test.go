package throttle

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// sliding counts what it took in the second before, to the millisecond.
type sliding struct {
	limit int
	taken []time.Time
}

func (s *sliding) take(now time.Time) bool {
	for len(s.taken) > 0 && now.Sub(s.taken[0]) >= time.Second {
		s.taken = s.taken[1:]
	}
	if len(s.taken) >= s.limit {
		return false
	}
	s.taken = append(s.taken, now)
	return true
}

// pinboard is a Board in memory, by the rules of say.lua.
type pinboard struct {
	mu    sync.Mutex
	words map[string]Word
	ends  map[string]time.Time
	turns map[string]int
	turn  int
}

func newPinboard() *pinboard {
	return &pinboard{words: map[string]Word{}, ends: map[string]time.Time{}, turns: map[string]int{}}
}

func (p *pinboard) say(w Word) {
	p.mu.Lock()
	defer p.mu.Unlock()
	what, now := w.member(), time.Now()
	switch w.Kind {
	case HostTook:
		w.Because = p.merged(w.Because, p.words[what].Because)
	case HostRate:
		k, _ := readKnown(w.Because, now)
		if before, _ := readKnown(p.words[what].Because, now); before.newer(k) {
			w, p.ends[what] = p.words[what], p.ends[what].Add(-w.For)
		}
	default:
		if now.Add(w.For).Before(p.ends[what]) {
			return
		}
	}
	p.turn++
	p.words[what], p.turns[what], p.ends[what] = w, p.turn, now.Add(w.For)
}

func (*pinboard) merged(line, before string) string {
	episode, _, _ := strings.Cut(line, " ")
	who := line[strings.LastIndexByte(line, ' '):]
	for other := range strings.Lines(before) {
		if other = strings.TrimSpace(other); strings.HasPrefix(other, episode+" ") && !strings.HasSuffix(other, who) {
			line += "\n" + other
		}
	}
	return line
}

// since is what was said after a turn.
func (p *pinboard) since(turn int) (words []Word, last int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for what, at := range p.turns {
		if left := time.Until(p.ends[what]); at > turn && left > 0 {
			w := p.words[what]
			w.For = left
			words = append(words, w)
		}
	}
	return words, p.turn
}

// hall is a queue of work for one host, and the consumers that do it.
type hall struct {
	redis *luaRedis
	board *pinboard
	to    limiter

	mu      sync.Mutex
	began   time.Time
	queue   []int // what is to be read: how often each was put off
	lists   map[int][]int
	offs    []int // how often each was put off that was sent
	taken   []int // by second
	refused int
	alive   atomic.Int64
	ctx     context.Context
	running sync.WaitGroup
}

// hand is one of the consumers.
type hand struct {
	*Destinations
	hall   *hall
	name   string
	at     *Destination
	rates  *Rates
	speed  func(passed time.Duration) float64 // it reads so many a second at most
	stalls atomic.Bool
	random *rand.Rand
	stop   context.CancelFunc

	line   []int
	flight []answering
	heard  int
	credit float64
}

const simSlots, simAnswer, simTick = 64, 4 * time.Millisecond, 4 * time.Millisecond

func (h *hall) join(name string, seed uint64, speed func(time.Duration) float64) *hand {
	c := &hand{hall: h, name: name, speed: speed, random: rand.New(rand.NewPCG(seed, 7)), rates: NewRates(nil, "test", name)}
	c.rates.eval = h.redis.eval
	c.Destinations = NewDestinations(DestinationRules{Slots: simSlots, Now: time.Now, Consumer: name, Told: h.board.say,
		Jitter:  func(most time.Duration) time.Duration { return time.Duration(c.random.Int64N(int64(most) + 1)) },
		Permits: func(key string) *Pace { return c.rates.Strict(key, asRate(0)) }})
	c.at = c.Pin("h")
	ctx, stop := context.WithCancel(h.ctx)
	c.stop = stop
	h.alive.Add(1)
	h.running.Go(func() { c.rates.Run(ctx) })
	h.running.Go(func() { c.run(ctx) })
	return c
}

func (c *hand) kill() { c.stop(); c.hall.alive.Add(-1) }

func (c *hand) run(ctx context.Context) {
	listen, counted := time.Now(), time.Now()
	for sleep(ctx, simTick) == nil {
		if c.stalls.Load() && c.random.IntN(300) == 0 { // one in 1.2 s
			_ = sleep(ctx, time.Duration(5+c.random.IntN(60))*time.Millisecond)
		}
		now := time.Now()
		if now.Sub(listen) >= 0 {
			listen = now.Add(listenEvery)
			c.listen()
		}
		if now.Sub(counted) >= 2*time.Second {
			counted = now
			c.Among(int(c.hall.alive.Load()))
		}
		c.hear(now)
		c.read(now)
	}
}

func (c *hand) listen() {
	var words []Word
	words, c.heard = c.hall.board.since(c.heard)
	for _, w := range words {
		switch w.Kind {
		case HostPaused:
			c.Pause(w.Name, time.Now().Add(w.For), w.Because)
		case HostRate, HostTook:
			c.Learned(w)
		}
	}
}

// hear takes in the answers that have come.
func (c *hand) hear(now time.Time) {
	for len(c.flight) > 0 && !c.flight[0].at.After(now) {
		came := Answered
		if !c.flight[0].taken {
			came = Refusing
			c.Pause("h", now.Add(simulatedPause), "429")
			c.hall.board.say(Word{Kind: HostPaused, Name: "h", For: simulatedPause})
		}
		c.Leave(c.at, simAnswer, came)
		c.flight = c.flight[1:]
	}
	for len(c.line) > 0 && c.send(c.line[0], now) {
		c.line = c.line[1:]
		c.at.Wait(-1)
	}
}

// read takes work off the queue, and does it or puts it off.
func (c *hand) read(now time.Time) {
	c.credit = min(c.credit+c.speed(now.Sub(c.hall.began))*simTick.Seconds(), 64)
	for _, offs := range c.hall.lease(&c.credit, now) {
		switch {
		case len(c.line) == 0 && c.send(offs, now):
		case len(c.line) < c.LineRoom(c.at):
			c.line = append(c.line, offs)
			c.at.Wait(1)
		default:
			wait := c.PutOff(c.at)
			c.hall.putOff(offs, now.Add(wait+time.Duration(c.random.Int64N(int64(wait/10)+1))))
		}
	}
	for len(c.line) > c.LineRoom(c.at) {
		last := len(c.line) - 1
		c.hall.putOff(c.line[last], now.Add(c.PutOff(c.at)))
		c.line = c.line[:last]
		c.at.Wait(-1)
	}
}

func (c *hand) send(offs int, now time.Time) bool {
	if len(c.flight) >= simSlots || c.Enter(c.at, simSlots-len(c.flight)) != Entered {
		return false
	}
	c.flight = append(c.flight, answering{now.Add(simAnswer), c.hall.arrive(offs, now)})
	return true
}

func (h *hall) lease(credit *float64, now time.Time) (out []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	slot := int(now.Sub(h.began) / (10 * time.Millisecond))
	for i := slot - 20; i <= slot; i++ {
		h.queue = append(h.queue, h.lists[i]...)
		delete(h.lists, i)
	}
	n := min(int(*credit), len(h.queue))
	*credit -= float64(n)
	out, h.queue = h.queue[:n:n], h.queue[n:]
	return out
}

func (h *hall) putOff(offs int, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	slot := int(until.Sub(h.began)/(10*time.Millisecond)) + 1
	h.lists[slot] = append(h.lists[slot], offs+1)
}

func (h *hall) arrive(offs int, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	second := int(now.Sub(h.began) / time.Second)
	for len(h.taken) <= second {
		h.taken = append(h.taken, 0)
	}
	if !h.to.take(now) {
		h.refused++
		h.queue = append(h.queue, offs)
		return false
	}
	h.taken[second]++
	h.offs = append(h.offs, offs)
	return true
}

// steady is a consumer that reads so many a second.
func steady(perSecond float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return perSecond }
}

// from is one that has other speeds after a while.
func from(first float64, after time.Duration, then float64) func(time.Duration) float64 {
	return func(passed time.Duration) float64 {
		if passed < after {
			return first
		}
		return then
	}
}

// crews are how consumers may share the work of so long.
func crews(length time.Duration) map[string]func(h *hall, seed uint64) {
	const many = 4000
	third := length / 3
	join := func(h *hall, seed uint64, speeds ...func(time.Duration) float64) (out []*hand) {
		for i, speed := range speeds {
			out = append(out, h.join(fmt.Sprint("c", i), seed*10+uint64(i), speed))
		}
		return out
	}
	alike := func(n int) func(*hall, uint64) {
		return func(h *hall, seed uint64) {
			join(h, seed, slices.Repeat([]func(time.Duration) float64{steady(many)}, n)...)
		}
	}
	return map[string]func(h *hall, seed uint64){
		"one consumer":                alike(1),
		"two":                         alike(2),
		"three":                       alike(3),
		"five":                        alike(5),
		"two whose flood is slow":     func(h *hall, seed uint64) { join(h, seed, steady(600), steady(600)) },
		"one that is hardly too fast": func(h *hall, seed uint64) { join(h, seed, steady(560)) },
		"two, one hardly busy":        func(h *hall, seed uint64) { join(h, seed, steady(many), steady(40)) },
		"two whose parts change": func(h *hall, seed uint64) {
			join(h, seed, from(many, third, 60), from(60, third, many))
		},
		"three, one of them killed": func(h *hall, seed uint64) {
			all := join(h, seed, steady(many), steady(many), steady(many))
			time.AfterFunc(third+5*time.Second, all[0].kill)
		},
		"one that others join": func(h *hall, seed uint64) {
			join(h, seed, steady(many))
			time.AfterFunc(third, func() { h.join("late", seed+100, steady(many)) })
			time.AfterFunc(third+5*time.Second, func() { h.join("later", seed+101, steady(many)) })
		},
		"two that stall": func(h *hall, seed uint64) {
			for _, c := range join(h, seed, steady(many), steady(many)) {
				c.stalls.Store(true)
			}
		},
	}
}

// simulatedFlood is what came of one.
type simulatedFlood struct {
	share, refused float64 // of what is allowed from the tenth second on; of all calls
	offs           int     // the most times that anything was put off which was sent
	mean           float64
	bySecond       []int
}

func simulate(t *testing.T, seed uint64, seconds int, to func(*rand.Rand) limiter, crew func(*hall, uint64)) (out simulatedFlood) {
	redis := newLuaRedis(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		h := &hall{ctx: ctx, redis: redis, board: newPinboard(), to: to(rand.New(rand.NewPCG(seed, 1))), began: time.Now(), lists: map[int][]int{}}
		h.queue = make([]int, simulatedRate*seconds*3/2)
		crew(h, seed)
		_ = sleep(ctx, time.Duration(seconds)*time.Second)
		stop()
		h.running.Wait()
		total, settled, offs := 0, 0, 0
		for i, n := range h.taken {
			if total += n; i >= 10 && i < seconds {
				settled += n
			}
		}
		for _, n := range h.offs {
			offs += n
			out.offs = max(out.offs, n)
		}
		out.share, out.refused = float64(settled)/float64(simulatedRate*(seconds-10)), float64(h.refused)/float64(h.refused+total)
		out.mean, out.bySecond = float64(offs)/float64(len(h.offs)), h.taken
	})
	return out
}

func TestSeveralConsumersSendAHostWhatItTakesTogether(t *testing.T) {
	seconds, seeds, all := 30, uint64(1), os.Getenv("CARILLON_LONG") != ""
	if all {
		seconds, seeds = 60, 5
	}
	for _, tc := range []struct {
		name string
		to   func(*rand.Rand) limiter
	}{
		{"a window", func(r *rand.Rand) limiter {
			return &window{limit: simulatedRate, phase: time.Duration(r.Int64N(int64(time.Second)))}
		}},
		{"a window that ends in the first flood", func(r *rand.Rand) limiter {
			return &window{limit: simulatedRate, phase: time.Second - time.Duration(20+r.Int64N(230))*time.Millisecond}
		}},
		{"a window that is half over", func(r *rand.Rand) limiter {
			return &window{limit: simulatedRate, phase: time.Duration(470+r.Int64N(30)) * time.Millisecond}
		}},
		{"a bucket of one second's worth", func(*rand.Rand) limiter { return &bucket{rate: simulatedRate, most: simulatedRate} }},
		{"a sliding window", func(*rand.Rand) limiter { return &sliding{limit: simulatedRate} }},
	} {
		for name, crew := range crews(time.Duration(seconds) * time.Second) {
			if strings.HasSuffix(name, "slow") && !strings.HasPrefix(tc.name, "a window") {
				continue // a bucket is found by its third refusal then, after ten seconds
			}
			// Its runs begin where they ended, and end where they began.
			half, hardly := strings.HasSuffix(tc.name, "half over"), strings.HasSuffix(name, "too fast")
			if half != hardly || !all && tc.name != "a window" && !strings.HasPrefix(name, "two") && !half {
				continue
			}
			t.Run(tc.name+", "+name, func(t *testing.T) {
				t.Parallel()
				for seed := range seeds {
					m := simulate(t, seed, seconds, tc.to, crew)
					t.Logf("%.3f of the rate, %.4f refused, put off %d times at most, %.1f in the mean: %v", m.share, m.refused, m.offs, m.mean, m.bySecond)
					least := 0.95
					switch {
					case strings.HasSuffix(name, "stall"):
						least = 0.92 // where machines stand still a refusal more may be unlucky
					case hardly:
						least = 0.92 // it is settled in the tenth second only
					case strings.HasSuffix(name, "slow"):
						least = 0.9 // a flood of four times the rate says little of a part of it
					}
					if m.share < least || m.refused > 0.03 || m.mean > 3 {
						t.Errorf("%.3f of the rate, %.4f refused, put off %.1f times in the mean; want %v, under 0.03 and 3", m.share, m.refused, m.mean, least)
					}
				}
			})
		}
	}
}
