// Command bench measures the gateway as it is run, beside a baseline in the
// same run: real processes, a real redis-server, a receiver of its own. Every
// figure is the median of several rounds in which baseline and gateway take
// turns, since machines are shared and noisy.
//
//	go run ./bench                      the table
//	go run ./bench -n 100000 -rounds 5
//	go run ./bench -profile drain.prof  also a CPU profile of one drain
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// options are the flags.
type options struct {
	n           int
	size        int
	concurrency int
	rounds      int
	profile     string
	binary      string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "receiver" {
		exitOn(serveReceiver())
		return
	}
	var o options
	flag.IntVar(&o.n, "n", 50_000, "notifications to drain in each round")
	flag.IntVar(&o.size, "size", 600, "bytes of each notification's data")
	flag.IntVar(&o.concurrency, "c", 64, "requests in flight, of the plain loop and of the gateway")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each")
	flag.StringVar(&o.profile, "profile", "", "where to write a CPU profile of one drain")
	flag.StringVar(&o.binary, "carillon", "", "the binary to measure; built when left out")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exitOn(run(ctx, o))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// result is one round.
type result struct {
	plain  float64       // requests a second of the plain loop
	loop   time.Duration // processor time of the plain loop a request, the receiver's left out
	ingest float64       // notifications a second into the queue, as NDJSON batches
	drain  drained       // from the queue to the receiver
	queued float64       // bytes of Redis memory a queued notification
}

func run(ctx context.Context, o options) (err error) {
	l, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	fmt.Printf("webhook channel, %d notifications of %d bytes, %d in flight, %d rounds, %d cores, %s\n",
		o.n, o.size, o.concurrency, o.rounds, runtime.NumCPU(), runtime.Version())
	var results []result
	for round := range o.rounds {
		r, err := l.round(ctx, round == o.rounds-1)
		if err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		fmt.Printf("round %d: plain loop %.0f/s (%v CPU each), ingest %.0f/s, drain %.0f/s (%v CPU each, Redis %v): %.2f of the plain loop\n",
			round+1, r.plain, r.loop.Round(time.Microsecond/10), r.ingest, r.drain.rate, r.drain.cpu.Round(time.Microsecond/10), r.drain.redis.Round(time.Microsecond/10), r.drain.rate/r.plain)
		results = append(results, r)
	}
	return printTable(results)
}

// printTable prints the medians; the ratio is the median of the rounds' own.
func printTable(results []result) error {
	median := func(of func(result) float64) float64 {
		var values []float64
		for _, r := range results {
			values = append(values, of(r))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nwork\ta second\tof the plain loop\taim\tCPU each\t")
	fmt.Fprintf(w, "plain HTTP loop to the receiver\t%.0f\t1.00\t\t%.0f µs\t\n", median(func(r result) float64 { return r.plain }),
		median(func(r result) float64 { return micros(r.loop) }))
	fmt.Fprintf(w, "gateway drains its queue to the same receiver\t%.0f\t%.2f\t≥ 0.50\t%.0f + %.0f µs of Redis\t\n",
		median(func(r result) float64 { return r.drain.rate }), median(func(r result) float64 { return r.drain.rate / r.plain }),
		median(func(r result) float64 { return micros(r.drain.cpu) }), median(func(r result) float64 { return micros(r.drain.redis) }))
	fmt.Fprintf(w, "gateway takes NDJSON batches of 1000\t%.0f\t\t\t\t\n", median(func(r result) float64 { return r.ingest }))
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Printf("\nRedis memory a queued notification: %.0f bytes\n", median(func(r result) float64 { return r.queued }))
	return err
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// round measures the baseline and the gateway once each.
func (l *lab) round(ctx context.Context, last bool) (r result, err error) {
	if r.plain, r.loop, err = l.plainLoop(ctx); err != nil {
		return r, fmt.Errorf("plain loop: %w", err)
	}
	if r.ingest, r.queued, err = l.fill(ctx); err != nil {
		return r, fmt.Errorf("filling the queue: %w", err)
	}
	profile := ""
	if last {
		profile = l.profile
	}
	if r.drain, err = l.drain(ctx, profile); err != nil {
		return r, fmt.Errorf("draining: %w", err)
	}
	return r, l.redis.FlushAll(ctx).Err()
}

// await polls until done, for at most limit.
func await(ctx context.Context, limit time.Duration, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("no %s within %v", what, limit)
		}
	}
	return nil
}
