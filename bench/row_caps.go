package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// capsRow is what three caps cost a drain, beside the same drain with none.
func capsRow() row {
	return row{name: "caps", round: capsRound, lines: []line{
		{Work: "the same drain, three caps counting each notification", Unit: "/s", Baseline: "with none", Aims: []aim{ratioAtLeast(0.9)}},
	}}
}

// oneCap is the line of the configuration that every other row goes by.
const oneCap = `throttle: {per_user: [{category: "*", channel: webhook, limit: 100/24h, over: defer}]}` + "\n"

// threeCaps has one rule of each kind that a notification of the bench meets.
const threeCaps = `throttle: {per_user: [{channel: webhook, limit: 100/24h, over: defer}, {category: test, limit: 50/24h, over: drop}, {limit: 20/1h, over: defer}]}` + "\n"

func capsRound(ctx context.Context, l *lab) (samples []sample, err error) {
	var s sample
	if s.base, err = l.drainWithCaps(ctx, ""); err != nil {
		return nil, fmt.Errorf("no cap: %w", err)
	}
	if err := l.reset(ctx); err != nil {
		return nil, err
	}
	s.ours, err = l.drainWithCaps(ctx, threeCaps)
	return []sample{s}, err
}

// drainWithCaps drains with other caps than the configuration has.
func (l *lab) drainWithCaps(ctx context.Context, caps string) (o outcome, err error) {
	text, err := os.ReadFile(l.config)
	if err != nil {
		return o, err
	}
	usual := l.config
	defer func() { l.config = usual }()
	l.config = filepath.Join(l.dir, "caps.yaml")
	if err := os.WriteFile(l.config, []byte(strings.Replace(string(text), oneCap, caps, 1)), 0o600); err != nil {
		return o, err
	}
	return l.fillAndDrain(ctx)
}
