// Command scale says what a day of 100 million users takes: how much memory of
// Redis, how many commands and consumers, by the minute.
//
// It measures what one of everything costs, through the gateway's own code on a
// real redis-server in cluster mode; runs a day on paper; plays the same day
// with a sample of the users, through the gateway's own code and rules, by a
// clock that is set on from minute to minute; plays one partition's part of the
// broadcast through a consumer process at real speed; and says how far the paper
// was off.
//
//	go run ./bench/scale                        everything, as Markdown
//	go run ./bench/scale -users 1e6 -crowd 1000 other days: see -help
//	go run ./bench/scale -plot day.svg          also the day as a picture
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
	"runtime"
	"time"
)

// options are the flags.
type options struct {
	day   day
	plant plant
	n     int     // of everything that is measured
	part  float64 // of the users, filled for real; 0: none
	crowd int     // users with whom the day is played; 0: it is not
	span  time.Duration
	size  int
	plot  string
	page  string // that has places for what is found out; empty: none
	// binary is the gateway that the sampled partition is played through; empty:
	// it is built.
	binary string
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
	f.Float64Var(&o.plant.Send, "send", 0, "microseconds of a consumer's processor that a send takes; 0: as many as the part of the broadcast shows that is played")
	f.IntVar(&o.n, "n", 10_000, "of everything that is measured")
	f.Float64Var(&o.part, "part", 0.0001, "part of the users that is filled for real; 0: none")
	f.IntVar(&o.crowd, "crowd", 10_000, "users with whom the day is played, by its own clock; 0: it is not")
	f.DurationVar(&o.span, "span", 24*time.Second, "how long one partition's part of the broadcast is played at real speed; 0: it is not")
	f.StringVar(&o.binary, "binary", "", "the gateway to play that with; built when empty")
	f.IntVar(&o.size, "size", 600, "bytes of each notification's data")
	f.StringVar(&o.plot, "plot", "", "where to write the played day's picture, as SVG")
	f.StringVar(&o.page, "page", "", "a page between whose marks everything is put, as docs/scale.md")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	return o, o.check()
}

// check refuses what cannot be measured.
func (o *options) check() error {
	switch {
	case o.n <= warmers:
		return fmt.Errorf("-n: %d are too few to measure anything by: give more than %d", o.n, warmers)
	case o.size < 1 || o.plant.Partitions < 1:
		return fmt.Errorf("-size, -partitions: %d, %d: give 1 or more of each", o.size, o.plant.Partitions)
	case o.part < 0 || o.part > 1:
		return fmt.Errorf("-part: %g: a part is between 0 and 1", o.part)
	case o.crowd < 0 || o.crowd > 0 && o.crowd < 100:
		return fmt.Errorf("-crowd: %d users are no day: give 100 or more, or 0 for none", o.crowd)
	case o.plot != "" && o.crowd == 0:
		return fmt.Errorf("-plot: %s: the picture is of the played day: give a -crowd", o.plot)
	case o.span < 0:
		return fmt.Errorf("-span: %v: give a time, or 0", o.span)
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
	began := time.Now()
	res := &result{day: o.day, plant: o.plant, conditions: conditions{Redis: l.version(ctx), Cores: runtime.NumCPU(), Before: loadAverage()}}
	for _, p := range []int{1, o.plant.Partitions} {
		fmt.Fprintf(progress, "measuring %d of everything in %d partitions\n", o.n, p)
		c, err := l.measure(ctx, o.n, p, o.size, int(o.day.Devices))
		if err != nil {
			return fmt.Errorf("measuring: %w", err)
		}
		res.at, res.costs = append(res.at, p), append(res.costs, c)
	}
	tell := func(what string) { fmt.Fprintln(progress, what) }
	if err := res.playAll(ctx, l, o, tell); err != nil {
		return err
	}
	res.conditions.After, res.conditions.Took = loadAverage(), time.Since(began)
	if err := res.keep(o); err != nil {
		return err
	}
	return res.write(out)
}

// keep draws the picture and fills the page in, where they are asked for.
func (r *result) keep(o options) error {
	if o.plot != "" {
		if err := os.WriteFile(o.plot, []byte(r.plot()), 0o644); err != nil {
			return fmt.Errorf("-plot: %w", err)
		}
	}
	if o.page == "" {
		return nil
	}
	page, err := os.ReadFile(o.page)
	if err != nil {
		return fmt.Errorf("-page: %w", err)
	}
	filled, err := r.fillIn(string(page))
	if err != nil {
		return fmt.Errorf("-page: %s: %w", o.page, err)
	}
	return os.WriteFile(o.page, []byte(filled), 0o644)
}

// playAll plays a partition's part, which says what a send takes; does the paper;
// plays the day, and fills the sample.
func (r *result) playAll(ctx context.Context, l *lab, o options, progress func(string)) (err error) {
	if o.span > 0 {
		if err := r.playParts(ctx, l, o, progress); err != nil {
			return err
		}
	}
	if r.plant.Send == 0 {
		r.plant.Send = r.send()
	}
	r.checks = append(r.checks, r.partChecks()...)
	_, at := r.moments()
	consumers := r.used().needs(at[3], r.plant).Consumers
	r.plan = r.day.simulate(float64(consumers)*r.used().perConsumer(r.plant), r.plant.Partitions)
	if o.crowd > 0 {
		if r.played, err = l.play(ctx, o.day, o.crowd, o.size, progress); err != nil {
			return fmt.Errorf("playing the day: %w", err)
		}
		r.checks = append(r.checks, r.compared()...)
	}
	if o.part == 0 {
		return nil
	}
	progress(fmt.Sprintf("filling %s of all users", number(o.day.Users*o.part)))
	c, err := l.sample(ctx, fullest(r.plan, r.used()).part(o.part), o.size, int(o.day.Devices), r.used(), rand.New(rand.NewPCG(1, 2)))
	r.checks = append(r.checks, c)
	return err
}

// playParts plays one partition's part of the broadcast: by itself, which is
// what a partition can do, and spread over all partitions, which is what a
// consumer meets that serves all of them. A machine that cannot keep up gets
// half as much, twice at most: what one takes shows in a steady state.
func (r *result) playParts(ctx context.Context, l *lab, o options, progress func(string)) error {
	binary, err := l.build(ctx, o.binary)
	if err != nil {
		return err
	}
	_, at := r.moments()
	for _, n := range r.at {
		perSecond := at[3].Admitted / float64(o.plant.Partitions)
		for range 3 {
			what := fmt.Sprintf("%s/s in %s, through a consumer process", number(perSecond), partitions(n))
			progress("playing " + what)
			p, err := l.part(ctx, binary, n, perSecond, o.span, o.size)
			if err != nil {
				return fmt.Errorf("playing %s: %w", what, err)
			}
			r.parts = append(r.parts, p)
			if perSecond /= 2; p.steady() {
				break
			}
		}
	}
	return nil
}
