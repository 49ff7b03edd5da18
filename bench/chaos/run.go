package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"
)

// result is one row of the table.
type result struct {
	Name string `json:"name"`
	What string `json:"what"`
	tally
	Faults   int           `json:"faults"`
	Allowed  int           `json:"duplicates_explained"` // the most duplicates that the faults explain
	Refused  int64         `json:"refused"`              // answered 503
	Records  records       `json:"records"`
	Took     time.Duration `json:"took_ns"`
	Notes    []string      `json:"notes,omitempty"`
	Failures []string      `json:"failures,omitempty"`
	Skipped  string        `json:"skipped,omitempty"` // why it could not be played here
}

// skipped is the panic that ends a row which this machine cannot play.
type skipped struct{ why string }

// drainLimit is how long everything may take that is left when the last fault
// is mended. What a dead consumer held waits for its lease to run out.
const drainLimit = 90 * time.Second

// answerLimit is how long after that a client may go without its answer.
const answerLimit = 20 * time.Second

// run plays one row. seconds is how long faults are injected.
func (r row) run(ctx context.Context, b build, seed uint64, seconds time.Duration) (out result) {
	out = result{Name: r.name, What: r.what}
	began := time.Now()
	defer func() { out.Took = time.Since(began) }()
	defer func() {
		if caught := recover(); caught != nil {
			s, ours := caught.(skipped)
			if !ours {
				panic(caught)
			}
			out.Skipped = s.why
		}
	}()
	err := perform(ctx, r.name, func(s *stage) { r.playOn(s, b, seed, seconds, &out) })
	if err != nil {
		out.Failures = append(out.Failures, lines(err)...)
	}
	return out
}

func lines(err error) (out []string) {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		for _, e := range many.Unwrap() {
			out = append(out, lines(e)...)
		}
		return out
	}
	return []string{err.Error()}
}

// playOn is the row on its stage.
func (r row) playOn(s *stage, b build, seed uint64, seconds time.Duration, out *result) {
	h := fnv.New64a()
	h.Write([]byte(r.name)) // each row draws for itself, whichever others are played
	rng := rand.New(rand.NewPCG(seed, h.Sum64()))
	w := newWorld(s, b, r.setup, rng)
	w.terms, w.seconds = r.terms, seconds
	w.load = startLoad(s, w.api, w.street.address, rng.Uint64())
	w.rest(500 * time.Millisecond)
	r.inject(w)
	w.rest(500 * time.Millisecond)
	sent := w.load.stop(answerLimit)
	if !w.drained(drainLimit) {
		w.Errorf("%d entries are still queued %v after the last fault", w.backlog(w.ctx), drainLimit)
	}
	if r.check != nil {
		r.check(w)
	}
	w.awaitAPI()
	out.Records = w.look(sent)
	w.end()
	out.tally = judge(sent, w.receiver.arrivals(), w.forgetful)
	out.Faults, out.Allowed, out.Refused, out.Notes = w.faults, w.terms.duplicates, w.load.refused.Load(), w.notes
	if out.Early > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%d arrived before their send_at", out.Early))
	}
	out.Failures = append(out.Failures, out.breaches(w.terms)...)
	out.Failures = append(out.Failures, out.Records.breaches(w.terms)...)
}

// inject lets the row's faults happen for its time.
func (r row) inject(w *world) {
	switch {
	case r.play != nil:
		r.play(w)
	case r.once:
		w.rest(w.seconds / 4)
		r.pokes[0](w)
		w.rest(w.seconds / 4)
	default:
		for end := time.Now().Add(w.seconds); time.Now().Before(end); {
			r.pokes[w.rng.IntN(len(r.pokes))](w)
			w.rest(r.every)
		}
	}
}

// breaches are the ways in which the records do not keep the promise that
// every answer can be explained.
func (r records) breaches(of terms) (out []string) {
	if r.Open > 0 {
		out = append(out, fmt.Sprintf("%d accepted notifications have a delivery that has not ended", r.Open))
	}
	if r.Missing > 0 && !of.forgets {
		out = append(out, fmt.Sprintf("%d accepted notifications have no record", r.Missing))
	}
	if r.Other > 0 {
		out = append(out, fmt.Sprintf("%d accepted notifications have a delivery that did not end as delivered", r.Other))
	}
	return out
}

// end stops every process in order, and looks at what they leave.
func (w *world) end() {
	var stopping sync.WaitGroup
	for _, p := range append([]*process{w.ingest}, w.consumers...) {
		stopping.Go(func() {
			if err := p.stop(stopLimit); err != nil {
				w.Errorf("SIGTERM to the process of %s: %v", filepath.Base(p.log), err)
			}
		})
	}
	stopping.Wait()
	w.checkLeftovers()
	logs, _ := filepath.Glob(filepath.Join(w.dir, "*.log")) // the pattern is a good one
	for _, log := range logs {
		if err := checkLog(log); err != nil {
			w.Errorf("%v", err)
		}
	}
}
