package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// checked is what the model said of a sample, and what was measured.
type checked struct {
	What                string
	Predicted, Measured float64
	Unit                string
}

// off is by which share of the measured the prediction is off.
func (c checked) off() float64 {
	if c.Measured == 0 {
		return math.Inf(1)
	}
	return c.Predicted/c.Measured - 1
}

// poisson draws how many come when mean are expected, each by itself.
func poisson(random *rand.Rand, mean float64) (n int) {
	for left := math.Exp(-mean); ; n++ {
		left /= max(random.Float64(), 1e-300)
		if left > 1 {
			return n
		}
	}
}

// sample fills Redis with a part of a state: its profiles, caps, records, what
// is parked and what is queued. It compares Redis' memory with the model's.
func (l *lab) sample(ctx context.Context, s state, size, devices int, c *costs, random *rand.Rand) (checked, error) {
	check := checked{What: "memory of the sample", Predicted: c.memory(s), Unit: "bytes"}
	if err := l.node.FlushAll(ctx).Err(); err != nil {
		return check, fmt.Errorf("emptying Redis: %w", err)
	}
	before, err := l.read(ctx)
	if err != nil {
		return check, err
	}
	r, err := l.open(ctx, int(s.Partitions), size, retention, newClock(noon(), 1))
	if err != nil {
		return check, err
	}
	defer r.close()
	if err := r.fill(ctx, s, devices, random); err != nil {
		return check, fmt.Errorf("filling the sample: %w", err)
	}
	after, err := l.read(ctx)
	check.Measured = after.since(before).memory
	return check, err
}

// fill makes a state through the gateway's own code. Whoever gets a delivery
// takes a place for it too; the caps of others make up for those.
func (r *rooms) fill(ctx context.Context, s state, devices int, random *rand.Rand) error {
	users := int(s.Profiles)
	if err := r.people(ctx, users, devices); err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	someone := func(int) int { return random.IntN(users) }
	records, parked := int(s.Records), int(s.Parked)
	if err := r.admit(ctx, someone, records); err != nil {
		return err
	}
	if err := r.deliver(ctx, records*devices); err != nil {
		return fmt.Errorf("records: %w", err)
	}
	if err := r.admit(ctx, someone, parked); err != nil {
		return err
	}
	if err := r.park(ctx, parked*devices); err != nil {
		return fmt.Errorf("parked: %w", err)
	}
	if err := r.admit(ctx, someone, int(s.Queued)); err != nil {
		return err
	}
	left := max(0, s.Places-float64((records+parked)*devices)) / s.Profiles
	return takePlaces(ctx, r, users, "", func() int { return poisson(random, left) })
}

// peak plays rates that a model's minute has at real speed, on one Redis: the
// door and one consumer are in this process. What Redis computed is compared
// with what the model says of the same number.
func (l *lab) peak(ctx context.Context, what string, perSecond float64, span time.Duration, p plant, size, devices int, c *costs) (checked, error) {
	check := checked{What: fmt.Sprintf("Redis in the %s at %.0f/s", what, perSecond), Unit: "% of a core"}
	r, err := l.open(ctx, p.Partitions, size, retention, newClock(noon(), 1))
	if err != nil {
		return check, err
	}
	defer r.close()
	users := max(1000, int(perSecond))
	if err := r.people(ctx, users, devices); err != nil {
		return check, err
	}
	n := int(perSecond * span.Seconds())
	sink := &provider{}
	var used reading
	var began time.Time
	err = r.consume(ctx, sink, nil, func(ctx context.Context) (err error) {
		used, err = l.measured(ctx, func() error {
			began = time.Now()
			return r.steadily(ctx, sink, n, perSecond, devices)
		})
		return err
	})
	took := time.Since(began).Seconds()
	each := rates{Admitted: float64(n) / took, Planned: float64(n) / took}
	check.Measured = 100 * used.redis.Seconds() / took
	check.Predicted = (c.Redis.times(each) + c.Idle.Redis*float64(p.Partitions)) / 1e4
	check.What += fmt.Sprintf(" (%.0f/s were sent)", float64(n)/took)
	return check, err
}

// steadily admits at a rate, whatever becomes of it, and waits until all is sent.
func (r *rooms) steadily(ctx context.Context, sink *provider, n int, perSecond float64, devices int) error {
	began := time.Now()
	each := max(1, int(perSecond/20))
	for from := 0; from < n; from += each {
		due := began.Add(time.Duration(float64(from) / perSecond * float64(time.Second)))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := r.admit(ctx, func(i int) int { return (from + i) % max(1000, int(perSecond)) }, min(each, n-from)); err != nil {
			return err
		}
	}
	return await(ctx, stepLimit, "end", func() (bool, error) { return sink.taken.Load() >= int64(n*devices), nil })
}
