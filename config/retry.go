package config

import (
	"fmt"
	"strconv"
)

// OnUnknown is what follows an attempt whose outcome is not known.
type OnUnknown string

// What follows an unknown outcome.
const (
	OnUnknownResend OnUnknown = "resend" // send again, under the same id
	OnUnknownHold   OnUnknown = "hold"   // bury it as a dead letter for somebody to decide
)

// Retry says when a failed attempt is made again. A key that a channel's own
// retry section leaves out is the common section's.
type Retry struct {
	Schedule  []Duration `yaml:"schedule" doc:"the waits between attempts, each with full jitter; then dead" default:"[5s, 30s, 2m, 10m, 1h, 3h, 6h, 12h]" min:"1ms" max:"31d"`
	OnUnknown OnUnknown  `yaml:"on_unknown" doc:"resend or hold" default:"resend" enum:"resend,hold"`
}

// maxWaits bounds a schedule.
const maxWaits = 50

func (c *Retry) check(r *rules, at string) {
	if n := len(c.Schedule); n > maxWaits {
		r.fault(at+".schedule", strconv.Itoa(n)+" waits", fmt.Sprintf("is too long: want at most %d", maxWaits))
	}
}
