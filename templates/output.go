package templates

import (
	"bytes"
	"errors"
	"fmt"
	htmltemplate "html/template"
)

// maxSteps bounds the loop rounds and partial calls of one part. A part that
// spins reaches it in about ten milliseconds.
const maxSteps = 100_000

var (
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
}

func (o *output) Write(p []byte) (int, error) {
	if len(p) == 0 {
		if o.steps++; o.steps > maxSteps {
			return 0, errSteps
		}
		return 0, nil
	}
	if o.Len()+len(p) > maxOutput {
		return 0, errOutput
	}
	return o.Buffer.Write(p)
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
	o.steps = 0
}

// prepare makes the HTML engine do its escaping now, where a fault in the
// part's HTML is found, and not at the first rendering.
func (p *program) prepare() error {
	err := p.exec.Execute(&output{}, map[string]any{})
	var escaping *htmltemplate.Error
	if errors.As(err, &escaping) {
		return err
	}
	return nil // there is no data yet: any other error is only that
}
