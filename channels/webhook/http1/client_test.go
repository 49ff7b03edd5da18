package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const (
	request = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
	empty   = "HTTP/1.1 204 No Content\r\n\r\n"
)

// server is a receiver that says what a script has: for each connection, for
// each of its requests, one answer; then it hangs up.
type server struct {
	net.Listener
	serving sync.WaitGroup
	conns   atomic.Int32
	seen    atomic.Int32 // requests, read whole
	ended   chan struct{}
}

func serve(t *testing.T, script ...[]string) *server {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t, goleak.IgnoreCurrent()) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: l, ended: make(chan struct{})}
	s.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n := int(s.conns.Add(1)) - 1
			s.serving.Go(func() { s.converse(conn, script[min(n, len(script)-1)]) })
		}
	})
	t.Cleanup(func() {
		close(s.ended)
		l.Close()
		s.serving.Wait()
	})
	return s
}

func (s *server) converse(conn net.Conn, answers []string) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for _, answer := range answers {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		s.seen.Add(1)
		said, hangs := strings.CutSuffix(answer, "…")
		if _, err := io.WriteString(conn, said); err != nil {
			return
		}
		if hangs {
			<-s.ended
			return
		}
	}
}

func (s *server) target() Target { return Target{Address: s.Addr().String()} }

func options() Options {
	return Options{
		Dial:          (&net.Dialer{}).DialContext,
		HandshakeTime: 5 * time.Second,
		MaxHead:       8 << 10,
		MaxBody:       1 << 10,
		BodyTime:      100 * time.Millisecond,
		IdleTime:      time.Minute,
		MaxAge:        time.Hour,
		IdlePerTarget: 4,
		Idle:          8,
	}
}

func client(t *testing.T, set func(*Options)) *Client {
	t.Helper()
	o := options()
	if set != nil {
		set(&o)
	}
	c := New(o)
	t.Cleanup(c.Close)
	return c
}

func soon() time.Time { return time.Now().Add(20 * time.Second) }

func do(t *testing.T, c *Client, s *server) (Answer, error) {
	t.Helper()
	return c.Do(t.Context(), soon(), s.target(), []byte(request), 64)
}

func mustDo(t *testing.T, c *Client, s *server, status int) Answer {
	t.Helper()
	a, err := do(t, c, s)
	if err != nil || a.Status != status {
		t.Fatalf("got %d, %v; want %d", a.Status, err, status)
	}
	return a
}

func TestWhatIsMadeOfAnAnswer(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		status       int
		body         string
		conns        int32 // for two requests: 1 when the connection served both
	}{
		{"no body keeps the connection", empty, 204, "", 1},
		{"a length is read to its end", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", 1},
		{"an empty length", "HTTP/1.1 500 Sorry\r\nContent-Length: 0\r\n\r\n", 500, "", 1},
		{"chunks are read to their end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", 200, "hello", 1},
		{"chunks past what is kept are read to their end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" + strings.Repeat("x", 100) + "\r\n0\r\n\r\n", 200, strings.Repeat("x", 64), 1},
		{"a body as long as may be read", "HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024), 200, strings.Repeat("x", 64), 1},
		{"a longer body costs the connection", "HTTP/1.1 200 OK\r\nContent-Length: 1025\r\n\r\n" + strings.Repeat("x", 1025), 200, strings.Repeat("x", 64), 2},
		{"a body until the end costs the connection", "HTTP/1.1 200 OK\r\n\r\nhello", 200, "hello", 2},
		{"HTTP/1.0 costs the connection", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", 2},
		{"Connection: close is obeyed", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n…", 200, "", 2},
		{"Keep-Alive with no time left is obeyed", "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1, max=100\r\nContent-Length: 0\r\n\r\n", 200, "", 2},
		{"Keep-Alive with time left", "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=60\r\nContent-Length: 0\r\n\r\n", 200, "", 1},
		{"informational answers are skipped", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", maxInterim-1) + empty, 204, "", 1},
		{"another protocol is an answer, and the connection's end", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxx…", 101, "", 2},
		{"a body that is cut leaves the status", "HTTP/1.1 503 No\r\nContent-Length: 50\r\n\r\nhel", 503, "hel", 2},
		{"a body that drips leaves the status", "HTTP/1.1 503 No\r\nContent-Length: 50\r\n\r\nhel…", 503, "hel", 2},
		{"chunks that are none leave the status", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n…", 200, "", 2},
		{"more than the answer costs the connection", empty + "HTTP/1.1 200 OK\r\n\r\n…", 204, "", 2},
		{"a packed body stays packed", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00", 200, "\x1f\x8b\x08\x00", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, []string{c.answer, c.answer})
			client := client(t, nil)
			for range 2 {
				if a := mustDo(t, client, s, c.status); string(a.Body) != c.body {
					t.Errorf("body %q, want %q", a.Body, c.body)
				}
			}
			if got := s.conns.Load(); got != c.conns {
				t.Errorf("%d connections, want %d", got, c.conns)
			}
		})
	}
}

func TestWhatIsNoAnswer(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		want         error
	}{
		{"headers that never end", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: "+strings.Repeat("y", 1000)+"\r\n", 1000) + "…", ErrTooLarge},
		{"one line that never ends", "HTTP/1.1 200 " + strings.Repeat("y", 1<<20) + "…", ErrTooLarge},
		{"informational answers without end", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", maxInterim) + empty, ErrTooLarge},
		{"another protocol", "220 mail.example ESMTP\r\n\r\n", ErrMalformed},
		{"HTTP/2 without being asked", "HTTP/2.0 200 OK\r\n\r\n", ErrMalformed},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", ErrMalformed},
		{"a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", ErrMalformed},
		{"nothing", "", io.ErrUnexpectedEOF},
		{"half a status line", "HTTP/1.1 20", ErrMalformed},
		{"half the headers", "HTTP/1.1 200 OK\r\nContent-Le", ErrMalformed},
		{"headers without their end", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, []string{c.answer})
			_, err := do(t, client(t, nil), s)
			var f *Failure
			if !errors.Is(err, c.want) || !errors.As(err, &f) || !f.Wrote {
				t.Errorf("got %v, want %v after the request was written", err, c.want)
			}
			if n := s.seen.Load(); n != 1 {
				t.Errorf("the request arrived %d times, want once", n)
			}
		})
	}
}

func TestAContextEndsAnExchangeAnywhere(t *testing.T) {
	t.Run("before it begins", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s := serve(t, []string{empty})
		_, err := client(t, nil).Do(ctx, soon(), s.target(), []byte(request), 0)
		wantFailure(t, err, context.Canceled, false)
		if s.conns.Load() != 0 {
			t.Error("a connection was made")
		}
	})
	t.Run("while connecting", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := client(t, func(o *Options) {
			o.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				cancel()
				<-ctx.Done()
				return nil, ctx.Err()
			}
		})
		_, err := c.Do(ctx, soon(), Target{Address: "h:1"}, []byte(request), 0)
		wantFailure(t, err, context.Canceled, false)
	})
	t.Run("while the receiver thinks", func(t *testing.T) {
		s := serve(t, []string{"…"})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for s.seen.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		_, err := client(t, nil).Do(ctx, soon(), s.target(), []byte(request), 0)
		wantFailure(t, err, context.Canceled, true)
	})
	t.Run("by the deadline", func(t *testing.T) {
		s := serve(t, []string{"…"})
		_, err := client(t, nil).Do(t.Context(), time.Now().Add(200*time.Millisecond), s.target(), []byte(request), 0)
		var netErr net.Error
		if !errors.As(err, &netErr) || !netErr.Timeout() {
			t.Errorf("got %v, want a timeout", err)
		}
	})
	t.Run("a context that ends afterwards harms no later exchange", func(t *testing.T) {
		s := serve(t, []string{empty, empty})
		c := client(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := c.Do(ctx, soon(), s.target(), []byte(request), 0); err != nil {
			t.Fatal(err)
		}
		cancel()
		mustDo(t, c, s, 204)
		if s.conns.Load() != 1 {
			t.Error("the connection was not used again")
		}
	})
}

func wantFailure(t *testing.T, err, want error, wrote bool) {
	t.Helper()
	var f *Failure
	if !errors.Is(err, want) || !errors.As(err, &f) || f.Wrote != wrote {
		t.Errorf("got %v, want %v, written %v", err, want, wrote)
	}
}

// TestAConnectionThatWasClosedWhileIdleIsNotUsed waits until the end has
// arrived here, which is when the look can see it.
func TestAConnectionThatWasClosedWhileIdleIsNotUsed(t *testing.T) {
	s := serve(t, []string{empty}) // each connection serves one request, and is closed
	c := client(t, nil)
	for range 3 {
		mustDo(t, c, s, 204)
		waitFor(t, "the end to arrive", func() bool {
			c.kept.mu.Lock()
			defer c.kept.mu.Unlock()
			return c.kept.newest == nil || !c.kept.newest.quiet()
		})
	}
	if s.seen.Load() != 3 || s.conns.Load() != 3 {
		t.Errorf("%d requests over %d connections, want 3 over 3", s.seen.Load(), s.conns.Load())
	}
}

// failing is a socket whose next write fails before a byte of it left.
type failing struct {
	net.Conn
	err   error
	fails *atomic.Bool
}

func (f failing) Write(p []byte) (int, error) {
	if f.fails.Load() {
		return 0, &net.OpError{Op: "write", Err: f.err}
	}
	return f.Conn.Write(p)
}

func TestARequestIsSentAgainOnlyWhenNothingOfItLeft(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		again bool
	}{
		{"a kept connection that is broken", syscall.EPIPE, true},
		{"a kept connection that was reset", syscall.ECONNRESET, true},
		{"any other error", syscall.EIO, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, []string{empty, empty})
			var fails atomic.Bool
			dials := 0
			client := client(t, func(o *Options) {
				o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
					if dials++; dials == 1 && err == nil {
						conn = failing{conn, c.err, &fails}
					}
					return conn, err
				}
			})
			mustDo(t, client, s, 204)
			fails.Store(true)
			_, err := do(t, client, s)
			if (err == nil) != c.again {
				t.Errorf("got %v", err)
			}
			if err != nil {
				wantFailure(t, err, c.err, false)
			}
		})
	}
}

func TestAnAnswerBeforeTheWholeRequestIsHeard(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t, goleak.IgnoreCurrent()) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan struct{})
	var serving sync.WaitGroup
	defer serving.Wait()
	defer close(ended)
	serving.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.ReadFull(conn, make([]byte, 100))
		_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
		<-ended // without reading the rest
	})
	c := client(t, nil)
	large := "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 33554432\r\n\r\n" + strings.Repeat("x", 32<<20)
	a, err := c.Do(t.Context(), time.Now().Add(time.Second), Target{Address: l.Addr().String()}, []byte(large), 0)
	if err != nil || a.Status != 413 {
		t.Errorf("got %d, %v; want 413", a.Status, err)
	}
}

func TestThePoolIsBounded(t *testing.T) {
	p := newPool(Options{IdlePerTarget: 2, Idle: 3})
	var made []*conn
	put := func(target string) *conn {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close(); theirs.Close() })
		c := newConn(ours, Target{Address: target}, time.Now(), time.Hour)
		c.limit = time.Hour
		p.put(c)
		made = append(made, c)
		return c
	}
	open := func(c *conn) bool { return c.Conn.SetDeadline(time.Time{}) == nil }
	a1, a2, a3 := put("a"), put("a"), put("a")
	if !open(a1) || !open(a2) || open(a3) {
		t.Error("of three to one target not the first two were kept")
	}
	b, d := put("b"), put("d")
	if open(a1) || !open(a2) || !open(b) || !open(d) || p.count != 3 {
		t.Errorf("%d kept, and not those used last", p.count)
	}
	if got := p.take(Target{Address: "a"}, soon()); got != a2 {
		t.Error("the kept connection was not given")
	}
	if p.take(Target{Address: "a"}, soon()) != nil || p.take(Target{Address: "x"}, soon()) != nil {
		t.Error("a connection that is not there was given")
	}
	p.close()
	if open(b) || open(d) || len(p.targets) != 0 || p.count != 0 {
		t.Error("closing left something open")
	}
	if late := put("e"); open(late) {
		t.Error("a closed pool kept a connection")
	}
}

func TestWhatIsOldIsClosed(t *testing.T) {
	s := serve(t, []string{empty, empty})
	c := client(t, func(o *Options) { o.IdleTime = 20 * time.Millisecond })
	mustDo(t, c, s, 204)
	waitFor(t, "the idle connection to be closed", func() bool {
		c.kept.mu.Lock()
		defer c.kept.mu.Unlock()
		return c.kept.count == 0 && c.kept.reaper == nil
	})
	mustDo(t, c, s, 204)
	if s.conns.Load() != 2 {
		t.Errorf("%d connections, want 2", s.conns.Load())
	}
}

func TestAfterCloseNothingIsSent(t *testing.T) {
	s := serve(t, []string{empty, empty})
	c := client(t, nil)
	mustDo(t, c, s, 204)
	c.Close()
	_, err := do(t, c, s)
	wantFailure(t, err, ErrClosed, false)
	if s.seen.Load() != 1 {
		t.Error("a request was sent")
	}
}

func TestManyAtOnce(t *testing.T) {
	answers := make([]string, 1000)
	for i := range answers {
		answers[i] = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", i%50, strings.Repeat("x", i%50))
	}
	s := serve(t, answers)
	c := client(t, nil)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				if a, err := do(t, c, s); err != nil || a.Status != 200 {
					t.Errorf("got %d, %v", a.Status, err)
				}
			}
		})
	}
	wg.Wait()
	if s.seen.Load() != 800 {
		t.Errorf("%d requests arrived, want 800", s.seen.Load())
	}
}

// FuzzAnswer holds every answer to the bounds, whatever it says.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(empty))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\nX: y\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
	o := options()
	f.Fuzz(func(t *testing.T, answer []byte) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			defer theirs.Close()
			_, _ = io.ReadFull(theirs, make([]byte, len(request)))
			_, _ = theirs.Write(answer)
		}()
		c := newConn(ours, Target{}, time.Now(), time.Hour)
		a, reusable, err := c.exchange(&o, soon(), []byte(request), 16)
		if err == nil && (a.Status < 101 || a.Status > 999 || len(a.Body) > 16) {
			t.Errorf("status %d with %d bytes of body", a.Status, len(a.Body))
		}
		if err != nil && reusable {
			t.Error("a connection is used again after a failure")
		}
	})
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
