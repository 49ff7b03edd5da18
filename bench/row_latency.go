package main

import (
	"context"
	"fmt"
	"time"
)

// probeRate is how many notifications a second are sent to see how long one
// takes beside a backlog: few, so that they are no load themselves.
const probeRate = 200

// What waits while another is probed.
const (
	bulkFlood   = 500_000
	tenantFlood = 200_000
)

// latencyRow is how long a notification takes to the receiver under a steady
// load, measured from the moment its request was due.
func latencyRow() row {
	return row{name: "latency", round: latencyRound, lines: []line{
		{Work: "request due → at the receiver, 1,000/s, median", Unit: "ms", Aims: []aim{atMost(3)}},
		{Work: "request due → at the receiver, 1,000/s, p99", Unit: "ms", Aims: []aim{atMost(15)}},
	}}
}

func latencyRound(ctx context.Context, l *lab) ([]sample, error) {
	if _, _, err := l.startBoth(ctx); err != nil {
		return nil, err
	}
	if _, err := l.probe(ctx, l.openLoop(probeRate, "warm"), "warm"); err != nil {
		return nil, err
	}
	s, err := l.probe(ctx, l.openLoop(1000, "steady"), "steady")
	return []sample{
		{ours: outcome{value: millis(s.P50)}},
		{ours: outcome{value: millis(s.P99)}, note: "the slowest took " + number(millis(s.Worst)) + " ms"},
	}, err
}

func (l *lab) startBoth(ctx context.Context) (ingest, consumer *gateway, err error) {
	if ingest, err = l.startGateway(ctx, "ingest"); err != nil {
		return nil, nil, err
	}
	consumer, err = l.startGateway(ctx, "consume")
	return ingest, consumer, err
}

// probe runs an open loop and waits until all of it has arrived.
func (l *lab) probe(ctx context.Context, j job, tag string) (stats, error) {
	if _, err := l.load(ctx, j); err != nil {
		return stats{}, err
	}
	s, err := l.awaitArrivals(ctx, tag, j.N, time.Minute)
	if err == nil && s.Aged != j.N {
		err = fmt.Errorf("%d notifications arrived as %d requests that say when they were due", j.N, s.Aged)
	}
	return s, err
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// criticalRow is what a bulk campaign costs an urgent message.
func criticalRow(o options) row {
	return row{name: "critical", round: criticalRound, lines: []line{
		{Work: "`critical` while " + thousands(int64(o.scaled(bulkFlood))) + " `bulk` wait, p99", Unit: "ms", Baseline: "none waiting", Aims: []aim{ratioAtMost(5), atMost(100)}},
	}}
}

func criticalRound(ctx context.Context, l *lab) ([]sample, error) {
	flood := l.postBatches(l.scaled(bulkFlood), "flood")
	flood.Lane = "bulk"
	return l.beside(ctx, flood, func(tag string) job {
		j := l.openLoop(probeRate, tag)
		j.Lane = "critical"
		return j
	})
}

// tenantRow is what one tenant's flood costs another, in the same lane.
func tenantRow(o options) row {
	return row{name: "tenant", round: tenantRound, lines: []line{
		{Work: "a tenant's `normal` while " + thousands(int64(o.scaled(tenantFlood))) + " of another's wait, p99", Unit: "ms", Baseline: "none waiting", Aims: []aim{ratioAtMost(10), atMost(250)}},
	}}
}

func tenantRound(ctx context.Context, l *lab) ([]sample, error) {
	return l.beside(ctx, l.postBatches(l.scaled(tenantFlood), "flood"), func(tag string) job {
		j := l.openLoop(probeRate, tag)
		j.Key = keyB
		return j
	})
}

// beside probes an idle gateway, and then one whose consumer works off a flood.
func (l *lab) beside(ctx context.Context, flood job, probe func(tag string) job) ([]sample, error) {
	if _, _, err := l.startBoth(ctx); err != nil {
		return nil, err
	}
	idle, err := l.probe(ctx, probe("idle"), "idle")
	if err != nil {
		return nil, fmt.Errorf("idle: %w", err)
	}
	if err := l.reset(ctx); err != nil {
		return nil, err
	}
	if err := l.fill(ctx, flood); err != nil {
		return nil, err
	}
	if _, _, err := l.startBoth(ctx); err != nil {
		return nil, err
	}
	busy, err := l.probe(ctx, probe("busy"), "busy")
	if err != nil {
		return nil, fmt.Errorf("beside the flood: %w", err)
	}
	s := sample{base: outcome{value: millis(idle.P99)}, ours: outcome{value: millis(busy.P99)}}
	gone, err := l.arrived(ctx, "flood")
	if gone.Count >= int64(flood.N) {
		s.note = "what was waiting was gone before the end"
	}
	return []sample{s}, err
}
