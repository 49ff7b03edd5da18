// Package channelstest is the conformance suite of channel adapters: what every
// adapter owes the rest of the gateway, whatever its provider. An adapter's own
// tests hold a Harness and call Run; the suite starts a stand-in for the
// provider on loopback, breaks it in every way it knows, and looks at the
// results.
//
// An adapter that does not speak HTTP fulfils the same promises by
// RunConversation: it brings a stand-in of its own, which gets into each Trouble
// on demand. For SMTP the message is the mail from DATA to the final dot: what
// goes wrong before the dot was written is Retry, since no relay may keep half a
// mail (RFC 5321 §4.1.1.10), and what goes wrong behind it is Unknown. The id is
// the Message-ID, and TLS is STARTTLS that must not be left out.
package channelstest

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
)

const (
	// AdapterTimeout is the timeout of an adapter whose provider will not
	// answer: short enough to wait for.
	AdapterTimeout = 500 * time.Millisecond
	// patience is the timeout of every other adapter: long enough for a busy
	// machine.
	patience = 20 * time.Second
)

// Target is where the stand-in listens, for Harness.New to point an adapter at.
type Target struct {
	URL     string        // "http://127.0.0.1:port", "https://…" when Harness.TLS
	CAFile  string        // PEM of the stand-in's authority when Harness.TLS
	Timeout time.Duration // what to set as the adapter's timeout
}

// Harness is what the suite has to know about one adapter.
type Harness struct {
	// New makes the adapter, sending to at. When it has a Close method, the
	// suite calls it.
	New func(t *testing.T, at Target) channels.Adapter
	// Message makes a message that a healthy provider at `at` would take.
	Message func(t *testing.T, at Target, id string) channels.Message
	// Accept answers as the provider does when it takes a message. The request
	// has been read.
	Accept http.HandlerFunc
	// Answers are the provider's answers and what each means.
	Answers []Answer
	// ID reads the delivery's id out of a request; nil when the protocol
	// carries none.
	ID func(r *http.Request, body []byte) string
	// Private lists what no result may repeat: secrets, tokens, addresses.
	Private []string
	// TLS makes the stand-in speak TLS, and HTTP/2 when HTTP2 is set.
	TLS, HTTP2 bool
	// EndlessBody says what an answer of success whose body never ends may be
	// taken for; Sent when empty.
	EndlessBody []channels.Verdict
	// Background lists functions (as goleak names them) of goroutines that the
	// adapter's libraries keep for the life of the process.
	Background []string
}

// Answer is one answer of a provider, and what the adapter must make of it.
type Answer struct {
	Name   string // a sentence: "an unregistered token is gone"
	Status int
	Header http.Header
	Body   string
	Want   channels.Result // Err is not compared: it must be nil exactly when Sent
	// RetryAfterWithin is how far RetryAfter may be off, where the answer
	// names a date; 0: exact.
	RetryAfterWithin time.Duration
}

// Run puts the adapter through the whole suite.
func Run(t *testing.T, h Harness) {
	t.Run("answers", func(t *testing.T) { runAnswers(t, h) })
	t.Run("faults", func(t *testing.T) { runFaults(t, h) })
	t.Run("contexts", func(t *testing.T) { runContexts(t, h) })
	t.Run("an id is the same on every attempt", func(t *testing.T) { runStableID(t, h) })
	t.Run("a closed adapter leaves no socket", func(t *testing.T) { runNoSocketLeft(t, h) })
	t.Run("64 sends at once each arrive once", func(t *testing.T) { runConcurrent(t, h) })
}

// setUp starts a stand-in and an adapter with the given timeout. When the test
// ends both are closed, and no goroutine that they started may be left.
func setUp(t *testing.T, h Harness, timeout time.Duration) (*standIn, channels.Adapter) {
	t.Helper()
	s := startStandIn(t, h, timeout)
	return s, open(t, h, s.target)
}

// open makes an adapter, and closes it when the test ends.
func open(t *testing.T, h Harness, at Target) channels.Adapter {
	t.Helper()
	a := h.New(t, at)
	if c, ok := a.(interface{ Close() error }); ok {
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Errorf("closing the adapter: %v", err)
			}
		})
	}
	return a
}

// CheckResult reports whatever no adapter's result may be: a Sent with an
// error, a failure without one, a negative wait, or words that repeat anything
// of private.
func CheckResult(t testing.TB, r channels.Result, private ...string) {
	t.Helper()
	if (r.Verdict == channels.Sent) != (r.Err == nil) {
		t.Errorf("verdict %v with error %v: an error is owed exactly when the message was not sent", r.Verdict, r.Err)
	}
	if r.RetryAfter < 0 {
		t.Errorf("RetryAfter is %v", r.RetryAfter)
	}
	if r.Verdict != channels.Sent && r.Code == "" {
		t.Errorf("verdict %v without a code", r.Verdict)
	}
	for _, word := range spoken(r) {
		for _, p := range private {
			if p != "" && containsFold(word, p) {
				t.Errorf("the result repeats %q: %q", p, word)
			}
		}
	}
}

// wantVerdict fails unless the verdict is one of those wanted.
func wantVerdict(t *testing.T, r channels.Result, want ...channels.Verdict) {
	t.Helper()
	if !slices.Contains(want, r.Verdict) {
		t.Errorf("verdict %v (code %q, %v), want one of %v", r.Verdict, r.Code, r.Err, want)
	}
}
