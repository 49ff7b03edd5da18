package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
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
	r, err := l.open(ctx, plain(int(s.Partitions), size))
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
