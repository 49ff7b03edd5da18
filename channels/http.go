package channels

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// RetryAfter reads the Retry-After header, as seconds or as a date (RFC 9110
// §10.2.3). It is 0 when the header is absent, unreadable or in the past.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(v, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// Written tells whether a request reached the wire, which decides whether a
// failure may be retried freely or leaves the outcome unknown.
type Written struct{ any atomic.Bool }

// TrackWrite returns a context to make a request with, and what will tell
// whether any of the request was written.
func TrackWrite(ctx context.Context) (context.Context, *Written) {
	w := &Written{}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// Set at the headers, before the body: a provider may act on a
		// request whose last byte we failed to write.
		WroteHeaders: func() { w.any.Store(true) },
	}), w
}

// Any reports whether any of the request was written.
func (w *Written) Any() bool { return w.any.Load() }

// TransportFailure classifies a request that got no answer: Retry when nothing
// was written, Unknown when the provider may have acted on it. The result's
// Err holds no URL, since a URL may hold a token.
func TransportFailure(err error, wrote bool) Result {
	verdict := Retry
	if wrote {
		verdict = Unknown
	}
	code, words := describeTransport(err)
	return Result{Verdict: verdict, Code: code, Err: errors.New(words)}
}

// Unreached reports whether a result says that its destination could not be
// reached, or did not answer in time: the codes of TransportFailure but those
// of a connection that was there and broke.
func (r Result) Unreached() bool {
	switch r.Code {
	case "timeout", "dns", "connect", "tls":
		return true
	}
	return false
}

// Overloaded reports whether a result says that its provider has too much to do:
// it asks for less, or is unavailable (502, 503, 504), whatever its own words
// for that are. One address that gets too much does not make it so.
func (r Result) Overloaded() bool {
	switch r.Code {
	case "502", "503", "504", "ServiceUnavailable", "UNAVAILABLE":
		return true
	}
	return r.Verdict == Throttled && r.Scope != ScopeDevice && !r.Unsent
}

// BrokenOff reports whether a result says nothing of its destination, since the
// send was canceled.
func (r Result) BrokenOff() bool { return r.Code == "canceled" }

// describeTransport names a transport error without the address it was for.
func describeTransport(err error) (code, words string) {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	var dnsErr *net.DNSError
	var opErr *net.OpError
	var netErr net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled", "the send was canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "timeout", "no answer within the timeout"
	case errors.As(err, &dnsErr):
		return "dns", "the host's name could not be resolved"
	case errors.As(err, &opErr) && opErr.Op == "dial":
		return "connect", fmt.Sprintf("could not connect: %v", opErr.Err)
	case strings.Contains(err.Error(), "tls:"), strings.Contains(err.Error(), "x509:"):
		return "tls", fmt.Sprintf("TLS failed: %v", err)
	}
	return "connection", "the connection failed before an answer was read"
}
