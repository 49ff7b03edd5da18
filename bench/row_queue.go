package main

import (
	"context"
	"fmt"
	"strconv"
)

// queueRow is both stages of the queue with an adapter that does nothing,
// beside a plain loop that reads, acknowledges and deletes the same entries
// once, in batches.
func queueRow() row {
	return row{name: "queue", round: queueRound, lines: []line{
		{Work: "planned and settled, with an adapter that does nothing", Unit: "/s", Baseline: "plain XREADGROUP, XACK, XDEL in batches of 256", Aims: []aim{atLeast(50_000)}},
	}}
}

func queueRound(ctx context.Context, l *lab) (samples []sample, err error) {
	n := l.scaled(200_000)
	var s sample
	if s.base, err = l.plainQueue(ctx, n); err != nil {
		return nil, fmt.Errorf("plain queue: %w", err)
	}
	if err := l.reset(ctx); err != nil {
		return nil, err
	}
	s.ours, err = l.idleDrain(ctx, n)
	return []sample{s}, err
}

func (l *lab) plainQueue(ctx context.Context, n int) (o outcome, err error) {
	if err := l.fillPlainQueue(ctx, n); err != nil {
		return o, err
	}
	return l.counted(ctx, "plain-queue", n, l.redisAddr, strconv.Itoa(n))
}

func (l *lab) idleDrain(ctx context.Context, n int) (o outcome, err error) {
	j := l.postBatches(n, "idle")
	j.Inline = true
	if err := l.fill(ctx, j); err != nil {
		return o, err
	}
	return l.counted(ctx, "idle-adapter", n, l.config, strconv.Itoa(n))
}

// counted runs a part that works n entries, beside Redis alone.
func (l *lab) counted(ctx context.Context, part string, n int, args ...string) (o outcome, err error) {
	m, err := l.startMeter(ctx)
	if err != nil {
		return o, err
	}
	r, err := l.runCounted(part, args...)
	if err != nil {
		return o, err
	}
	o.value = r.rate()
	o.cpu, err = m.each(ctx, n)
	o.cpu.add("consumer", r.cpu(), n)
	return o, err
}
