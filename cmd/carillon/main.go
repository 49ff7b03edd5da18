// Command carillon is the notification delivery gateway: its API, its queue
// consumer and the tools around them, in one binary.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/carillonhq/carillon/config"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/redis/go-redis/v9/logging"
)

func main() {
	// Whoever asks something of Redis says what came of it. What the client
	// prints beside that is no line of our log, and many a second in an outage.
	logging.Disable()
	os.Exit(run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// commands is the command line: one line a command, each in a file of its own.
type commands struct {
	Dev       devCmd       `cmd:"" help:"Everything in one process, with a sandbox in place of every provider."`
	Ingest    ingestCmd    `cmd:"" help:"Serve the HTTP ingest API."`
	Consume   consumeCmd   `cmd:"" help:"Work the queue: plan, render, throttle and send."`
	Bounces   bouncesCmd   `cmd:"" help:"Take returned mails over SMTP, and suppress the addresses that they are about."`
	Dead      deadCmd      `cmd:"" help:"List, show, redrive or purge dead letters."`
	Queue     queueCmd     `cmd:"" help:"Look into the queue."`
	Archive   archiveCmd   `cmd:"" help:"Keep what has ended in files, one line of JSON a notification."`
	Throttle  throttleCmd  `cmd:"" help:"Show limits and how they stand, or try an event on them."`
	Config    configCmd    `cmd:"" help:"Check, describe or print the configuration."`
	Preview   previewCmd   `cmd:"" help:"Render, check and show the catalogue's templates."`
	Catalogue catalogueCmd `cmd:"" help:"The catalogue that all processes share: push, list, compare and roll back versions."`
	Version   versionCmd   `cmd:"" help:"Print the version, the commit and the Go version."`
}

// app is what a command gets of the world outside it.
type app struct {
	ctx     context.Context // ends at the first SIGINT or SIGTERM
	environ []string        // as os.Environ gives it
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
}

// printJSON writes v for --format json: indented, ended by a newline.
func (a *app) printJSON(v any) error {
	text, err := json.Marshal(v, jsontext.WithIndent("  "))
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	_, err = a.stdout.Write(append(text, '\n'))
	return err
}

// run is the whole program. It returns the exit code: 0 done, 1 the thing
// asked about is not so, 2 wrong usage or configuration, 3 a dependency is
// unreachable.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := notifyContext(ctx)
	defer stop()
	a := &app{ctx: ctx, environ: environ, stdin: stdin, stdout: stdout, stderr: stderr}
	chosen, done, err := parseArgs(a, args)
	if done {
		return 0
	}
	if err == nil {
		err = chosen.Run(a)
	}
	if err == nil {
		return 0
	}
	report(stderr, err)
	return exitCode(err)
}

// notifyContext returns a context that the first SIGINT or SIGTERM cancels.
// Before it ends the signals get their ordinary effect back, so that a second
// one ends a program whose shutdown hangs.
func notifyContext(parent context.Context) (context.Context, context.CancelFunc) {
	signaled, release := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(parent)
	context.AfterFunc(signaled, func() {
		release()
		cancel()
	})
	return ctx, func() {
		release()
		cancel()
	}
}

// parseArgs finds the command that args ask for. It is done when there is
// nothing to run, because --help was printed.
func parseArgs(a *app, args []string) (chosen *kong.Context, done bool, err error) {
	out := a.stdout
	if len(args) == 0 {
		// Nothing asked for is a mistake: the help is the error's text.
		args, out = []string{"--help"}, a.stderr
		err = exitError{code: 2}
	}
	parser, newErr := kong.New(&commands{},
		kong.Name("carillon"),
		kong.Description("Delivers notifications by email, push and webhook from a Redis queue."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Writers(out, a.stderr),
		// Called after --help; returning from it goes on to fail at whatever
		// the line lacks, which is of no interest then.
		kong.Exit(func(int) { done = true }),
	)
	if newErr != nil {
		return nil, false, fmt.Errorf("build the command line: %w", newErr)
	}
	chosen, parseErr := parser.Parse(args)
	switch {
	case done:
		return nil, err == nil, err
	case parseErr != nil:
		return nil, false, usage(fmt.Errorf("%w: see %s --help", parseErr, commandName(parseErr)))
	}
	return chosen, false, nil
}

// commandName is the command line up to where parsing it failed.
func commandName(err error) string {
	var failed *kong.ParseError
	name := "carillon"
	if errors.As(err, &failed) && failed.Context != nil {
		for _, word := range strings.Fields(failed.Context.Command()) {
			if !strings.HasPrefix(word, "<") { // an argument's place is no part of what can be pasted
				name += " " + word
			}
		}
	}
	return name
}

// exitError is an error that decides the exit code.
type exitError struct {
	code int
	err  error // nil: everything has been said
}

// Error is the wrapped error's text.
func (e exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

// Unwrap is the wrapped error.
func (e exitError) Unwrap() error { return e.err }

// notSo says that what was asked about is not so: exit code 1. With a nil
// error nothing more is printed.
func notSo(err error) error { return exitError{code: 1, err: err} }

// usage says that the command line or the configuration is wrong: exit code 2.
func usage(err error) error { return exitError{code: 2, err: err} }

// unreachable says that a dependency does not answer: exit code 3.
func unreachable(err error) error { return exitError{code: 3, err: err} }

// exitCode is the code for err: 1 when it names none, 2 for a configuration.
func exitCode(err error) int {
	var coded exitError
	var faults config.Faults
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &faults):
		return 2
	}
	return 1
}

// report prints err on one line, and a configuration's faults on one line
// each. A fault that has a place begins with it, as editors expect.
func report(w io.Writer, err error) {
	var faults config.Faults
	switch {
	case errors.As(err, &faults):
		for _, f := range faults {
			prefix := "carillon: "
			if f.Line > 0 {
				prefix = ""
			}
			fmt.Fprintln(w, prefix+oneLine(f.String()))
		}
	case err.Error() != "":
		fmt.Fprintln(w, "carillon: "+oneLine(err.Error()))
	}
}

// oneLine joins the lines of s.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
