package throttle_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

// ear is a consumer's side of a board, which remembers what it heard.
type ear struct {
	mu      sync.Mutex
	heard   map[string]throttle.Word
	at      map[string]time.Time
	granted chan bool
	idle    atomic.Bool
	among   atomic.Int64
}

func newEar() *ear {
	return &ear{heard: map[string]throttle.Word{}, at: map[string]time.Time{}, granted: make(chan bool, 64)}
}

// Busy, Heard, Granted, Among and Report implement throttle.Listener.
func (e *ear) Busy() bool { return !e.idle.Load() }

func (e *ear) Heard(w throttle.Word) {
	e.mu.Lock()
	defer e.mu.Unlock()
	what := string(w.Kind) + w.Name
	e.heard[what], e.at[what] = w, time.Now()
}

// forget has it listen for news only.
func (e *ear) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.heard)
}

func (e *ear) Among(consumers int) { e.among.Store(int64(consumers)) }

func (e *ear) Granted(_ string, probe bool) { e.granted <- probe }

func (e *ear) Report() throttle.Report {
	return throttle.Report{InFlight: 3, Limit: 7, Bound: 64, Hosts: []throttle.Standing{{Name: "https://h.example", Limit: 5, Rate: 291}}}
}

// word waits for a word about something.
func (e *ear) word(t *testing.T, what string) (throttle.Word, time.Time) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		e.mu.Lock()
		w, ok := e.heard[what]
		at := e.at[what]
		e.mu.Unlock()
		if ok {
			return w, at
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing was heard of %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// atBoard runs a consumer's board until the test ends.
func atBoard(t *testing.T, rdb redis.UniversalClient, name string) (*throttle.Board, *ear) {
	t.Helper()
	b, e := throttle.NewBoard(rdb, "t", notice.ChannelWebhook, name), newEar()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx, e) }()
	t.Cleanup(func() { stop(); <-done })
	return b, e
}

func TestAPauseIsHeardByEveryConsumerAndEndsForAllAtOneMoment(t *testing.T) {
	storeOrCluster(t, func(t *testing.T, rdb redis.UniversalClient) {
		a, _ := atBoard(t, rdb, "a")
		_, e := atBoard(t, rdb, "b")
		said := time.Now()
		a.Tell(throttle.Word{Kind: throttle.HostPaused, Name: "https://h.example", For: 3 * time.Second, Because: "429, Retry-After 3s"})
		w, at := e.word(t, "hhttps://h.example")
		if w.Because != "429, Retry-After 3s" {
			t.Errorf("heard %+v", w)
		}
		// What is left when it is heard ends when the pause was asked to end, to
		// some milliseconds and what a busy machine adds.
		if off := at.Add(w.For).Sub(said.Add(3 * time.Second)); off < -5*time.Millisecond || off > 500*time.Millisecond {
			t.Errorf("it ends %v later than was asked", off)
		}
	})
}

func TestWhoStartsLaterKnowsWhatLasts(t *testing.T) {
	storeOrCluster(t, func(t *testing.T, rdb redis.UniversalClient) {
		a, heard := atBoard(t, rdb, "a")
		a.Tell(throttle.Word{Kind: throttle.ChannelPaused, For: time.Minute, Because: "503"})
		a.Tell(throttle.Word{Kind: throttle.HostDown, Name: "https://d.example", For: time.Minute})
		heard.word(t, "bhttps://d.example")
		late := newEar()
		throttle.NewBoard(rdb, "t", notice.ChannelWebhook, "late").Listen(t.Context(), late)
		if w := late.heard["c"]; w.For < 50*time.Second || w.For > time.Minute || late.heard["bhttps://d.example"].For < 50*time.Second {
			t.Errorf("heard %+v, want both", late.heard)
		}
	})
}

func TestWhatIsOverIsHeardOf(t *testing.T) {
	storeOrCluster(t, func(t *testing.T, rdb redis.UniversalClient) {
		a, _ := atBoard(t, rdb, "a")
		_, e := atBoard(t, rdb, "b")
		a.Tell(throttle.Word{Kind: throttle.HostDown, Name: "h", For: time.Minute})
		e.word(t, "bh")
		e.mu.Lock()
		clear(e.heard)
		e.mu.Unlock()
		a.Tell(throttle.Word{Kind: throttle.HostDown, Name: "h"})
		if w, _ := e.word(t, "bh"); w.For != 0 {
			t.Errorf("it is down for %v more, want none", w.For)
		}
	})
}

func TestOfManyPausesTheLaterEndHoldsAndTheyAreBounded(t *testing.T) {
	rdb := queuetest.Redis(t)
	a, e := atBoard(t, rdb, "a")
	a.Tell(throttle.Word{Kind: throttle.ChannelPaused, For: time.Hour, Because: "long"})
	a.Tell(throttle.Word{Kind: throttle.ChannelPaused, For: time.Second, Because: "short"})
	if w, _ := e.word(t, "c"); w.Because != "long" {
		t.Errorf("%q holds, want the longer one", w.Because)
	}
	for i := range 9000 {
		for e.heardOf() < i-800 { // what finds no room in a board's queue is not said
			time.Sleep(time.Millisecond)
		}
		a.Tell(throttle.Word{Kind: throttle.DevicePaused, Name: fmt.Sprint(i), For: time.Minute + time.Duration(i)*time.Second})
	}
	e.word(t, "d8999")
	if n := rdb.ZCard(t.Context(), "{t:webhook}:pauses").Val(); n > 8192 {
		t.Errorf("%d are kept, want 8192 at most", n)
	}
	if n := rdb.HLen(t.Context(), "{t:webhook}:pauses:words").Val(); n > 8192 {
		t.Errorf("the words of %d are kept", n)
	}
}

func (e *ear) heardOf() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.heard)
}

func TestOfFourConsumersOneProbes(t *testing.T) {
	storeOrCluster(t, func(t *testing.T, rdb redis.UniversalClient) {
		var boards []*throttle.Board
		var ears []*ear
		for i := range 4 {
			b, e := atBoard(t, rdb, fmt.Sprint("c", i))
			boards, ears = append(boards, b), append(ears, e)
			b.Tell(throttle.Word{Kind: throttle.ProbeWanted, Name: "h"})
		}
		prober := -1
		for i, e := range ears {
			if <-e.granted {
				if prober >= 0 {
					t.Fatalf("%d and %d may probe", prober, i)
				}
				prober = i
			}
		}
		if prober < 0 {
			t.Fatal("nobody may probe")
		}
		other := (prober + 1) % 4
		// The probe failed: until the next one is due nobody may.
		boards[prober].Tell(throttle.Word{Kind: throttle.HostDown, Name: "h", For: time.Minute})
		ears[other].word(t, "bh")
		boards[other].Tell(throttle.Word{Kind: throttle.ProbeWanted, Name: "h"})
		if <-ears[other].granted {
			t.Error("another may probe at once after a probe has failed")
		}
		boards[prober].Tell(throttle.Word{Kind: throttle.HostDown, Name: "h"})
		boards[prober].Tell(throttle.Word{Kind: throttle.ProbeOver, Name: "h"})
	})
}

func TestAProberThatDiesIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	rdb := queuetest.Redis(t)
	dead := throttle.NewBoard(rdb, "t", notice.ChannelWebhook, "dead") // renews nothing
	about := throttle.Word{Kind: throttle.CredentialRefused}
	if !dead.Claim(t.Context(), about) {
		t.Fatal("the first may not probe")
	}
	alive := throttle.NewBoard(rdb, "t", notice.ChannelWebhook, "alive")
	if alive.Claim(t.Context(), about) {
		t.Fatal("two may probe at once")
	}
	deadline := time.Now().Add(15 * time.Second)
	for !alive.Claim(t.Context(), about) {
		if time.Now().After(deadline) {
			t.Fatal("nobody may probe after the prober died")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestWithoutRedisEachGoesByItselfAndAfterADataLossTheyHearAgain(t *testing.T) {
	t.Parallel()
	server := queuetest.Start(t)
	rdb := server.Client()
	a, _ := atBoard(t, rdb, "a")
	_, e := atBoard(t, rdb, "b")
	a.Tell(throttle.Word{Kind: throttle.HostPaused, Name: "one", For: time.Hour})
	e.word(t, "hone")
	rdb.FlushAll(t.Context())
	a.Tell(throttle.Word{Kind: throttle.HostPaused, Name: "two", For: time.Hour})
	e.word(t, "htwo")
	server.Kill()
	if !a.Claim(t.Context(), throttle.Word{Kind: throttle.CredentialRefused}) {
		t.Error("nobody may probe while Redis is away")
	}
}

func TestAnOverviewShowsWhatLastsAndWhatEachConsumerMakesOfIt(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		a, e := atBoard(t, rdb, "a")
		a.Tell(throttle.Word{Kind: throttle.HostPaused, Name: "https://h.example", For: time.Minute, Because: "429, Retry-After 60s"})
		a.Tell(throttle.Word{Kind: throttle.HostPaused, Name: "https://other.example", For: time.Hour})
		e.word(t, "hhttps://other.example")
		var o throttle.Overview
		for deadline := time.Now().Add(10 * time.Second); len(o.Consumers) == 0; time.Sleep(10 * time.Millisecond) {
			var err error
			if o, err = throttle.Look(t.Context(), rdb, "t", notice.ChannelWebhook); err != nil || time.Now().After(deadline) {
				t.Fatalf("no consumer is shown (%v)", err)
			}
		}
		if n := e.among.Load(); n != 1 {
			t.Errorf("one consumer among %d", n)
		}
		o = o.Host("h.example")
		if len(o.Lasting) != 1 || o.Lasting[0].Because != "429, Retry-After 60s" || o.Lasting[0].Until.Sub(o.At) > time.Minute {
			t.Errorf("lasting: %+v", o.Lasting)
		}
		if c := o.Consumers[0]; c.Consumer != "a" || c.Limit != 7 || c.Bound != 64 || len(c.Hosts) != 1 || c.Hosts[0].Rate != 291 {
			t.Errorf("consumers: %+v", o.Consumers)
		}
		if l, err := throttle.Look(t.Context(), rdb, "t", notice.ChannelEmail); err != nil || len(l.Lasting)+len(l.Consumers) != 0 {
			t.Errorf("another channel: %+v (%v)", l, err)
		}
	})
}

func TestAnIdleConsumerAsksRedisNothing(t *testing.T) {
	t.Parallel()
	rdb := queuetest.Redis(t)
	_, e := atBoard(t, rdb, "a")
	e.looked(t, rdb)
	e.idle.Store(true)
	time.Sleep(300 * time.Millisecond) // lets the look end that is under way
	before := scripts(t, rdb)
	time.Sleep(time.Second) // five looks' time
	if after := scripts(t, rdb); after != before {
		t.Errorf("%d scripts ran in an idle second", after-before)
	}
}

// looked waits until the consumer has looked once.
func (e *ear) looked(t *testing.T, rdb *redis.Client) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); scripts(t, rdb) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a busy consumer does not look")
		}
	}
}

// scripts is how many scripts the server has run.
func scripts(t *testing.T, rdb *redis.Client) int {
	info, err := rdb.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(info) {
		var calls int
		if _, err := fmt.Sscanf(line, "cmdstat_evalsha:calls=%d", &calls); err == nil {
			n += calls
		}
	}
	return n
}

func TestTheNewestWordOfALearnedRateHolds(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		a, _ := atBoard(t, rdb, "a")
		_, e := atBoard(t, rdb, "b")
		say := func(words string) {
			a.Tell(throttle.Word{Kind: throttle.HostRate, Name: "h", For: 10 * time.Minute, Because: words})
		}
		for _, step := range []struct{ say, want string }{
			{"3 300 1 291", "3 300 1 291"}, {"2 900 1 10", "3 300 1 291"}, {"3 200 1 10", "3 300 1 291"}, {"3 301 1 292", "3 301 1 292"}, {"10 1 2 5", "10 1 2 5"},
		} {
			e.forget()
			say(step.say)
			if w, _ := e.word(t, "rh"); w.Because != step.want { // who says old words hears the newer ones
				t.Fatalf("after %q it hears %q, want %q", step.say, w.Because, step.want)
			}
		}
	})
}

func TestWhatConsumersTookBeforeARefusalIsPutTogether(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		a, e := atBoard(t, rdb, "a")
		for _, step := range []struct{ say, want string }{
			{`4 10 20 30 "a"`, `4 10 20 30 "a"`},
			{`4 1 2 3 "b c"`, "4 1 2 3 \"b c\"\n4 10 20 30 \"a\""},
			{`4 11 21 31 "a"`, "4 11 21 31 \"a\"\n4 1 2 3 \"b c\""},
			{`3 9 9 9 "late"`, "4 11 21 31 \"a\"\n4 1 2 3 \"b c\""},
			{`5 7 7 7 "b c"`, `5 7 7 7 "b c"`},
		} {
			e.forget()
			a.Tell(throttle.Word{Kind: throttle.HostTook, Name: "h", For: time.Minute, Because: step.say})
			if w, _ := e.word(t, "fh"); w.Because != step.want {
				t.Fatalf("after %q it hears %q, want %q", step.say, w.Because, step.want)
			}
		}
	})
}

func TestALearnedRateIsShownOnceForAllAndIsNoPause(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		a, e := atBoard(t, rdb, "a")
		a.Tell(throttle.Word{Kind: throttle.HostTook, Name: "https://h.example", For: time.Minute, Because: `1 10 20 30 "a"`})
		a.Tell(throttle.Word{Kind: throttle.HostRate, Name: "https://h.example", For: 10 * time.Minute, Because: "7 300 2 291.5 300 291.5 0.04 0.02 60000 9000 2000 300 300 80 20000 0"})
		e.word(t, "rhttps://h.example")
		o, err := throttle.Look(t.Context(), rdb, "t", notice.ChannelWebhook)
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Lasting) != 0 || len(o.Rates) != 1 || o.Rates[0].Name != "https://h.example" || o.Rates[0].Rate != 291.5 || o.Rates[0].Ceiling != 300 || o.Rates[0].Episode != 2 {
			t.Fatalf("it shows %+v", o)
		}
		if since := o.At.Sub(o.Rates[0].Since); since < 9*time.Second || since > 20*time.Second {
			t.Errorf("it is known for %v, want 9s", since)
		}
		if len(o.Host("h.example").Rates) != 1 || len(o.Host("other.example").Rates) != 0 {
			t.Error("it is not shown for its host alone")
		}
	})
}
