package webhook

import (
	"context"
	"fmt"
	"time"

	"github.com/carillonhq/carillon/channels"
)

// failingFor is how long an endpoint may do nothing but fail before it is
// disabled. Standard Webhooks leaves the time open; five days is common among
// large senders.
const failingFor = 5 * 24 * time.Hour

// Failures remembers the endpoints that do nothing but fail:
// *recipients.Endpoints. An error means that nothing is known, and disables
// nothing. Both are bounded in time by whoever implements them.
type Failures interface {
	// Failed notes a failure and returns since when there was no success.
	Failed(ctx context.Context, tenant, url string) (since time.Time, err error)
	Succeeded(ctx context.Context, tenant, url string) error
}

// Disabled is the notice that an endpoint will not be called again. Its URL is
// left out, since it may hold a token.
type Disabled struct {
	Tenant, Host string
	Delivery     string    // the delivery that it was found by
	Code         string    // "410", or "failing" after five days of nothing but failures
	Since        time.Time // of "failing": since when
}

// WithFailures disables endpoints that have done nothing but fail for five
// days: their next failure is Gone, with code "failing".
func WithFailures(f Failures) Option { return func(s *settings) { s.failures = f } }

// WithNotices calls f whenever an endpoint is disabled, from many goroutines.
func WithNotices(f func(Disabled)) Option { return func(s *settings) { s.disabled = f } }

// remember notes what came of an attempt, and turns the last failure of an
// endpoint that only failed into its end.
func (a *Adapter) remember(ctx context.Context, m *channels.Message, host string, r channels.Result) channels.Result {
	if r.Verdict == channels.Gone {
		a.disabled(Disabled{Tenant: m.Tenant, Host: host, Delivery: m.ID, Code: r.Code})
		return r
	}
	if a.failures == nil {
		return r
	}
	switch {
	case r.Verdict == channels.Sent:
		// An error leaves the failures standing until the next success.
		_ = a.failures.Succeeded(ctx, m.Tenant, m.Address.To)
	case counts(r):
		// Detached: the failure stands although the send's time is up.
		since, err := a.failures.Failed(context.WithoutCancel(ctx), m.Tenant, m.Address.To)
		if err == nil && a.now().Sub(since) >= failingFor {
			return a.disable(m, host, since, r)
		}
	}
	return r
}

// counts reports whether a result says something against the endpoint.
func counts(r channels.Result) bool {
	return (r.Verdict == channels.Retry || r.Verdict == channels.Unknown) && r.Code != "canceled"
}

func (a *Adapter) disable(m *channels.Message, host string, since time.Time, r channels.Result) channels.Result {
	a.disabled(Disabled{Tenant: m.Tenant, Host: host, Delivery: m.ID, Code: codeFailing, Since: since})
	return channels.Result{Verdict: channels.Gone, Code: codeFailing,
		Err: fmt.Errorf("the endpoint has done nothing but fail since %s: %w", since.UTC().Format(time.RFC3339), r.Err)}
}

// codeFailing is the code of an endpoint that is disabled for its failures.
const codeFailing = "failing"
