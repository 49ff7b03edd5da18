package apns

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/carillonhq/carillon/channels"
	"golang.org/x/net/http2"
)

const (
	// maxAnswer is how much of an answer's body is read, in bytes. Apple's are
	// under 100; a proxy's error page may be anything.
	maxAnswer = 16 << 10
	// maxTries is on how many connections a request is tried that servers
	// give back unprocessed.
	maxTries = 4
)

// errRefused is a request that the server gave back, each time, unprocessed.
var errRefused = errors.New("the server gave the request back unprocessed")

// exchange is the transport of one push. It keeps what the client library
// throws away: the headers, the body when it is not JSON, and whether
// anything was written.
type exchange struct {
	pool   *pool
	bearer string // empty: the connection's certificate speaks
	now    bool   // the push is for this moment only, which the client library cannot say

	status int // 0: no answer
	header http.Header
	wrote  bool // the server may have acted on the request
}

// RoundTrip sends the request under the exchange's token.
func (e *exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	if e.bearer != "" {
		req.Header.Set("Authorization", "bearer "+e.bearer)
	}
	if e.now {
		req.Header.Set("Apns-Expiration", "0")
	}
	resp, err := e.try(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	resp.Body.Close()
	if err != nil && resp.StatusCode != http.StatusOK {
		e.wrote = false // it was refused, though we do not know why
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	e.status, e.header = resp.StatusCode, resp.Header
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// try sends the request on one connection after the other, as long as they
// give it back unprocessed.
func (e *exchange) try(req *http.Request) (*http.Response, error) {
	for range maxTries {
		resp, err := e.once(req)
		if err == nil || !givenBack(err) {
			return resp, err
		}
		e.wrote = false
		if req.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return nil, errRefused
}

func (e *exchange) once(req *http.Request) (*http.Response, error) {
	l, err := e.pool.take(req.Context())
	if err != nil {
		return nil, err
	}
	ctx, written := channels.TrackWrite(req.Context())
	resp, err := l.conn.RoundTrip(req.WithContext(ctx))
	e.pool.give(l, err == nil, err != nil && lostConnection(err))
	e.wrote = written.Any()
	return resp, err
}

// givenBack reports whether the request was not processed, so that sending it
// again cannot make two: the stream was refused, or the connection takes no
// more (RFC 9113 §8.7).
func givenBack(err error) bool { return refusedStream(err) || lostConnection(err) }

func refusedStream(err error) bool {
	var stream http2.StreamError
	return errors.As(err, &stream) && stream.Code == http2.ErrCodeRefusedStream
}

// lostConnection reports whether the connection ended before it took the
// request: it was closed, or the server's GOAWAY named a stream before it.
// net/http has these errors to itself, so they are known by their words, which
// the tests of given-back requests pin.
func lostConnection(err error) bool {
	words := err.Error()
	return strings.Contains(words, "http2: client conn not usable") ||
		strings.Contains(words, "http2: client conn could not be established") ||
		strings.Contains(words, "http2: Transport received Server's graceful shutdown GOAWAY")
}
