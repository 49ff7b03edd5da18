package templates

import (
	"bytes"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"time"
)

// maxSteps bounds the loop rounds and partial calls of one part. A part that
// spins reaches it in about ten milliseconds.
const maxSteps = 100_000

// maxTime bounds the time that one part may take. It is a thousand times what
// a long mail takes: a part that comes near it computes what it does not write.
const maxTime = time.Second

// maxPause is the most that the time between two looks at the clock counts
// for, so that a process that was stopped in between does not fail what it was
// rendering.
const maxPause = 250 * time.Millisecond

// looksEvery is how many steps go by from one look at the clock to the next.
const looksEvery = 4

var (
	errTime   = fmt.Errorf("takes more than %v: a loop computes too much in each round", maxTime)
	errSteps  = fmt.Errorf("takes more than %d steps: a range goes over too much", maxSteps)
	errOutput = fmt.Errorf("makes more than %d bytes", maxOutput)
)

// output collects what a part writes, and ends one that writes or loops
// without end. The engine cannot be stopped from outside, but it stops when a
// write fails; the empty texts that instrument puts at the head of every loop
// body make each round a write.
type output struct {
	bytes.Buffer
	steps int
	clock func() time.Time // nil: time.Now
	seen  time.Time        // what the clock said last
	spent time.Duration
}

func (o *output) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, o.step()
	}
	if o.Len()+len(p) > maxOutput {
		return 0, errOutput
	}
	return o.Buffer.Write(p)
}

// step counts one round of a loop, or one call of a partial.
func (o *output) step() error {
	if o.steps++; o.steps > maxSteps {
		return errSteps
	}
	if o.steps%looksEvery == 0 {
		return o.look()
	}
	return nil
}

// look adds the time since the last look. The first one starts the clock, so
// that a part of few steps never asks for the time twice.
func (o *output) look() error {
	clock := o.clock
	if clock == nil {
		clock = time.Now
	}
	now := clock()
	if !o.seen.IsZero() {
		o.spent += min(now.Sub(o.seen), maxPause)
	}
	o.seen = now
	if o.spent > maxTime {
		return errTime
	}
	return nil
}

// WriteString is Write, for a text.
func (o *output) WriteString(s string) (int, error) {
	if o.Len()+len(s) > maxOutput {
		return 0, errOutput
	}
	return o.Buffer.WriteString(s)
}

func (o *output) reset() {
	o.Buffer.Reset()
	o.steps, o.spent, o.seen = 0, 0, time.Time{}
}

// prepare makes the HTML engine do its escaping now, where a fault in the
// part's HTML is found, and not at the first rendering.
func (p *program) prepare() error {
	err := p.exec.Execute(&output{}, map[string]any{})
	var escaping *htmltemplate.Error
	if errors.As(err, &escaping) || errors.Is(err, errTime) {
		return err
	}
	return nil // there is no data yet: any other error is only that
}
