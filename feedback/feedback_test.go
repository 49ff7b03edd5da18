package feedback_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/notice"
)

const mailed = "0-06h0fb55798unvn7agmd-1" // acme's, to u42, at ada@example.com

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// store is a Desk's people and records.
type store struct {
	email string // of u42's profile
	fail  error
	steps []string
}

func (s *store) Take(context.Context, notice.Feedback) (bool, error) {
	s.steps = append(s.steps, "address")
	return true, s.fail
}

func (s *store) EmailOf(context.Context, string, string) (string, error) { return s.email, nil }

func (s *store) NoteFeedback(context.Context, notice.Feedback) (bool, error) {
	s.steps = append(s.steps, "record")
	return true, nil
}

func (s *store) Owner(_ context.Context, delivery string) (tenant, user string, err error) {
	if delivery == mailed {
		return "acme", "u42", s.fail
	}
	return "", "", s.fail
}

func (s *store) WentTo(_ context.Context, tenant, delivery, address string) (bool, error) {
	return tenant == "acme" && delivery == mailed && address == "ada@example.com", nil
}

func desk(s *store) *feedback.Desk {
	return &feedback.Desk{People: s, Records: s, Now: func() time.Time { return now }, Counter: feedback.NewCounter(prometheus.NewRegistry())}
}

func TestWhomAReportIsAbout(t *testing.T) {
	const ada = "ada@example.com"
	for _, test := range []struct {
		name    string
		given   notice.Feedback
		email   string // of the profile
		nobodys string // the Desk's tenant
		tenant  string // empty: unmatched
	}{
		{"an address of a tenant", notice.Feedback{Tenant: "globex", Address: ada}, "", "", "globex"},
		{"a delivery alone", notice.Feedback{Delivery: mailed}, ada, "", "acme"},
		{"a delivery alone, whose user has moved since", notice.Feedback{Delivery: mailed}, "new@example.com", "", ""},
		{"a delivery alone, whose user has no address any more", notice.Feedback{Delivery: mailed}, "", "", ""},
		{"another tenant's delivery", notice.Feedback{Tenant: "globex", Delivery: mailed}, ada, "", ""},
		{"a provider's, of a delivery on record", notice.Feedback{Delivery: mailed, Address: ada}, "", "globex", "acme"},
		{"a provider's, whose record has gone", notice.Feedback{Delivery: "0-06h0fb55798unvn7agmd-2", Address: ada}, "", "globex", "globex"},
		{"a provider's, whose record has gone, with many tenants", notice.Feedback{Delivery: "0-06h0fb55798unvn7agmd-2", Address: ada}, "", "", ""},
		{"an address that cannot be one", notice.Feedback{Tenant: "acme", Address: "ada"}, "", "", ""},
		{"nothing", notice.Feedback{}, "", "acme", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := desk(&store{email: test.email})
			d.Tenant = test.nobodys
			got, err := d.Resolve(t.Context(), test.given)
			if test.tenant == "" {
				if !errors.Is(err, feedback.ErrUnmatched) {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err != nil || got.Tenant != test.tenant || got.Address != ada {
				t.Errorf("got %+v, %v; want %s of %s", got, err, ada, test.tenant)
			}
		})
	}
}

func TestAReportIsNeverOfTheFuture(t *testing.T) {
	d := desk(&store{})
	for _, at := range []time.Time{{}, now.Add(time.Minute)} {
		if f, err := d.Resolve(t.Context(), notice.Feedback{Tenant: "acme", Address: "ada@example.com", At: at}); err != nil || !f.At.Equal(now) {
			t.Errorf("%v became %v, %v", at, f.At, err)
		}
	}
}

func TestTheAddressComesBeforeTheRecord(t *testing.T) {
	s := &store{fail: errors.New("away")}
	f := notice.Feedback{Source: "api", Kind: notice.FeedbackHard, Tenant: "acme", Address: "ada@example.com", Delivery: mailed, At: now}
	if _, err := desk(s).Take(t.Context(), f); err == nil || len(s.steps) != 1 {
		t.Errorf("%v after %v", err, s.steps)
	}
	s.fail = nil
	if r, err := desk(s).Take(t.Context(), f); err != nil || !r.Suppressed || !r.Noted || len(s.steps) != 3 || s.steps[2] != "record" {
		t.Errorf("%+v, %v after %v", r, err, s.steps)
	}
	if taken, err := desk(s).TakeAll(t.Context(), []notice.Feedback{{Source: "ses"}, f}); taken != 1 || err != nil {
		t.Errorf("took %d of two, one of them about nobody: %v", taken, err)
	}
}
