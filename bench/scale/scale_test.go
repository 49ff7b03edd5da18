package main

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// flat is a day on which nothing is ever different.
func flat(users, each float64) day {
	return day{Users: users, Each: each, Devices: 1, Evening: 1, Night: 1, Regions: []region{{"one", 1, 0, "UTC"}}, Retention: 60}
}

const unlimited = 1e12

func total(ticks []tick, of func(tick) float64) (sum float64) {
	for _, t := range ticks {
		sum += of(t) * 60
	}
	return sum
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-6*math.Max(1, math.Abs(want)) {
		t.Errorf("%s: %g, want %g", what, got, want)
	}
}

func TestAFlatDayOfNHasNAndAsMuchInEveryMinute(t *testing.T) {
	ticks := flat(1440, 10).simulate(unlimited, 1)
	near(t, "admitted", total(ticks, func(t tick) float64 { return t.Admitted }), 14_400)
	near(t, "sent", total(ticks, func(t tick) float64 { return t.sent() }), 14_400)
	for _, at := range []int{0, 700, 1439} {
		near(t, "admitted in a minute", ticks[at].Admitted*60, 10)
		near(t, "records", ticks[at].Records, 600)
		near(t, "places", ticks[at].Places, 14_400)
		near(t, "queued", ticks[at].Queued, 0)
		near(t, "parked", ticks[at].state.Parked, 0)
	}
}

func TestADayHasWhatIsCausedHoweverItIsSpreadOverTheHours(t *testing.T) {
	d := aDay()
	ticks := d.simulate(unlimited, 64)
	near(t, "admitted", total(ticks, func(t tick) float64 { return t.Admitted }), 600e6)
	near(t, "sent, with what is sent again", total(ticks, func(t tick) float64 { return t.sent() }), 600e6/(1-d.Retries))
	d = d.oneZone()
	d.BroadcastOver = 0
	near(t, "the evening", d.caused(20*60), 4*d.Users*d.Each/minutes)
}

func TestTheBroadcastComesAtItsRateOnTopOfTheBusiestHour(t *testing.T) {
	d := aDay()
	ticks := d.simulate(unlimited, 64)
	near(t, "the broadcast alone", ticks[d.Broadcast].Admitted-d.caused(d.Broadcast)/60, 100e6/600)
	near(t, "the minute after it", ticks[d.Broadcast+10].Admitted, d.caused(d.Broadcast+10)/60)
}

func TestWhatQuietHoursHoldComesInTheMinuteInWhichTheyEnd(t *testing.T) {
	d := flat(1440, 1)
	d.Quiet = 0.5
	ticks := d.simulate(unlimited, 1)
	near(t, "parked before", ticks[quietUntil-1].state.Parked, 300)
	near(t, "parked then", ticks[quietUntil].state.Parked, 0)
	near(t, "put back", ticks[quietUntil].Promoted*60, 300)
	near(t, "sent at night", ticks[0].sent()*60, 0.5)
}

func TestTheBroadcastTakesLongerWithFewerConsumers(t *testing.T) {
	d := aDay()
	before := time.Duration(0)
	for _, perSecond := range []float64{200_000, 100_000, 50_000} {
		takes, done := d.broadcastTakes(d.simulate(perSecond, 64))
		if !done || takes <= before {
			t.Errorf("%g/s: %v (%v), after %v with twice as many", perSecond, takes, done, before)
		}
		before = takes
	}
	if _, done := d.broadcastTakes(d.simulate(1000, 64)); done {
		t.Error("a thousand a second are said to be enough")
	}
}

func TestWhatIsNeededGrowsWithWhatIsDone(t *testing.T) {
	c := &costs{Redis: work{Admit: 10, Deliver: 90}, Own: work{Admit: 1000, Deliver: 60}}
	p := plant{Cores: 2, Busy: 0.5, Send: 40, Door: 50, Partitions: 8}
	n := c.needs(rates{Admitted: 20_000, Planned: 20_000}, p)
	// 2 s of Redis, 2 s of consumers and 1 s of ingest in a second, half busy.
	if n.Masters != 4 || n.Consumers != 2 || n.Ingest != 1 {
		t.Errorf("%+v", n)
	}
	c.Idle.Redis = 62_500 // eight partitions are half a second, for each of two consumers
	if n := c.needs(rates{Admitted: 20_000, Planned: 20_000}, p); n.Masters != 6 {
		t.Errorf("with what listening costs: %+v", n)
	}
}

func TestADayThatCannotBeIsRefused(t *testing.T) {
	for args, says := range map[string]string{
		"-users 0": "-users", "-evening 9": "-evening", "-retries 1": "-retries", "-quiet -1": "-quiet", "-devices 0": "-devices", "-partitions 0": "-partitions",
		"-n 500": "-n", "-broadcast 2000": "-broadcast", "-part 2": "-part", "-crowd 5": "-crowd", "-crowd 0 -plot x": "-plot", "-span -1s": "-span",
	} {
		if _, err := readFlags(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// TestTheModelIsWithinASeventhOfASampleThatIsFilledForReal measures what one of
// everything costs, and fills Redis with another mix of as much and more.
func TestTheModelIsWithinASeventhOfASampleThatIsFilledForReal(t *testing.T) {
	// Alone: what the consumer costs is the processor time of this process.
	l, err := newLab(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.close() })
	c, err := l.measure(t.Context(), 1000, 2, 600, 1)
	if err != nil {
		t.Fatal(err)
	}
	for what, v := range map[string]float64{"a profile": c.Bytes.Profile, "a place": c.Bytes.CapPlace, "a record": c.Bytes.Record, "parked": c.Bytes.Parked,
		"redis": c.Redis.Deliver, "consumer": c.Own.Deliver, "commands": c.Calls.Deliver, "promote": c.Redis.Promote, "idle": c.Idle.Calls} {
		if v <= 0 {
			t.Errorf("%s costs %g", what, v)
		}
	}
	s := state{Profiles: 2000, CapUsers: 2000 * (1 - math.Exp(-4)), Places: 8_000, Queued: 400, Parked: 600, Records: 1600, Partitions: 2}
	got, err := l.sample(t.Context(), s, 600, 1, c, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(got.off()) > 0.15 {
		t.Errorf("the model says %.0f bytes, and it was %.0f: off by %.0f %%", got.Predicted, got.Measured, 100*got.off())
	}
	testReport(t, c, got)
}

// testReport wants what was found out in words and in a picture.
func testReport(t *testing.T, c *costs, check checked) {
	p := aPlant()
	r := &result{day: aDay(), plant: p, costs: []*costs{c, c}, at: []int{1, p.Partitions}, checks: []checked{check}}
	r.plan = r.day.simulate(1e6, p.Partitions)
	var text strings.Builder
	if err := r.write(&text); err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{"| profiles | 100,000,000 |", "| broadcast | 178,", "The fullest minute is", "| memory of the sample, bytes |", number(c.Redis.Deliver)} {
		if !strings.Contains(text.String(), says) {
			t.Errorf("nothing is said of %q:\n%s", says, text.String())
		}
	}
}
