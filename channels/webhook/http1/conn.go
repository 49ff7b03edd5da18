package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// bufferSize is what one read of an answer takes; a usual answer fits.
	bufferSize = 4 << 10
	// maxInterim is how many informational answers (1xx) may come before the
	// final one.
	maxInterim = 8
	// lastWords is how long an answer is waited for when the request could not
	// be written to its end: a receiver that refuses a large body answers
	// before it has read all of it, and hangs up.
	lastWords = 100 * time.Millisecond
)

// conn is one connection, used by one exchange at a time.
type conn struct {
	net.Conn // the socket, or TLS over it
	target   Target
	socket   syscall.RawConn // for the look at an idle connection; nil when there is none
	peeked   [1]byte         // what that look finds
	in       *bufio.Reader
	source   bounded // what in reads from
	abort    func()  // ends whatever waits for the connection

	dies  time.Time // when it is too old to be used again
	limit time.Duration
	ends  time.Time // while kept: when it is closed

	older, newer *conn // in the pool's order
}

func newConn(socket net.Conn, t Target, now time.Time, maxAge time.Duration) *conn {
	c := &conn{Conn: socket, target: t, dies: now.Add(maxAge)}
	if s, ok := socket.(syscall.Conn); ok {
		c.socket, _ = s.SyscallConn() // without one the look is left out
	}
	c.source.r = socket
	c.in = bufio.NewReaderSize(&c.source, bufferSize)
	c.abort = func() { _ = c.Conn.SetDeadline(time.Unix(1, 0)) }
	return c
}

// handshake puts TLS over the socket. HTTP/1.1 is the only protocol offered.
func (c *conn) handshake(ctx context.Context, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	settings := c.target.TLS.Clone()
	settings.ServerName = c.target.Name
	settings.NextProtos = []string{"http/1.1"}
	secured := tls.Client(c.Conn, settings)
	if err := secured.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("tls: handshake: %w", err)
	}
	c.Conn, c.source.r = secured, secured
	return nil
}

func (c *conn) close() { _ = c.Conn.Close() }

// exchange writes a request and reads its answer. reusable is whether the
// connection may serve another.
func (c *conn) exchange(o *Options, deadline time.Time, request []byte, keep int) (a Answer, reusable bool, failed *Failure) {
	c.source.left = o.MaxHead
	if n, err := c.Conn.Write(request); err != nil {
		if n > 0 && c.answeredEarly(&a) {
			return a, false, nil
		}
		return a, false, &Failure{Wrote: n > 0, Err: err}
	}
	res, err := c.readHead()
	if err != nil {
		return a, false, &Failure{Wrote: true, Err: err}
	}
	a.Status, a.Header = res.StatusCode, res.Header
	whole := c.readBody(o, deadline, res, keep, &a)
	c.limit = keepAlive(res.Header, o.IdleTime)
	return a, whole && !res.Close && res.StatusCode != http.StatusSwitchingProtocols && c.in.Buffered() == 0, nil
}

// answeredEarly reads the answer of a receiver that hung up before it had read
// the whole request.
func (c *conn) answeredEarly(a *Answer) bool {
	if c.Conn.SetReadDeadline(time.Now().Add(lastWords)) != nil {
		return false
	}
	res, err := c.readHead()
	if err != nil {
		return false
	}
	a.Status, a.Header = res.StatusCode, res.Header
	return true
}

// readHead reads the final answer's headers, past the informational ones (RFC
// 9110 §15.2).
func (c *conn) readHead() (*http.Response, error) {
	for range maxInterim {
		res, err := http.ReadResponse(c.in, nil)
		if err != nil {
			return nil, readFault(err)
		}
		if res.ProtoMajor != 1 {
			return nil, fmt.Errorf("%w: it says %.20q", ErrMalformed, res.Proto)
		}
		if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			return res, nil
		}
	}
	return nil, ErrTooLarge
}

// readFault tells a socket's error from words that are no HTTP.
func readFault(err error) error {
	var netErr net.Error
	if errors.Is(err, ErrTooLarge) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &netErr) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// readBody reads the body to its end, unless that is too far or too slow, and
// reports whether it got there. What goes wrong in a body changes nothing: the
// status is the answer.
func (c *conn) readBody(o *Options, deadline time.Time, res *http.Response, keep int, a *Answer) bool {
	if res.Body == http.NoBody || res.StatusCode == http.StatusSwitchingProtocols {
		return true
	}
	if res.ContentLength < 0 || res.ContentLength > int64(c.in.Buffered()) {
		by := time.Now().Add(o.BodyTime)
		if by.After(deadline) {
			by = deadline
		}
		if c.Conn.SetReadDeadline(by) != nil {
			return false
		}
	}
	// The frames of a chunked body count as well, and are not endless either.
	c.source.left = o.MaxBody + o.MaxHead
	if keep > 0 {
		body, err := readUpTo(res.Body, keep)
		if a.Body = body; err != nil {
			return errors.Is(err, io.EOF)
		}
	}
	if res.ContentLength > o.MaxBody {
		return false
	}
	// One byte more than may be read tells whether it ended.
	n, err := io.Copy(io.Discard, io.LimitReader(res.Body, o.MaxBody+1))
	return err == nil && n <= o.MaxBody
}

// readUpTo reads most bytes, or until the error that ends a body sooner.
func readUpTo(r io.Reader, most int) ([]byte, error) {
	b := make([]byte, most)
	n := 0
	for n < most {
		got, err := r.Read(b[n:])
		if n += got; err != nil {
			return b[:n], err
		}
	}
	return b, nil
}

// keepAlive is how long a connection may be kept: a second less than the
// receiver says that it will (RFC 2068 §19.7.1.1, which many still send), and
// never longer than most. 0 or less is not at all.
func keepAlive(h http.Header, most time.Duration) time.Duration {
	for _, field := range h["Keep-Alive"] {
		for part := range strings.SplitSeq(field, ",") {
			value, ok := strings.CutPrefix(strings.TrimSpace(part), "timeout=")
			if seconds, err := strconv.ParseUint(value, 10, 16); ok && err == nil {
				return min(most, time.Duration(seconds)*time.Second-time.Second)
			}
		}
	}
	return most
}

// bounded is a reader with a budget, so that an answer's headers cannot fill
// the memory.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, ErrTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}
