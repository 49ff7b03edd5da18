package channelstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
)

const token = "device-token-4711"

// fake is the smallest adapter that keeps every promise, and one that breaks
// a single promise for each fault.
type fake struct {
	client  *http.Client
	timeout time.Duration
	fault   string
}

func newFake(at Target, fault string) *fake {
	f := &fake{client: &http.Client{Transport: &http.Transport{}}, timeout: at.Timeout, fault: fault}
	f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	switch fault {
	case "follows redirects":
		f.client.CheckRedirect = nil
	case "leaks":
		go func() { select {} }()
	case "waits for ever":
		f.timeout = time.Hour
	}
	return f
}

func (f *fake) Channel() notice.Channel { return notice.ChannelFCM }

func (f *fake) Close() error {
	if f.fault == "keeps its sockets" {
		return nil
	}
	f.client.CloseIdleConnections()
	return nil
}

func (f *fake) Send(ctx context.Context, m channels.Message) channels.Result {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	ctx, written := channels.TrackWrite(ctx)
	id := m.ID
	if f.fault == "changes the id" {
		id = fmt.Sprint(id, m.Attempt)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.Address.To, strings.NewReader(id))
	if err != nil {
		return channels.Result{Verdict: channels.Rejected, Code: "invalid", Err: errors.New("no URL")}
	}
	res, err := f.client.Do(req)
	if err != nil {
		return f.failed(err, written.Any())
	}
	defer res.Body.Close()
	return f.answered(res)
}

func (f *fake) failed(err error, written bool) channels.Result {
	switch f.fault {
	case "takes an unknown outcome for a failure":
		written = false
	case "repeats the address":
		return channels.Result{Verdict: channels.TransportFailure(err, written).Verdict, Code: "connection", Err: err}
	}
	return channels.TransportFailure(err, written)
}

func (f *fake) answered(res *http.Response) channels.Result {
	if f.fault == "takes the whole body" {
		_, _ = io.Copy(io.Discard, res.Body)
	}
	if res.StatusCode/100 == 2 || f.fault == "takes everything for success" {
		return channels.Result{Verdict: channels.Sent, Code: "ok"}
	}
	r := channels.Result{Verdict: channels.Retry, Code: fmt.Sprint(res.StatusCode), Err: errors.New("it failed")}
	if f.fault != "ignores Retry-After" {
		r.RetryAfter = channels.RetryAfter(res.Header, time.Now())
	}
	return r
}

func fakeHarness(fault string) Harness {
	return Harness{
		New: func(_ *testing.T, at Target) channels.Adapter { return newFake(at, fault) },
		Message: func(_ *testing.T, at Target, id string) channels.Message {
			return channels.Message{ID: id, Attempt: 1, Address: notice.Address{Channel: notice.ChannelFCM, To: at.URL + "/" + token}}
		},
		Accept: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
		Answers: []Answer{{
			Name: "a failure keeps the provider's wait", Status: 500, Header: http.Header{"Retry-After": {"9"}},
			Want: channels.Result{Verdict: channels.Retry, Code: "500", RetryAfter: 9 * time.Second},
		}},
		ID:      func(_ *http.Request, body []byte) string { return string(body) },
		Private: []string{token},
	}
}

func TestAnAdapterThatKeepsEveryPromisePasses(t *testing.T) { Run(t, fakeHarness("")) }

// faultVariable makes TestTheFaultyAdapter run, in a process of its own.
const faultVariable = "CHANNELSTEST_FAULT"

func TestTheFaultyAdapter(t *testing.T) {
	fault := os.Getenv(faultVariable)
	if fault == "" {
		t.Skip("runs only inside TestTheSuiteCatches")
	}
	Run(t, fakeHarness(fault))
}

func TestTheSuiteCatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ fault, part, in string }{
		{"follows redirects", "faults/a_redirect", "the redirect was followed"},
		{"leaks", "answers", "found unexpected goroutines"},
		{"waits for ever", "faults/no_answer_at_all", "had not ended by itself"},
		{"keeps its sockets", "a_closed_adapter", "are open after the adapter was closed"},
		{"changes the id", "an_id_is", "want one id three times"},
		{"takes an unknown outcome for a failure", "faults/no_answer_at_all", "want one of [unknown]"},
		{"repeats the address", "faults/a_refused", "the result repeats"},
		{"takes the whole body", "faults/a_body_that_never_ends", "MiB of a body that never ends"},
		{"takes everything for success", "answers", "want {Verdict:retry"},
		{"ignores Retry-After", "answers", "RetryAfter 0s, want 9s"},
	} {
		t.Run("an adapter that "+c.fault, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheFaultyAdapter$/^"+c.part, "-test.timeout=60s")
			cmd.Env = append(os.Environ(), faultVariable+"="+c.fault)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.in) {
				t.Errorf("%v; want a failure that says %q in:\n%s", err, c.in, out)
			}
		})
	}
}

func TestWhatNoResultMayBe(t *testing.T) {
	failed := errors.New("it failed")
	for _, c := range []struct {
		name string
		r    channels.Result
		ok   bool
	}{
		{"sent", channels.Result{Verdict: channels.Sent}, true},
		{"a failure with words and a code", channels.Result{Verdict: channels.Retry, Code: "500", Err: failed}, true},
		{"sent with an error", channels.Result{Verdict: channels.Sent, Err: failed}, false},
		{"a failure without words", channels.Result{Verdict: channels.Retry, Code: "500"}, false},
		{"a failure without a code", channels.Result{Verdict: channels.Retry, Err: failed}, false},
		{"a wait in the past", channels.Result{Verdict: channels.Throttled, Code: "429", Err: failed, RetryAfter: -1}, false},
		{"an error that wraps the token", channels.Result{Verdict: channels.Retry, Code: "500", Err: hiding{errors.New(strings.ToUpper(token))}}, false},
		{"the token as a code", channels.Result{Verdict: channels.Retry, Code: token, Err: failed}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := &recorder{TB: t}
			CheckResult(rec, c.r, token)
			if rec.failed == c.ok {
				t.Errorf("passed: %v, want %v", !rec.failed, c.ok)
			}
		})
	}
}

// hiding is an error whose own words are clean.
type hiding struct{ error }

func (hiding) Error() string   { return "it failed" }
func (h hiding) Unwrap() error { return h.error }

// recorder notes failures in place of failing.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }
