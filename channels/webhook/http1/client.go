// Package http1 exchanges one request for one answer over kept HTTP/1.1
// connections, in the goroutine that asks. net/http hands every request to a
// writing and every answer to a reading goroutine, which allows what a webhook
// never does (an answer before the request is written, upgrades, bodies that
// are streamed) and costs two switches a request. Here the caller knows exactly
// whether a byte of its request left.
//
// The wire format of answers is read by http.ReadResponse; requests come as the
// bytes to send.
package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"
)

// ErrTooLarge is an answer whose status line and headers, with those of the
// informational answers before it, are over Options.MaxHead, or that is
// preceded by too many informational answers. The receiver acted on the
// request or not; its answer was not read.
var ErrTooLarge = errors.New("the answer's headers are too large")

// ErrMalformed is an answer that is not HTTP/1.
var ErrMalformed = errors.New("the answer is not HTTP/1")

// ErrClosed is what Do returns after Close. Nothing was sent.
var ErrClosed = errors.New("the client is closed")

// Failure is an exchange without an answer.
type Failure struct {
	// Wrote is whether a byte of the request left: the receiver may have acted
	// on it. When it is false the request was not sent.
	Wrote bool
	// Err is context.Canceled or context.DeadlineExceeded when the context
	// ended, ErrTooLarge, ErrMalformed, or what the dialer, TLS or the socket
	// said. It may quote the receiver.
	Err error
}

// Error says whether anything was sent.
func (f *Failure) Error() string {
	if f.Wrote {
		return fmt.Sprintf("after the request was written: %v", f.Err)
	}
	return fmt.Sprintf("before the request was written: %v", f.Err)
}

// Unwrap is Err.
func (f *Failure) Unwrap() error { return f.Err }

// Target is who a request goes to. Connections are shared by equal targets.
type Target struct {
	Address string      // "host:port"
	Name    string      // the name that the certificate must be for; unused without TLS
	TLS     *tls.Config // nil: no TLS. Its pointer is its identity; ServerName and NextProtos are set on a copy
}

// Answer is what a receiver answered.
type Answer struct {
	Status int
	Header http.Header
	// Body is the beginning of the body, as it came over the wire, no longer
	// than the exchange asked for. What is cut off in the middle is no error.
	Body []byte
}

// Options are the bounds of a client. Every field is needed.
type Options struct {
	// Dial connects to a "host:port".
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// HandshakeTime is the longest that a TLS handshake may take.
	HandshakeTime time.Duration
	// MaxHead bounds the headers of an answer, in bytes.
	MaxHead int64
	// MaxBody is how much of a body is read, in bytes, so that the connection
	// can serve the next request; after a longer one it is closed instead.
	MaxBody int64
	// BodyTime is how long a body may take to come after the headers; past it
	// the connection is closed. The answer stands.
	BodyTime time.Duration
	// IdleTime is how long a connection is kept without use. A receiver that
	// says how long it keeps its own (Keep-Alive: timeout=5) is left sooner.
	IdleTime time.Duration
	// MaxAge is how long a connection is used at all, so that a name which
	// moved is followed.
	MaxAge time.Duration
	// IdlePerTarget and Idle are the most connections kept for one target, and
	// for all together.
	IdlePerTarget, Idle int
}

// Client exchanges requests for answers. It is safe for concurrent use.
type Client struct {
	o    Options
	kept *pool
}

// New makes a client. It starts no goroutine.
func New(o Options) *Client {
	return &Client{o: o, kept: newPool(o)}
}

// Close closes the kept connections, and those in use when their exchange
// ends. Nothing is sent after it.
func (c *Client) Close() { c.kept.close() }

// Do sends request, the whole of it from the request line to the last byte of
// the body, and reads the answer and at most keep bytes of its body. It ends at
// deadline, or when ctx does. A request goes out twice only when not one byte
// of it left on a kept connection that turned out to be closed. The error is a
// *Failure.
func (c *Client) Do(ctx context.Context, deadline time.Time, t Target, request []byte, keep int) (Answer, error) {
	if err := ctx.Err(); err != nil {
		return Answer{}, &Failure{Err: err}
	}
	if kept := c.kept.take(t, deadline); kept != nil {
		answer, err := c.exchange(ctx, deadline, kept, request, keep)
		if err == nil || !closedUnder(err) {
			return answer, err
		}
	}
	fresh, err := c.connect(ctx, deadline, t)
	if err != nil {
		return Answer{}, &Failure{Err: err}
	}
	return c.exchange(ctx, deadline, fresh, request, keep)
}

// closedUnder reports whether an exchange on a kept connection failed because
// its receiver had closed it, before anything was sent.
func closedUnder(err error) bool {
	var f *Failure
	return errors.As(err, &f) && !f.Wrote &&
		(errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed))
}

// exchange makes one exchange on a connection, and keeps or closes it.
func (c *Client) exchange(ctx context.Context, deadline time.Time, on *conn, request []byte, keep int) (Answer, error) {
	stop := func() bool { return true }
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, on.abort)
	}
	answer, reusable, err := on.exchange(&c.o, deadline, request, keep)
	// When abort has begun its deadline would meet the next request.
	if !stop() || err != nil || !reusable {
		on.close()
	} else {
		c.kept.put(on)
	}
	if err != nil {
		if ended := ctx.Err(); ended != nil {
			err.Err = ended
		}
		return Answer{}, err
	}
	return answer, nil
}

func (c *Client) connect(ctx context.Context, deadline time.Time, t Target) (*conn, error) {
	if c.kept.isClosed() {
		return nil, ErrClosed
	}
	dialing, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	socket, err := c.o.Dial(dialing, "tcp", t.Address)
	if err != nil {
		return nil, orEnded(ctx, err)
	}
	made := newConn(socket, t, time.Now(), c.o.MaxAge)
	if t.TLS != nil {
		if err := made.handshake(dialing, c.o.HandshakeTime); err != nil {
			made.close()
			return nil, orEnded(ctx, err)
		}
	}
	if err := made.Conn.SetDeadline(deadline); err != nil {
		made.close()
		return nil, fmt.Errorf("set a connection's deadline: %w", err)
	}
	return made, nil
}

// orEnded is the context's error when it has ended, since that is why.
func orEnded(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	return err
}
