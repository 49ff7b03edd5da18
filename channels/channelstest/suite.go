package channelstest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
)

// bound is the longest any send may take here, whatever the provider does.
const bound = 10 * AdapterTimeout

// mostTaken is how much of an endless body may leave the stand-in: what an
// adapter reads, and generously what the sockets between hold.
const mostTaken = 8 << 20

func runAnswers(t *testing.T, h Harness) {
	t.Run("a message that the provider takes is sent", func(t *testing.T) {
		s, a := setUp(t, h, patience)
		r := a.Send(t.Context(), h.Message(t, s.target, "1-taken-0"))
		wantVerdict(t, r, channels.Sent)
		CheckResult(t, r, h.Private...)
	})
	for _, answer := range h.Answers {
		t.Run(answer.Name, func(t *testing.T) { runAnswer(t, h, answer) })
	}
}

func runAnswer(t *testing.T, h Harness, answer Answer) {
	s, a := setUp(t, h, patience)
	s.does(answer.write)
	r := a.Send(t.Context(), h.Message(t, s.target, "1-answer-0"))
	CheckResult(t, r, h.Private...)
	got, want := r, answer.Want
	if off := (got.RetryAfter - want.RetryAfter).Abs(); off > answer.RetryAfterWithin {
		t.Errorf("RetryAfter %v, want %v", got.RetryAfter, want.RetryAfter)
	}
	got.Err, want.Err, got.RetryAfter, want.RetryAfter = nil, nil, 0, 0
	if got != want {
		t.Errorf("got %+v (%v), want %+v", got, r.Err, want)
	}
}

func (answer Answer) write(w http.ResponseWriter, _ *http.Request) {
	for k, v := range answer.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(answer.Status)
	_, _ = io.WriteString(w, answer.Body)
}

// fault is one way for a provider to misbehave after it read the request, and
// what may be made of it.
type fault struct {
	name string
	do   func(*standIn) http.HandlerFunc
	want []channels.Verdict
}

func faults(h Harness) []fault {
	talking := h.EndlessBody
	if len(talking) == 0 {
		talking = []channels.Verdict{channels.Sent}
	}
	unknown := []channels.Verdict{channels.Unknown}
	return []fault{
		{"no answer at all leaves the outcome unknown", func(s *standIn) http.HandlerFunc { return s.silent }, unknown},
		{"a connection cut after the request leaves the outcome unknown", func(*standIn) http.HandlerFunc { return cut }, unknown},
		{"a body that never ends is not waited for", func(s *standIn) http.HandlerFunc { return s.endless }, talking},
		{"a body that never comes is not waited for", func(s *standIn) http.HandlerFunc { return s.dripping }, talking},
		// The provider took the message, whether or not all it said arrived.
		{"a body that is cut leaves success or an unknown outcome", func(*standIn) http.HandlerFunc { return cutBody }, append(unknown, talking...)},
	}
}

func runFaults(t *testing.T, h Harness) {
	for _, f := range faults(h) {
		t.Run(f.name, func(t *testing.T) {
			s, a := setUp(t, h, AdapterTimeout)
			s.does(f.do(s))
			r := sendBounded(t, a, h.Message(t, s.target, "1-fault-0"))
			wantVerdict(t, r, f.want...)
			CheckResult(t, r, h.Private...)
			if n := s.talked.Load(); n > mostTaken {
				t.Errorf("the adapter took %d MiB of a body that never ends", n>>20)
			}
		})
	}
	t.Run("a refused connection is tried again", func(t *testing.T) {
		s, a := setUp(t, h, patience)
		s.server.Listener.Close()
		r := sendBounded(t, a, h.Message(t, s.target, "1-refused-0"))
		wantVerdict(t, r, channels.Retry)
		CheckResult(t, r, h.Private...)
	})
	t.Run("after a fault the adapter still sends", func(t *testing.T) {
		s, a := setUp(t, h, patience)
		s.does(cut, h.Accept)
		m := h.Message(t, s.target, "1-after-0")
		sendBounded(t, a, m)
		wantVerdict(t, sendBounded(t, a, m), channels.Sent)
	})
	t.Run("a redirect is not followed", func(t *testing.T) { runRedirect(t, h) })
	t.Run("a connection cut before the request is read is no answer", func(t *testing.T) { runCutAtOnce(t, h) })
	t.Run("a name that cannot be resolved is tried again", func(t *testing.T) { runNoName(t, h) })
	if h.TLS {
		t.Run("a provider with another authority is told nothing", func(t *testing.T) { runUntrusted(t, h) })
	} else {
		t.Run("headers that drip are not waited for", func(t *testing.T) { runDrippingHeaders(t, h) })
		t.Run("an answer that is not HTTP leaves the outcome unknown", func(t *testing.T) { runGarbage(t, h, "220 mail.example ESMTP\r\n\r\n") })
		t.Run("half a status line leaves the outcome unknown", func(t *testing.T) { runGarbage(t, h, "HTTP/1.1 20") })
	}
}

func runRedirect(t *testing.T, h Harness) {
	elsewhere := startStandIn(t, h, patience)
	s, a := setUp(t, h, patience)
	s.does(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", elsewhere.target.URL+"/elsewhere")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	r := sendBounded(t, a, h.Message(t, s.target, "1-redirect-0"))
	CheckResult(t, r, h.Private...)
	if r.Verdict == channels.Sent || r.Verdict == channels.Gone {
		t.Errorf("verdict %v for a redirect", r.Verdict)
	}
	if n := len(elsewhere.seen()); n != 0 {
		t.Errorf("the redirect was followed %d times", n)
	}
}

// runGarbage answers a whole request with words that are not HTTP.
func runGarbage(t *testing.T, h Harness, words string) {
	s, a := setUp(t, h, patience)
	s.does(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, words)
		_ = conn.Close()
	})
	r := sendBounded(t, a, h.Message(t, s.target, "1-garbage-0"))
	wantVerdict(t, r, channels.Unknown)
	CheckResult(t, r, h.Private...)
}

// runCutAtOnce hangs up on every connection as it is made. Whether a byte of
// the request left by then is for the adapter to know.
func runCutAtOnce(t *testing.T, h Harness) {
	s, a := setUp(t, h, patience)
	s.onConnect(func(conn net.Conn) { _ = conn.Close() })
	r := sendBounded(t, a, h.Message(t, s.target, "1-hangup-0"))
	wantVerdict(t, r, channels.Retry, channels.Unknown)
	CheckResult(t, r, h.Private...)
}

// runNoName points the adapter at a name with an empty label, which resolvers
// refuse without asking anybody (RFC 1035 §2.3.1).
func runNoName(t *testing.T, h Harness) {
	s := startStandIn(t, h, AdapterTimeout)
	nobody := s.target
	nobody.URL = strings.Replace(nobody.URL, "127.0.0.1", "no..name", 1)
	a := open(t, h, nobody)
	r := sendBounded(t, a, h.Message(t, nobody, "1-name-0"))
	wantVerdict(t, r, channels.Retry)
	CheckResult(t, r, h.Private...)
}

// runUntrusted gives the adapter another authority than the stand-in's.
func runUntrusted(t *testing.T, h Harness) {
	s := startStandIn(t, h, patience)
	other := s.target
	other.CAFile = writeStrangersCA(t)
	a := open(t, h, other)
	r := sendBounded(t, a, h.Message(t, other, "1-untrusted-0"))
	wantVerdict(t, r, channels.Retry, channels.Broken)
	CheckResult(t, r, h.Private...)
	if n := len(s.seen()); n != 0 {
		t.Errorf("the provider saw %d requests", n)
	}
}

// runDrippingHeaders answers a byte at a time, without end: each is an answer
// to whoever waits for the next one only.
func runDrippingHeaders(t *testing.T, h Harness) {
	s, a := setUp(t, h, AdapterTimeout)
	s.does(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Slow: ")
		for tick := time.NewTicker(AdapterTimeout / 20); err == nil; {
			select {
			case <-s.ended:
				return
			case <-tick.C:
				_, err = io.WriteString(conn, "x")
			}
		}
	})
	r := sendBounded(t, a, h.Message(t, s.target, "1-drip-0"))
	wantVerdict(t, r, channels.Unknown)
	CheckResult(t, r, h.Private...)
}

// runNoSocketLeft counts the connections as the stand-in sees them.
func runNoSocketLeft(t *testing.T, h Harness) {
	s := startStandIn(t, h, patience)
	a := h.New(t, s.target)
	c, ok := a.(interface{ Close() error })
	if !ok {
		t.Skip("the adapter has nothing to close")
	}
	var wg sync.WaitGroup
	for i := range 8 {
		m := h.Message(t, s.target, fmt.Sprintf("1-socket-%d", i))
		wg.Go(func() { a.Send(t.Context(), m) })
	}
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Errorf("closing the adapter: %v", err)
	}
	deadline := time.Now().Add(bound)
	for s.connections() > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open after the adapter was closed", s.connections())
		}
		// A connection that was still being made when the adapter was closed is
		// ended by closing it again.
		_ = c.Close()
		time.Sleep(time.Millisecond)
	}
}

// sendBounded sends, and fails the test when the adapter does not come back by
// itself.
func sendBounded(t *testing.T, a channels.Adapter, m channels.Message) channels.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	r := a.Send(ctx, m)
	if ctx.Err() != nil {
		t.Errorf("the send had not ended by itself after %v", bound)
	}
	return r
}

func runContexts(t *testing.T, h Harness) {
	t.Run("a context that has ended sends nothing", func(t *testing.T) {
		s, a := setUp(t, h, patience)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := a.Send(ctx, h.Message(t, s.target, "1-ended-0"))
		wantVerdict(t, r, channels.Retry)
		CheckResult(t, r, h.Private...)
		if n := len(s.seen()); n != 0 {
			t.Errorf("the provider saw %d requests", n)
		}
	})
	t.Run("a context that ends while the provider thinks leaves the outcome unknown", func(t *testing.T) {
		s, a := setUp(t, h, patience)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.does(func(w http.ResponseWriter, r *http.Request) {
			cancel()
			s.silent(w, r)
		})
		start := time.Now()
		r := a.Send(ctx, h.Message(t, s.target, "1-midway-0"))
		wantVerdict(t, r, channels.Unknown)
		CheckResult(t, r, h.Private...)
		if took := time.Since(start); took > bound {
			t.Errorf("the send took %v to notice", took)
		}
	})
}

func runStableID(t *testing.T, h Harness) {
	if h.ID == nil {
		t.Skip("the protocol carries no id")
	}
	s, a := setUp(t, h, patience)
	failing := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	s.does(failing, cut, h.Accept)
	m := h.Message(t, s.target, "1-stable-0")
	for m.Attempt = 1; m.Attempt <= 3; m.Attempt++ {
		sendBounded(t, a, m)
	}
	seen := s.seen()
	if len(seen) != 3 || seen[0] == "" || seen[0] != seen[1] || seen[1] != seen[2] {
		t.Errorf("three attempts carried the ids %q, want one id three times", seen)
	}
}

func runConcurrent(t *testing.T, h Harness) {
	const sends = 64
	s, a := setUp(t, h, patience)
	results := make([]channels.Result, sends)
	var wg sync.WaitGroup
	for i := range sends {
		m := h.Message(t, s.target, fmt.Sprintf("1-concurrent-%d", i))
		wg.Go(func() { results[i] = a.Send(t.Context(), m) })
	}
	wg.Wait()
	for _, r := range results {
		wantVerdict(t, r, channels.Sent)
		CheckResult(t, r, h.Private...)
	}
	seen := s.seen()
	if len(seen) != sends {
		t.Errorf("the provider saw %d requests, want %d", len(seen), sends)
	}
	slices.Sort(seen)
	if h.ID != nil && len(slices.Compact(seen)) != sends {
		t.Errorf("the provider saw %d ids, want %d", len(slices.Compact(seen)), sends)
	}
}
