package throttle

import "time"

const (
	// faultFirst and faultMost are how long a channel rests whose credential
	// its provider refuses: the first time, and at most. Each probe that is
	// refused doubles it.
	faultFirst, faultMost = 10 * time.Second, time.Minute
)

// fault is a credential, or a set-up, that the provider of a channel refuses.
// What waits would be refused alike, so one message at a time finds out whether
// it has been mended.
type fault struct {
	rest  time.Duration // between two probes; 0: there is no fault
	until time.Time     // when the next probe may go
}

// refused takes note of an answer. What was in flight when the first one came
// is refused too, which says nothing new.
func (f *fault) refused(now, atLeast time.Time) {
	switch {
	case f.rest == 0:
		f.rest = faultFirst
	case now.Before(f.until):
		return
	default:
		f.rest = min(2*f.rest, faultMost)
	}
	f.until = now.Add(f.rest)
	if atLeast.After(f.until) {
		f.until = atLeast
	}
}

// unclear takes note of a probe that does not say: the next one goes as much
// later.
func (f *fault) unclear(now time.Time) {
	if f.rest > 0 && !now.Before(f.until) {
		f.until = now.Add(f.rest)
	}
}

// Break says that the provider refuses our credential or set-up: until Mend,
// the channel rests for 10 s, and each time that it is said of a probe for twice
// as long, up to a minute, but until atLeast at least. After each rest one slot
// is to be had, once nothing else is in flight. It reports whether the channel
// was whole before, and until when it rests.
func (s *Slots) Break(atLeast time.Time) (wasWhole bool, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wasWhole, s.probing = s.fault.rest == 0, false
	s.fault.refused(s.now(), atLeast)
	return wasWhole, s.fault.until
}

// Doubt says that a probe was answered, and not whether the credential is
// taken: the channel rests as long as it did before. Nothing follows where
// nothing is broken.
func (s *Slots) Doubt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probing = false
	s.fault.unclear(s.now())
}

// Mend says that the provider takes our credential: every slot is to be had at
// once, unless a Pause lasts. It reports whether the channel was broken.
func (s *Slots) Mend() (wasBroken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wasBroken = s.mend(); wasBroken {
		s.probing = false
	}
	return wasBroken
}

// mend is Mend, of what another consumer found out. The caller holds mu.
func (s *Slots) mend() (wasBroken bool) {
	if wasBroken = s.fault.rest > 0; wasBroken {
		s.fault = fault{}
		s.wake()
	}
	return wasBroken
}

// Broken reports whether Break was said, and not Mend since. What begins while
// it is so is a probe.
func (s *Slots) Broken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault.rest > 0
}

// Hear takes another consumer's word that the provider refuses our credential,
// and for how long the channel rests; 0: that it takes it again. It reports
// whether that was news.
func (s *Slots) Hear(rest time.Duration) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rest <= 0 {
		return s.mend()
	}
	news = s.fault.rest == 0
	s.fault.rest = max(s.fault.rest, min(rest, faultMost))
	s.fault.until = later(s.fault.until, s.now().Add(rest))
	return news
}

// Rests is how long a channel rests whose credential is refused; 0 or less: not
// at all.
func (s *Slots) Rests() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault.rest == 0 {
		return 0
	}
	return s.fault.until.Sub(s.now())
}
