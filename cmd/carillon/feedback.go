package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/carillonhq/carillon/channels/egress"
	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/feedback/provider"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
)

// openDesk makes what acts on bounces and complaints. It registers metrics, so
// a process has one.
func (g *gateway) openDesk() *feedback.Desk {
	cfg := g.cfg.Feedback
	tenant := cfg.Tenant
	if tenant == "" {
		tenant = onlyTenant(g.cfg.Auth)
	}
	limit := recipients.SoftLimit{Count: cfg.SoftBounces.Count, Within: cfg.SoftBounces.Per}
	return &feedback.Desk{People: feedbackPeople{g.people, limit}, Records: feedbackRecords{g.queue}, Tenant: tenant,
		Now: g.clock.Now, Counter: feedback.NewCounter(g.registry)}
}

// feedbackPeople is a recipients.Store as a feedback.Desk knows it.
type feedbackPeople struct {
	*recipients.Store
	limit recipients.SoftLimit
}

// Take implements feedback.People.
func (p feedbackPeople) Take(ctx context.Context, f notice.Feedback) (bool, error) {
	return p.TakeFeedback(ctx, f, p.limit)
}

// feedbackRecords is a queue as a feedback.Desk knows it.
type feedbackRecords struct{ *queue.Queue }

// Owner implements feedback.Records.
func (r feedbackRecords) Owner(ctx context.Context, delivery string) (tenant, user string, err error) {
	tenant, user, err = r.Queue.Owner(ctx, delivery)
	if errors.Is(err, queue.ErrNotFound) {
		return "", "", nil
	}
	return tenant, user, err
}

// What is fetched of SNS at most, and for how long it is waited for: a caller
// of ours waits with it.
const (
	mostFetched = 64 << 10
	fetchTime   = 10 * time.Second
)

// openProviders makes the mail providers that may report.
func (g *gateway) openProviders() (map[string]provider.Provider, error) {
	transport, err := egress.NewTransport(egress.Options{ConnsPerHost: 4})
	if err != nil {
		return nil, err
	}
	g.onClose(transport.CloseIdleConnections)
	providers, err := provider.New(g.cfg.Feedback.Email, fetchWith(transport), g.clock.Now)
	if err != nil {
		return nil, usage(fmt.Errorf("feedback.email.%w", err))
	}
	return providers, nil
}

// fetchWith gets small files over a transport that reaches the public internet
// alone. No redirect is followed, since a transport follows none.
func fetchWith(transport http.RoundTripper) provider.Fetch {
	return func(ctx context.Context, url string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, fetchTime)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		answer, err := transport.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s answers %s", r.URL.Host, answer.Status)
		}
		return io.ReadAll(io.LimitReader(answer.Body, mostFetched))
	}
}
