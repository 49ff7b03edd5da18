package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
)

// stage is what one row of the table is played on: a folder, and what is to be
// taken down after it. It stands in for a testing.TB, so that the servers of
// package queuetest serve here too; a method that it lacks would panic.
type stage struct {
	testing.TB
	ctx  context.Context
	name string

	mu       sync.Mutex
	folders  int
	dir      string
	cleanups []func()
	faults   []string // what went wrong beside the counting
}

// broken is the panic that ends a row which cannot be played.
type broken struct{ why string }

// perform plays a row on a stage of its own. The error says why it could not
// be played, or what went wrong on the way.
func perform(ctx context.Context, name string, play func(*stage)) (err error) {
	s := &stage{ctx: ctx, name: name}
	if s.dir, err = os.MkdirTemp("", "carillon-chaos-"+name+"-"); err != nil {
		return err
	}
	defer func() {
		s.close()
		err = errors.Join(err, s.verdict())
	}()
	defer func() {
		if caught := recover(); caught != nil {
			b, ours := caught.(broken)
			if !ours {
				panic(caught)
			}
			err = errors.New(b.why)
		}
	}()
	play(s)
	return nil
}

func (s *stage) verdict() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.faults {
		errs = append(errs, errors.New(f))
	}
	return errors.Join(errs...)
}

func (s *stage) close() {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
	if os.Getenv("CHAOS_KEEP") != "" {
		fmt.Fprintln(os.Stderr, "kept:", s.dir)
		return
	}
	if err := os.RemoveAll(s.dir); err != nil {
		s.Errorf("removing the folder: %v", err)
	}
}

// Helper does nothing here.
func (s *stage) Helper() {}

// Name is the row's.
func (s *stage) Name() string { return s.name }

// Context ends when the program is interrupted.
func (s *stage) Context() context.Context { return s.ctx }

// Cleanup calls f when the row is over, the last first.
func (s *stage) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// TempDir is a new folder that goes with the stage.
func (s *stage) TempDir() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.folders++
	dir := fmt.Sprintf("%s/%d", s.dir, s.folders)
	if err := os.Mkdir(dir, 0o755); err != nil {
		panic(broken{"making a folder: " + err.Error()})
	}
	return dir
}

// Fatal ends the row.
func (s *stage) Fatal(args ...any) { panic(broken{fmt.Sprint(args...)}) }

// Fatalf ends the row.
func (s *stage) Fatalf(format string, args ...any) { panic(broken{fmt.Sprintf(format, args...)}) }

// Errorf fails the row and goes on.
func (s *stage) Errorf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const most = 12
	if len(s.faults) < most {
		s.faults = append(s.faults, fmt.Sprintf(format, args...))
	}
}

// Error fails the row and goes on.
func (s *stage) Error(args ...any) { s.Errorf("%s", fmt.Sprint(args...)) }

// Logf is for what a passing row need not say.
func (s *stage) Logf(string, ...any) {}

// Log is for what a passing row need not say.
func (s *stage) Log(...any) {}

// Failed reports whether anything went wrong.
func (s *stage) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.faults) > 0
}
