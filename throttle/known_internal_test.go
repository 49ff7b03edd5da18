package throttle

import (
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// someKnown is what is known of a host that takes some 300 a second.
func someKnown(now time.Time) known {
	return known{version: 7, weight: 300, episode: 2, perSecond: 291.5, ceiling: 300, kept: 291.5, cut: 0.04, step: 0.02,
		patient: time.Minute, since: now.Add(-9 * time.Second), stepped: now.Add(-2 * time.Second), first: flood{300, 300, 80 * time.Millisecond, now.Add(-20 * time.Second)}}
}

func TestWhatIsKnownIsReadAsItWasSaid(t *testing.T) {
	now := simulated
	want := someKnown(now)
	got, ok := readKnown(want.words(now), now.Add(time.Hour))
	want.since, want.stepped, want.first.ended = want.since.Add(time.Hour), want.stepped.Add(time.Hour), want.first.ended.Add(time.Hour) // the reader's clock is another
	if !ok || got != want {
		t.Errorf("read %+v, %t; want %+v", got, ok, want)
	}
}

func TestWhatCannotBeKnownIsNotBelieved(t *testing.T) {
	for name, words := range map[string]string{
		"nothing":          "",
		"too few numbers":  "7 300 2 291.5",
		"no number":        strings.Replace(someKnown(simulated).words(simulated), "291.5", "NaN", 1),
		"an infinite rate": strings.Replace(someKnown(simulated).words(simulated), "291.5", "+Inf", 1),
		"a negative rate":  strings.Replace(someKnown(simulated).words(simulated), "291.5", "-1", 1),
		"a time too long":  strings.Replace(someKnown(simulated).words(simulated), "60000", "9223372036854775807", 1),
	} {
		if k, ok := readKnown(words, simulated); ok {
			t.Errorf("%s: %q is read as %+v", name, words, k)
		}
	}
}

func FuzzWhatOthersSay(f *testing.F) {
	f.Add(someKnown(simulated).words(simulated))
	f.Add(tally{2, 300, 831, 2530 * time.Millisecond}.words("c\n1") + "\n" + tally{2, 1, 2, 3}.words("c2"))
	f.Fuzz(func(t *testing.T, words string) {
		if k, ok := readKnown(words, simulated); ok {
			if again, ok := readKnown(k.words(simulated), simulated); !ok || again != k {
				t.Errorf("%q is read as %+v, and that as %+v", words, k, again)
			}
		}
		if sum := readTallies(words, 2, "c"); sum.lately < 0 || sum.taken < 0 || sum.ran < 0 {
			t.Errorf("%q amounts to %+v", words, sum)
		}
	})
}

func TestTalliesOfOneRefusalAreSummedUpButOnesOwn(t *testing.T) {
	words := strings.Join([]string{tally{3, 100, 400, 2 * time.Second}.words("a"), tally{3, 50, 60, 3 * time.Second}.words("b b"),
		tally{3, 7, 8, time.Second}.words("me"), tally{2, 1000, 1000, time.Hour}.words("late"), "3 x", "3 -5 1 1 \"odd\""}, "\n")
	if got, want := readTallies(words, 3, "me"), (tally{3, 150, 460, 3 * time.Second}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// pair is two consumers that send to one host, and what they say.
type pair struct {
	a, b *Destinations
	now  time.Time
	said []Word // by either
}

func newPair(t *testing.T) *pair {
	p := &pair{now: simulated}
	rates := NewRates(nil, "test", "nobody runs them")
	make := func(name string) *Destinations {
		return NewDestinations(DestinationRules{Slots: 64, Now: func() time.Time { return p.now }, Jitter: func(most time.Duration) time.Duration { return most / 2 },
			Told: func(w Word) { p.said = append(p.said, w) }, Channel: notice.ChannelWebhook, Consumer: name,
			Permits: func(key string) *Pace { return rates.Strict(name+key, asRate(0)) }})
	}
	p.a, p.b = make("a"), make("b")
	return p
}

// sends has a host take n from one of them within a time.
func (p *pair) sends(t *testing.T, d *Destinations, n int, within time.Duration) {
	t.Helper()
	at := d.Pin("h")
	defer d.Unpin(at)
	for range n {
		if got := d.Enter(at, 64); got != Entered {
			t.Fatalf("refused with %d", got)
		}
		p.now = p.now.Add(within / time.Duration(n))
		d.Leave(at, time.Millisecond, Answered)
	}
}

// spread tells each what was said, as the board does.
func (p *pair) spread() {
	for _, w := range p.said {
		p.a.Learned(w)
		p.b.Learned(w)
	}
	p.said = nil
}

// refused has one be refused, and the other hear of it.
func (p *pair) refused() {
	until := p.now.Add(simulatedPause)
	p.a.Pause("h", until, "429")
	p.b.Pause("h", until, "429")
	p.spread()
	p.now = until
}

func TestAHostsRateIsLearnedFromWhatAllConsumersWereGiven(t *testing.T) {
	p := newPair(t)
	p.sends(t, p.a, 20, 100*time.Millisecond)
	p.sends(t, p.b, 80, 400*time.Millisecond)
	p.refused()
	a, b := p.a.Pin("h"), p.b.Pin("h")
	p.a.Enter(a, 64)
	p.spread()
	if want := under * 100; a.learned.perSecond != want || b.learned.perSecond != want {
		t.Errorf("they go on at %.1f and %.1f, want %.1f of the host's 100", a.learned.perSecond, b.learned.perSecond, want)
	}
	if b.learned.permits.Rate() != asRate(under*100) || !b.learned.refused.IsZero() {
		t.Errorf("the one that only heard of it paces by %v, and its run goes on: %t", b.learned.permits.Rate(), b.learned.refused.IsZero())
	}
}

func TestWhoLearnsLaterOrLessIsCorrected(t *testing.T) {
	p := newPair(t)
	p.sends(t, p.a, 100, 500*time.Millisecond)
	p.refused()
	b := p.b.Pin("h")
	less := someKnown(p.now)
	less.version, less.weight, less.episode, less.perSecond = 1, 10, 1, 10
	p.b.Learned(Word{Kind: HostRate, Name: "h", For: rateLife, Because: less.words(p.now)})
	if b.learned.perSecond != 10 {
		t.Fatalf("%.1f, want what was heard", b.learned.perSecond)
	}
	p.a.Enter(p.a.Pin("h"), 64)
	p.spread()
	if b.learned.perSecond != under*100 {
		t.Errorf("%.1f, want the %.1f of more evidence", b.learned.perSecond, under*100)
	}
	less.version = 0
	p.b.Learned(Word{Kind: HostRate, Name: "h", For: rateLife, Because: less.words(p.now)})
	if b.learned.perSecond != under*100 {
		t.Errorf("%.1f after old words, want %.1f", b.learned.perSecond, under*100)
	}
}

func TestWhoBeginsLaterKnowsTheRateAndSinceWhen(t *testing.T) {
	p := newPair(t)
	k := someKnown(p.now)
	p.b.Learned(Word{Kind: HostRate, Name: "h", For: rateLife - time.Minute, Because: k.words(p.now)})
	b := p.b.Pin("h")
	if b.learned.perSecond != k.perSecond || !b.learned.since.Equal(k.since.Add(-time.Minute)) {
		t.Errorf("%.1f since %v, want %.1f since %v", b.learned.perSecond, b.learned.since, k.perSecond, k.since.Add(-time.Minute))
	}
	k.version, k.perSecond = k.version+1, 0
	p.b.Learned(Word{Kind: HostRate, Name: "h", For: rateLife, Because: k.words(p.now)})
	if b.learned.held() || b.learned.permits.Limited() {
		t.Errorf("a rate that is forgotten still holds: %+v", b.learned.known)
	}
}

func TestARefusalThatWasHeardOfLateIsCountedFromWhenItWas(t *testing.T) {
	p := newPair(t)
	b := p.b.Pin("h")
	p.sends(t, p.b, 100, 500*time.Millisecond)
	refused := p.now
	p.b.Learned(Word{Kind: HostTook, Name: "h", For: tallyLife, Because: tally{0, 5, 5, time.Second}.words("a")})
	p.sends(t, p.b, 10, 200*time.Millisecond)
	p.now = refused.Add(200 * time.Millisecond)
	p.b.Pause("h", p.now.Add(time.Second), "429")
	if !b.learned.refused.Equal(refused) || b.learned.tally().lately != 100 {
		t.Errorf("%d were taken in the second before %v, want the 100 before %v", b.learned.tally().lately, b.learned.refused.Sub(simulated), refused.Sub(simulated))
	}
}

// Each had counted the second before its own refusal, and the sum was of none
// that there was: up to a tenth too little.
func TestWhoWasRefusedLaterCountsTheSecondBeforeTheFirstRefusal(t *testing.T) {
	p := newPair(t)
	b := p.b.Pin("h")
	p.sends(t, p.b, 100, 500*time.Millisecond)
	first := p.now
	p.sends(t, p.b, 10, 200*time.Millisecond)
	p.b.Pause("h", p.now.Add(time.Second), "429")
	p.said = nil
	p.now = p.now.Add(100 * time.Millisecond)
	p.b.Learned(Word{Kind: HostTook, Name: "h", For: tallyLife - p.now.Sub(first), Because: tally{0, 5, 5, time.Second}.words("a")})
	want := tally{0, 100, 110, 500 * time.Millisecond}
	if got := b.learned.tally(); got != want || !b.learned.refused.Equal(first) {
		t.Errorf("it was given %+v, refused after %v; want %+v after %v", got, b.learned.refused.Sub(simulated), want, first.Sub(simulated))
	}
	if len(p.said) != 1 || p.said[0].Because != want.words("b") {
		t.Errorf("it tells the others %+v, want what it counted anew", p.said)
	}
}

func TestWhatNobodyRefusesIsSaidNothingOf(t *testing.T) {
	p := newPair(t)
	p.sends(t, p.a, 5000, 5*time.Second)
	if len(p.said) != 0 {
		t.Errorf("it said %v", p.said)
	}
}
