package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
)

// moments are seconds in which so much comes, and so much is sent, at 10 µs of
// Redis and 20 µs of the consumer each.
func moments(offered, sent float64, seconds int) (out []moment) {
	for i := range seconds + 1 {
		n := sent * float64(i)
		out = append(out, moment{at: playedDay().Add(time.Duration(i) * time.Second), admitted: offered * float64(i), taken: n,
			redis: time.Duration(n) * 10 * time.Microsecond, consumer: time.Duration(n) * 20 * time.Microsecond, calls: 3 * n})
	}
	return out
}

func TestWhatAPartTookIsDividedAmongWhatWasSent(t *testing.T) {
	p := &partPlayed{Partitions: 1, Rate: 100, moments: moments(100, 100, 9)}
	thirds, whole := p.thirds()
	for _, s := range append(thirds, whole) {
		near(t, "offered", s.Offered, 100)
		near(t, "sent", s.Sent, 100)
		near(t, "Redis", s.Redis, 10)
		near(t, "consumer", s.Consumer, 20)
		near(t, "commands", s.Calls, 3)
	}
	near(t, "seconds", whole.Seconds, 9)
	if !p.steady() {
		t.Error("nothing waits, and it is said not to be steady")
	}
	late := moments(100, 100, 9)
	for i := range late {
		late[i].admitted += 150
	}
	for name, m := range map[string][]moment{"what waits grows": moments(100, 70, 9), "more than a second waits all the time": late} {
		if (&partPlayed{moments: m}).steady() {
			t.Errorf("%s, and it is said to be steady", name)
		}
	}
}

func TestAPartIsExtrapolatedToTheWholeBroadcastAndListeningCountsOnceAConsumer(t *testing.T) {
	c := &costs{Own: work{Deliver: 5}, Idle: idleCost{Redis: 2000, Own: 8000}}
	r := &result{day: aDay(), plant: aPlant(), at: []int{1, 64}, costs: []*costs{c, {}}, parts: []*partPlayed{{Partitions: 1, moments: moments(2000, 2000, 9)}}}
	near(t, "a send", r.send(), 15)
	// At 2000/s listening is 1 of Redis' 10 µs and 4 of the consumer's 20. The
	// rest is 3.2 s of consumers in a second, who have 1.2 s less 8 ms each; and
	// 1.8 cores of Redis, with 3 × 2 ms, of which 60 % are used.
	got := r.extrapolated(r.parts[0], 200_000)
	for _, says := range []string{"one partition at 2,000/s (steady)", "of 20 µs of the consumer 4 are", "of 10 µs of Redis 1.", "**3 consumers**", "= 1.81 cores of Redis", "**4 masters**"} {
		if !strings.Contains(got, says) {
			t.Errorf("nothing is said of %q: %s", says, got)
		}
	}
}

func TestThePaperIsHeldAgainstThePartsThatWereSteady(t *testing.T) {
	c := &costs{Redis: work{Admit: 3, Deliver: 6}, Own: work{Deliver: 5}, Idle: idleCost{Redis: 1000}}
	r := &result{plant: plant{Send: 15}, at: []int{1, 64}, costs: []*costs{c, c},
		parts: []*partPlayed{{Partitions: 64, moments: moments(2000, 1000, 9)}, {Partitions: 64, moments: moments(1000, 1000, 9)}}}
	got := r.partChecks()
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	near(t, "Redis on paper, with 64 partitions to listen to", got[0].Predicted, 3+6+64)
	near(t, "Redis", got[0].Measured, 10)
	near(t, "the consumer on paper", got[1].Predicted, 20)
	near(t, "the consumer", got[1].off(), 0)
}

func TestWithoutAPartThatWasPlayedASendTakesWhatIsAssumed(t *testing.T) {
	near(t, "a send", (&result{at: []int{1}}).send(), pushSend)
}

func TestTheConsumersConfigurationIsOneThatItTakes(t *testing.T) {
	l := &lab{dir: t.TempDir(), addr: "127.0.0.1:6379"}
	if err := os.Mkdir(filepath.Join(l.dir, "catalogue"), 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := l.configure(64, "http://127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Throttle.PerUser) != len(threeCaps()) || c.Queue.Partitions != 64 {
		t.Errorf("%+v", c)
	}
	for i, want := range threeCaps() {
		got := c.Throttle.PerUser[i]
		if got.Name != want.Name || got.Limit != want.Limit || got.Over != want.Over {
			t.Errorf("cap %d is %+v, want %+v", i, got, want)
		}
	}
}

func TestAStretchInWhichNothingIsSentIsNotDividedByNothing(t *testing.T) {
	begin := moment{at: playedDay()}
	s := between(begin, moment{at: begin.at.Add(time.Second), admitted: 5, redis: time.Second})
	if s.Sent != 0 || s.Waiting != 5 || s.Redis != 1e6 {
		t.Errorf("%+v", s)
	}
}
