package queue

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// laneCount is how many lanes there are.
const laneCount = 3

// laneIndex is a lane's place in notice.Lanes, the most urgent first.
func laneIndex(l notice.Lane) int {
	switch l {
	case notice.LaneCritical:
		return 0
	case notice.LaneBulk:
		return 2
	}
	return 1
}

// flow is a number of entries for each turn and lane.
type flow [Turns][laneCount]int64

// drained counts what this process took off the streams for good, less what it
// put on them for work that was admitted before: the deliveries of an event,
// and what was parked. That is by how much the backlog shrinks when nothing more
// is admitted, however much is.
//
// It is added to the queue's count in Redis with each look at the backlog, which
// costs no transition anything. A process that dies takes half a second's worth
// with it, and nothing but a Retry-After is the worse for it.
type drained [Turns][laneCount]atomic.Int64

func (d *drained) add(from *stream, n int) {
	if from != nil && n != 0 {
		d[from.turn][laneIndex(from.lane)].Add(int64(n))
	}
}

// addTo is add for a stream by its key without the partition.
func (d *drained) addTo(suffix string, n int) {
	parts := strings.Split(suffix, ":")
	turn := 0
	if len(parts) > 2 {
		turn, _ = strconv.Atoi(parts[2])
	}
	if len(parts) > 1 && turn >= 0 && turn < Turns {
		d[turn][laneIndex(notice.Lane(parts[1]))].Add(int64(n))
	}
}

// take empties the counts.
func (d *drained) take() (out flow) {
	for turn := range d {
		for lane := range d[turn] {
			out[turn][lane] = d[turn][lane].Swap(0)
		}
	}
	return out
}

// giveBack puts counts back that could not be told.
func (d *drained) giveBack(f flow) {
	for turn := range f {
		for lane, n := range f[turn] {
			d[turn][lane].Add(n)
		}
	}
}

// drainedField is where the hash of the whole queue keeps a turn and lane's count.
func drainedField(turn, lane int) string {
	return "drained:" + strconv.Itoa(turn) + ":" + strconv.Itoa(lane)
}

// tellDrained adds this process' counts to the queue's.
func (q *Queue) tellDrained(ctx context.Context) {
	counts := q.drained.take()
	if counts == (flow{}) {
		return
	}
	pipe := q.rdb.TxPipeline() // all of them or none
	for turn := range counts {
		for lane, n := range counts[turn] {
			if n != 0 {
				pipe.HIncrBy(ctx, q.keys.meta(), drainedField(turn, lane), n)
			}
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		q.drained.giveBack(counts) // told next time; twice, if only the reply was lost
	}
}

// readMeta reads the queue's counts, and how many tenants have a turn.
func (q *Queue) readMeta(ctx context.Context) (counts flow, tenants int, err error) {
	fields := make([]string, 0, 1+Turns*laneCount)
	fields = append(fields, "tenants")
	for turn := range Turns {
		for lane := range laneCount {
			fields = append(fields, drainedField(turn, lane))
		}
	}
	got, err := q.rdb.HMGet(ctx, q.keys.meta(), fields...).Result()
	if err != nil && err != redis.Nil {
		return counts, 0, unavailable(err)
	}
	read := func(i int) int64 {
		text, _ := got[i].(string) // none yet: nil
		n, _ := strconv.ParseInt(text, 10, 64)
		return n
	}
	for i := range Turns * laneCount {
		counts[i/laneCount][i%laneCount] = read(1 + i)
	}
	return counts, int(read(0)), nil
}

const (
	// drainSamples looks at the queue's counts, drainEvery apart, are kept: a
	// minute. The pace is taken from the last fewSamples of them, so that a
	// provider that changes is noticed, or from as many more as it takes for
	// enoughDrained entries, so that a slow one's is not a matter of chance.
	drainSamples  = 128
	fewSamples    = 16
	enoughDrained = 50
	drainEvery    = backlogEvery
)

// everyTurn stands for all turns together.
const everyTurn = Turns

// drain is how fast the backlog was worked off lately: of each turn and of all
// together, and of each lane with those that are less urgent. What is more
// urgent is admitted longer, and takes the place of what of it leaves.
type drain struct {
	samples []drainSample // oldest first
	classes [Turns + 1][laneCount]drainClass
}

type drainSample struct {
	at     time.Time
	counts flow
}

// drainClass is what is known of a turn, a lane and those below.
type drainClass struct {
	pace  float64   // entries a second when it moved last; 0: it never did
	moved time.Time // when something left it last, or nothing was there to leave
	empty time.Time // when nothing was there last: the time before says nothing of the pace
}

// of sums up a turn, a lane and those that are less urgent.
func (f *flow) of(turn, lane int) (n int64) {
	for t := range f {
		if turn != everyTurn && turn != t {
			continue
		}
		for l := lane; l < laneCount; l++ {
			n += f[t][l]
		}
	}
	return n
}

// observe takes in a look at the counts, and at what waits.
func (d *drain) observe(counts, waiting flow, now time.Time) {
	last := len(d.samples) - 1
	if last >= 0 && now.Sub(d.samples[last].at) < drainEvery/2 {
		return
	}
	if len(d.samples) == drainSamples {
		copy(d.samples, d.samples[1:])
		d.samples = d.samples[:drainSamples-1]
	}
	d.samples = append(d.samples, drainSample{now, counts})
	for turn := range d.classes {
		for lane := range d.classes[turn] {
			d.move(turn, lane, &waiting, now)
		}
	}
}

// move takes the last sample in for one class.
func (d *drain) move(turn, lane int, waiting *flow, now time.Time) {
	c, last := &d.classes[turn][lane], len(d.samples)-1
	if last == 0 || waiting.of(turn, lane) <= 0 {
		c.moved, c.empty = now, now
		return
	}
	if d.drained(turn, lane, last-1, last) <= 0 {
		return
	}
	if pace := d.pace(turn, lane, c.empty); pace > 0 {
		c.pace, c.moved = pace, now
	}
}

// drained is how much left a class between two samples.
func (d *drain) drained(turn, lane, from, to int) int64 {
	return d.samples[to].counts.of(turn, lane) - d.samples[from].counts.of(turn, lane)
}

// pace is how many entries a second left a class, as far back as is enough and
// not before since.
func (d *drain) pace(turn, lane int, since time.Time) float64 {
	last := len(d.samples) - 1
	for back := fewSamples; ; back *= 2 {
		from := max(last-back, 0)
		for from < last && d.samples[from].at.Before(since) {
			from++
		}
		n := d.drained(turn, lane, from, last)
		if n >= enoughDrained || from > last-back || back >= drainSamples {
			if dt := d.samples[last].at.Sub(d.samples[from].at); dt > 0 {
				return float64(n) / dt.Seconds()
			}
			return 0
		}
	}
}

const (
	shortestRetry = time.Second
	// unknownRetry is the answer while nothing is known of how fast, and
	// stalledRetry the longest while nothing ever went: whoever works the queue
	// may be there at any moment.
	unknownRetry = 5 * time.Second
	stalledRetry = 2 * time.Minute
	longestRetry = 10 * time.Minute
)

// stalledAfter is how long nothing must have moved to be a stall, and not the
// pace of a slow provider.
const stalledAfter = 3 * time.Second

// wait is how long it takes until entries of a turn and lane have left the
// backlog, at the pace of the last seconds. While nothing moves at all it is
// taken to go on for as long as it has lasted.
func (d *drain) wait(entries, turn int, lane notice.Lane, now time.Time) time.Duration {
	c := &d.classes[turn][laneIndex(lane)]
	var stalled time.Duration
	if !c.moved.IsZero() {
		stalled = now.Sub(c.moved)
	}
	if c.pace <= 0 {
		return growing(stalled)
	}
	const doubt = 1.03 // a pace is known no better
	seconds := min(doubt*float64(entries)/c.pace, longestRetry.Seconds())
	wait := time.Duration(seconds*float64(time.Second)) + backlogEvery // what is known by then may be so old
	if stalled > stalledAfter {
		wait += stalled
	}
	return min(max(wait, shortestRetry), longestRetry)
}

// growing is when to ask again for what has not moved for so long.
func growing(stalled time.Duration) time.Duration {
	return min(max(stalled, unknownRetry), stalledRetry)
}
