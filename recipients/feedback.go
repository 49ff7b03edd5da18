package recipients

import (
	"context"
	_ "embed" // the script
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

//go:embed feedback.lua
var feedbackLua string

// Kind says where a suppression comes from.
type Kind string

// The kinds of suppressions. Of the last two the gateway learned by itself.
const (
	KindManual    Kind = ""          // somebody, or a provider's answer, said so
	KindBounce    Kind = "bounce"    // mails to it come back
	KindComplaint Kind = "complaint" // its reader called a mail spam
)

// SoftLimit is how many mails in which time may come back for a while before
// their address counts as dead.
type SoftLimit struct {
	Count  int
	Within time.Duration
}

// TakeFeedback does what a report says of a tenant's mail address: hard bounces
// and complaints suppress it, soft ones count, and a delivery forgets those
// before it. It is one step, and may be repeated: the same report (by its Event,
// else its Delivery and moment) counts once. suppressed says that the address
// was not suppressed before.
func (s *Store) TakeFeedback(ctx context.Context, f notice.Feedback, limit SoftLimit) (suppressed bool, err error) {
	key, err := s.suppressionKey(f.Tenant, notice.ChannelEmail, f.Address)
	if err != nil || f.Kind == notice.FeedbackBlocked {
		return false, err
	}
	stored, err := json.Marshal(suppressionFor(f, limit))
	if err != nil {
		return false, fmt.Errorf("write a suppression: %w", err)
	}
	at := f.At.UnixMilli()
	event := f.Event
	if event == "" {
		event = fmt.Sprintf("%s@%d", f.Delivery, at)
	}
	done, err := s.feedback.Run(ctx, s.rdb, []string{key, s.keys.softBounces(f.Tenant, normaliseEmail(f.Address))},
		string(f.Kind), stored, at, event, limit.Count, limit.Within.Milliseconds()).Bool()
	if err != nil {
		return false, fmt.Errorf("take in what became of a mail: %w", err)
	}
	return done, nil
}

// suppressionFor is the suppression that a report may lead to.
func suppressionFor(f notice.Feedback, limit SoftLimit) Suppression {
	out := Suppression{Kind: KindBounce, Reason: "bounced: " + f.Words(), At: f.At.UTC().Truncate(time.Millisecond)}
	switch f.Kind {
	case notice.FeedbackComplaint:
		out.Kind, out.Reason = KindComplaint, "complained"
		if words := f.Words(); words != "" {
			out.Reason += ": " + words
		}
	case notice.FeedbackSoft:
		out.Reason = fmt.Sprintf("bounced %d times: %s", limit.Count, f.Words())
	}
	if len(out.Reason) > maxReason {
		out.Reason = strings.ToValidUTF8(out.Reason[:maxReason], "")
	}
	return out
}

// EmailOf is the address of a user's profile; empty when there is none.
func (s *Store) EmailOf(ctx context.Context, tenant, user string) (string, error) {
	p, err := s.Get(ctx, tenant, user)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return p.Email, nil
}

// ReportTaken reports whether a provider's signed report was taken in before,
// in any process.
func (s *Store) ReportTaken(ctx context.Context, digest string) (bool, error) {
	err := s.rdb.Get(ctx, s.keys.report(digest)).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look a report up: %w", err)
	}
	return true, nil
}

// KeepReport remembers that a report was taken in, for as long as it could be
// replayed.
func (s *Store) KeepReport(ctx context.Context, digest string, life time.Duration) error {
	if err := s.rdb.Set(ctx, s.keys.report(digest), "1", life).Err(); err != nil {
		return fmt.Errorf("remember a report: %w", err)
	}
	return nil
}
