package main

import (
	"context"
	_ "embed" // older.lua
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// slotMinutes is how much of the day is told of at once: as long as the
// broadcast takes, and the time after which what is older expires.
const slotMinutes = 10

// playedDay begins in winter, when every region's clock is ahead of UTC by what
// day.go says, after a day of warming up.
func playedDay() time.Time { return time.Date(2027, time.January, 13, 0, 0, 0, 0, time.UTC) }

// counts are what became of notifications, of a crowd or, times its scale, of
// all users.
type counts struct {
	Offered  float64
	Sent     float64 // that the provider took
	Quiet    float64 // put off to the end of quiet hours
	Held     float64 // put off until a cap has room
	Retried  float64 // put off for another attempt
	Digested float64 // collected into another one
	Capped   float64 // dropped, the cap being full
	Ended    float64 // in whatever way
	Promoted float64 // put back, its time having come
}

// since is what was counted between two moments.
func (c counts) since(before counts) counts {
	return counts{c.Offered - before.Offered, c.Sent - before.Sent, c.Quiet - before.Quiet, c.Held - before.Held, c.Retried - before.Retried,
		c.Digested - before.Digested, c.Capped - before.Capped, c.Ended - before.Ended, c.Promoted - before.Promoted}
}

func (c counts) plus(d counts) counts {
	return c.since(counts{}.since(d))
}

// put is everything that was put off.
func (c counts) put() float64 { return c.Quiet + c.Held + c.Retried }

// rates are what the counts of some minutes come to in a second. What is dropped
// or collected is planned as what is sent is.
func (c counts) rates(minutes int, scale float64) rates {
	per := scale / 60 / float64(minutes)
	return rates{Admitted: c.Offered * per, Planned: (c.Offered - c.Quiet - c.Held) * per, Parked: c.put() * per, Promoted: c.Promoted * per}
}

// slot is ten minutes of the played day.
type slot struct {
	counts
	Minute int     // at which it begins
	Parked float64 // at most, at the end of a minute
	Memory float64 // bytes of Redis at its end, without what an empty queue takes
}

// played is what a played day came to.
type played struct {
	users    int
	scale    float64 // all users for each of the crowd
	slots    []slot
	ends     [24][]holding // what Redis holds at the end of each hour
	breaches breaches
	before   float64 // parked when the day began
	after    float64 // and when it ended
	used     reading // for both days, processor time of Redis and of everything else
	took     time.Duration
}

// player plays a day: what is caused goes through the gateway's own code, minute
// by minute, by a clock that stands still until all of a minute is done.
type player struct {
	*rooms
	crowd   *crowd
	random  *rand.Rand
	watcher *watcher
	caps    *counting
	metrics *prometheus.Registry
	counts  counts // at the end of the last slot
	offered float64
	parked  float64 // at the end of the last minute
	base    float64 // bytes of Redis with an empty queue
}

//go:embed older.lua
var olderScript string

// play plays the day with n of its users, after one without a broadcast.
func (l *lab) play(ctx context.Context, d day, n, size int, progress func(string)) (*played, error) {
	clock := newClock(playedDay().AddDate(0, 0, -1).Add(-time.Hour), 0)
	r, err := l.open(ctx, furniture{1, size, clock, dayParts(), dayCaps()})
	if err != nil {
		return nil, err
	}
	defer r.close()
	random := rand.New(rand.NewPCG(2027, 1))
	p := &player{rooms: r, crowd: d.gather(n, random), random: random, metrics: prometheus.NewRegistry(),
		watcher: &watcher{now: clock.Now, refuse: d.Retries, got: map[int][]receipt{}}, caps: &counting{Caps: r.caps, held: map[string]bool{}}}
	out := &played{users: n, scale: d.Users / float64(n)}
	began := time.Now()
	out.used, err = l.measured(ctx, func() error { return p.days(ctx, out, progress) })
	out.took = time.Since(began)
	out.breaches = p.watcher.breaches(p.crowd)
	return out, err
}

// days stores the crowd's profiles and lets two days pass.
func (p *player) days(ctx context.Context, out *played, progress func(string)) error {
	return attended(ctx, p.consumer(), func(ctx context.Context) error {
		if err := p.begin(ctx); err != nil {
			return err
		}
		progress(fmt.Sprintf("playing a day of %d users: the one before it", out.users))
		for m := 0; m < minutes; m += slotMinutes {
			if _, err := p.slot(ctx, m, false); err != nil {
				return err
			}
		}
		out.before = p.parked
		progress("playing the day")
		err := p.hours(ctx, out)
		out.after = p.parked
		return err
	})
}

// hours lets the day pass, and looks at what Redis holds at the end of each of
// its hours.
func (p *player) hours(ctx context.Context, out *played) error {
	for m := 0; m < minutes; m += slotMinutes {
		s, err := p.slot(ctx, m, true)
		if err != nil {
			return err
		}
		out.slots = append(out.slots, s)
		if end := m + slotMinutes; end%60 == 0 {
			if out.ends[end/60-1], err = p.holds(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin stores the crowd's profiles, and notes what Redis takes besides.
func (p *player) begin(ctx context.Context) error {
	if err := p.strangers(ctx); err != nil {
		return fmt.Errorf("strangers: %w", err)
	}
	empty, err := p.read(ctx)
	if err != nil {
		return err
	}
	p.base = empty.memory
	if p.counts, err = p.counted(); err != nil {
		return err
	}
	p.clock.advance(playedDay().AddDate(0, 0, -1).Add(-time.Minute).Sub(p.clock.Now()))
	if err := p.store(ctx, len(p.crowd.people), p.crowd.profile); err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	return nil
}

// strangers sends something to people who are gone afterwards, and lets all of
// it expire: what Redis holds then, for streams that were used, connections and
// scripts, does not grow with the users.
func (p *player) strangers(ctx context.Context) error {
	const n = 1000
	if err := p.people(ctx, n, int(p.crowd.day.Devices)); err != nil {
		return err
	}
	messages := make([]message, n)
	for i := range messages {
		messages[i] = message{i, "login", notice.LaneCritical}
	}
	for ; len(messages) > 0 || p.parked > 0; messages = nil {
		if err := p.pass(ctx, messages); err != nil {
			return err
		}
	}
	p.watcher.forget()
	for i := range n {
		if err := p.directory.Delete(ctx, tenant, user(i)); err != nil {
			return err
		}
	}
	for range 2 { // what is met for the first time is not as old as that yet
		if err := p.older(ctx, 3*24*time.Hour); err != nil {
			return err
		}
	}
	return nil
}

// consumer is the gateway's own, by the day's clock.
func (p *player) consumer() *delivery.Pipeline {
	o := p.options(p.watcher)
	o.Caps, o.Metrics = p.caps, p.metrics
	again := config.Duration(time.Minute)
	o.Channels[0].Retry.Schedule = []config.Duration{again, again, again, again}
	return delivery.New(o)
}

// slot lets ten minutes pass.
func (p *player) slot(ctx context.Context, from int, told bool) (s slot, err error) {
	s.Minute = from
	for m := from; m < from+slotMinutes; m++ {
		if err := p.pass(ctx, p.crowd.minute(m, told, p.random)); err != nil {
			return s, fmt.Errorf("%s of the played day: %w", clockTime(m), err)
		}
		s.Parked = max(s.Parked, p.parked)
	}
	after, err := p.counted()
	if err != nil {
		return s, err
	}
	// What needs another attempt may be on its way already, so what was counted
	// before is what the last slot ended with.
	s.counts, p.counts = after.since(p.counts), after
	if err := p.older(ctx, slotMinutes*time.Minute); err != nil {
		return s, err
	}
	used, err := p.read(ctx)
	s.Memory = used.memory - p.base
	return s, err
}

// older lets time pass for what expires by Redis' clock.
func (p *player) older(ctx context.Context, d time.Duration) error {
	if err := p.node.Eval(ctx, olderScript, nil, d.Milliseconds()).Err(); err != nil {
		return fmt.Errorf("letting %v pass in Redis: %w", d, err)
	}
	return nil
}

// pass sets the clock on by a minute, admits what the minute brings, puts back
// what is due in it, and waits until all of it has ended or waits for a later
// time.
func (p *player) pass(ctx context.Context, messages []message) error {
	p.clock.advance(time.Minute)
	notes := make([]queue.Admission, len(messages))
	for i, m := range messages {
		notes[i] = p.note(m.kind, m.lane, m.to, i)
	}
	if err := p.admitAll(ctx, notes); err != nil {
		return err
	}
	p.offered += float64(len(notes)) * p.crowd.day.Devices
	for promoted := 1; promoted > 0; {
		var err error
		if promoted, _, err = p.queue.Promote(ctx); err != nil {
			return fmt.Errorf("putting back what is due: %w", err)
		}
	}
	return p.settled(ctx)
}

// settled waits until nothing is on its way.
func (p *player) settled(ctx context.Context) error {
	return awaitEach(ctx, 2*time.Millisecond, stepLimit, "end of a minute", func() (bool, error) {
		parked, err := p.queue.Parked(ctx)
		if err != nil {
			return false, err
		}
		c, err := p.counted()
		p.parked = float64(parked.Total())
		return c.Ended+p.parked == p.offered, err
	})
}

// counted is what the gateway's own metrics say so far. What was put back is
// what was put off and is not parked any more.
func (p *player) counted() (c counts, err error) {
	families, err := p.metrics.Gather()
	if err != nil {
		return c, err
	}
	c.Offered, c.Held = p.offered, p.caps.count()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			words := f.GetName()
			for _, l := range m.GetLabel() {
				words += " " + l.GetValue()
			}
			c.add(words, m.GetCounter().GetValue())
		}
	}
	c.Quiet -= c.Held
	c.Promoted = c.put() - p.parked
	return c, nil
}

// add takes one counter in, by its name and its labels' values.
func (c *counts) add(words string, n float64) {
	switch words {
	case "carillon_deliveries_total fcm delivered":
		c.Sent += n
	case "carillon_throttled_total defer user":
		c.Quiet += n // and what caps hold
	case "carillon_throttled_total digest user":
		c.Digested += n
	case "carillon_throttled_total drop user":
		c.Capped += n
	case "carillon_retries_total fcm":
		c.Retried += n
	}
	const ends = "carillon_deliveries_total "
	if len(words) > len(ends) && words[:len(ends)] == ends {
		c.Ended += n
	}
}
