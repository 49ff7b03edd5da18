package ingest_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/feedback/provider"
	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/notice"
)

const (
	feedbackKey = "acme-feedback-0123456789"
	mailgunKey  = "mailgun-signing-key"
	mailed      = "0-06h0fb55798unvn7agmd-1" // acme's, to u42
)

// fakeDesk is the people and records behind a feedback.Desk, and the memory of
// reports.
type fakeDesk struct {
	mu      sync.Mutex
	taken   []notice.Feedback
	reports map[string]bool
	fail    error
	desk    *feedback.Desk
}

func (d *fakeDesk) Take(_ context.Context, f notice.Feedback) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return false, d.fail
	}
	d.taken = append(d.taken, f)
	return f.Kind == notice.FeedbackHard || f.Kind == notice.FeedbackComplaint, nil
}

func (d *fakeDesk) EmailOf(_ context.Context, tenant, user string) (string, error) {
	if tenant == "acme" && user == "u42" {
		return "ada@example.com", nil
	}
	return "", nil
}

func (d *fakeDesk) NoteFeedback(_ context.Context, f notice.Feedback) (bool, error) {
	return f.Tenant == "acme" && f.Delivery == mailed, nil
}

func (d *fakeDesk) Owner(_ context.Context, delivery string) (tenant, user string, err error) {
	if delivery == mailed {
		return "acme", "u42", nil
	}
	return "", "", nil
}

func (d *fakeDesk) WentTo(_ context.Context, _, delivery, address string) (bool, error) {
	return delivery == mailed && address == "ada@example.com", nil
}

func (d *fakeDesk) ReportTaken(_ context.Context, digest string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reports[digest], nil
}

func (d *fakeDesk) KeepReport(_ context.Context, digest string, _ time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reports[digest] = true
	return nil
}

func (d *fakeDesk) counted(t *testing.T, source, kind string) float64 {
	t.Helper()
	var m dto.Metric
	if err := d.desk.Counter.WithLabelValues(source, kind).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func startFeedback(t *testing.T) (*fixture, *fakeDesk) {
	t.Helper()
	d := &fakeDesk{reports: map[string]bool{}}
	d.desk = &feedback.Desk{People: d, Records: d, Tenant: "acme", Now: func() time.Time { return testNow }, Counter: feedback.NewCounter(prometheus.NewRegistry())}
	providers, err := provider.New(config.FeedbackEmail{Mailgun: &config.FeedbackMailgun{SigningKey: config.NewSecret(mailgunKey)},
		Postmark: &config.FeedbackPostmark{Token: config.NewSecret("a-token-of-more-than-16-bytes")}}, nil, func() time.Time { return testNow })
	if err != nil {
		t.Fatal(err)
	}
	return start(t, func(o *ingest.Options) {
		o.Feedback, o.Providers, o.Reports = d.desk, providers, d
		o.Auth.Keys = append(o.Auth.Keys, config.Key{Tenant: "acme", Key: config.NewSecret(feedbackKey), Scopes: []config.Scope{config.ScopeFeedback}})
	}), d
}

func TestOneReportAndManyAreTaken(t *testing.T) {
	f, d := startFeedback(t)
	auth := []string{"Authorization", "Bearer " + feedbackKey}
	r := f.call("POST", "/v1/feedback/email", `{"type":"bounce","kind":"hard","address":"ada@example.com","delivery_id":"`+mailed+`","code":"5.1.1","at":"2026-11-20T11:00:00Z","detail":"550 <ada@example.com> unknown"}`, auth...)
	if r.status != 200 || r.body != `{"suppressed":true,"recorded":true}`+"\n" {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	want := notice.Feedback{Source: "api", Kind: notice.FeedbackHard, Tenant: "acme", Address: "ada@example.com", Delivery: mailed, Code: "5.1.1",
		Detail: "550 [address] unknown", At: testNow.Add(-time.Hour)}
	if d.taken[0] != want {
		t.Errorf("took %+v, want %+v", d.taken[0], want)
	}
	r = f.call("POST", "/v1/feedback/email", `[{"type":"bounce","code":"4.2.2","delivery_id":"`+mailed+`"},{"type":"complaint","address":"bob@example.com"},{"type":"delivery","address":"eve@example.com"},{"type":"bounce","code":"5.7.1","address":"eve@example.com"}]`, auth...)
	if r.status != 200 || r.body != `{"results":[{"suppressed":false,"recorded":true},{"suppressed":true,"recorded":false},{"suppressed":false,"recorded":false},{"suppressed":false,"recorded":false}]}`+"\n" {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	for i, kind := range []notice.FeedbackKind{notice.FeedbackSoft, notice.FeedbackComplaint, notice.FeedbackDelivery, notice.FeedbackBlocked} {
		if got := d.taken[1+i]; got.Kind != kind || !got.At.Equal(testNow) {
			t.Errorf("report %d is %+v, want %s", i, got, kind)
		}
	}
	if got := d.taken[1].Address; got != "ada@example.com" {
		t.Errorf("the address behind the delivery is %q", got)
	}
	if d.counted(t, "api", "soft") != 1 || d.counted(t, "api", "hard") != 1 {
		t.Error("they are not counted by kind")
	}
}

func TestAReportThatIsWrongIsRefusedByPointer(t *testing.T) {
	f, d := startFeedback(t)
	for name, test := range map[string]struct{ body, pointer, word string }{
		"no type":                      {`{"address":"ada@example.com"}`, "/type", "bounce, complaint or delivery"},
		"an unknown type":              {`{"type":"bonce","address":"ada@example.com"}`, "/type", `"bonce"`},
		"an unknown kind":              {`{"type":"bounce","kind":"firm","address":"ada@example.com"}`, "/kind", `"firm"`},
		"a bounce of no kind":          {`{"type":"bounce","code":"550","address":"ada@example.com"}`, "/kind", "hard or soft"},
		"a kind of complaint":          {`{"type":"complaint","kind":"hard","address":"ada@example.com"}`, "/kind", "bounce alone"},
		"nobody":                       {`{"type":"complaint"}`, "/address", "delivery_id"},
		"no address":                   {`{"type":"complaint","address":"ada"}`, "/address", ""},
		"a notification's id":          {`{"type":"complaint","delivery_id":"0-06h0fb55798unvn7agmd"}`, "/delivery_id", "no delivery's id"},
		"a delivery that is not known": {`{"type":"complaint","delivery_id":"0-06h0fb55798unvn7agmd-2"}`, "/delivery_id", "give address"},
		"the future":                   {`{"type":"complaint","address":"ada@example.com","at":"2026-11-21T12:00:00Z"}`, "/at", "future"},
		"a code with a line break":     {`{"type":"complaint","address":"ada@example.com","code":"a\nb"}`, "/code", "no code"},
		"a detail that is a book":      {`{"type":"complaint","address":"ada@example.com","detail":"` + strings.Repeat("x", 1025) + `"}`, "/detail", "1024"},
		"an unknown field":             {`{"type":"complaint","adress":"ada@example.com"}`, "/adress", "address"},
		"the second of two":            {`[{"type":"complaint","address":"ada@example.com"},{"type":"complaint","address":3}]`, "/1/address", ""},
		"the second of two, by a rule": {`[{"type":"complaint","address":"ada@example.com"},{"type":"bounce","address":"ada@example.com"}]`, "/1/kind", ""},
		"nothing at all":               {`[]`, "", "at least one"},
	} {
		p := f.call("POST", "/v1/feedback/email", test.body).wantProblem(t, 422, "invalid")
		if len(p.Errors) == 0 {
			t.Errorf("%s: no fault", name)
			continue
		}
		p.wantFault(t, test.pointer, test.word)
	}
	f.call("POST", "/v1/feedback/email", `{"type":`).wantProblem(t, 400, "malformed-json")
	f.call("POST", "/v1/feedback/email", `type=bounce`, "Content-Type", "text/plain").wantProblem(t, 415, "unsupported-media-type")
	f.call("POST", "/v1/feedback/email", "["+strings.Repeat(`{},`, 5)+"{}]").wantProblem(t, 413, "batch-too-large")
	f.call("POST", "/v1/feedback/email", strings.Repeat(" ", 65<<10)).wantProblem(t, 413, "body-too-large")
	f.call("POST", "/v1/feedback/email", `{"type":"complaint","address":"ada@example.com"}`, "Authorization", "Bearer "+readKey).wantProblem(t, 403, "forbidden")
	f.call("POST", "/v1/feedback/email", `{"type":"complaint","delivery_id":"`+mailed+`"}`, "Authorization", "Bearer "+otherKey).wantProblem(t, 403, "forbidden")
	if len(d.taken) != 0 {
		t.Errorf("took %+v", d.taken)
	}
}

// mailgunReport signs a failed delivery to an address.
func mailgunReport(at time.Time, key, once, address string) string {
	unix := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(unix + once))
	return fmt.Sprintf(`{"signature":{"timestamp":%q,"token":%q,"signature":%q},"event-data":{"id":"g1","event":"failed","severity":"permanent","recipient":%q,"delivery-status":{"enhanced-code":"5.1.1"}}}`,
		unix, once, hex.EncodeToString(mac.Sum(nil)), address)
}

func TestAProvidersReportNeedsNoKeyAndIsTakenOnce(t *testing.T) {
	f, d := startFeedback(t)
	post := func(body string, headers ...string) reply {
		return f.call("POST", "/v1/feedback/email/mailgun", body, append([]string{"Authorization", ""}, headers...)...)
	}
	body := mailgunReport(testNow, mailgunKey, "once", "ada@example.com")
	if r := post(body); r.status != 200 || r.body != `{"taken":1}`+"\n" || len(d.taken) != 1 || d.taken[0].Tenant != "acme" {
		t.Fatalf("got %d %s; took %+v", r.status, r.body, d.taken)
	}
	if r := post(body); r.status != 200 || r.body != `{"taken":0}`+"\n" || len(d.taken) != 1 {
		t.Errorf("a replay: %d %s; took %d", r.status, r.body, len(d.taken))
	}
	if r := post(strings.Replace(body, "ada@", "bob@", 1)); r.status != 200 || len(d.taken) != 1 {
		t.Errorf("another body under a used token: %d %s; took %d", r.status, r.body, len(d.taken))
	}
	post(mailgunReport(testNow, "another-key", "twice", "ada@example.com")).wantProblem(t, 403, "bad-signature")
	post(mailgunReport(testNow.Add(-time.Hour), mailgunKey, "thrice", "ada@example.com")).wantProblem(t, 403, "bad-signature")
	post(`{}`).wantProblem(t, 401, "unauthorized")
	post(`{"signature":3}`).wantProblem(t, 422, "invalid")
	post(strings.Repeat(" ", 65<<10)).wantProblem(t, 413, "body-too-large")
	f.call("POST", "/v1/feedback/email/postmark", `{}`, "Authorization", "Bearer "+acmeKey).wantProblem(t, 403, "bad-signature")
	f.call("POST", "/v1/feedback/email/ses", `{}`).wantProblem(t, 404, "not-found")
	if len(d.taken) != 1 || d.counted(t, "mailgun", "refused") != 3 || d.counted(t, "postmark", "refused") != 1 {
		t.Errorf("took %d, refused %v", len(d.taken), d.counted(t, "mailgun", "refused"))
	}
}

func TestAReportIsTriedAgainWhenTheStoreWasAway(t *testing.T) {
	f, d := startFeedback(t)
	d.fail = errors.New("the store is away")
	body := mailgunReport(testNow, mailgunKey, "once", "ada@example.com")
	f.call("POST", "/v1/feedback/email/mailgun", body).wantProblem(t, 503, "unavailable")
	f.call("POST", "/v1/feedback/email", `{"type":"complaint","address":"ada@example.com"}`).wantProblem(t, 503, "unavailable")
	d.fail = nil
	if r := f.call("POST", "/v1/feedback/email/mailgun", body); r.status != 200 || len(d.taken) != 1 {
		t.Errorf("got %d %s; took %d", r.status, r.body, len(d.taken))
	}
}

func TestWithoutADeskThereIsNoFeedback(t *testing.T) {
	start(t, nil).call("POST", "/v1/feedback/email", `{}`).wantProblem(t, 404, "not-found")
}
