package main

import (
	"context"
	"fmt"
	"time"
)

// ingestRow is POST /v1/notifications, one at a time over kept connections,
// beside a handler that does no more than decode and store.
func ingestRow() row {
	return row{name: "ingest", round: ingestRound, lines: []line{
		{Work: "single notifications taken", Unit: "/s", Baseline: "a plain handler: decode, XADD", Aims: []aim{ratioAtLeast(0.8)}},
	}}
}

func ingestRound(ctx context.Context, l *lab) (samples []sample, err error) {
	var s sample
	if s.base, err = l.loadPlainIngest(ctx); err != nil {
		return nil, fmt.Errorf("plain handler: %w", err)
	}
	if err := l.reset(ctx); err != nil {
		return nil, err
	}
	s.ours, err = l.loadIngest(ctx, l.post(l.n, "ingest"))
	return []sample{s}, err
}

func (l *lab) loadPlainIngest(ctx context.Context) (o outcome, err error) {
	p, err := l.startPart("handler", "plain-ingest", l.redisAddr)
	if err != nil {
		return o, err
	}
	j := l.post(l.n, "ingest")
	if j.API, err = p.firstLine(); err != nil {
		return o, err
	}
	return l.loadOn(ctx, j, p)
}

// loadIngest runs a job against an ingest with nothing else beside it.
func (l *lab) loadIngest(ctx context.Context, j job) (o outcome, err error) {
	ingest, err := l.startGateway(ctx, "ingest")
	if err != nil {
		return o, err
	}
	profiled := l.keepProfile(ctx, ingest)
	if o, err = l.loadOn(ctx, j, ingest.process); err != nil {
		return o, err
	}
	return o, profiled()
}

// loadOn runs a job against a process.
func (l *lab) loadOn(ctx context.Context, j job, p *process) (o outcome, err error) {
	m, err := l.startMeter(ctx, p)
	if err != nil {
		return o, err
	}
	r, err := l.load(ctx, j)
	if err != nil {
		return o, err
	}
	o.value = r.rate()
	o.cpu, err = m.each(ctx, j.N)
	o.cpu.add("load", r.cpu(), j.N)
	return o, err
}

// ndjsonRow is POST /v1/notifications/batch.
func ndjsonRow() row {
	return row{name: "ndjson", round: ndjsonRound, lines: []line{
		{Work: "notifications taken in NDJSON batches of 1000", Unit: "/s", Aims: []aim{atLeast(100_000)}},
	}}
}

func ndjsonRound(ctx context.Context, l *lab) ([]sample, error) {
	o, err := l.loadIngest(ctx, l.postBatches(l.scaled(300_000), "ingest"))
	return []sample{{ours: o}}, err
}

// bothRow is everything on the same cores: load, ingest, Redis, consumer and
// receiver, from the first request to the last arrival.
func bothRow() row {
	return row{name: "both", round: bothRound, lines: []line{
		{Work: "taken singly and delivered at once", Unit: "/s", Aims: []aim{atLeast(9_000)}},
		{Work: "taken in batches and delivered at once", Unit: "/s", Aims: []aim{atLeast(12_000)}},
	}}
}

func bothRound(ctx context.Context, l *lab) ([]sample, error) {
	singly, err := l.through(ctx, l.post(l.n, "through"), "through")
	if err != nil {
		return nil, fmt.Errorf("singly: %w", err)
	}
	if err := l.reset(ctx); err != nil {
		return nil, err
	}
	batched, err := l.through(ctx, l.postBatches(l.n, "through"), "through")
	return []sample{{ours: singly}, {ours: batched}}, err
}

// through runs a job against a whole gateway until all of it has arrived.
func (l *lab) through(ctx context.Context, j job, tag string) (o outcome, err error) {
	ingest, err := l.startGateway(ctx, "ingest")
	if err != nil {
		return o, err
	}
	consumer, err := l.startGateway(ctx, "consume")
	if err != nil {
		return o, err
	}
	m, err := l.startMeter(ctx, ingest.process, consumer.process)
	if err != nil {
		return o, err
	}
	r, err := l.load(ctx, j)
	if err != nil {
		return o, err
	}
	s, err := l.awaitArrivals(ctx, tag, j.N, drainLimit)
	if err != nil {
		return o, err
	}
	o.value = float64(j.N) / time.Duration(s.LastNS-r.FirstNS).Seconds()
	o.cpu, err = m.each(ctx, j.N)
	o.cpu.add("load", r.cpu(), j.N)
	return o, err
}
