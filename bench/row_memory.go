package main

import (
	"context"
	"fmt"
	"time"
)

// memoryQueue is how many are queued when memory is looked at.
const memoryQueue = 1_000_000

// memoryRow is what a million queued notifications take: in Redis each, and in
// the consumer that works them off.
func memoryRow(o options) row {
	return row{name: "memory", once: true, round: memoryRound, lines: []line{
		{Work: "Redis memory of a queued notification", Unit: "bytes", Aims: []aim{atMost(1638)}},
		{Work: "a consumer's peak resident memory with " + thousands(int64(o.scaled(memoryQueue))) + " queued", Unit: "MB", Aims: []aim{atMost(120)}},
	}}
}

func memoryRound(ctx context.Context, l *lab) ([]sample, error) {
	n := l.scaled(memoryQueue)
	before, err := l.usedMemory(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.fill(ctx, l.postBatches(n, "memory")); err != nil {
		return nil, err
	}
	after, err := l.usedMemory(ctx)
	if err != nil {
		return nil, err
	}
	consumer, err := l.startGateway(ctx, "consume")
	if err != nil {
		return nil, err
	}
	// A tenth of it delivered is long enough for every buffer to have been full.
	if _, err := l.awaitArrivals(ctx, "memory", max(1, n/10), time.Minute); err != nil {
		return nil, fmt.Errorf("a tenth of the queue: %w", err)
	}
	peak, err := consumer.peakRSS()
	return []sample{{ours: outcome{value: (after - before) / float64(n)}}, {ours: outcome{value: peak / 1e6}}}, err
}
