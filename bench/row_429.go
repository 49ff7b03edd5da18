package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"time"
)

// learnTime is how long the gateway has to find out what a receiver bears.
const learnTime = 10 * time.Second

// refusingRow is what a receiver is sent that refuses what is more than it
// bears, and asks for rest, by the receiver's own clock.
func refusingRow() row {
	work := fmt.Sprintf("429 and `Retry-After: %d` above %d/s, ", int(askedRest/time.Second), allowedRate)
	r := row{name: "refusing", once: true, round: refusingRound}
	for _, consumers := range refusingConsumers() {
		r.lines = append(r.lines,
			line{Work: work + consumers.name + ": taken after the first 10 s", Unit: "% of what it allows", Aims: []aim{atLeast(95)}},
			line{Work: work + consumers.name + ": refused", Unit: "% of all requests", Aims: []aim{atMost(3)}},
			line{Work: work + consumers.name + ": settled at 95 % after", Unit: "s", Aims: []aim{atMost(10)}})
	}
	return r
}

type consumerCount struct {
	n    int
	name string
}

func refusingConsumers() []consumerCount {
	return []consumerCount{{1, "one consumer"}, {2, "two consumers"}}
}

func refusingRound(ctx context.Context, l *lab) (samples []sample, err error) {
	span := cmp.Or(l.refusingSpan, 4*time.Second)
	if span < 2*time.Second {
		return nil, fmt.Errorf("-refusing-span %v: two seconds or more, of which the first is for finding out what is allowed", span)
	}
	for _, consumers := range refusingConsumers() {
		seconds, err := l.runRefused(ctx, consumers.n, span)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", consumers.name, err)
		}
		samples = append(samples, refusingSamples(seconds)...)
		if err := l.reset(ctx); err != nil {
			return nil, err
		}
	}
	return samples, nil
}

// runRefused lets consumers work off more than the receiver takes in a span,
// and returns that span's seconds.
func (l *lab) runRefused(ctx context.Context, consumers int, span time.Duration) ([]window, error) {
	const tag = "refusing"
	j := l.postBatches(int(allowedRate*span.Seconds())*5/3, "")
	j.Targets = []string{"http://" + net.JoinHostPort(loopback(0), l.port) + "/limited/" + tag}
	if err := l.fill(ctx, j); err != nil {
		return nil, err
	}
	for range consumers {
		if _, err := l.startGateway(ctx, "consume"); err != nil {
			return nil, err
		}
	}
	s, err := l.awaitArrivals(ctx, tag, 1, 20*time.Second)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, l.said())
	}
	if err := until(ctx, time.Unix(0, s.FirstNS).Truncate(time.Second).Add(span)); err != nil {
		return nil, err
	}
	return l.bySecond(ctx, tag, int(span/time.Second))
}

// refusingSamples are the three lines of one run: how much of what is allowed
// was taken once the receiver was known, the part that was refused, and when it
// was known.
func refusingSamples(seconds []window) []sample {
	known := min(int(learnTime/time.Second), len(seconds)/2)
	taken, refused := 0, 0
	counts := make([]int, len(seconds))
	for i, w := range seconds {
		counts[i] = w.Taken
		taken, refused = taken+w.Taken, refused+w.Refused
	}
	share := sample{ours: outcome{value: 100 * takenShare(seconds[known:])}, note: fmt.Sprintf("taken by second: %v", counts)}
	refusals := sample{ours: outcome{value: 100 * float64(refused) / float64(taken+refused)},
		note: fmt.Sprintf("%s of %s requests in %d s", thousands(int64(refused)), thousands(int64(taken+refused)), len(seconds))}
	return []sample{share, refusals, settledSample(seconds, known)}
}

// settledSample is the first second from which on nearly all of what is allowed
// was taken, in the mean to the end. The end has to be as long as what comes
// after the time for learning, though half of the span at most.
func settledSample(seconds []window, known int) sample {
	const nearly = 0.95
	for from := range len(seconds) - known + 1 {
		if takenShare(seconds[from:]) >= nearly {
			return sample{ours: outcome{value: float64(from)}}
		}
	}
	return sample{ours: outcome{value: float64(len(seconds))}, note: "had not settled when the measurement ended"}
}

// takenShare is how much was taken of what is allowed.
func takenShare(seconds []window) float64 {
	taken := 0
	for _, w := range seconds {
		taken += w.Taken
	}
	return float64(taken) / float64(allowedRate*len(seconds))
}
