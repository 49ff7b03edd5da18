package main

import (
	"context"
	"fmt"
	"net"
	"time"
)

// healthyHosts is how many hosts answer at once, beside the one that hangs.
const healthyHosts = 50

// hangLimit is how long the healthy hosts' notifications may take. The usual
// count takes longer than the gateway's time-out of a webhook, so that what
// comes after a time-out is in the measurement.
const hangLimit = 3 * time.Minute

// hangRow is what one host of many that takes requests and does not answer
// costs the others.
func hangRow() row {
	return row{name: "hang", round: hangRound, lines: []line{
		{Work: fmt.Sprintf("delivered to %d healthy hosts beside one as busy that hangs for %v", healthyHosts, slowness), Unit: "/s",
			Baseline: "without that host", Aims: []aim{ratioAtLeast(0.95)}},
		{Work: "the same: what the host that hangs had of the slots, over time", Unit: "%", Aims: []aim{atMost(5)}},
	}}
}

func hangRound(ctx context.Context, l *lab) (samples []sample, err error) {
	each := max(l.scaled(250_000)/healthyHosts, 1)
	fast := each * healthyHosts
	var s sample
	if s.base, _, err = l.drainHosts(ctx, fast, fast, l.healthyTargets(), hangLimit); err != nil {
		return nil, fmt.Errorf("without the host that hangs: %w", err)
	}
	if err := l.reset(ctx); err != nil {
		return nil, err
	}
	const tag = "hang"
	targets := append(l.healthyTargets(), "http://"+net.JoinHostPort(loopback(hosts-1), l.port)+"/slow/"+tag)
	if s.ours, s.note, err = l.drainHosts(ctx, fast+each, fast, targets, hangLimit); err != nil {
		return nil, err
	}
	held, err := l.heldPart(ctx, tag)
	if err == nil && held.ours.value == 0 {
		err = fmt.Errorf("the host that hangs was sent nothing of %d", each)
	}
	return []sample{s, held}, err
}

// heldPart is which part of all slots' time the host that hangs had, from the
// first request to the last that another host was sent.
func (l *lab) heldPart(ctx context.Context, tag string) (s sample, err error) {
	hung, err := l.arrived(ctx, tag)
	if err != nil {
		return s, err
	}
	others, err := l.arrived(ctx, "fast")
	if err != nil {
		return s, err
	}
	all := time.Duration(others.LastNS-others.FirstNS) * time.Duration(l.concurrency)
	s.ours.value = 100 * ratio(hung.Held.Seconds(), all.Seconds())
	s.note = fmt.Sprintf("it was sent %s requests", thousands(hung.Count))
	return s, nil
}

// healthyTargets are one on each healthy host.
func (l *lab) healthyTargets() (targets []string) {
	for i := range healthyHosts {
		targets = append(targets, l.target(1+i, "fast"))
	}
	return targets
}
