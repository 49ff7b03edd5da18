package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// receiver counts what it is sent, in a process of its own, so that its work is
// the same for whoever sends. What comes to /h/TAG is counted under TAG;
// /slow/TAG is answered after slowness; of what comes to /timed/TAG every moment
// is kept; of what comes to /limited/TAG in a second allowedRate are taken. Its
// email relay keeps the moment of every mail.
type receiver struct {
	tallies sync.Map // tag → *tally
}

// slowness is how long a receiver at /slow takes for an answer.
const slowness = 30 * time.Second

// hosts is how many loopback addresses the receiver listens on, 127.0.0.1 and
// those that follow, so that there are several hosts to send to: one for what is
// sent to one host, the healthy ones, and a slow one.
const hosts = 1 + healthyHosts + 1

// tally counts the requests of one tag.
type tally struct {
	count       atomic.Int64
	first, last atomic.Int64 // unix ns
	mu          sync.Mutex
	ages        []time.Duration // of the requests whose body says when they were due
	came        []int64         // unix ns, of the requests to /timed and of mails
	windows     []window        // in order, of the requests to /limited; seconds without any are left out
	under       int             // way, of the requests to /slow
	held        time.Duration   // by all of them together, until since
	since       time.Time
}

// stats is what a receiver tells about a tag.
type stats struct {
	Count   int64         `json:"count"`
	FirstNS int64         `json:"first_ns"`
	LastNS  int64         `json:"last_ns"`
	Aged    int           `json:"aged"` // requests that said when they were due
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
	Worst   time.Duration `json:"worst_ns"`
	Held    time.Duration `json:"held_ns"` // how long requests to /slow were under way, all together
}

// rate is the mean a second between the first and the last request.
func (s stats) rate() float64 {
	span := time.Duration(s.LastNS - s.FirstNS).Seconds()
	if span <= 0 {
		return 0
	}
	return float64(s.Count) / span
}

// serveReceiver prints its port and its relay's, and serves until its input
// ends, which it does when the process that started it is gone.
func serveReceiver([]string) error {
	listeners, err := listenAll()
	if err != nil {
		return err
	}
	r := &receiver{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /h/", r.take)
	mux.HandleFunc("POST /slow/", r.takeSlowly)
	mux.HandleFunc("POST /timed/", r.takeTimed)
	mux.HandleFunc("POST /limited/", r.takeLimited)
	mux.HandleFunc("GET /stats/", r.stats)
	mux.HandleFunc("GET /windows/", r.windows)
	mux.HandleFunc("GET /moments/", r.moments)
	mux.HandleFunc("POST /reset", r.reset)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	relay, err := net.Listen("tcp", net.JoinHostPort(loopback(0), "0"))
	if err != nil {
		return err
	}
	mails := newRelay(r)
	fmt.Println(port(listeners[0]), port(relay))
	go func() {
		io.Copy(io.Discard, os.Stdin)
		srv.Close()
	}()
	failed := make(chan error, len(listeners)+1)
	go func() { failed <- mails.Serve(relay) }()
	for _, l := range listeners {
		go func() { failed <- srv.Serve(l) }()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// listenAll listens on one port of every host; another port is tried when one
// of them has it taken.
func listenAll() ([]net.Listener, error) {
	var err error
	for range 20 {
		var listeners []net.Listener
		if listeners, err = listenOnce(); err == nil {
			return listeners, nil
		}
		for _, l := range listeners {
			l.Close()
		}
	}
	return nil, fmt.Errorf("a port that is free on %d loopback addresses: %w", hosts, err)
}

func listenOnce() (listeners []net.Listener, err error) {
	port := "0"
	for i := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(loopback(i), port))
		if err != nil {
			return listeners, err
		}
		listeners = append(listeners, l)
		port = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	}
	return listeners, nil
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// loopback is the i-th of the receiver's hosts.
func loopback(i int) string { return "127.0.0." + strconv.Itoa(i+1) }

func (r *receiver) tally(tag string) *tally {
	if t, ok := r.tallies.Load(tag); ok {
		return t.(*tally)
	}
	t, _ := r.tallies.LoadOrStore(tag, &tally{})
	return t.(*tally)
}

func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	body := make([]byte, 0, max(req.ContentLength, 0)+1)
	buf := bytes.NewBuffer(body)
	buf.ReadFrom(req.Body)
	r.tally(req.URL.Path[len("/h/"):]).add(time.Now(), buf.Bytes())
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) takeSlowly(w http.ResponseWriter, req *http.Request) {
	io.Copy(io.Discard, req.Body)
	t := r.tally(req.URL.Path[len("/slow/"):])
	t.add(time.Now(), nil)
	t.hold(1, time.Now())
	defer func() { t.hold(-1, time.Now()) }()
	select {
	case <-time.After(slowness):
		w.WriteHeader(http.StatusNoContent)
	case <-req.Context().Done():
	}
}

func (r *receiver) takeTimed(w http.ResponseWriter, req *http.Request) {
	now := time.Now()
	io.Copy(io.Discard, req.Body)
	r.tally(req.URL.Path[len("/timed/"):]).keep(now)
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) moments(w http.ResponseWriter, req *http.Request) {
	t := r.tally(strings.TrimPrefix(req.URL.Path, "/moments/"))
	t.mu.Lock()
	defer t.mu.Unlock()
	json.NewEncoder(w).Encode(t.came)
}

// keep counts a request, and keeps its moment.
func (t *tally) keep(now time.Time) {
	t.add(now, nil)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.came = append(t.came, now.UnixNano())
}

func (t *tally) add(now time.Time, body []byte) {
	ns := now.UnixNano()
	t.first.CompareAndSwap(0, ns)
	t.last.Store(ns)
	t.count.Add(1)
	if due := dueNS(body); due != 0 {
		t.mu.Lock()
		t.ages = append(t.ages, time.Duration(ns-due))
		t.mu.Unlock()
	}
}

// hold counts what is under way, and for how long it has been.
func (t *tally) hold(more int, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held += time.Duration(t.under) * now.Sub(t.since)
	t.under, t.since = t.under+more, now
}

// dueMember is what stands before the moment a notification was due, as
// dueDigits digits of unix nanoseconds; zeros when nobody asks.
const (
	dueMember = `"t":"`
	dueDigits = 19
)

// dueNS is when a request's notification was due; 0 when it does not say.
func dueNS(body []byte) int64 {
	at := bytes.Index(body, []byte(dueMember))
	if at < 0 || len(body) < at+len(dueMember)+dueDigits {
		return 0
	}
	at += len(dueMember)
	ns, err := strconv.ParseInt(string(body[at:at+dueDigits]), 10, 64)
	if err != nil {
		return 0
	}
	return ns
}

func (t *tally) stats() stats {
	t.hold(0, time.Now())
	t.mu.Lock()
	ages, held := slices.Sorted(slices.Values(t.ages)), t.held
	t.mu.Unlock()
	s := stats{Count: t.count.Load(), FirstNS: t.first.Load(), LastNS: t.last.Load(), Aged: len(ages), Held: held}
	s.P50, s.P99, s.Worst = percentile(ages, 50), percentile(ages, 99), percentile(ages, 100)
	return s
}

// percentile is the least of the sorted ages that p in a hundred are not above.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max((len(sorted)*p+99)/100, 1)-1]
}

func (r *receiver) stats(w http.ResponseWriter, req *http.Request) {
	json.NewEncoder(w).Encode(r.tally(strings.TrimPrefix(req.URL.Path, "/stats/")).stats())
}

func (r *receiver) reset(w http.ResponseWriter, _ *http.Request) {
	r.tallies.Clear()
	w.WriteHeader(http.StatusNoContent)
}

// target is where the receiver's i-th host takes what is counted under tag.
func (l *lab) target(i int, tag string) string {
	return "http://" + net.JoinHostPort(loopback(i), l.port) + "/h/" + tag
}

// arrived fetches what the receiver knows of a tag.
func (l *lab) arrived(ctx context.Context, tag string) (s stats, err error) {
	res, err := l.call(ctx, http.MethodGet, "/stats/"+url.PathEscape(tag))
	if err != nil {
		return s, err
	}
	defer res.Body.Close()
	return s, json.NewDecoder(res.Body).Decode(&s)
}

// awaitArrivals waits until n requests of a tag have come.
func (l *lab) awaitArrivals(ctx context.Context, tag string, n int, limit time.Duration) (s stats, err error) {
	err = await(ctx, limit, fmt.Sprintf("arrival of %d requests", n), func() (bool, error) {
		var err error
		s, err = l.arrived(ctx, tag)
		return s.Count >= int64(n), err
	})
	return s, err
}

// forget makes the receiver count from nothing.
func (l *lab) forget(ctx context.Context) error {
	res, err := l.call(ctx, http.MethodPost, "/reset")
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func (l *lab) call(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+net.JoinHostPort(loopback(0), l.port)+path, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(req)
}
