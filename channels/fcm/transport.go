package fcm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"cloud.google.com/go/auth"
	"github.com/carillonhq/carillon/channels"
	"golang.org/x/oauth2"
)

const (
	// maxAnswer is how much of an answer's body is read, in bytes.
	maxAnswer = 64 << 10
	// statusStop is what the client library sees in place of an outcome that
	// it would retry by itself: a network error or a 503.
	statusStop = 599
)

// exchange is what happened on the wire for one Send.
type exchange struct {
	status int // 0: no answer
	header http.Header
	body   []byte
	err    error // why there was no answer
	wrote  bool  // the service may have acted on the request
}

type exchangeKey struct{}

// once is the outermost transport. The client library sends a request up to
// five times when the network fails or the answer is a 503, and gives no way
// to turn that off: a lost answer would be sent again behind the queue's back.
// So it sees neither.
type once struct{ next http.RoundTripper }

// RoundTrip never fails.
func (t once) RoundTrip(req *http.Request) (*http.Response, error) {
	x, _ := req.Context().Value(exchangeKey{}).(*exchange)
	if x == nil {
		return nil, errors.New("a request without an exchange")
	}
	x.read(t.next.RoundTrip(req))
	status := x.status
	if status == 0 || status == http.StatusServiceUnavailable {
		status = statusStop
	}
	return &http.Response{
		Status: strconv.Itoa(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: x.header, Body: io.NopCloser(bytes.NewReader(x.body)),
		ContentLength: int64(len(x.body)), Request: req,
	}, nil
}

// read takes the whole answer, since the library would retry when a body
// breaks off.
func (x *exchange) read(resp *http.Response, err error) {
	x.header = http.Header{}
	if err != nil {
		x.err = err
		return
	}
	x.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	resp.Body.Close()
	if err != nil {
		x.err, x.body = fmt.Errorf("reading the answer: %w", err), nil
		return
	}
	x.status, x.header = resp.StatusCode, resp.Header
}

// wire is the innermost transport. It watches the request to the messaging
// service and not the one for an access token, which the layer above makes
// under the same context.
type wire struct{ next http.RoundTripper }

// RoundTrip notes whether anything was written.
func (t wire) RoundTrip(req *http.Request) (*http.Response, error) {
	x, _ := req.Context().Value(exchangeKey{}).(*exchange)
	if x == nil {
		return t.next.RoundTrip(req)
	}
	ctx, written := channels.TrackWrite(req.Context())
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	x.wrote = written.Any()
	return resp, err
}

// failure classifies a Send that got no answer.
func (x *exchange) failure() channels.Result {
	if status := tokenRefused(x.err); status != 0 {
		return channels.Result{
			Verdict: channels.Broken, Code: "token",
			Err: fmt.Errorf("no access token: the token service answered %d: check fcm.credentials", status),
		}
	}
	return channels.TransportFailure(x.err, x.wrote)
}

// tokenRefused is the status with which the token service refused the
// credentials; 0 when that is not what happened.
func tokenRefused(err error) int {
	var resp *http.Response
	var google *auth.Error
	var oauth *oauth2.RetrieveError
	switch {
	case errors.As(err, &google):
		resp = google.Response
	case errors.As(err, &oauth):
		resp = oauth.Response
	}
	if resp == nil || resp.StatusCode < 400 || resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		return 0
	}
	return resp.StatusCode
}

// watch returns a context under which a Send is recorded in the exchange.
func watch(ctx context.Context) (context.Context, *exchange) {
	x := &exchange{}
	return context.WithValue(ctx, exchangeKey{}, x), x
}
