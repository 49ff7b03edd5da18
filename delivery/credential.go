package delivery

import (
	"sync"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/throttle"
)

// credential is what is known of a channel's standing with its provider. Slots
// know how many may find out whether it has been mended; this is what is said
// of it.
type credential struct {
	mu    sync.Mutex
	why   string // what the provider said last; empty while the credential is taken
	since time.Time
}

// because is what the provider says of a credential that it refuses; empty
// while it is taken.
func (c *credential) because() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

// judge learns from an answer whether the provider takes our credential. probe
// says that the attempt began while it did not: only such a one shows that it
// does again, since what was in flight before may have slipped through.
func (s *sender) judge(o outcome, r channels.Result, probe bool) {
	s.credential.mu.Lock()
	defer s.credential.mu.Unlock()
	switch {
	case o.broken:
		s.refused(o, r)
	case !probe || r.Unsent:
	case credentialTaken(r.Verdict):
		s.taken()
	default:
		s.Slots.Doubt()
		s.tellCredential(s.Slots.Rests())
	}
}

// refused stops the channel, and says so loudly, and once.
func (s *sender) refused(o outcome, r channels.Result) {
	first, until := s.Slots.Break(o.pause)
	if s.credential.why = join(r.Code, words(r.Err)); s.credential.why == "" {
		s.credential.why = "it does not say why"
	}
	s.tellCredential(until.Sub(s.p.Now()))
	if !first {
		return
	}
	s.credential.since = s.p.Now()
	s.p.metrics.throttled.WithLabelValues("channel", "pause").Inc()
	s.p.Log.Error("the provider refuses our credential or set-up; the channel is paused, one message at a time is tried, and nothing is dropped",
		"channel", s.channel, "code", r.Code, "error", r.Err, "again", until)
}

// taken lets the channel go on, and says so once.
func (s *sender) taken() {
	if !s.Slots.Mend() {
		return
	}
	s.credential.why = ""
	s.tellCredential(0)
	s.p.Log.Info("the provider takes our credential again; the channel goes on", "channel", s.channel,
		"refused_for", s.p.Now().Sub(s.credential.since).Round(time.Second))
}

// credentialTaken reports whether an answer of the provider's shows that it
// knows us, whatever it thinks of the message.
func credentialTaken(v channels.Verdict) bool {
	return v == channels.Sent || v == channels.Rejected || v == channels.Gone || v == channels.Throttled
}

// open reports whether deliveries may be handed to the channel: what waits for
// a credential to be mended waits on the stream.
func (s *sender) open() bool {
	_, paused := s.Slots.Paused(s.p.Now())
	return !paused && !s.Slots.Broken()
}

// brokenGauge is 1 while slots are broken.
func brokenGauge(slots *throttle.Slots) float64 {
	if slots.Broken() {
		return 1
	}
	return 0
}
