package throttle

import (
	"context"
	"sync"
	"time"
)

// Slots bound what one consumer has in flight on one channel, and stop the
// channel, or one host or device of it, for as long as a provider asks; while a
// provider refuses our credential, one message at a time is let through. A
// consumer takes its slots before it takes work, so that a full provider leaves
// the work on the queue.
type Slots struct {
	now func() time.Time

	mu       sync.Mutex
	limit    int
	used     int
	adaptive *limit    // nil: every slot may be had
	borne    int       // what the channel's destinations bear together; 0: not known
	until    time.Time // the channel's pause
	because  string    // in whose words
	claim    func(context.Context) bool
	unclaim  func()
	probing  bool // the slot in use was claimed for a probe, and nothing was found out yet
	fault    fault
	changed  chan struct{} // closed when a slot is free again, or the pause moves
	keys     pauses
}

// NewSlots makes n slots (at least one), none in use. now is the clock by which
// pauses end; time.Now outside tests.
func NewSlots(n int, now func() time.Time) *Slots {
	return &Slots{limit: max(n, 1), now: now, changed: make(chan struct{}), keys: newPauses(maxPauses)}
}

// Limit is how many slots there are: the most that are in flight, unless it was
// made less meanwhile.
func (s *Slots) Limit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit
}

// Resize makes it n slots (at least one). More are there at once; of fewer none
// is to be had until less is in flight. Where they adapt, n is the bound of what
// the provider is found to bear.
func (s *Slots) Resize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = max(n, 1)
	if s.adaptive != nil {
		s.adaptive.resize(n)
	}
	s.wake()
}

// Adapt has fewer in flight than there are slots while the provider's answers,
// which Answered is told, say that it can bear no more. It is for a channel with
// one provider: where there are many destinations, each has a limit of its own.
func (s *Slots) Adapt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	adaptive := newLimit(s.limit)
	s.adaptive = &adaptive
}

// Answered takes an answer of the provider's in: how long it took, and what
// came. It is to be said before the slot is released.
func (s *Slots) Answered(took time.Duration, came Contact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.adaptive == nil || came == Unclear {
		return
	}
	before, says := s.adaptive.value(), fine
	if came != Answered {
		says = refused
	}
	if s.adaptive.note(says, took, s.used, s.now()); s.adaptive.value() > before {
		s.wake()
	}
}

// Borne says how many its destinations bear all together, which Present shows.
// Nobody is held to it.
func (s *Slots) Borne(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.borne = n
}

// Present is how many may be in flight now: one while the credential is
// refused, none while the channel is paused.
func (s *Slots) Present() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rests() > 0 {
		return 0
	}
	if n := s.width(); s.borne == 0 || n < s.borne {
		return n
	}
	return s.borne
}

// InUse is how many of them are taken.
func (s *Slots) InUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Acquire takes as many slots as are free, at most most, and waits until there
// is one and the channel is not paused. A channel that is broken has but one. It
// returns how many it took: 0 with ctx's error when ctx ends first.
func (s *Slots) Acquire(ctx context.Context, most int) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		got, wait, changed := s.take(most)
		if got > 0 {
			if s.mayProbe(ctx) {
				return got, nil
			}
			s.Release(got)
			wait, changed = claimAgain, s.changes()
		}
		if err := await(ctx, wait, changed); err != nil {
			return 0, err
		}
	}
}

// take is one try of Acquire. When it got none, wait is how long the pause
// lasts, 0 when there is none, and changed closes when another try is due.
func (s *Slots) take(most int) (got int, wait time.Duration, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait = s.rests(); wait > 0 {
		return 0, wait, s.changed
	}
	got = max(min(max(most, 1), s.width()-s.used), 0)
	s.used += got
	return got, 0, s.changed
}

// rests is how long nothing may begin; 0 or less: something may.
func (s *Slots) rests() time.Duration {
	until := s.until
	if s.fault.until.After(until) {
		until = s.fault.until
	}
	return until.Sub(s.now())
}

// width is how many may be in flight now.
func (s *Slots) width() int {
	if s.fault.rest > 0 {
		return 1
	}
	if s.adaptive != nil {
		return s.adaptive.value()
	}
	return s.limit
}

// MayBegin reports whether what a slot was taken for may begin: the channel may
// have been stopped since. If not, the slot is to be released.
func (s *Slots) MayBegin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rests() <= 0 && s.used <= s.width()
}

// claimAgain is after what time a consumer that may not probe looks again.
const claimAgain = 250 * time.Millisecond

// Claim has whoever is about to find out whether the credential is mended ask
// first: of all consumers one at a time does. back is told when a slot that was
// claimed for is given back and nothing was found out with it: what was to be
// sent was taken back meanwhile, or never came to the provider. The right to
// probe is another's then. Neither is called while the Slots are locked.
func (s *Slots) Claim(first func(context.Context) bool, back func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claim, s.unclaim = first, back
}

// mayProbe reports whether the slot that was taken may be used, if it is for a
// probe.
func (s *Slots) mayProbe(ctx context.Context) bool {
	s.mu.Lock()
	claim, broken := s.claim, s.fault.rest > 0
	s.mu.Unlock()
	if claim == nil || !broken {
		return true
	}
	if !claim(ctx) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probing = true
	return true
}

// unprobed is what gives the right to probe back that came with the slot in
// use; nil when there is none, or when something was found out with it: what is
// said of that to the others ends the right.
func (s *Slots) unprobed() (back func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.probing {
		return nil
	}
	s.probing = false
	return s.unclaim
}

func (s *Slots) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func await(ctx context.Context, wait time.Duration, changed <-chan struct{}) error {
	var ended <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		ended = timer.C
	}
	select {
	case <-ended:
	case <-changed:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Release gives n slots back. More than are in use are not given.
func (s *Slots) Release(n int) {
	if n > 0 {
		if back := s.unprobed(); back != nil {
			back() // before another can claim the right anew
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = max(s.used-n, 0)
	s.wake()
}

// wake lets every Acquire that waits try again.
func (s *Slots) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Pause stops the channel: Acquire waits until then. Of two pauses the later
// end holds. What is in flight goes on.
func (s *Slots) Pause(until time.Time) { s.PauseFor(until, "") }

// PauseFor is Pause, in the words of whoever asked for it.
func (s *Slots) PauseFor(until time.Time, because string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until.After(s.until) {
		s.until, s.because = until, because
		s.wake()
	}
}

// Resume ends the channel's pause now.
func (s *Slots) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Time{}
	s.wake()
}

// Paused reports whether the channel is stopped at now, and until when.
func (s *Slots) Paused(now time.Time) (until time.Time, paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.until.After(now) {
		return time.Time{}, false
	}
	return s.until, true
}

// PauseKey stops one host or device of the channel: PausedUntil says so until
// then, and whoever works a delivery to it puts it off. Of two pauses the later
// end holds. At most 8192 keys are remembered; the pause that ends first is
// forgotten for another, which costs a provider one request too many.
func (s *Slots) PauseKey(key string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys.add(key, until, s.now())
}

// PausesKeys reports whether any key may be stopped: without, PausedUntil need
// not be asked, nor a key be made.
func (s *Slots) PausesKeys() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.keys.byEnd) > 0
}

// PausedUntil reports whether a key is stopped at now, and until when.
func (s *Slots) PausedUntil(key string, now time.Time) (until time.Time, paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys.until(key, now)
}
