// Command bench measures the gateway as it is run, beside a baseline in the
// same run: real processes, a real redis-server, a receiver and a load
// generator of their own. Baseline and gateway take turns, round by round,
// since machines are shared and noisy; what is printed is the median of the
// rounds, their range, and the processor time that each process spent.
//
//	go run ./bench                          every row, as a Markdown table
//	go run ./bench -only drain,ingest       these rows
//	go run ./bench -n 20000 -rounds 1       quicker, and less certain
//	go run ./bench -json bench.json         the same as data, every round in it
//	go run ./bench -only drain -profile p   also a CPU profile of the gateway
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	n            int           // notifications of a drain; other rows' counts are in proportion
	size         int           // bytes of each notification's data
	concurrency  int           // requests in flight, of baselines and of the gateway
	connections  int           // of the load generator, for single notifications
	rounds       int           // of each row
	span         time.Duration // of each open loop
	rateSpan     time.Duration // of the rows rate and relay
	refusingSpan time.Duration // of each of the row refusing's two runs
	plot         string
	only         string
	json         string
	profile      string
	binary       string
}

// fullDrain is how many notifications a drain has unless -n says otherwise.
const fullDrain = 100_000

func main() {
	if len(os.Args) > 1 {
		if part, ok := parts()[os.Args[1]]; ok {
			exitOn(part(os.Args[2:]))
			return
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exitOn(run(ctx, readFlags(), os.Stdout, os.Stderr))
}

// parts are the processes that a measurement is made of besides the gateway's:
// this program again, under the name of the part.
func parts() map[string]func(args []string) error {
	return map[string]func([]string) error{
		"receiver":     serveReceiver,
		"load":         runLoad,
		"plain-loop":   runPlainLoop,
		"plain-ingest": servePlainIngest,
		"plain-queue":  runPlainQueue,
		"idle-adapter": runIdleAdapter,
	}
}

func readFlags() (o options) {
	flag.IntVar(&o.n, "n", fullDrain, "notifications of a drain; the other rows' counts are in proportion")
	flag.IntVar(&o.size, "size", 600, "bytes of each notification's data")
	flag.IntVar(&o.concurrency, "c", 64, "requests in flight, of the baselines and of the gateway")
	flag.IntVar(&o.connections, "clients", 64, "connections that post single notifications")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each row")
	flag.DurationVar(&o.span, "span", 10*time.Second, "how long each open loop takes")
	flag.DurationVar(&o.rateSpan, "rate-span", time.Minute, "how long each of the rows rate and relay takes")
	flag.DurationVar(&o.refusingSpan, "refusing-span", 40*time.Second, "how long each of the row refusing's two runs takes")
	flag.StringVar(&o.plot, "plot", "", "where to write the row rate's picture, as SVG")
	flag.StringVar(&o.only, "only", "", "rows to run, separated by commas: "+strings.Join(names(rows(options{})), ", "))
	flag.StringVar(&o.json, "json", "", "where to write the figures as JSON")
	flag.StringVar(&o.profile, "profile", "", "where to write a CPU profile of the gateway's process (rows drain, ingest and ndjson)")
	flag.StringVar(&o.binary, "carillon", "", "the binary to measure; built when left out")
	flag.Parse()
	return o
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures the chosen rows and prints the table to out; what it is at goes
// to progress.
func run(ctx context.Context, o options, out, progress io.Writer) (err error) {
	chosen, err := choose(rows(o), o.only)
	if err != nil {
		return err
	}
	l, err := newLab(ctx, o, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rep := &report{Machine: l.machine(ctx), Setup: l.setup()}
	failed := l.measureAll(ctx, chosen, rep)
	return errors.Join(failed, rep.writeMarkdown(out), rep.writeJSON(o.json))
}

// measureAll measures the rows into rep. One that fails costs the others
// nothing; an interrupt ends them all.
func (l *lab) measureAll(ctx context.Context, chosen []row, rep *report) error {
	var failed error
	for _, r := range chosen {
		lines, err := l.measure(ctx, r)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", r.name, err), l.reset(ctx))
		}
		if ctx.Err() != nil {
			return failed
		}
		rep.Lines = append(rep.Lines, lines...)
	}
	return failed
}

// measure runs the rounds of a row. After an error there are no lines.
func (l *lab) measure(ctx context.Context, r row) ([]line, error) {
	lines := r.newLines()
	for round := range r.times(l.rounds) {
		samples, err := r.round(ctx, l)
		if err != nil {
			return nil, fmt.Errorf("round %d: %w", round+1, err)
		}
		for i, s := range samples {
			lines[i].add(s)
			fmt.Fprintf(l.progress, "%s, round %d: %s\n", r.name, round+1, lines[i].told(s))
		}
		if err := l.reset(ctx); err != nil {
			return nil, fmt.Errorf("after round %d: %w", round+1, err)
		}
	}
	return lines, nil
}
