package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/throttle"
)

const (
	stepLimit = 5 * time.Minute
	retention = time.Hour
	idleSpan  = 3 * time.Second
	warmers   = 500 // users who are there to warm up, before anything is measured
)

// noon is where the measurements' clock begins: in the quiet hours that park
// asks for, and hours from their end.
func noon() time.Time { return time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour) }

// meter measures the costs of one after the other.
type meter struct {
	*rooms
	n       int // of everything
	devices int
	costs   *costs
	start   reading // what a consumer takes to begin and to end
}

// measure finds the unit costs out: n of everything, in so many partitions.
func (l *lab) measure(ctx context.Context, n, partitions, size, devices int) (*costs, error) {
	if err := l.node.FlushAll(ctx).Err(); err != nil {
		return nil, fmt.Errorf("emptying Redis: %w", err)
	}
	before, err := l.read(ctx)
	if err != nil {
		return nil, err
	}
	r, err := l.open(ctx, plain(partitions, size))
	if err != nil {
		return nil, err
	}
	defer r.close()
	m := &meter{rooms: r, n: n, devices: devices, costs: &costs{}}
	opened, err := l.read(ctx)
	if err != nil {
		return nil, err
	}
	m.costs.Bytes.Partition = max(0, opened.since(before).memory) / float64(partitions)
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"warming up", m.warmUp}, {"profiles", m.profiles}, {"caps", m.places}, {"deliveries", m.deliveries},
		{"parked ones", m.parked}, {"a consumer with nothing to do", m.idle},
	}
	for _, s := range steps {
		if err := s.do(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return m.costs, nil
}

// warmUp loads every script, and opens the connections. It leaves a few records
// behind.
func (m *meter) warmUp(ctx context.Context) error {
	if err := m.people(ctx, warmers, m.devices); err != nil {
		return err
	}
	if err := m.admit(ctx, count, warmers); err != nil {
		return err
	}
	if err := m.deliver(ctx, warmers*m.devices); err != nil {
		return err
	}
	var err error
	m.start, err = m.measured(ctx, func() error { return m.deliver(ctx, 0) })
	return err
}

// consumed is what a consumer used for something, its begin and end left out.
func (m *meter) consumed(ctx context.Context, what func() error) (reading, error) {
	used, err := m.measured(ctx, what)
	memory := used.memory
	used = used.since(m.start)
	used.memory = memory
	return used, err
}

// each divides what was used among so many.
func (r reading) each(n int) (redis, own, calls, memory float64) {
	by := float64(n)
	return micros(r.redis) / by, micros(r.own) / by, r.calls / by, r.memory / by
}

func (m *meter) profiles(ctx context.Context) error {
	used, err := m.measured(ctx, func() error { return m.people(ctx, m.n, m.devices) })
	m.costs.Bytes.Profile = used.memory / float64(m.n-warmers)
	return err
}

// places counts what users have under three caps at two and at six
// notifications each, which makes a line.
func (m *meter) places(ctx context.Context) error {
	const few, many = 2, 6
	two, err := m.measured(ctx, func() error { return m.notified(ctx, constant(few)) })
	if err != nil {
		return err
	}
	four, err := m.measured(ctx, func() error { return m.notified(ctx, constant(many-few)) })
	m.costs.Bytes.CapPlace = four.memory / float64(m.n*(many-few))
	m.costs.Bytes.CapUser = two.memory/float64(m.n) - few*m.costs.Bytes.CapPlace
	return err
}

func constant(n int) func() int { return func() int { return n } }

// notified takes so many places for every user under all caps, some minutes
// apart.
func (m *meter) notified(ctx context.Context, each func() int) error {
	return takePlaces(ctx, m.rooms, m.n, "reader-", each)
}

// takePlaces goes round by round, since a user's moments are in order. Users
// with a prefix are others than those of profiles.
func takePlaces(ctx context.Context, r *rooms, users int, prefix string, each func() int) error {
	left, most := make([]int, users), 0
	for i := range left {
		left[i] = each()
		most = max(most, left[i])
	}
	for range most {
		var asks []throttle.Ask
		for i := range left {
			if left[i] > 0 {
				left[i]--
				asks = append(asks, throttle.Ask{Tenant: tenant, User: prefix + user(i), Category: "news", Medium: notice.MediumPush, Lane: notice.LaneNormal,
					DeliveryID: fmt.Sprintf("%d-%d", i, rand.Int64()), At: r.clock.Now()})
			}
			if len(asks) == batchSize || i == users-1 {
				if _, err := r.caps.Decide(ctx, asks); err != nil {
					return err
				}
				asks = asks[:0]
			}
		}
		r.clock.advance(time.Minute)
	}
	return nil
}

// deliveries measures admission, what is queued, and what delivering takes. The
// users have places under the caps already.
func (m *meter) deliveries(ctx context.Context) error {
	c := m.costs
	used, err := m.measured(ctx, func() error { return m.admit(ctx, count, m.n) })
	if err != nil {
		return err
	}
	c.Redis.Admit, c.Own.Admit, c.Calls.Admit, c.Bytes.Queued = used.each(m.n)
	used, err = m.consumed(ctx, func() error { return m.deliver(ctx, m.n*m.devices) })
	if err != nil {
		return err
	}
	var freed float64
	c.Redis.Deliver, c.Own.Deliver, c.Calls.Deliver, freed = used.each(m.n)
	// It took its places too, of a user who had none.
	c.Bytes.Record = c.Bytes.Queued + freed - c.Bytes.CapUser - c.Bytes.CapPlace
	return nil
}

// parked measures what waits for the end of quiet hours, and its coming back.
func (m *meter) parked(ctx context.Context) error {
	c := m.costs
	if err := m.admit(ctx, count, m.n); err != nil {
		return err
	}
	used, err := m.consumed(ctx, func() error { return m.park(ctx, m.n*m.devices) })
	if err != nil {
		return err
	}
	var more float64
	c.Redis.Park, c.Own.Park, c.Calls.Park, more = used.each(m.n)
	c.Bytes.Parked = c.Bytes.Queued + more - c.Bytes.CapPlace
	m.clock.advance(9 * time.Hour) // past 20:00
	used, err = m.consumed(ctx, func() error { return m.deliver(ctx, m.n*m.devices) })
	c.Redis.Promote, c.Own.Promote, c.Calls.Promote, _ = used.each(m.n)
	return err
}

// idle measures a consumer that waits.
func (m *meter) idle(ctx context.Context) error {
	return m.consume(ctx, &provider{}, nil, func(ctx context.Context) error {
		used, err := m.measured(ctx, func() error {
			select {
			case <-time.After(idleSpan):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		partitions := float64(m.queue.Reach())
		m.costs.Idle = idleCost{Redis: micros(used.redis) / idleSpan.Seconds() / partitions, Own: micros(used.own) / idleSpan.Seconds(),
			Calls: used.calls / idleSpan.Seconds() / partitions}
		return err
	})
}
