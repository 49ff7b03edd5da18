package ingest

import (
	"net/http"
	"sync/atomic"
	"time"
)

// The memory that a request is taken to need.
const (
	requestCost = 16 << 10 // its goroutine, its buffers and headers
	bodyFactor  = 4        // the body, and what it is decoded into
)

// busyRetry is the Retry-After of a request that there is no memory for: others
// end within seconds.
const busyRetry = 2 * time.Second

// inHand bounds the memory that all requests under way take together. Without
// it a Redis that stands still would let them pile up for as long as each
// waits for it.
type inHand struct {
	most int64 // 0: no bound
	used atomic.Int64
}

// take reserves n bytes; false when there are not so many.
func (i *inHand) take(n int64) bool {
	if i.used.Add(n) <= i.most || i.most == 0 {
		return true
	}
	i.used.Add(-n)
	return false
}

func (i *inHand) give(n int64) { i.used.Add(-n) }

// charge reserves what another n bytes of a request's body need, until the
// request ends. Without a server around it there is nothing to charge.
func charge(w http.ResponseWriter, n int) bool {
	a, ok := w.(*answer)
	if !ok || a.hand == nil {
		return true
	}
	cost := int64(n) * bodyFactor
	if !a.hand.take(cost) {
		return false
	}
	a.charged += cost
	return true
}

func busy() *Problem {
	return kindBusy.problem("as much is under way as ingest.max_in_hand allows: nothing was done; try again as Retry-After says").after(busyRetry)
}
