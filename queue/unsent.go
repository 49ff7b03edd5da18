package queue

import (
	"cmp"
	"context"

	"github.com/carillonhq/carillon/notice"
)

// Unsent is a delivery that was canceled, expired or erased before anybody
// tried to send it. What was kept for it is free for another.
type Unsent struct {
	Tenant, User string
	ID           string // the delivery's
	// Heir is the delivery that goes in its place and at its moment, since it
	// carries its digest on; empty: none does.
	Heir string
}

// WithUnsent has a function told of deliveries that end without having been
// tried, right after they have. It may be told twice of one, and not at all
// where the process dies in between.
func WithUnsent(tell func(context.Context, []Unsent)) Option {
	return func(q *Queue) { q.unsent = tell }
}

// tellUnsent tells of what a batch of settlements ended unsent.
func (q *Queue) tellUnsent(ctx context.Context, batch []*Settlement, settled []bool) {
	var out []Unsent
	for i, s := range batch {
		if settled[i] && s.unsent() {
			out = append(out, Unsent{Tenant: s.Delivery.Tenant, User: s.Delivery.To.User, ID: s.Delivery.ID, Heir: s.heir})
		}
	}
	q.tell(ctx, out)
}

// unsent reports whether a settled delivery ended without having been tried. A
// consumer that held it and died may have sent it, or may have handed on what
// it carried.
func (s *Settlement) unsent() bool {
	ended := s.Kind == Cancel || s.Kind == Done && s.Entry.Status == notice.StatusExpired
	return ended && s.Delivery.To.User != "" && s.Delivery.Attempt == 0 && !s.Delivery.Unknown && s.Lease.Lost == 0
}

// tellParked tells of the parts of a notification that were parked when they
// were canceled. Of what was on a stream its reader tells.
func (q *Queue) tellParked(ctx context.Context, r Record, parts []part, answers []int64) {
	tried := map[string]bool{}
	for i := range r.Deliveries {
		tried[r.Deliveries[i].ID] = r.Deliveries[i].Attempt > 0
	}
	var out []Unsent
	user := cmp.Or(r.was, r.User)
	for i, p := range parts {
		if answers[i] == wasParked && p.ordinal != whole && !tried[p.id] && user != "" {
			out = append(out, Unsent{Tenant: r.Tenant, User: user, ID: p.id})
		}
	}
	q.tell(ctx, out)
}

func (q *Queue) tell(ctx context.Context, unsent []Unsent) {
	if len(unsent) > 0 && q.unsent != nil {
		q.unsent(ctx, unsent)
	}
}
