package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/throttle"
)

// reportedHosts is of how many hosts, and of how many rates by name, a consumer
// publishes what it knows.
const reportedHosts = 100

// pause leaves what a provider asked for to be left alone, here and in every
// other consumer. A mail that waits for its relays' rates stops nothing.
func (s *sender) pause(d *notice.Delivery, o outcome, now time.Time) {
	if o.pauseScope == channels.ScopeRelay {
		s.p.metrics.throttled.WithLabelValues("relay", "defer").Inc()
		return // the relays go on, at their rates
	}
	w := throttle.Word{Kind: throttle.ChannelPaused, For: o.pause.Sub(now), Because: inItsWords(o)}
	switch o.pauseScope {
	case channels.ScopeHost:
		w.Kind, w.Name = throttle.HostPaused, s.hostName(d)
	case channels.ScopeDevice:
		w.Kind, w.Name = throttle.DevicePaused, deviceName(d.Address)
	}
	s.p.metrics.throttled.WithLabelValues(scopeNames[w.Kind], "pause").Inc()
	s.obey(w, now)
	if s.Board != nil {
		s.Board.Tell(w)
	}
}

// inItsWords is how a pause is explained: "429, Retry-After 2s".
func inItsWords(o outcome) string {
	code := o.entry.Code
	if code == "" {
		code = "no code"
	}
	if !o.asked {
		return code + ", which does not say for how long"
	}
	return code + ", Retry-After " + o.pause.Sub(o.entry.At).Round(time.Millisecond).String()
}

// obey stops what a Word is about until it is over.
func (s *sender) obey(w throttle.Word, now time.Time) {
	switch w.Kind {
	case throttle.ChannelPaused:
		s.Slots.PauseFor(now.Add(w.For), w.Because)
	case throttle.DevicePaused:
		s.Slots.PauseKey(w.Name, now.Add(w.For))
	case throttle.HostPaused:
		if s.destinations != nil {
			s.lanes.pause(w.Name, w.For, w.Because)
			return
		}
		s.Slots.PauseKey(w.Name, now.Add(w.For))
	}
}

// scopeNames are the scopes that metrics and timelines name pauses by.
var scopeNames = map[throttle.Kind]string{throttle.ChannelPaused: "channel", throttle.HostPaused: "host", throttle.DevicePaused: "device"}

// hostName names the host of a delivery for its pause.
func (s *sender) hostName(d *notice.Delivery) string {
	if name := s.destination(d); name != "" {
		return name
	}
	return hostOf(d.Address)
}

// deviceName names an address where others can read it: by a digest.
func deviceName(a notice.Address) string {
	sum := sha256.Sum256([]byte(a.To))
	return hex.EncodeToString(sum[:16])
}

// waitForAddress puts off what is to go to an address or a host that asked to
// be left alone; nil when it may go.
func (s *sender) waitForAddress(l *queue.Lease, d *notice.Delivery, now time.Time) *queue.Settlement {
	if !s.Slots.PausesKeys() {
		return nil
	}
	scope, until, paused := "device", time.Time{}, false
	if until, paused = s.Slots.PausedUntil(deviceName(d.Address), now); !paused && s.destinations == nil {
		scope = "host"
		until, paused = s.Slots.PausedUntil(s.hostName(d), now)
	}
	if !paused {
		return nil
	}
	s.p.metrics.throttled.WithLabelValues(scope, "defer").Inc()
	until = until.Add(s.p.Jitter(until.Sub(now) / 10))
	return &queue.Settlement{Kind: queue.Later, Lease: l, Delivery: d, Due: until, Entry: queue.Entry{At: now, Status: notice.StatusDeferred,
		Code: "paused", Detail: "its provider asked for less on this " + scope, Until: until}}
}

// bar puts off what got a place at a host that is to be left alone since.
func (s *sender) bar(t *task, d *notice.Delivery, now time.Time) *queue.Settlement {
	s.p.metrics.throttled.WithLabelValues("host", "defer").Inc()
	o := decide(attemptOf{delivery: d, retry: s.Retry, now: now, jitter: s.p.Jitter, result: t.barred.result()})
	return &queue.Settlement{Kind: o.kind, Lease: t.lease, Delivery: d, Entry: o.entry, Due: o.due, Reason: o.reason}
}

// pause stops one destination for so long.
func (l *lanes) pause(name string, length time.Duration, because string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aside.places.Pause(name, time.Now().Add(length), because)
}

// hear takes another consumer's word that a destination is down for so long, or
// with 0 that it is back.
func (l *lanes) hear(name string, down time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aside.places.Hear(name, down)
}

// learn takes what was said of how many a second a destination takes.
func (l *lanes) learn(w throttle.Word) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aside.places.Learned(w)
}

// among says how many consumers send to the same destinations.
func (l *lanes) among(consumers int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.aside.places != nil {
		l.aside.places.Among(consumers)
	}
}

// grant answers a destination's wish to be probed.
func (l *lanes) grant(name string, probe bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aside.places.Grant(name, probe)
	l.goOn(l.aside.hasten(l.free(ordinaryLane)))
}

// hasten lets begin what waits for the clock alone, and reports whether there
// is more of it.
func (l *lanes) hasten() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.goOn(l.aside.hasten(l.free(ordinaryLane)))
	return l.aside.restless()
}

// borne is how many the destinations that there is work for bear together.
func (l *lanes) borne() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.aside.places == nil {
		return 0
	}
	return l.aside.places.Borne()
}

// standings are what is known of the destinations of which there is something
// to say.
func (l *lanes) standings() []throttle.Standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.aside.places == nil {
		return nil
	}
	return l.aside.places.Notable(reportedHosts)
}

// sharer is a sender as its channel's Board sees it.
type sharer struct{ s *sender }

// share has a probe of the channel's credential made by one consumer at a time.
func (s *sender) share() {
	s.shares = &sharer{s}
	if s.destinations == nil {
		s.Slots.Adapt()
	}
	if s.Board != nil {
		about := throttle.Word{Kind: throttle.CredentialRefused}
		s.Slots.Claim(func(ctx context.Context) bool { return s.Board.Claim(ctx, about) }, func() { s.Board.GiveBack(about) })
	}
}

// listenLoop carries words between this consumer and the others.
func (s *sender) listenLoop(ctx context.Context) {
	if s.Board != nil {
		s.Board.Run(ctx, s.shares)
	}
}

// listenFirst learns what lasts from before this consumer was.
func (s *sender) listenFirst(ctx context.Context) {
	if s.Board != nil {
		s.Board.Listen(ctx, s.shares)
	}
}

// refresh makes sure that what begins after an idle time knows what other
// consumers were told meanwhile.
func (s *sender) refresh(ctx context.Context) {
	if s.Board != nil {
		s.Board.Refresh(ctx, s.shares)
	}
}

// Busy implements throttle.Listener.
func (h *sharer) Busy() bool { return h.s.Slots.InUse() > 0 || h.s.lanes.hasWork() }

// hasWork reports whether anything waits to be begun.
func (l *lanes) hasWork() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.aside.waiting > 0 {
		return true
	}
	for i := range l.lanes {
		for turn := range l.lanes[i].turns {
			if !l.lanes[i].turns[turn].empty() {
				return true
			}
		}
	}
	return false
}

// Heard implements throttle.Listener. What is over by the clock of whoever said
// it is over by ours.
func (h *sharer) Heard(w throttle.Word) {
	s := h.s
	switch w.Kind {
	case throttle.HostDown:
		if s.destinations != nil {
			s.lanes.hear(w.Name, w.For)
		}
	case throttle.CredentialRefused:
		s.hearOfCredential(w)
	case throttle.HostRate, throttle.HostTook:
		if s.destinations != nil {
			s.lanes.learn(w)
		}
	default:
		if w.For > time.Millisecond {
			s.obey(w, s.p.Now())
		}
	}
}

// Granted implements throttle.Listener.
func (h *sharer) Granted(name string, probe bool) { h.s.lanes.grant(name, probe) }

// Among implements throttle.Listener.
func (h *sharer) Among(consumers int) { h.s.lanes.among(consumers) }

// Report implements throttle.Listener.
func (h *sharer) Report() throttle.Report {
	slots := h.s.Slots
	return throttle.Report{InFlight: slots.InUse(), Limit: slots.Present(), Bound: slots.Limit(), Rests: max(slots.Rests(), 0).Milliseconds(), Hosts: h.s.lanes.standings(),
		Waits: h.s.Quotas.Standings(reportedHosts)}
}

// hearOfCredential takes another consumer's word of our standing with the
// provider.
func (s *sender) hearOfCredential(w throttle.Word) {
	s.credential.mu.Lock()
	defer s.credential.mu.Unlock()
	switch news := s.Slots.Hear(w.For); {
	case w.For <= 0 && news:
		s.credential.why = ""
		s.p.Log.Info("another consumer found that the provider takes our credential again; the channel goes on", "channel", s.channel)
	case w.For > 0 && news:
		s.credential.why, s.credential.since = w.Because, s.p.Now()
		s.p.Log.Error("another consumer found that the provider refuses our credential or set-up; the channel is paused", "channel", s.channel, "said", w.Because)
	}
}

// tellCredential tells the others what an answer said of our standing; rest is
// 0 when it is taken.
func (s *sender) tellCredential(rest time.Duration) {
	if s.Board != nil {
		s.Board.Tell(throttle.Word{Kind: throttle.CredentialRefused, For: max(rest, 0), Because: s.credential.why})
	}
}
