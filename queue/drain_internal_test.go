package queue

import (
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// sink is a model of one tenant's bulk backlog behind a provider, by a clock of
// its own.
type sink struct {
	now     time.Time
	backlog float64
	pace    float64 // entries a second; 0: the provider is away
	done    float64
	drain   drain
}

// run lets d pass, with a look at the counts each half second.
func (s *sink) run(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		step := min(backlogEvery, end.Sub(s.now))
		s.now = s.now.Add(step)
		went := min(s.pace*step.Seconds(), s.backlog)
		s.backlog -= went
		s.done += went
		var counts, waiting flow
		counts[0][2], waiting[0][2] = int64(s.done), int64(s.backlog)
		s.drain.observe(counts, waiting, s.now)
	}
}

func (s *sink) wait(over int) time.Duration { return s.drain.wait(over, 0, notice.LaneBulk, s.now) }

func TestAfterRetryAfterThereIsRoom(t *testing.T) {
	for name, pace := range map[string]float64{"one a second": 1, "fifty a second": 50, "twenty thousand a second": 20_000} {
		t.Run(name, func(t *testing.T) {
			const most = 1000
			s := &sink{now: time.Unix(0, 0), backlog: 2 * most, pace: pace}
			s.run(10 * time.Second)
			for s.backlog > most {
				before, over := s.now, int(s.backlog)-most
				wait := s.wait(over + 1)
				if wait == longestRetry {
					s.run(time.Minute) // bounded, and honest only about that
					continue
				}
				s.run(wait)
				if s.backlog > most {
					t.Fatalf("%d too many at %v, told %v: still %.0f too many", over, before, wait, s.backlog-most)
				}
				if honest := time.Duration(float64(over) / pace * float64(time.Second)); wait > honest*5/4+2*time.Second {
					t.Fatalf("%d too many at %.0f a second: told %v, want about %v", over, pace, wait, honest)
				}
			}
		})
	}
}

func TestADeadProviderMakesRetryAfterGrowUpToABound(t *testing.T) {
	s := &sink{now: time.Unix(0, 0), backlog: 5000, pace: 50}
	s.run(10 * time.Second)
	healthy := s.wait(700)
	if healthy < 13*time.Second || healthy > 16*time.Second {
		t.Errorf("700 too many at 50 a second: %v, want about 14 s", healthy)
	}
	s.pace = 0
	last := healthy
	for range 200 {
		s.run(5 * time.Second)
		wait := s.wait(700)
		if wait < last || wait > longestRetry {
			t.Fatalf("after %v, told %v: want it to grow, to %v at most", last, wait, longestRetry)
		}
		last = wait
	}
	if last != longestRetry {
		t.Errorf("after a quarter of an hour without a provider: %v, want %v", last, longestRetry)
	}
	s.pace = 50
	s.run(10 * time.Second)
	if again := s.wait(700); again > healthy+5*time.Second {
		t.Errorf("ten seconds after the provider came back: %v, want about %v", again, healthy)
	}
}

func TestAQueueThatNobodyEverWorkedIsAskedAgainMoreAndMoreSeldom(t *testing.T) {
	s := &sink{now: time.Unix(0, 0), backlog: 100}
	s.run(time.Second)
	if first := s.wait(1); first != unknownRetry {
		t.Errorf("at first %v, want %v", first, unknownRetry)
	}
	s.run(time.Hour)
	if last := s.wait(1); last != stalledRetry {
		t.Errorf("after an hour %v, want %v", last, stalledRetry)
	}
}

func TestAnIdleHourIsNoStall(t *testing.T) {
	s := &sink{now: time.Unix(0, 0), backlog: 500, pace: 50}
	s.run(time.Hour) // the backlog is gone after ten seconds of it
	s.backlog = 2000
	s.run(time.Second)
	if wait := s.wait(50); wait > 3*time.Second {
		t.Errorf("50 too many at 50 a second after an idle hour: %v", wait)
	}
}

func TestBulkWaitsForWhatUrgentLeavesIt(t *testing.T) {
	var d drain
	now := time.Unix(0, 0)
	for i := range int64(20) { // 90 critical and 10 bulk a second
		var counts, waiting flow
		counts[3][0], counts[3][2] = 45*i, 5*i
		waiting[3] = [laneCount]int64{1, 0, 1000}
		d.observe(counts, waiting, now)
		now = now.Add(backlogEvery)
	}
	if wait := d.wait(100, 3, notice.LaneBulk, now); wait < 10*time.Second || wait > 11*time.Second {
		t.Errorf("100 bulk too many where 10 of 100 a second are bulk: %v, want ten seconds", wait)
	}
	if wait := d.wait(100, everyTurn, notice.LaneCritical, now); wait > 2*time.Second {
		t.Errorf("critical waits for everything: %v, want a second", wait)
	}
	if wait := d.wait(100, 2, notice.LaneBulk, now); wait > 2*unknownRetry {
		t.Errorf("a tenant of another turn is told %v by the pace of this one", wait)
	}
}

func TestAServerThatForgotItsCountsIsNoDrain(t *testing.T) {
	s := &sink{now: time.Unix(0, 0), backlog: 5000, pace: 50}
	s.run(10 * time.Second)
	s.done = 0
	for range 40 {
		s.run(backlogEvery)
		if wait := s.wait(100); wait < shortestRetry || wait > time.Minute {
			t.Fatalf("told %v", wait)
		}
	}
}

func TestSharesAreByWeightAmongThoseThatHaveSomething(t *testing.T) {
	who := tenancy{turn: 0, weights: [Turns]int{3, 1, 1, 1, 1, 1, 1, 1}}
	for _, tt := range []struct {
		name string
		held [Turns]int
		want int
	}{
		{"alone it has all", [Turns]int{5}, 800},
		{"it has all before it has anything", [Turns]int{}, 800},
		{"beside one of weight one three of four", [Turns]int{5, 5}, 600},
		{"beside five of weight one three of eight", [Turns]int{5, 5, 5, 5, 5, 5}, 300},
	} {
		if got := who.share(800, &tt.held); got != tt.want {
			t.Errorf("%s: %d of 800, want %d", tt.name, got, tt.want)
		}
	}
	if got := who.share(1<<62, &[Turns]int{1, 1}); got != 3<<60 {
		t.Errorf("of a bound that is no bound: %d", got)
	}
}

func TestMemoryIsRefusedToBulkFirstAndToCriticalBeforeRedisRefuses(t *testing.T) {
	bound, err := config.ParseBound("80%")
	if err != nil {
		t.Fatal(err)
	}
	taken := func(used int64) (lanes string) {
		for _, lane := range notice.Lanes() {
			if (store{used: used, most: 1000}).over(lane, bound) < 0 {
				lanes += string(lane) + " "
			}
		}
		return lanes
	}
	for used, want := range map[int64]string{
		699: "critical normal bulk ", 700: "critical normal ", 799: "critical normal ", 800: "critical ", 899: "critical ", 900: "", 1000: "",
	} {
		if got := taken(used); got != want {
			t.Errorf("at %d of 1000 %q is taken, want %q", used, got, want)
		}
	}
	if (store{used: 1 << 40}).over(notice.LaneBulk, bound) >= 0 {
		t.Error("a share of no maxmemory refuses")
	}
}
