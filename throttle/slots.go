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
	limit int
	now   func() time.Time

	mu      sync.Mutex
	used    int
	until   time.Time // the channel's pause
	fault   fault
	changed chan struct{} // closed when a slot is free again, or the pause moves
	keys    pauses
}

// NewSlots makes n slots (at least one), none in use. now is the clock by which
// pauses end; time.Now outside tests.
func NewSlots(n int, now func() time.Time) *Slots {
	return &Slots{limit: max(n, 1), now: now, changed: make(chan struct{}), keys: newPauses(maxPauses)}
}

// Limit is how many slots there are.
func (s *Slots) Limit() int { return s.limit }

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
			return got, nil
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
	return s.limit
}

// MayBegin reports whether what a slot was taken for may begin: the channel may
// have been stopped since. If not, the slot is to be released.
func (s *Slots) MayBegin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rests() <= 0 && s.used <= s.width()
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
func (s *Slots) Pause(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until.After(s.until) {
		s.until = until
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
