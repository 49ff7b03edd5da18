// Command scale says what a day of 100 million users takes: how much memory of
// Redis, how many commands and consumers, by the minute.
//
// It measures what one of everything costs, through the gateway's own code on a
// real redis-server in cluster mode; runs a day on paper, by a clock of its
// own; fills a sample of the users for real at the day's fullest minute, and
// plays its peaks at real speed; and says how far the paper was off.
//
//	go run ./bench/scale                      everything, as Markdown
//	go run ./bench/scale -users 1e6 -part 1   other days: see -help
//	go run ./bench/scale -plot day.svg        also the day as a picture
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"time"
)

// options are the flags.
type options struct {
	day   day
	plant plant
	n     int     // of everything that is measured
	part  float64 // of the users, filled for real; 0: none
	share float64 // of the peaks, played for real; 0: none
	span  time.Duration
	size  int
	plot  string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o, err := readFlags(os.Args[1:])
	if err == nil {
		err = run(ctx, o, os.Stdout, os.Stderr)
	}
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func readFlags(args []string) (options, error) {
	o := options{day: aDay(), plant: aPlant()}
	f := flag.NewFlagSet("scale", flag.ContinueOnError)
	f.Float64Var(&o.day.Users, "users", o.day.Users, "how many people")
	f.Float64Var(&o.day.Each, "each", o.day.Each, "notifications a user and day, besides the broadcast")
	f.Float64Var(&o.day.Devices, "devices", o.day.Devices, "devices a user, each of which gets what the user gets")
	f.Float64Var(&o.day.Evening, "evening", o.day.Evening, "times the average, from 19:00 to 22:00 by the users' clocks")
	f.IntVar(&o.day.BroadcastOver, "broadcast", o.day.BroadcastOver, "minutes in which one notification goes to everybody; 0: none does")
	f.Float64Var(&o.day.Quiet, "quiet", o.day.Quiet, "share of the users who keep quiet hours")
	f.Float64Var(&o.day.Retries, "retries", o.day.Retries, "share of sends that are made again")
	f.IntVar(&o.plant.Partitions, "partitions", o.plant.Partitions, "queue.partitions")
	f.Float64Var(&o.plant.Cores, "cores", o.plant.Cores, "of a consumer")
	f.Float64Var(&o.plant.Send, "send", o.plant.Send, "microseconds of a consumer's processor that a send takes (see docs/performance.md)")
	f.IntVar(&o.n, "n", 20_000, "of everything that is measured")
	f.Float64Var(&o.part, "part", 0.001, "part of the users that is filled for real; 0: none")
	f.Float64Var(&o.share, "share", 1.0/64, "part of the peaks that is played for real; 0: none")
	f.DurationVar(&o.span, "span", 20*time.Second, "how long each peak is played")
	f.IntVar(&o.size, "size", 600, "bytes of each notification's data")
	f.StringVar(&o.plot, "plot", "", "where to write the day's picture, as SVG")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	return o, o.check()
}

// check refuses what cannot be measured.
func (o *options) check() error {
	switch {
	case o.n < 1 || o.size < 1 || o.plant.Partitions < 1:
		return fmt.Errorf("-n, -size, -partitions: %d, %d, %d: give 1 or more of each", o.n, o.size, o.plant.Partitions)
	case o.part < 0 || o.part > 1 || o.share < 0 || o.share > 1:
		return fmt.Errorf("-part, -share: %g, %g: a part is between 0 and 1", o.part, o.share)
	}
	return o.day.check()
}

// run measures, simulates, compares, and prints to out; what it is at goes to
// progress.
func run(ctx context.Context, o options, out, progress io.Writer) (err error) {
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	res := &result{day: o.day, plant: o.plant}
	for _, p := range []int{1, o.plant.Partitions} {
		fmt.Fprintf(progress, "measuring %d of everything in %d partitions\n", o.n, p)
		c, err := l.measure(ctx, o.n, p, o.size, int(o.day.Devices))
		if err != nil {
			return fmt.Errorf("measuring: %w", err)
		}
		res.at, res.costs = append(res.at, p), append(res.costs, c)
	}
	_, at := res.moments()
	broadcast := res.used().needs(at[3], o.plant).Consumers
	res.plan = o.day.simulate(float64(broadcast)*res.used().perConsumer(o.plant), o.plant.Partitions)
	if err := res.compare(ctx, l, o, progress); err != nil {
		return err
	}
	if o.plot != "" {
		if err := os.WriteFile(o.plot, []byte(res.plot()), 0o644); err != nil {
			return fmt.Errorf("-plot: %w", err)
		}
	}
	return res.write(out)
}

// compare fills the sample, and plays the peaks.
func (r *result) compare(ctx context.Context, l *lab, o options, progress io.Writer) error {
	if o.part > 0 {
		fmt.Fprintf(progress, "filling %s of all users\n", number(o.day.Users*o.part))
		c, err := l.sample(ctx, fullest(r.plan, r.used()).part(o.part), o.size, int(o.day.Devices), r.used(), rand.New(rand.NewPCG(1, 2)))
		if err != nil {
			return err
		}
		r.checks = append(r.checks, c)
	}
	if o.share == 0 {
		return nil
	}
	names, at := r.moments()
	for _, i := range []int{1, 3} {
		fmt.Fprintf(progress, "playing the %s\n", names[i])
		c, err := l.peak(ctx, names[i], at[i].Admitted*o.share, o.span, o.plant, o.size, int(o.day.Devices), r.used())
		if err != nil {
			return fmt.Errorf("playing the %s: %w", names[i], err)
		}
		r.checks = append(r.checks, c)
	}
	return nil
}
