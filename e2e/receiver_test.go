package e2e_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// receiver is a webhook endpoint that counts.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	total  int
	byID   map[string]int         // requests by webhook-id
	idsOf  map[int]map[string]int // requests by the body's n and webhook-id
	behave func(n int, w http.ResponseWriter)
	slow   time.Duration
	marks  map[int]chan struct{} // closed when that many requests have come
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{byID: map[string]int{}, idsOf: map[int]map[string]int{}, marks: map[int]chan struct{}{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// ServeHTTP counts a request, then answers as it was told.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return // cut off by the sender: it never arrived
	}
	n, behave, slow := r.count(q.Header.Get("webhook-id"), body)
	if slow > 0 { // a provider's own time, not a wait for something
		select {
		case <-time.After(slow):
		case <-q.Context().Done():
		}
	}
	if behave != nil {
		behave(n, w)
	}
}

func (r *receiver) count(id string, body []byte) (int, func(int, http.ResponseWriter), time.Duration) {
	var said struct {
		Data struct {
			N int `json:"n"`
		} `json:"data"`
	}
	_ = json.Unmarshal(body, &said) // a body without n counts as 0
	n := said.Data.N
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total++
	r.byID[id]++
	if r.idsOf[n] == nil {
		r.idsOf[n] = map[string]int{}
	}
	r.idsOf[n][id]++
	if mark := r.marks[r.total]; mark != nil {
		close(mark)
	}
	return n, r.behave, r.slow
}

// answer sets how requests are answered from now on; nil: 200.
func (r *receiver) answer(behave func(n int, w http.ResponseWriter)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behave = behave
}

// status answers every request with one status.
func status(code int) func(int, http.ResponseWriter) {
	return func(_ int, w http.ResponseWriter) { w.WriteHeader(code) }
}

// take sets how long each answer takes.
func (r *receiver) take(slow time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow = slow
}

// after is closed when count requests have come.
func (r *receiver) after(count int) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marks[count] = make(chan struct{})
	return r.marks[count]
}

// await waits until count requests have come.
func (r *receiver) await(t testing.TB, mark <-chan struct{}) {
	t.Helper()
	select {
	case <-mark:
	case <-time.After(patience):
		t.Fatalf("only %d webhooks have come", r.received())
	}
}

func (r *receiver) received() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// distinct is the number of different n that have come.
func (r *receiver) distinct() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.idsOf)
}

// ids is a copy of the requests by webhook-id.
func (r *receiver) ids() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.byID)
}

// idsFor is a copy of the requests for n by webhook-id.
func (r *receiver) idsFor(n int) map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.idsOf[n])
}

// duplicates lists the webhook-ids that came more than once.
func (r *receiver) duplicates() (ids []string) {
	for id, times := range r.ids() {
		if times > 1 {
			ids = append(ids, id)
		}
	}
	return ids
}

// checkOneIDEach fails unless each n from 1 to count came, always under one
// webhook-id of its own.
func (r *receiver) checkOneIDEach(t testing.TB, count int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := 1; n <= count; n++ {
		if len(r.idsOf[n]) != 1 {
			t.Errorf("notification %d came under %d webhook-ids, want 1: %v", n, len(r.idsOf[n]), r.idsOf[n])
		}
	}
	if len(r.idsOf) != count || len(r.byID) != count {
		t.Errorf("%d different notifications under %d webhook-ids, want %d of each", len(r.idsOf), len(r.byID), count)
	}
}

// checkOnceEach fails unless each n from 1 to count came exactly once.
func (r *receiver) checkOnceEach(t testing.TB, count int) {
	t.Helper()
	r.checkOneIDEach(t, count)
	if twice := r.duplicates(); len(twice) > 0 {
		t.Errorf("%d webhook-ids came more than once, such as %s", len(twice), twice[0])
	}
}
