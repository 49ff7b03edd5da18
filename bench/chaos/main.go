// Command chaos runs the gateway as it is run, with real processes, a real
// redis-server and a receiver that counts, does one kind of harm to them at a
// time, then all kinds at random, and counts what arrived against what was
// answered with 202.
//
//	go run ./bench/chaos                      the table
//	go run ./bench/chaos -only lost-replies -seconds 60
//	go run ./bench/chaos -short -format json
//	go run ./bench/chaos -only random -seed 7
//
// It ends with 1 when something was lost, doubled beyond what was in flight,
// or doubled so that no receiver could tell.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9/logging"
)

// options are the flags.
type options struct {
	seed    uint64
	seconds int
	only    string
	short   bool
	format  string
	binary  string
}

func main() {
	logging.Disable() // servers go down on purpose here
	var o options
	flag.Uint64Var(&o.seed, "seed", 0, "what the faults are drawn from; drawn itself, and printed, when left out")
	flag.IntVar(&o.seconds, "seconds", 0, "how long each row's faults go on; 12, and 3 with -short, when left out")
	flag.StringVar(&o.only, "only", "", "the rows to play, separated by commas: "+strings.Join(names(rows()), ", "))
	flag.BoolVar(&o.short, "short", false, "a few of the rows, for a short time")
	flag.StringVar(&o.format, "format", "text", "text, json or markdown")
	flag.StringVar(&o.binary, "carillon", "", "the binary to harm; built when left out")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(exitCode(err))
	}
}

// errBroken is a promise that was not kept.
var errBroken = errors.New("a promise was not kept")

func exitCode(err error) int {
	if errors.Is(err, errBroken) {
		return 1
	}
	return 2
}

func run(ctx context.Context, o options) error {
	chosen, err := choose(rows(), o)
	if err != nil {
		return err
	}
	print, err := newPrinter(os.Stdout, o.format)
	if err != nil {
		return err
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000) + 1
	}
	dir, err := os.MkdirTemp("", "carillon-chaos-bin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := buildAll(ctx, dir, o.binary)
	if err != nil {
		return err
	}
	results := play(ctx, chosen, b, o, print)
	if err := print.end(o.seed, results); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	for _, r := range results {
		if len(r.Failures) > 0 {
			return fmt.Errorf("%w: see the rows that say so; -seed %d plays the same faults", errBroken, o.seed)
		}
	}
	return nil
}

func play(ctx context.Context, chosen []row, b build, o options, print printer) (results []result) {
	seconds := o.seconds
	switch {
	case seconds > 0:
	case o.short:
		seconds = 3
	default:
		seconds = 12
	}
	print.begin(o.seed, seconds)
	for _, r := range chosen {
		if ctx.Err() != nil {
			break
		}
		out := r.run(ctx, b, o.seed, time.Duration(seconds)*time.Second)
		print.row(out)
		results = append(results, out)
	}
	return results
}

func names(rows []row) (out []string) {
	for _, r := range rows {
		out = append(out, r.name)
	}
	return out
}

// choose picks the rows that were asked for.
func choose(all []row, o options) ([]row, error) {
	if o.only == "" {
		return slices.DeleteFunc(all, func(r row) bool { return o.short && !r.short }), nil
	}
	var chosen []row
	for name := range strings.SplitSeq(o.only, ",") {
		i := slices.IndexFunc(all, func(r row) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only: there is no row %q: the rows are %s", name, strings.Join(names(all), ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// buildAll finds the module and builds what is to be harmed.
func buildAll(ctx context.Context, dir, binary string) (b build, err error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return b, fmt.Errorf("finding the module: %w: run it in the project's folder", err)
	}
	b.root, b.dir = strings.TrimSpace(string(root)), dir
	if b.binary = binary; binary != "" {
		b.binary, err = filepath.Abs(binary)
		return b, err
	}
	b.binary = filepath.Join(dir, "carillon")
	return b, b.compile(ctx, b.binary)
}

// compile builds the gateway.
func (b build) compile(ctx context.Context, to string, flags ...string) error {
	args := append([]string{"build", "-buildvcs=false", "-o", to}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/carillon")...)
	cmd.Dir = b.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building carillon: %w\n%s", err, out)
	}
	return nil
}
