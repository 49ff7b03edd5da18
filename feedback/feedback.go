// Package feedback is what comes back of mail: bounces, complaints and
// deliveries, which relays and providers report long after a mail was handed
// over. A Desk does what a report says; dsn reads the mails that report
// (RFC 3464, RFC 5965), mailbox takes them over SMTP, and provider reads and
// authenticates the notifications of mail providers.
package feedback

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/notice"
)

// People keeps what is known of addresses.
type People interface {
	// Take does what a report says of its address; it may be repeated.
	// suppressed says that the address was not suppressed before.
	Take(ctx context.Context, f notice.Feedback) (suppressed bool, err error)
	// EmailOf is the address of a user's profile; empty when there is none.
	EmailOf(ctx context.Context, tenant, user string) (string, error)
}

// Records knows the deliveries.
type Records interface {
	// NoteFeedback adds to a delivery's timeline; a record that has gone is not
	// noted in, and no error.
	NoteFeedback(ctx context.Context, f notice.Feedback) (noted bool, err error)
	// Owner is whose a delivery is; both are empty when its record has gone.
	Owner(ctx context.Context, delivery string) (tenant, user string, err error)
	// WentTo reports whether a delivery may have been to an address.
	WentTo(ctx context.Context, tenant, delivery, address string) (bool, error)
}

// Desk does what reports say. It is safe for concurrent use.
type Desk struct {
	People  People
	Records Records
	// Tenant is whose a report is that names no delivery of anybody's; empty:
	// nobody's.
	Tenant  string
	Now     func() time.Time
	Counter *prometheus.CounterVec // of source and kind; see NewCounter
}

// NewCounter makes the counter of a Desk and registers it.
func NewCounter(registry prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "carillon_feedback_total",
		Help: "Reports of what became of mails, by who made them and what they say: hard, soft, blocked, complaint, delivery; " +
			"unmatched: about no mail that is known; ignored: no report; refused: not authentic."}, []string{"source", "kind"})
	registry.MustRegister(c)
	return c
}

// The kinds that are counted beside those of notice.
const (
	CountUnmatched = "unmatched"
	CountIgnored   = "ignored"
	CountRefused   = "refused"
)

// Count counts what was no report that could be taken.
func (d *Desk) Count(source, kind string) { d.Counter.WithLabelValues(source, kind).Inc() }

// Result is what a report led to.
type Result struct {
	Suppressed bool // its address is suppressed, and was not before
	Noted      bool // its delivery's record shows it
}

// ErrUnmatched is a report of which is not known whom it is about.
var ErrUnmatched = errors.New("it is not known whom the mail was for: its record has gone, or its user has another address by now")

// Resolve completes a report: its tenant and its address from its delivery,
// where it does not name them. The error is ErrUnmatched when they cannot be
// known, and else the store's.
func (d *Desk) Resolve(ctx context.Context, f notice.Feedback) (notice.Feedback, error) {
	now := d.Now()
	if f.At.IsZero() || f.At.After(now) {
		f.At = now
	}
	if f.Delivery != "" && (f.Tenant == "" || f.Address == "") {
		if err := d.ask(ctx, &f); err != nil {
			return f, err
		}
	}
	if f.Tenant == "" {
		f.Tenant = d.Tenant
	}
	if f.Tenant == "" || f.Address == "" || notice.CheckEmail(f.Address) != "" {
		return f, ErrUnmatched
	}
	return f, nil
}

// ask asks the record of a report's delivery. A report that names another
// tenant than the record has none of its business there.
func (d *Desk) ask(ctx context.Context, f *notice.Feedback) error {
	tenant, user, err := d.Records.Owner(ctx, f.Delivery)
	if err != nil {
		return fmt.Errorf("look up whose a delivery is: %w", err)
	}
	if tenant == "" || f.Tenant != "" && f.Tenant != tenant {
		return nil
	}
	f.Tenant = tenant
	if f.Address != "" || user == "" {
		return nil
	}
	address, err := d.People.EmailOf(ctx, tenant, user)
	if err != nil || address == "" {
		return err
	}
	// The profile may have another address by now than the mail went to.
	same, err := d.Records.WentTo(ctx, tenant, f.Delivery, address)
	if same {
		f.Address = address
	}
	return err
}

// Take does what a resolved report says. It may be repeated after an error: the
// address comes first, since what a record says is for people alone.
func (d *Desk) Take(ctx context.Context, f notice.Feedback) (r Result, err error) {
	if r.Suppressed, err = d.People.Take(ctx, f); err != nil {
		return r, err
	}
	if f.Delivery != "" {
		if r.Noted, err = d.Records.NoteFeedback(ctx, f); err != nil {
			return r, fmt.Errorf("note it in the delivery's record: %w", err)
		}
	}
	d.Count(f.Source, string(f.Kind))
	return r, nil
}

// TakeAll resolves and takes reports of a source whose word counts; those that
// are about nobody known are counted and left. It stops at the first error.
func (d *Desk) TakeAll(ctx context.Context, reports []notice.Feedback) (taken int, err error) {
	for _, f := range reports {
		f, err := d.Resolve(ctx, f)
		if errors.Is(err, ErrUnmatched) {
			d.Count(f.Source, CountUnmatched)
			continue
		}
		if err == nil {
			_, err = d.Take(ctx, f)
		}
		if err != nil {
			return taken, err
		}
		taken++
	}
	return taken, nil
}
