package channels

import (
	"context"
	"errors"
	"net"
	"testing"
)

func TestWhatAResultSaysOfItsDestination(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for name, tc := range map[string]struct {
		result               Result
		unreached, brokenOff bool
	}{
		"a refused connection":  {TransportFailure(refused, false), true, false},
		"a name without a host": {TransportFailure(&net.DNSError{Err: "no such host"}, false), true, false},
		"no answer in time":     {TransportFailure(context.DeadlineExceeded, true), true, false},
		"a handshake's failure": {TransportFailure(errors.New("tls: bad certificate"), false), true, false},
		"a lost connection":     {TransportFailure(errors.New("EOF"), true), false, false},
		"a canceled send":       {TransportFailure(context.Canceled, true), false, true},
		"an answer":             {Result{Verdict: Retry, Code: "500"}, false, false},
	} {
		if u, b := tc.result.Unreached(), tc.result.BrokenOff(); u != tc.unreached || b != tc.brokenOff {
			t.Errorf("%s: unreached %v, broken off %v", name, u, b)
		}
	}
}
