package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

const (
	partUsers = 10_000          // who get what is played
	partWarm  = 5 * time.Second // until a steady state is looked for
)

// partPlayed is a part of the broadcast that went through a consumer process.
type partPlayed struct {
	Partitions int
	Rate       float64 // that was asked for, a second
	moments    []moment
}

// moment is what had come to be, a second or so after the one before.
type moment struct {
	at              time.Time
	admitted, taken float64
	redis, consumer time.Duration
	calls           float64
}

// stretch is what was done between two moments, a notification.
type stretch struct {
	Seconds                float64
	Offered, Sent          float64 // a second
	Waiting                float64 // at its end
	Redis, Consumer, Calls float64 // µs, µs, commands; each of one notification
}

func between(a, b moment) stretch {
	took, sent := b.at.Sub(a.at).Seconds(), max(b.taken-a.taken, 1)
	return stretch{Seconds: took, Offered: (b.admitted - a.admitted) / took, Sent: (b.taken - a.taken) / took, Waiting: b.admitted - b.taken,
		Redis: micros(b.redis-a.redis) / sent, Consumer: micros(b.consumer-a.consumer) / sent, Calls: (b.calls - a.calls) / sent}
}

// thirds are the stretches that show whether a state is steady, and the whole.
func (p *partPlayed) thirds() (out []stretch, whole stretch) {
	n := len(p.moments) - 1
	for i := range 3 {
		out = append(out, between(p.moments[n*i/3], p.moments[n*(i+1)/3]))
	}
	return out, between(p.moments[0], p.moments[n])
}

// steady reports whether what came was sent, but for what a second brings.
func (p *partPlayed) steady() bool {
	thirds, whole := p.thirds()
	last := thirds[2]
	return last.Sent >= 0.95*last.Offered && last.Waiting <= whole.Offered
}

// part plays a rate for a while through as many partitions, one consumer process
// and one Redis. The door and the provider's stand-in are in this process, and
// are not counted; what the door asks of Redis is.
func (l *lab) part(ctx context.Context, binary string, partitions int, perSecond float64, span time.Duration, size int) (p *partPlayed, err error) {
	f := plain(partitions, size)
	f.clock = newClock(time.Now(), 1)
	r, err := l.open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer r.close()
	if err := r.people(ctx, partUsers, 1); err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	fcm := newStandIn()
	defer fcm.Close()
	c, err := l.startConsumer(ctx, binary, partitions, fcm.URL)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	p = &partPlayed{Partitions: partitions, Rate: perSecond}
	return p, r.run(ctx, p, c, fcm, span)
}

// run feeds the consumer, and looks every second. Where the state is steady it
// ends when everything is sent.
func (r *rooms) run(ctx context.Context, p *partPlayed, c *consumer, fcm *standIn, span time.Duration) error {
	feeding, stop := context.WithCancel(ctx)
	defer stop()
	var admitted atomic.Int64
	fed := make(chan error, 1)
	go func() { fed <- r.feed(feeding, p.Rate, &admitted) }()
	err := p.watch(ctx, span, func() (m moment, err error) {
		used, err := r.read(ctx)
		if err != nil {
			return m, err
		}
		m = moment{at: time.Now(), admitted: float64(admitted.Load()), taken: float64(fcm.taken.Load()), redis: used.redis, calls: used.calls}
		m.consumer, err = c.cpu()
		return m, err
	})
	stop()
	if err := errors.Join(err, <-fed); err != nil || !p.steady() {
		return err
	}
	return await(ctx, stepLimit, "end", func() (bool, error) { return fcm.taken.Load() >= admitted.Load(), nil })
}

// watch looks once a second, when the start is over.
func (p *partPlayed) watch(ctx context.Context, span time.Duration, look func() (moment, error)) error {
	timer := time.NewTimer(partWarm)
	defer timer.Stop()
	for began := time.Now().Add(partWarm); time.Since(began) < span || len(p.moments) < 4; {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		m, err := look()
		if err != nil {
			return err
		}
		p.moments = append(p.moments, m)
		timer.Reset(time.Second)
	}
	return nil
}

// feed admits at a rate, whatever becomes of it, until ctx ends.
func (r *rooms) feed(ctx context.Context, perSecond float64, admitted *atomic.Int64) error {
	const ticks = 20 // a second
	began := time.Now()
	tick := time.NewTicker(time.Second / ticks)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		from := int(admitted.Load())
		n := int(time.Since(began).Seconds()*perSecond) - from
		n = min(n, int(perSecond)) // what a stall has left undone is made up for little by little
		if n <= 0 {
			continue
		}
		taken, err := r.offer(ctx, from, n)
		if err != nil {
			return err
		}
		admitted.Add(int64(taken))
	}
}

// offer admits n notifications, and returns how many were taken. A door that is
// told that Redis did not answer in time refuses, and whoever is refused comes
// again: here too. What was begun is brought to its end.
func (r *rooms) offer(ctx context.Context, from, n int) (taken int, err error) {
	notes := make([]queue.Admission, n)
	for i := range notes {
		notes[i] = r.note("news", notice.LaneNormal, (from+i)%partUsers, from+i)
	}
	for _, got := range r.queue.AdmitAll(context.WithoutCancel(ctx), notes) {
		switch {
		case got.Err == nil:
			taken++
		case !errors.Is(got.Err, queue.ErrUnavailable):
			return taken, fmt.Errorf("admitting: %w", got.Err)
		}
	}
	return taken, nil
}

// pushSend is what a push takes of a consumer where none was played: see
// docs/performance.md.
const pushSend = 90

// send is what a consumer process took for one notification beyond what one with
// an adapter that does nothing takes, in as many partitions: the provider's
// client, its connection, and all that a process has to do besides.
func (r *result) send() float64 {
	for i := len(r.parts) - 1; i >= 0; i-- {
		if p := r.parts[i]; p.Partitions == r.at[0] {
			_, whole := p.thirds()
			return max(0, whole.Consumer-r.costs[0].Own.Deliver)
		}
	}
	return pushSend
}

// partChecks are the paper beside each part that was steady. Of the consumer's
// there is nothing to compare in the first column's partitions, since the send
// was taken from there.
func (r *result) partChecks() (out []checked) {
	for _, p := range r.parts {
		i := slices.Index(r.at, p.Partitions)
		if i < 0 || !p.steady() {
			continue
		}
		_, s := p.thirds()
		c := r.costs[i]
		at := fmt.Sprintf(" at %s/s in %s", number(s.Sent), partitions(p.Partitions))
		out = append(out, checked{"Redis" + at, c.Redis.Admit + c.Redis.Deliver + c.Idle.Redis*float64(p.Partitions)/s.Sent, s.Redis, "µs a notification"})
		if i > 0 {
			out = append(out, checked{"a consumer" + at, c.Own.Deliver + r.plant.Send + c.Idle.Own/s.Sent, s.Consumer, "µs a notification"})
		}
	}
	return out
}

// partTables show the parts that were played, and what all of them come to.
func (r *result) partTables(b *strings.Builder) {
	if len(r.parts) == 0 {
		return
	}
	_, at := r.moments()
	broadcast := at[3].Admitted
	fmt.Fprintf(b, "The broadcast is %s/s; one of %d partitions has %s/s of it.\n\n",
		number(broadcast), r.plant.Partitions, number(broadcast/float64(r.plant.Partitions)))
	b.WriteString("| | offered a second | sent a second | waiting at the end | Redis, µs each | commands each | consumer, µs each |\n|---|---:|---:|---:|---:|---:|---:|\n")
	for _, p := range r.parts {
		thirds, whole := p.thirds()
		for i, s := range append(thirds, whole) {
			what := fmt.Sprintf("%s, %.0f s", partitions(p.Partitions), s.Seconds)
			if i == 3 {
				what = "**all of it**"
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", what, number(s.Offered), number(s.Sent), number(s.Waiting), number(s.Redis), number(s.Calls), number(s.Consumer))
		}
	}
	b.WriteString("\nAll of it, from these:\n\n")
	for _, p := range r.parts {
		b.WriteString(r.extrapolated(p, broadcast))
	}
}

// extrapolated is the arithmetic from a part to the whole. A consumer listens
// once, whatever it sends, so that is taken out of what one notification took,
// and counted for each consumer.
func (r *result) extrapolated(p *partPlayed, broadcast float64) string {
	_, s := p.thirds()
	idle := r.costs[max(0, slices.Index(r.at, p.Partitions))].Idle
	listening := idle.Redis * float64(p.Partitions)
	redis, own := s.Redis-listening/s.Sent, s.Consumer-idle.Own/s.Sent
	consumers := math.Ceil(broadcast * own / (1e6*r.plant.Cores*r.plant.Busy - idle.Own))
	cores := (broadcast*redis + consumers*listening) / 1e6
	state := "steady"
	if !p.steady() {
		state = "what waited grew"
	}
	return fmt.Sprintf("* %s at %s/s (%s): of %s µs of the consumer %s are listening, and of %s µs of Redis %s. "+
		"%s/s × %s µs ÷ (%g s × %g − %s ms of listening) = **%s consumers**; %s/s × %s µs + %s × %s ms = %s cores of Redis, ÷ %g = **%s masters**.\n",
		partitions(p.Partitions), number(s.Sent), state, number(s.Consumer), number(s.Consumer-own), number(s.Redis), number(s.Redis-redis),
		number(broadcast), number(own), r.plant.Cores, r.plant.Busy, number(idle.Own/1e3), number(consumers),
		number(broadcast), number(redis), number(consumers), number(listening/1e3), number(cores), r.plant.Busy, number(math.Ceil(cores/r.plant.Busy)))
}
