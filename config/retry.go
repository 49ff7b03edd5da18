package config

// OnUnknown is what follows an attempt whose outcome is not known.
type OnUnknown string

// What follows an unknown outcome.
const (
	OnUnknownResend OnUnknown = "resend" // send again, under the same id
	OnUnknownHold   OnUnknown = "hold"   // bury it as a dead letter for somebody to decide
)

// Retry says when a failed attempt is made again.
type Retry struct {
	Schedule  []Duration `yaml:"schedule" doc:"the waits between attempts, each with full jitter; then dead" default:"[5s, 30s, 2m, 10m, 1h, 3h, 6h, 12h]"`
	OnUnknown OnUnknown  `yaml:"on_unknown" doc:"resend or hold" default:"resend"`
}
