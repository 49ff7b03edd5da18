package queuetest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// WatchLateness watches, until the test ends, how late the machine runs what is
// ready to run, and returns how to ask for the longest so far. What was let go
// at its moment is seen that much later.
func WatchLateness(t testing.TB) (longest func() time.Duration) {
	var most atomic.Int64
	const every = 5 * time.Millisecond
	var done sync.WaitGroup
	done.Go(func() {
		for last := time.Now(); t.Context().Err() == nil; last = time.Now() {
			time.Sleep(every)
			most.Store(max(most.Load(), int64(time.Since(last)-every)))
		}
	})
	t.Cleanup(done.Wait)
	return func() time.Duration { return time.Duration(most.Load()) }
}
