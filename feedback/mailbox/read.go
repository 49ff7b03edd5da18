package mailbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/feedback/dsn"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/notice/verp"
)

// notSpam is the Feedback-Type of a reader who takes a mail out of the spam
// folder (https://www.iana.org/assignments/marf-parameters).
const notSpam = "not-spam"

// reader finds out which delivery a report is about, and believes it only when
// a token of ours confirms the address that it names.
type reader struct {
	path verp.Path
	keys *verp.Keys
	// tenants are those that a token is tried with, beside the one that the
	// delivery's record names as long as there is one.
	tenants []string
	records feedback.Records
	now     func() time.Time
}

// claim is the token of an address; ok is false when it was not made here.
func (r *reader) claim(address string) (verp.Claim, bool) {
	token, ok := r.path.Find(address)
	if !ok {
		return verp.Claim{}, false
	}
	claim, err := r.keys.Open(token)
	return claim, err == nil
}

// speaks reports whether a report says anything that is acted on.
func speaks(report *dsn.Report) bool {
	return report.Kind == dsn.Complaint && report.Feedback != notSpam ||
		slices.ContainsFunc(report.Recipients, func(to dsn.Recipient) bool { return kindOf(to) != "" })
}

// read is what a report says of deliveries of ours. An error is the store's.
func (r *reader) read(ctx context.Context, report *dsn.Report, claims []verp.Claim) (found []notice.Feedback, err error) {
	if !speaks(report) {
		return nil, nil
	}
	for _, sender := range report.Senders {
		if claim, ok := r.claim(sender); ok {
			claims = append(claims, claim)
		}
	}
	seen := map[string]bool{}
	for _, claim := range claims {
		if seen[claim.Delivery] {
			continue
		}
		tenants, err := r.tenantsOf(ctx, claim)
		if err != nil {
			return nil, err
		}
		if f, ok := r.about(report, claim, tenants); ok {
			seen[claim.Delivery] = true
			found = append(found, f)
		}
	}
	return found, nil
}

func (r *reader) tenantsOf(ctx context.Context, claim verp.Claim) ([]string, error) {
	owner, _, err := r.records.Owner(ctx, claim.Delivery)
	if err != nil {
		return nil, fmt.Errorf("look up whose a delivery is: %w", err)
	}
	if owner == "" {
		return r.tenants, nil
	}
	return []string{owner}, nil
}

// about is what a report says of one delivery.
func (r *reader) about(report *dsn.Report, claim verp.Claim, tenants []string) (notice.Feedback, bool) {
	f := notice.Feedback{Source: Source, Delivery: claim.Delivery, At: r.now()}
	if report.Kind == dsn.Complaint {
		f.Kind, f.Code = notice.FeedbackComplaint, notice.ScrubMail(report.Feedback)
		return r.confirm(f, claim, tenants, report.Addresses)
	}
	for _, to := range report.Recipients {
		f.Kind = kindOf(to)
		if f.Kind == "" {
			continue
		}
		f.Code, f.Detail = notice.ScrubMail(feedback.Code(to.Status, to.Diagnostic)), notice.ScrubMail(to.Diagnostic)
		addresses := append([]string{to.Original, to.Final}, report.Addresses...)
		if confirmed, ok := r.confirm(f, claim, tenants, addresses); ok {
			return confirmed, true
		}
	}
	return f, false
}

// confirm finds the address that a mail was for among those that a report
// names: forwarding and aliases make the others.
func (r *reader) confirm(f notice.Feedback, claim verp.Claim, tenants, addresses []string) (notice.Feedback, bool) {
	f.Event = Source + ":" + f.Delivery // a delivery comes back once, however often it is said
	for _, address := range addresses {
		if notice.CheckEmail(address) != "" {
			continue
		}
		for _, tenant := range tenants {
			if claim.Confirms(tenant, address) {
				f.Tenant, f.Address = tenant, address
				return f, true
			}
		}
	}
	return f, false
}

// kindOf is what became of the mail to a recipient; empty when that is not
// known yet, or is somebody else's to know.
func kindOf(to dsn.Recipient) notice.FeedbackKind {
	switch to.Action {
	case "failed":
		return feedback.Classify(feedback.Code(to.Status, to.Diagnostic))
	case "delivered":
		return notice.FeedbackDelivery
	}
	return "" // delayed, relayed, expanded
}
