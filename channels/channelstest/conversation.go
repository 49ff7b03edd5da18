package channelstest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
)

// Trouble is what a provider does to an adapter that converses with it, at the
// first message; it is healthy afterwards.
type Trouble string

// The troubles. What may be made of each is the suite's to say.
const (
	Healthy    Trouble = "healthy"
	CutBefore  Trouble = "cut before"  // the connection is closed before any of the message was taken
	CutIn      Trouble = "cut in"      // … in the middle of the message, which so never became one
	CutAfter   Trouble = "cut after"   // … when the whole message was read, before any answer
	Silent     Trouble = "silent"      // the whole message is read, and never answered
	Endless    Trouble = "endless"     // … and answered by words that never end
	Dripping   Trouble = "dripping"    // … and answered a byte at a time, without end
	Garbage    Trouble = "garbage"     // … and answered by words of another protocol
	Fails      Trouble = "fails"       // … and refused for now
	Refused    Trouble = "refused"     // nothing listens
	NoName     Trouble = "no name"     // its name cannot be resolved
	NoTLS      Trouble = "no TLS"      // it cannot encrypt, though it should
	OtherTrust Trouble = "other trust" // its certificate is of an authority that nobody trusts
)

// Provider is a stand-in of a conversation.
type Provider interface {
	Seen() []string   // the ids of the whole messages that were read, as they came
	Connections() int // that are open
	Read() int64      // bytes of endless words that were taken from it
}

// Conversation is what the suite has to know about an adapter whose protocol is
// not HTTP: the stand-in is the adapter's own, the promises are the same.
type Conversation struct {
	// Start makes a provider that gives the trouble named, once for each, in
	// turn, and an adapter for it with the timeout. The test's end ends both.
	Start   func(t *testing.T, timeout time.Duration, troubles ...Trouble) (channels.Adapter, Provider)
	Message func(id string) channels.Message
	Private []string // what no result may repeat
}

// RunConversation puts an adapter of a protocol that is not HTTP through the
// promises that Run has of those that speak it. What has no meaning there is
// left out: answers by status, Retry-After, redirects.
func RunConversation(t *testing.T, c Conversation) {
	t.Run("answers", func(t *testing.T) { c.runTrouble(t, Healthy, channels.Sent) })
	t.Run("faults", c.runFaults)
	t.Run("contexts", c.runContexts)
	t.Run("an id is the same on every attempt", c.runStableID)
	t.Run("a closed adapter leaves no socket", c.runNoSocketLeft)
	t.Run("64 sends at once each arrive once", c.runConcurrent)
}

// start starts both, and sees to it that the test leaves no goroutine.
func (c Conversation) start(t *testing.T, timeout time.Duration, troubles ...Trouble) (channels.Adapter, Provider) {
	t.Helper()
	verifyNoLeak(t, Harness{})
	return c.Start(t, timeout, troubles...)
}

func (c Conversation) runFaults(t *testing.T) {
	for _, f := range []struct {
		name    string
		trouble Trouble
		want    []channels.Verdict
	}{
		{"no answer at all leaves the outcome unknown", Silent, []channels.Verdict{channels.Unknown}},
		{"a connection cut after the message leaves the outcome unknown", CutAfter, []channels.Verdict{channels.Unknown}},
		// What was written may have been read to its end, for all that the adapter can tell.
		{"a connection cut in the message is no success", CutIn, []channels.Verdict{channels.Retry, channels.Unknown}},
		{"a connection cut before the message is tried again", CutBefore, []channels.Verdict{channels.Retry}},
		{"an answer that never ends is not waited for", Endless, []channels.Verdict{channels.Unknown}},
		{"an answer that drips is not waited for", Dripping, []channels.Verdict{channels.Unknown}},
		{"an answer of another protocol leaves the outcome unknown", Garbage, []channels.Verdict{channels.Unknown}},
		{"a failure for now is tried again", Fails, []channels.Verdict{channels.Retry}},
		{"a refused connection is tried again", Refused, []channels.Verdict{channels.Retry}},
		{"a name that cannot be resolved is tried again", NoName, []channels.Verdict{channels.Retry}},
		{"a provider without TLS is told nothing", NoTLS, []channels.Verdict{channels.Retry, channels.Broken}},
		{"a provider with another authority is told nothing", OtherTrust, []channels.Verdict{channels.Retry, channels.Broken}},
	} {
		t.Run(f.name, func(t *testing.T) { c.runTrouble(t, f.trouble, f.want...) })
	}
	t.Run("after a fault the adapter still sends", func(t *testing.T) {
		a, _ := c.start(t, patience, CutAfter)
		sendBounded(t, a, c.Message("1-after-0"))
		wantVerdict(t, sendBounded(t, a, c.Message("1-after-1")), channels.Sent)
	})
}

// runTrouble sends into one trouble. Only what was read whole may have arrived.
func (c Conversation) runTrouble(t *testing.T, trouble Trouble, want ...channels.Verdict) {
	timeout := patience
	if slices.Contains([]Trouble{Silent, Endless, Dripping}, trouble) {
		timeout = AdapterTimeout
	}
	a, p := c.start(t, timeout, trouble)
	r := sendBounded(t, a, c.Message("1-trouble-0"))
	wantVerdict(t, r, want...)
	CheckResult(t, r, c.Private...)
	whole := slices.Contains([]Trouble{Healthy, CutAfter, Silent, Endless, Dripping, Garbage, Fails}, trouble)
	if arrived := len(p.Seen()); (arrived == 1) != whole || arrived > 1 {
		t.Errorf("the provider read %d messages", arrived)
	}
	if n := p.Read(); n > mostTaken {
		t.Errorf("the adapter took %d MiB of an answer that never ends", n>>20)
	}
}

func (c Conversation) runContexts(t *testing.T) {
	t.Run("a context that has ended sends nothing", func(t *testing.T) {
		a, p := c.start(t, patience, Healthy)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := a.Send(ctx, c.Message("1-ended-0"))
		wantVerdict(t, r, channels.Retry)
		CheckResult(t, r, c.Private...)
		if n := len(p.Seen()); n != 0 {
			t.Errorf("the provider read %d messages", n)
		}
	})
	t.Run("a context that ends while the provider thinks leaves the outcome unknown", func(t *testing.T) {
		a, p := c.start(t, patience, Silent)
		ctx, cancel := context.WithTimeout(t.Context(), bound)
		defer cancel()
		done := make(chan channels.Result, 1)
		go func() { done <- a.Send(ctx, c.Message("1-midway-0")) }()
		await(t, "the provider to have the message", func() bool { return len(p.Seen()) == 1 })
		cancel()
		select {
		case r := <-done:
			wantVerdict(t, r, channels.Unknown)
			CheckResult(t, r, c.Private...)
		case <-time.After(bound):
			t.Fatal("the send did not notice")
		}
	})
}

func (c Conversation) runStableID(t *testing.T) {
	a, p := c.start(t, patience, Fails, CutAfter, Healthy)
	m := c.Message("1-stable-0")
	for m.Attempt = 1; m.Attempt <= 3; m.Attempt++ {
		CheckResult(t, sendBounded(t, a, m), c.Private...)
	}
	if seen := p.Seen(); len(seen) != 3 || seen[0] == "" || seen[0] != seen[1] || seen[1] != seen[2] {
		t.Errorf("three attempts carried the ids %q, want one id three times", seen)
	}
}

func (c Conversation) runNoSocketLeft(t *testing.T) {
	a, p := c.start(t, patience, Healthy)
	c.sendAtOnce(t, a, 8)
	if p.Connections() == 0 {
		t.Error("no connection was kept, so that closing proves nothing")
	}
	if closer, ok := a.(interface{ Close() error }); ok {
		if err := closer.Close(); err != nil {
			t.Errorf("closing the adapter: %v", err)
		}
	}
	await(t, "every connection to be closed", func() bool { return p.Connections() == 0 })
}

func (c Conversation) runConcurrent(t *testing.T) {
	const sends = 64
	a, p := c.start(t, patience, Healthy)
	c.sendAtOnce(t, a, sends)
	seen := p.Seen()
	slices.Sort(seen)
	if ids := slices.Compact(slices.Clone(seen)); len(seen) != sends || len(ids) != sends {
		t.Errorf("the provider read %d messages with %d ids, want %d of both", len(seen), len(ids), sends)
	}
}

// sendAtOnce sends so many messages at once, each of which must be taken.
func (c Conversation) sendAtOnce(t *testing.T, a channels.Adapter, sends int) {
	t.Helper()
	results := make([]channels.Result, sends)
	var wg sync.WaitGroup
	for i := range sends {
		wg.Go(func() { results[i] = a.Send(t.Context(), c.Message(fmt.Sprintf("1-concurrent-%d", i))) })
	}
	wg.Wait()
	for _, r := range results {
		wantVerdict(t, r, channels.Sent)
		CheckResult(t, r, c.Private...)
	}
}

// await polls until ok, or fails the test.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(bound)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
