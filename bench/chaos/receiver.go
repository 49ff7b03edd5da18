package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// receiver is the webhooks' end: it counts every request that it has read to
// its end, then answers as it is told.
type receiver struct {
	address string

	mu     sync.Mutex
	came   map[target]*arrival
	behave func() behaviour // nil: well
	wrong  int              // requests that it counted and did not answer well
}

// behaviour answers one request, badly.
type behaviour func(http.ResponseWriter, *http.Request)

// answerTime is what every request takes, so that there is always something in
// flight.
const answerTime = 15 * time.Millisecond

func newReceiver(s *stage) *receiver {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatalf("the receiver: %v", err)
	}
	r := &receiver{address: l.Addr().String(), came: map[target]*arrival{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /h/{hook}", r.take)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(l) // ends with Close, which is its only error
	s.Cleanup(func() { srv.Close() })
	return r
}

func (r *receiver) take(w http.ResponseWriter, q *http.Request) {
	var said struct {
		Data struct {
			N int `json:"n"`
		} `json:"data"`
	}
	body, err := io.ReadAll(q.Body)
	if err != nil || json.Unmarshal(body, &said) != nil {
		return // cut off on the way: it never arrived
	}
	hook, _ := strconv.Atoi(q.PathValue("hook"))
	bad := r.count(target{said.Data.N, hook}, q.Header.Get("webhook-id"))
	select {
	case <-time.After(answerTime):
	case <-q.Context().Done():
	}
	if bad != nil {
		bad(w, q)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// count takes a request in, and says how it is to be answered: nil, well.
func (r *receiver) count(at target, id string) behaviour {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	a := r.came[at]
	if a == nil {
		a = &arrival{first: now, ids: map[string]int{}}
		r.came[at] = a
	}
	a.ids[id]++
	a.times = append(a.times, now)
	if r.behave == nil {
		return nil
	}
	bad := r.behave()
	if bad != nil {
		r.wrong++
	}
	return bad
}

// misbehave sets how requests are answered from now on; nil: well.
func (r *receiver) misbehave(choose func() behaviour) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behave = choose
}

// arrivals is what came. Nothing may come any more.
func (r *receiver) arrivals() map[target]*arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.came
}

// within is how many requests came in a window.
func (r *receiver) within(w window) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.came {
		for _, t := range a.times {
			if w.holds(t) {
				n++
			}
		}
	}
	return n
}

func (r *receiver) answeredWrong() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrong
}

// behaviours are what receivers do to those who send to them: each has read
// the request to its end.
func behaviours() []behaviour {
	return []behaviour{
		hang,
		answerLate,
		func(w http.ResponseWriter, _ *http.Request) { hijack(w, "\x00\x17 this is no HTTP\r\n\r\n", false) },
		func(w http.ResponseWriter, _ *http.Request) { hijack(w, "HTTP/1.1 200 OK\r\nContent-Le", false) },
		func(w http.ResponseWriter, _ *http.Request) { hijack(w, "", true) },  // reset
		func(w http.ResponseWriter, _ *http.Request) { hijack(w, "", false) }, // close
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
	}
}

func hang(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() }

// answerLate says 200 when the sender has given up.
func answerLate(w http.ResponseWriter, q *http.Request) {
	waitFor(q, webhookTimeout+100*time.Millisecond)
	w.WriteHeader(http.StatusOK)
}

func waitFor(q *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-q.Context().Done():
	}
}

// hijack writes raw bytes in place of an answer and ends the connection, with
// a reset if asked for (RFC 9293 §3.10.7: what SO_LINGER 0 makes of close).
func hijack(w http.ResponseWriter, raw string, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0) // a plain close then, which is another row
	}
	_, _ = io.WriteString(conn, raw) // whoever is gone does not read it
}
