package templates

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Shared is where processes share one catalogue.
type Shared interface {
	// Current is the version that everybody is to serve; empty before there is
	// any.
	Current(ctx context.Context) (version string, err error)
	// Files is what a version is made of.
	Files(ctx context.Context, version string) (Files, error)
	// Follow calls changed whenever the current version may have changed, until
	// ctx ends. It may miss changes: they are found by asking.
	Follow(ctx context.Context, changed func())
}

// ErrNothingShared says that nobody has put a catalogue there yet.
var ErrNothingShared = errors.New("there is no catalogue yet")

const (
	// askEvery is how often a Store asks for the current version, beside what it
	// is told.
	askEvery = time.Second
	// askPatience bounds one question, and readPatience the reading of a version.
	askPatience, readPatience = 5 * time.Second, 60 * time.Second
)

// OpenShared loads the catalogue that shared has now, and starts to follow it.
// Close ends that. place names shared in the log.
func OpenShared(ctx context.Context, shared Shared, place string, log *slog.Logger, opts ...Option) (*Store, error) {
	s := newStore(place, log, opts)
	f := &sharer{Store: s, shared: shared, wake: make(chan struct{}, 1)}
	s.read = func() (c *Catalogue, err error) {
		c, f.tried, err = f.now(ctx)
		return c, err
	}
	if err := s.first(); err != nil {
		return nil, err
	}
	log.Info("catalogue loaded", "place", place, "version", f.tried, "templates", len(s.Current().templates))
	s.read = func() (*Catalogue, error) {
		c, _, err := f.now(context.Background())
		return c, err
	}
	s.start(f.follow)
	return s, nil
}

// sharer follows a shared catalogue for a store.
type sharer struct {
	*Store
	shared  Shared
	tried   string // the version that was read last, whether it was good or not
	failing bool   // the last question had no answer
	wake    chan struct{}
}

func (s *sharer) nudge() {
	select {
	case s.wake <- struct{}{}:
	default: // it is to look already
	}
}

func (s *sharer) ask(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	return s.shared.Current(ctx)
}

// now is the current version, read.
func (s *sharer) now(ctx context.Context) (*Catalogue, string, error) {
	version, err := s.ask(ctx)
	switch {
	case err != nil:
		return nil, "", err
	case version == "":
		return nil, "", ErrNothingShared
	}
	c, err := s.load(ctx, version)
	return c, version, err
}

// load reads one version.
func (s *sharer) load(ctx context.Context, version string) (*Catalogue, error) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	files, err := s.shared.Files(ctx, version)
	if err != nil {
		return nil, fmt.Errorf("version %s of the catalogue: %w", version, err)
	}
	return load(files, s.options)
}

// follow looks at every nudge and every askEvery until ctx ends.
func (s *sharer) follow(ctx context.Context) {
	s.running.Go(func() { s.shared.Follow(ctx, s.nudge) })
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-tick.C:
		}
		s.look(ctx)
	}
}

// look reads the current version when it is another than the one that was read
// last. A version that was refused is not tried again; one that could not be
// read is.
func (s *sharer) look(ctx context.Context) {
	version, err := s.ask(ctx)
	if err == nil && (version == "" || version == s.tried) {
		s.failing = false
		return
	}
	var next *Catalogue
	if err == nil {
		next, err = s.checked(func() (*Catalogue, error) { return s.load(ctx, version) })
	}
	switch {
	case ctx.Err() != nil:
	case err != nil && !errors.As(err, new(Faults)):
		s.miss(err)
	default:
		s.take(version, next, err)
	}
}

// miss notes that there was no answer.
func (s *sharer) miss(err error) {
	if !s.failing {
		s.log.Warn("the shared catalogue cannot be read: the last good one keeps serving", "place", s.place, "error", err)
	}
	s.failing = true
}

// take serves a version, or refuses it when err says what is wrong with it.
func (s *sharer) take(version string, next *Catalogue, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried, s.failing = version, false
	if err != nil {
		s.settle(nil, fmt.Errorf("version %s: %w", version, err))
		return
	}
	s.settle(next, nil)
	s.log.Info("catalogue loaded", "place", s.place, "version", version, "templates", len(next.templates))
}
