package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// slowShare is how many notifications there are to the fast hosts for one to
// the slow host.
const slowShare = 19

// slowLimit is how long the fast hosts' notifications may take: when a slow
// host holds them up for longer, what has come by then is what counts.
const slowLimit = 40 * time.Second

// slowRow is what a host that takes half a minute to answer costs the others.
func slowRow() row {
	return row{name: "slow", round: slowRound, lines: []line{
		{Work: "delivered to four fast hosts while one in twenty goes to a host that takes 30 s", Unit: "/s", Baseline: "without that host", Aims: []aim{ratioAtLeast(0.9)}},
	}}
}

func slowRound(ctx context.Context, l *lab) (samples []sample, err error) {
	fast := l.scaled(57_000) / slowShare * slowShare
	var s sample
	if s.base, _, err = l.drainHosts(ctx, fast, fast, l.fastHosts(), slowLimit); err != nil {
		return nil, fmt.Errorf("without the slow host: %w", err)
	}
	if err := l.reset(ctx); err != nil {
		return nil, err
	}
	targets := append(l.fastHosts(), "http://"+net.JoinHostPort(loopback(hosts-1), l.port)+"/slow/slow")
	s.ours, s.note, err = l.drainHosts(ctx, fast/slowShare*(slowShare+1), fast, targets, slowLimit)
	return []sample{s}, err
}

// fastHosts are slowShare targets on four hosts.
func (l *lab) fastHosts() (targets []string) {
	for i := range slowShare {
		targets = append(targets, l.target(1+i%4, "fast"))
	}
	return targets
}

// drainHosts fills the queue with n notifications over the targets, and
// measures how fast those to the fast hosts arrive. What has not come within
// limit does not count. Processor time is that of all, a delivery to a fast host.
func (l *lab) drainHosts(ctx context.Context, n, fast int, targets []string, limit time.Duration) (o outcome, note string, err error) {
	j := l.postBatches(n, "")
	j.Targets = targets
	if err := l.fill(ctx, j); err != nil {
		return o, "", err
	}
	m, err := l.startMeter(ctx)
	if err != nil {
		return o, "", err
	}
	consumer, err := l.startGateway(ctx, "consume")
	if err != nil {
		return o, "", err
	}
	s, err := l.awaitArrivals(ctx, "fast", fast, limit)
	if s.Count == 0 && err != nil {
		return o, "", err
	}
	if s.Count < int64(fast) {
		note = fmt.Sprintf("%s of %s had arrived after %v", thousands(s.Count), thousands(int64(fast)), limit)
		s.LastNS = max(s.LastNS, s.FirstNS+int64(limit))
	}
	delivered := int(s.Count)
	if o.cpu, err = m.each(ctx, delivered); err != nil {
		return o, "", err
	}
	if away, err := consumer.putOffs(ctx); err == nil && away > 0 {
		note = strings.TrimPrefix(fmt.Sprintf("%s; what had to wait for its host was put off %s times", note, thousands(away)), "; ")
	}
	used, err := consumer.cpu()
	if err != nil {
		return o, "", err
	}
	consumer.kill() // it would wait for the slow host
	o.value = s.rate()
	o.cpu.add("consume", used, delivered)
	return o, note, ctx.Err()
}
