package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// drainLimit is how long a drain may take.
const drainLimit = 5 * time.Minute

// drainRow is what the gateway is for: its full queue, brought to the
// receiver, beside a plain loop that posts as much to the same receiver.
func drainRow() row {
	return row{name: "drain", round: drainRound, lines: []line{
		{Work: "a full queue drained to the receiver", Unit: "/s", Baseline: "a plain net/http loop", Aims: []aim{ratioAtLeast(0.75)}},
	}}
}

func drainRound(ctx context.Context, l *lab) ([]sample, error) {
	base, err := l.plainLoop(ctx)
	if err != nil {
		return nil, fmt.Errorf("plain loop: %w", err)
	}
	ours, err := l.fillAndDrain(ctx)
	return []sample{{base: base, ours: ours}}, err
}

// plainLoop posts as many bodies as fast as net/http can.
func (l *lab) plainLoop(ctx context.Context) (o outcome, err error) {
	m, err := l.startMeter(ctx)
	if err != nil {
		return o, err
	}
	spec, err := json.Marshal(job{N: l.n, Clients: l.concurrency, Size: l.size, Targets: []string{l.target(0, "plain")}, Limit: 30 * time.Second})
	if err != nil {
		return o, err
	}
	r, err := l.runCounted("plain-loop", string(spec))
	if err != nil {
		return o, err
	}
	s, err := l.arrivedExactly(ctx, "plain", l.n)
	if err != nil {
		return o, err
	}
	o.value = s.rate()
	o.cpu, err = m.each(ctx, l.n)
	o.cpu.add("loop", r.cpu(), l.n)
	return o, err
}

// runCounted runs a part to its end, and reads what it says of itself.
func (l *lab) runCounted(part string, args ...string) (r loaded, err error) {
	p, err := l.startPart(part, part, args...)
	if err != nil {
		return r, err
	}
	said, err := p.output()
	if err != nil {
		return r, fmt.Errorf("%w: %s", err, l.said())
	}
	return r, json.Unmarshal(said, &r)
}

// arrivedExactly fails when requests of a tag are missing, or came twice.
func (l *lab) arrivedExactly(ctx context.Context, tag string, n int) (stats, error) {
	s, err := l.arrived(ctx, tag)
	if err == nil && s.Count != int64(n) {
		err = fmt.Errorf("%d notifications arrived as %d requests", n, s.Count)
	}
	return s, err
}

func (l *lab) fillAndDrain(ctx context.Context) (o outcome, err error) {
	if err := l.fill(ctx, l.postBatches(l.n, "drain")); err != nil {
		return o, err
	}
	m, err := l.startMeter(ctx)
	if err != nil {
		return o, err
	}
	consumer, err := l.startGateway(ctx, "consume")
	if err != nil {
		return o, err
	}
	profiled := l.keepProfile(ctx, consumer)
	if _, err = l.awaitArrivals(ctx, "drain", l.n, drainLimit); err != nil {
		return o, fmt.Errorf("%w: %s", err, l.said())
	}
	if err := profiled(); err != nil {
		return o, err
	}
	if o.cpu, err = m.each(ctx, l.n); err != nil {
		return o, err
	}
	if err := consumer.stop(); err != nil {
		return o, err
	}
	used, err := consumer.cpu() // its start and end too
	if err != nil {
		return o, err
	}
	o.cpu.add("consume", used, l.n)
	s, err := l.arrivedExactly(ctx, "drain", l.n)
	o.value = s.rate()
	return o, err
}

// peersRow holds the drain against two task queues on the same Redis, whose
// handlers post the same body to the same receiver. bench/peers says how each
// is set up.
func peersRow() row {
	against := func(name string) line {
		return line{Work: "the same drain", Unit: "/s", Baseline: name, Aims: []aim{ratioAtLeast(2)}}
	}
	return row{name: "peers", round: peersRound, lines: []line{against("hibiken/asynq"), against("watermill-redisstream")}}
}

func peersRound(ctx context.Context, l *lab) ([]sample, error) {
	program, err := l.buildPeers(ctx)
	if err != nil {
		return nil, err
	}
	var samples []sample
	for _, peer := range []string{"asynq", "watermill"} {
		base, err := l.drainPeer(ctx, program, peer)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", peer, err)
		}
		samples = append(samples, sample{base: base})
		if err := l.reset(ctx); err != nil {
			return nil, err
		}
	}
	ours, err := l.fillAndDrain(ctx)
	for i := range samples {
		samples[i].ours = ours
	}
	return samples, err
}

// buildPeers builds the module of its own that the peers are.
func (l *lab) buildPeers(ctx context.Context) (string, error) {
	program := filepath.Join(l.dir, "peers")
	return program, goBuild(ctx, filepath.Join(l.root, "bench", "peers"), program, ".")
}

// drainPeer fills a peer's queue and drains it.
func (l *lab) drainPeer(ctx context.Context, program, peer string) (o outcome, err error) {
	run := func(what string) (*process, error) {
		return l.start(peer, program, nil, peer, what, "-redis", l.redisAddr, "-n", strconv.Itoa(l.n), "-c", strconv.Itoa(l.concurrency),
			"-size", strconv.Itoa(l.size), "-target", l.target(0, peer))
	}
	filling, err := run("fill")
	if err != nil {
		return o, err
	}
	if _, err := filling.output(); err != nil {
		return o, fmt.Errorf("filling its queue: %w: %s", err, l.said())
	}
	m, err := l.startMeter(ctx)
	if err != nil {
		return o, err
	}
	draining, err := run("drain")
	if err != nil {
		return o, err
	}
	if _, err := l.awaitArrivals(ctx, peer, l.n, drainLimit); err != nil {
		return o, fmt.Errorf("%w: %s", err, l.said())
	}
	used, err := draining.cpu()
	if err != nil {
		return o, err
	}
	if o.cpu, err = m.each(ctx, l.n); err != nil {
		return o, err
	}
	o.cpu.add(peer, used, l.n)
	draining.kill()
	s, err := l.arrivedExactly(ctx, peer, l.n)
	o.value = s.rate()
	return o, err
}
