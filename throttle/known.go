package throttle

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/carillonhq/carillon/config"
)

// known is what is known of how many a second a destination takes: the same to
// all consumers that learn together, of which any says what comes next.
type known struct {
	version int // each change is the next; of two alike the heavier holds
	weight  int // the calls that it was judged by
	episode int // refusals that were learned from

	perSecond float64       // 0: as much as may be
	ceiling   float64       // that was found; 0: not yet
	kept      float64       // the highest rate that was borne since the refusal, or set after it
	cut       float64       // by how much the rate was lowered last, as a guess
	step      float64       // by how much it is raised next
	patient   time.Duration // the probeAfter of this ceiling
	since     time.Time     // when the rate was set after the refusal
	stepped   time.Time     // when it was raised last
	first     flood         // the one that the first refusal ended
	doubt     float64       // what is taken if that flood said too much; 0: it did not
}

const (
	// highestRate is the highest rate that is believed, a second.
	highestRate = 1e7
	// rateLife is how long a consumer that begins is told of a rate which nobody
	// has said again, as those whom it holds up do every sayRateEvery.
	rateLife     = 10 * time.Minute
	sayRateEvery = 2 * time.Minute
	// tallyLife is how long it is known what was taken before a refusal.
	tallyLife = time.Minute
)

// words are what is known as it is said to others, by their order: the version
// and the weight come first, since say.lua goes by them.
func (k known) words(now time.Time) string {
	age := func(at time.Time) int64 { return max(now.Sub(at), 0).Milliseconds() }
	return fmt.Sprintf("%d %d %d %g %g %g %g %g %d %d %d %d %g %d %d %g", k.version, k.weight, k.episode, k.perSecond, k.ceiling, k.kept, k.cut, k.step,
		k.patient.Milliseconds(), age(k.since), age(k.stepped), k.first.taken, k.first.lately, k.first.ran.Milliseconds(), age(k.first.ended), k.doubt)
}

// readKnown reads words that were said at a moment of the local clock.
func readKnown(words string, said time.Time) (k known, ok bool) {
	var patient, since, stepped, ran, ended int64
	n, err := fmt.Sscan(words, &k.version, &k.weight, &k.episode, &k.perSecond, &k.ceiling, &k.kept, &k.cut, &k.step,
		&patient, &since, &stepped, &k.first.taken, &k.first.lately, &ran, &ended, &k.doubt)
	for _, f := range []float64{k.perSecond, k.ceiling, k.kept, k.cut, k.step, k.first.lately, k.doubt} {
		if !(f >= 0 && f <= highestRate) {
			return known{}, false
		}
	}
	for _, ms := range []int64{patient, since, stepped, ran, ended} {
		if ms < 0 || ms > math.MaxInt64/int64(time.Millisecond) {
			return known{}, false
		}
	}
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	k.patient, k.first.ran = ms(patient), ms(ran)
	k.since, k.stepped, k.first.ended = said.Add(-ms(since)), said.Add(-ms(stepped)), said.Add(-ms(ended))
	return k, n == 16 && err == nil
}

// newer reports whether k is to be believed rather than other.
func (k known) newer(other known) bool {
	return k.version > other.version || k.version == other.version && k.weight > other.weight
}

// asRate is a learned rate as one that is shared.
func asRate(perSecond float64) config.Rate {
	const span = 1000 * time.Second
	return config.Rate{Count: int(math.Round(perSecond * span.Seconds())), Per: span}
}

// tally is what one consumer was given, or several, before a refusal.
type tally struct {
	episode int           // the refusal's number
	lately  int           // taken in the second before it, and on its way then
	taken   int           // in the whole run
	ran     time.Duration // how long that was
}

// words are a tally as it is said: a line, which ends with whose it is, so that
// say.lua can put those of all consumers together.
func (t tally) words(consumer string) string {
	return fmt.Sprintf("%d %d %d %d %s", t.episode, t.lately, t.taken, t.ran.Milliseconds(), strconv.QuoteToASCII(consumer))
}

// readTallies sums up what others than one consumer say of a refusal.
func readTallies(words string, episode int, but string) (sum tally) {
	sum.episode = episode
	but = strconv.QuoteToASCII(but)
	for line := range strings.Lines(words) {
		var t tally
		var ms int64
		line = strings.TrimSuffix(line, "\n")
		n, _ := fmt.Sscanf(line, "%d %d %d %d ", &t.episode, &t.lately, &t.taken, &ms)
		if n != 4 || t.episode != episode || strings.HasSuffix(line, " "+but) || min(t.lately, t.taken) < 0 || ms < 0 || ms > time.Hour.Milliseconds()*1000 {
			continue
		}
		sum.lately, sum.taken = sum.lately+t.lately, sum.taken+t.taken
		sum.ran = max(sum.ran, time.Duration(ms)*time.Millisecond)
	}
	return sum
}
