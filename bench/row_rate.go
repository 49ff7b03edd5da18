package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	sharedRate    = 500 // a second, for all consumers together
	rateConsumers = 4
	relayRate     = 100 // mails a second, of one email relay
	// rateSettles is how long after the first request the count begins: by then
	// every consumer has started.
	rateSettles = time.Second
)

// shared is a rate that consumers share while one of them dies and one comes.
type shared struct {
	name      string // of the row, and the receiver's tag
	limit     string // as the table says it
	perSecond int
	consumers int
	of        func(l *lab) (target string, env []string) // where notifications go, and what sets the rate
}

// rateRow is what comes of a channel's rate, by the receiver's own clock.
func rateRow() row {
	return shared{name: "rate", limit: "`rate: 500/s`", perSecond: sharedRate, consumers: rateConsumers, of: func(l *lab) (string, []string) {
		return "http://" + net.JoinHostPort(loopback(0), l.port) + "/timed/rate", []string{fmt.Sprintf("CARILLON_CHANNELS_WEBHOOK_RATE=%d/s", sharedRate)}
	}}.row()
}

// relayRow is the same of the rate that an email relay's account has.
func relayRow() row {
	return shared{name: relayTag, limit: "`smtp.rate: 100/s` of a relay", perSecond: relayRate, consumers: 2, of: func(l *lab) (string, []string) {
		return toMail + "bench@" + relayTag + ".example", []string{fmt.Sprintf(
			"CARILLON_CHANNELS_EMAIL={from: a@acme.example, smtp: {host: 127.0.0.1, port: %s, tls: none, rate: %d/s}}", l.relayPort, relayRate)}
	}}.row()
}

func (s shared) row() row {
	work := fmt.Sprintf("%s, %d consumers, one killed after a third of the time, one added after two thirds: ", s.limit, s.consumers)
	return row{name: s.name, once: true, round: s.round, lines: []line{
		{Work: work + "least in any 10 s", Unit: "% of the rate", Aims: []aim{atLeast(98)}},
		{Work: work + "most in any 10 s", Unit: "% of the rate", Aims: []aim{atMost(102)}},
		{Work: work + "most in any second", Unit: "% of the rate", Aims: []aim{atMost(105)}},
	}}
}

func (s shared) round(ctx context.Context, l *lab) ([]sample, error) {
	span := cmp.Or(l.rateSpan, 3*time.Second)
	target, env := s.of(l)
	j := l.postBatches(int(float64(s.perSecond)*(span+15*time.Second).Seconds()), "")
	j.Targets = []string{target}
	if err := l.fill(ctx, j, env...); err != nil {
		return nil, err
	}
	from, err := s.runConsumers(ctx, l, env, span)
	if err != nil {
		return nil, err
	}
	sent, err := l.moments(ctx, s.name)
	if err != nil {
		return nil, err
	}
	first, _ := slices.BinarySearch(sent, from.UnixNano())
	last, _ := slices.BinarySearch(sent, from.Add(span).UnixNano())
	return s.samples(l, sent[first:last], from, span)
}

// runConsumers starts the consumers, kills one, adds one, and ends them all. It
// returns when the count is to begin.
func (s shared) runConsumers(ctx context.Context, l *lab, env []string, span time.Duration) (from time.Time, err error) {
	var all []*gateway
	start := func() error {
		g, err := l.startGateway(ctx, "consume", env...)
		all = append(all, g)
		return err
	}
	for range s.consumers {
		if err := start(); err != nil {
			return from, err
		}
	}
	if _, err := l.awaitArrivals(ctx, s.name, 1, 20*time.Second); err != nil {
		return from, err
	}
	from = time.Now().Add(rateSettles)
	steps := []func() error{func() error { all[1].kill(); return nil }, start, func() error { return nil }}
	for i, step := range steps {
		if err := until(ctx, from.Add(span*time.Duration(i+1)/3)); err != nil {
			return from, err
		}
		if err := step(); err != nil {
			return from, err
		}
	}
	return from, nil
}

func until(ctx context.Context, at time.Time) error {
	select {
	case <-time.After(time.Until(at)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// moments are when the requests of a tag came, unix ns in order.
func (l *lab) moments(ctx context.Context, tag string) (sent []int64, err error) {
	res, err := l.call(ctx, http.MethodGet, "/moments/"+tag)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&sent); err != nil {
		return nil, fmt.Errorf("the moments of %q: %w", tag, err)
	}
	slices.Sort(sent)
	return sent, nil
}

func (s shared) samples(l *lab, sent []int64, from time.Time, span time.Duration) ([]sample, error) {
	if len(sent) == 0 {
		return nil, fmt.Errorf("nothing arrived in %v", span)
	}
	long := min(10*time.Second, span)
	least, most := extremes(sent, from, span, long)
	_, second := extremes(sent, from, span, time.Second)
	counts := perSecond(sent, from, span)
	fmt.Fprintf(l.progress, "%s, by second: %v\n", s.name, counts)
	if l.plot != "" && s.perSecond == sharedRate {
		if err := os.WriteFile(l.plot, []byte(ratePlot(counts)), 0o644); err != nil {
			return nil, fmt.Errorf("-plot: %w", err)
		}
	}
	per := func(n int, window time.Duration) outcome {
		return outcome{value: 100 * float64(n) / (float64(s.perSecond) * window.Seconds())}
	}
	note := fmt.Sprintf("by whole seconds %d–%d, %s in %v", slices.Min(counts), slices.Max(counts), thousands(int64(len(sent))), span)
	return []sample{{ours: per(least, long)}, {ours: per(most, long)}, {ours: per(second, time.Second), note: note}}, nil
}

// extremes are the fewest and the most moments in any window of a span, by
// steps of a hundredth of a second and, for the most, exactly.
func extremes(sent []int64, from time.Time, span, window time.Duration) (least, most int) {
	least = len(sent)
	for at := time.Duration(0); at+window <= span; at += 10 * time.Millisecond {
		first, _ := slices.BinarySearch(sent, from.Add(at).UnixNano())
		last, _ := slices.BinarySearch(sent, from.Add(at+window).UnixNano())
		least = min(least, last-first)
	}
	first := 0
	for i := range sent {
		for sent[i]-sent[first] >= int64(window) {
			first++
		}
		most = max(most, i-first+1)
	}
	return least, most
}

func perSecond(sent []int64, from time.Time, span time.Duration) []int {
	counts := make([]int, int(span/time.Second))
	for _, ns := range sent {
		if i := int((ns - from.UnixNano()) / int64(time.Second)); i < len(counts) {
			counts[i]++
		}
	}
	return counts
}

// ratePlot draws the counts as an SVG picture: a bar a second, and the rate.
func ratePlot(counts []int) string {
	const bar, height, top, left = 10, 200, 30, 50
	scale := func(n int) float64 { return float64(n) * height / (1.2 * sharedRate) }
	width := left + bar*len(counts) + 20
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", width, top+height+40)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="16">Requests a second at the receiver, rate: %d/s, %d consumers</text>`+"\n", left, sharedRate, rateConsumers)
	for i, n := range counts {
		fmt.Fprintf(&b, `<rect x="%d" y="%.1f" width="%d" height="%.1f" fill="#4878a8"><title>second %d: %d</title></rect>`+"\n",
			left+bar*i, top+height-scale(n), bar-2, scale(n), i, n)
	}
	line := top + height - scale(sharedRate)
	fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#c03030"/><text x="8" y="%.1f">%d/s</text>`+"\n", left, line, width-20, line+4, sharedRate)
	for i, what := range []string{"one killed", "one added"} {
		x := left + bar*len(counts)*(i+1)/3
		fmt.Fprintf(&b, `<path d="M%d %dV%d" stroke="#808080" stroke-dasharray="4"/><text x="%d" y="%d">%s, %d s</text>`+"\n", x, top, top+height+10, x-25, top+height+24, what, len(counts)*(i+1)/3)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
