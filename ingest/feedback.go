package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/feedback/provider"
	"github.com/carillonhq/carillon/notice"
)

// Reports remembers which reports of providers were taken in, so that a replay
// does nothing: *recipients.Store.
type Reports interface {
	ReportTaken(ctx context.Context, digest string) (bool, error)
	KeepReport(ctx context.Context, digest string, life time.Duration) error
}

const (
	// feedbackSource is what metrics call reports that come with an API key.
	feedbackSource = "api"
	// maxFeedbackWords bounds a report's detail, in bytes.
	maxFeedbackWords = 1 << 10
	// feedbackSkew is how far a reporter's clock may be ahead.
	feedbackSkew = 5 * time.Minute
)

// feedbackCode matches an enhanced status code, a reply code or a provider's
// word.
var feedbackCode = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,60}$`)

// feedbackBody is one report of what became of a mail.
type feedbackBody struct {
	Type       string    `json:"type"`
	Kind       string    `json:"kind"`
	Address    string    `json:"address"`
	DeliveryID string    `json:"delivery_id"`
	Code       string    `json:"code"`
	At         time.Time `json:"at"`
	Detail     string    `json:"detail"`
}

// feedbackResult is what a report led to.
type feedbackResult struct {
	Suppressed bool `json:"suppressed"` // the address is, and was not before
	Recorded   bool `json:"recorded"`   // the delivery's timeline shows it
}

// feedbackRoutes names the calls that say what became of mails.
func (s *API) feedbackRoutes() {
	s.handle("POST /v1/feedback/email", config.ScopeFeedback, s.postFeedback)
	s.mux.HandleFunc("POST /v1/feedback/email/{provider}", func(w http.ResponseWriter, r *http.Request) {
		if err := s.postProvider(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// postFeedback takes one report or an array of them: all, or, when one of them
// has faults, none.
func (s *API) postFeedback(w http.ResponseWriter, r *http.Request, who *caller) error {
	bodies, single, err := s.readFeedback(w, r)
	if err != nil {
		return err
	}
	reports, err := s.resolve(r.Context(), who.tenant, bodies, single)
	if err != nil {
		return err
	}
	results := make([]feedbackResult, len(reports))
	for i, f := range reports {
		done, err := s.Feedback.Take(r.Context(), f)
		if err != nil {
			return stored(err)
		}
		results[i] = feedbackResult{Suppressed: done.Suppressed, Recorded: done.Noted}
	}
	if single {
		return writeJSON(w, http.StatusOK, results[0])
	}
	return writeJSON(w, http.StatusOK, map[string]any{"results": results})
}

// readFeedback reads the body.
func (s *API) readFeedback(w http.ResponseWriter, r *http.Request) (bodies []feedbackBody, single bool, err error) {
	if t := mediaType(r); !isJSONType(t) {
		return nil, false, wantType(t, "application/json")
	}
	raw, err := s.bodies.read(w, r)
	if err != nil {
		return nil, false, err
	}
	defer s.bodies.release(raw)
	items := []jsontext.Value{*raw}
	if single = jsontext.Value(*raw).Kind() != '['; !single {
		items, err = notice.Split(*raw, s.Ingest.MaxBatch)
	}
	switch {
	case errors.Is(err, notice.ErrTooMany):
		return nil, false, kindBatchSize.problem(fmt.Sprintf("the array has more reports than ingest.max_batch (%d): send several", s.Ingest.MaxBatch))
	case err != nil:
		return nil, false, err
	case len(items) == 0:
		return nil, false, notice.Faults{{Detail: "is an empty array: send at least one report"}}
	}
	bodies, err = decodeFeedback(items, single)
	return bodies, single, err
}

// decodeFeedback reads reports strictly, and says of each what is wrong.
func decodeFeedback(items []jsontext.Value, single bool) ([]feedbackBody, error) {
	bodies := make([]feedbackBody, len(items))
	var all notice.Faults
	for i, item := range items {
		err := notice.Decode(item, &bodies[i])
		var faults notice.Faults
		if single || err != nil && !errors.As(err, &faults) {
			return bodies, err
		}
		for _, f := range faults {
			all.Add("/"+strconv.Itoa(i)+f.Pointer, f.Detail)
		}
	}
	return bodies, all.Err()
}

// resolve checks every report and finds out whom it is about.
func (s *API) resolve(ctx context.Context, tenant string, bodies []feedbackBody, single bool) ([]notice.Feedback, error) {
	var faults notice.Faults
	reports := make([]notice.Feedback, len(bodies))
	for i := range bodies {
		at := "/" + strconv.Itoa(i)
		if single {
			at = ""
		}
		b, before := &bodies[i], len(faults)
		b.check(at, s.Clock(), &faults)
		if len(faults) > before {
			continue
		}
		f, err := s.Feedback.Resolve(ctx, b.report(tenant))
		switch {
		case errors.Is(err, feedback.ErrUnmatched):
			s.Feedback.Count(feedbackSource, feedback.CountUnmatched)
			faults.Add(at+"/delivery_id", fmt.Sprintf("%q: %v: give address too", clip(b.DeliveryID), err))
		case err != nil:
			return nil, stored(err)
		}
		reports[i] = f
	}
	return reports, faults.Err()
}

// check adds what is wrong with a report at a pointer.
func (b *feedbackBody) check(at string, now time.Time, faults *notice.Faults) {
	b.checkMeaning(at, faults)
	switch {
	case b.Address == "" && b.DeliveryID == "":
		faults.Add(at+"/address", "is missing: say whom the mail was for, or give delivery_id")
	case b.Address != "":
		if detail := notice.CheckEmail(b.Address); detail != "" {
			faults.Add(at+"/address", detail)
		}
	}
	if b.DeliveryID != "" {
		if _, _, ordinal, err := notice.SplitID(b.DeliveryID); err != nil || ordinal < 0 {
			faults.Add(at+"/delivery_id", fmt.Sprintf("%q is no delivery's id: take it from GET /v1/notifications/{id}, or from the mail's Message-ID before the @", clip(b.DeliveryID)))
		}
	}
	if b.At.After(now.Add(feedbackSkew)) {
		faults.Add(at+"/at", fmt.Sprintf("%s lies in the future: leave it out for now", b.At.Format(time.RFC3339)))
	}
	if len(b.Detail) > maxFeedbackWords {
		faults.Add(at+"/detail", fmt.Sprintf("is %d bytes: at most %d", len(b.Detail), maxFeedbackWords))
	}
	if b.Code != "" && !feedbackCode.MatchString(b.Code) {
		faults.Add(at+"/code", fmt.Sprintf("%q is no code: write it as 5.1.1, up to 60 letters, digits and . _ / -", clip(b.Code)))
	}
}

// checkMeaning checks type and kind.
func (b *feedbackBody) checkMeaning(at string, faults *notice.Faults) {
	switch b.Type {
	case "bounce":
		if b.Kind == "" && !feedback.Telling(b.Code) {
			faults.Add(at+"/kind", "is missing: hard or soft, or give an enhanced status code as code")
		}
	case "complaint", "delivery":
		if b.Kind != "" {
			faults.Add(at+"/kind", "is for a bounce alone: leave it out")
		}
	case "":
		faults.Add(at+"/type", "is missing: bounce, complaint or delivery")
	default:
		faults.Add(at+"/type", fmt.Sprintf("%q is none of bounce, complaint, delivery", clip(b.Type)))
	}
	if b.Kind != "" && b.Kind != "hard" && b.Kind != "soft" {
		faults.Add(at+"/kind", fmt.Sprintf("%q is none of hard, soft", clip(b.Kind)))
	}
}

// report is a checked body's.
func (b *feedbackBody) report(tenant string) notice.Feedback {
	kind := notice.FeedbackKind(b.Type)
	switch {
	case b.Type == "bounce" && b.Kind != "":
		kind = notice.FeedbackKind(b.Kind)
	case b.Type == "bounce":
		kind = feedback.Classify(b.Code)
	}
	return notice.Feedback{Source: feedbackSource, Kind: kind, Tenant: tenant, Address: b.Address, Delivery: b.DeliveryID,
		Code: b.Code, Detail: notice.ScrubMail(b.Detail), At: b.At}
}

// postProvider takes the notification of a mail provider, which needs no API
// key: it proves itself.
func (s *API) postProvider(w http.ResponseWriter, r *http.Request) error {
	p, ok := s.Providers[r.PathValue("provider")]
	if !ok {
		return kindNotFound.problem(fmt.Sprintf("%q has no section under feedback.email in the gateway's configuration", clip(r.PathValue("provider"))))
	}
	body, err := s.bodies.read(w, r)
	if err != nil {
		return err
	}
	defer s.bodies.release(body)
	reports, err := p.Read(r.Context(), provider.Notification{Header: r.Header, Body: *body})
	if err != nil {
		return s.refused(p, err)
	}
	taken, err := s.takeReports(r.Context(), reports)
	if err != nil {
		return stored(err)
	}
	return writeJSON(w, http.StatusOK, map[string]int{"taken": taken})
}

// takeReports does what an authentic notification says, once. It is remembered
// only when all of it is done: a provider that gets an error sends it again.
func (s *API) takeReports(ctx context.Context, reports provider.Reports) (taken int, err error) {
	if len(reports.Items) == 0 {
		return 0, nil
	}
	if reports.ID != "" {
		replayed, err := s.Reports.ReportTaken(ctx, reports.ID)
		if replayed || err != nil {
			return 0, err
		}
	}
	if taken, err = s.Feedback.TakeAll(ctx, reports.Items); err != nil {
		return taken, err
	}
	if reports.ID != "" {
		err = s.Reports.KeepReport(ctx, reports.ID, provider.Life)
	}
	return taken, err
}

// refused is the problem of a notification that cannot be taken.
func (s *API) refused(p provider.Provider, err error) error {
	var faults notice.Faults
	var syntax *notice.SyntaxError
	switch {
	case errors.Is(err, provider.ErrNoCredentials):
		s.Feedback.Count(p.Name(), feedback.CountRefused)
		return kindUnauthorized.problem(err.Error() + ": see docs/feedback.md for what " + p.Name() + " has to send")
	case errors.Is(err, provider.ErrForged), errors.Is(err, provider.ErrOld), errors.Is(err, provider.ErrNotOurs):
		s.Feedback.Count(p.Name(), feedback.CountRefused)
		return kindSignature.problem(err.Error())
	case errors.As(err, &faults), errors.As(err, &syntax):
		s.Feedback.Count(p.Name(), feedback.CountIgnored)
		return err
	}
	return stored(err)
}
