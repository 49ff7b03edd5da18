package ingest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
)

// fakeDead records what it is asked and answers with what it was given.
type fakeDead struct {
	asked queue.DeadFilter
	ids   []string
	dead  []queue.Dead
	next  string
	n     int
	err   error
}

func (d *fakeDead) DeadList(_ context.Context, f queue.DeadFilter) ([]queue.Dead, string, error) {
	d.asked = f
	return d.dead, d.next, d.err
}

func (d *fakeDead) Redrive(_ context.Context, tenant string, ids ...string) (int, error) {
	d.asked, d.ids = queue.DeadFilter{Tenant: tenant}, ids
	return d.n, d.err
}

func (d *fakeDead) RedriveAll(_ context.Context, f queue.DeadFilter) (int, error) {
	d.asked = f
	return d.n, d.err
}

func TestDeadLettersAreListedByPageWithinTheTenant(t *testing.T) {
	d := &fakeDead{next: "3-0123456789abcdefghij-0", dead: []queue.Dead{
		{ID: "3-0123456789abcdefghij-0", Tenant: "acme", Channel: notice.ChannelEmail, Reason: "attempts", Detail: "421", At: testNow, Payload: `{"id":"x"}`},
		{ID: "1-0", Tenant: "acme", Channel: notice.ChannelInbox, Reason: "malformed", At: testNow, Payload: "{\"template\": \xff"},
	}}
	f := start(t, func(o *ingest.Options) { o.DeadLetters = d })
	r := f.call("GET", "/v1/dead?channel=email&reason=attempts&after=1-0123456789abcdefghij-0&limit=2", "")
	want := `{"dead":[{"id":"3-0123456789abcdefghij-0","channel":"email","reason":"attempts","detail":"421","at":"2026-11-20T12:00:00Z","payload":{"id":"x"}},` +
		`{"id":"1-0","channel":"inbox","reason":"malformed","at":"2026-11-20T12:00:00Z","payload":"{\"template\": ` + "\ufffd" + `"}],"next":"3-0123456789abcdefghij-0"}` + "\n"
	if r.status != 200 || r.body != want {
		t.Errorf("got %d\n%s\nwant\n%s", r.status, r.body, want)
	}
	if want := (queue.DeadFilter{Tenant: "acme", Channel: "email", Reason: "attempts", After: "1-0123456789abcdefghij-0", Limit: 2}); d.asked != want {
		t.Errorf("asked for %+v, want %+v", d.asked, want)
	}
}

func TestDeadLetterFiltersThatAreWrongAreRefused(t *testing.T) {
	d := &fakeDead{}
	f := start(t, func(o *ingest.Options) { o.DeadLetters = d })
	for _, row := range []struct{ name, method, path, says string }{
		{"a misspelt filter, which would select everything", "POST", "/v1/dead/redrive?chanel=email", "chanel"},
		{"an unknown channel", "GET", "/v1/dead?channel=sms", `"sms"`},
		{"a page of none", "GET", "/v1/dead?limit=0", "1 to 1000"},
		{"a page too large", "GET", "/v1/dead?limit=1001", "1 to 1000"},
		{"a filter twice", "GET", "/v1/dead?reason=a&reason=b", "more than once"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := f.call(row.method, row.path, "").wantProblem(t, 400, "bad-request")
			if !strings.Contains(p.Detail, row.says) {
				t.Errorf("detail %q, want %q in it", p.Detail, row.says)
			}
		})
	}
	d.err = notice.ErrBadID
	f.call("GET", "/v1/dead?after=x", "").wantProblem(t, 400, "bad-request")
}

func TestRedrivingSaysHowMany(t *testing.T) {
	d := &fakeDead{n: 1}
	f := start(t, func(o *ingest.Options) { o.DeadLetters = d })
	var got struct{ Redriven int }
	f.call("POST", "/v1/dead/3-0123456789abcdefghij-0/redrive", "").into(t, 202, &got)
	if got.Redriven != 1 || len(d.ids) != 1 || d.ids[0] != "3-0123456789abcdefghij-0" || d.asked.Tenant != "acme" {
		t.Errorf("got %+v, asked %+v", got, d)
	}
	d.n = 7
	f.call("POST", "/v1/dead/redrive?channel=inbox", "").into(t, 202, &got)
	if got.Redriven != 7 || d.asked.Channel != notice.ChannelInbox || d.asked.Tenant != "acme" {
		t.Errorf("got %+v, asked %+v", got, d)
	}
	d.n = 0
	f.call("POST", "/v1/dead/3-0123456789abcdefghij-0/redrive", "").wantProblem(t, 404, "not-found")
	f.call("POST", "/v1/dead/redrive", "", "Authorization", "Bearer "+otherKey).wantProblem(t, 403, "forbidden")
}

// appleToken is the device that the documentation removes.
const appleToken = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"

// fakePeople keeps profiles and suppressions in a map.
type fakePeople struct {
	profiles map[string]*recipients.Profile
	devices  []recipients.Device
	entries  map[string]recipients.Suppression
	erased   []string
	fail     error
}

func newPeople() *fakePeople {
	return &fakePeople{profiles: map[string]*recipients.Profile{}, entries: map[string]recipients.Suppression{}}
}

func (p *fakePeople) Get(_ context.Context, tenant, user string) (*recipients.Profile, error) {
	if found, ok := p.profiles[tenant+"/"+user]; ok && p.fail == nil {
		return found, nil
	}
	return nil, p.or(recipients.ErrNotFound)
}

func (p *fakePeople) or(err error) error {
	if p.fail != nil {
		return p.fail
	}
	return err
}

func (p *fakePeople) Put(_ context.Context, tenant, user string, profile *recipients.Profile) error {
	if err := p.or(profile.Validate().Err()); err != nil {
		return err
	}
	p.profiles[tenant+"/"+user] = profile
	return nil
}

func (p *fakePeople) Patch(_ context.Context, tenant, user string, patch []byte) (*recipients.Profile, error) {
	found, ok := p.profiles[tenant+"/"+user]
	if !ok {
		return nil, p.or(recipients.ErrNotFound)
	}
	return found, notice.Decode(patch, found)
}

func (p *fakePeople) Delete(_ context.Context, tenant, user string) error {
	if _, ok := p.profiles[tenant+"/"+user]; !ok {
		return p.or(recipients.ErrNotFound)
	}
	delete(p.profiles, tenant+"/"+user)
	return p.or(nil)
}

func (p *fakePeople) PutPreferences(_ context.Context, _, _ string, wanted recipients.Preferences) error {
	return p.or(wanted.Validate().Err())
}

func (p *fakePeople) PutDevice(_ context.Context, _, _ string, d recipients.Device) error {
	p.devices = append(p.devices, d)
	return p.or(nil)
}

func (p *fakePeople) RemoveDevice(_ context.Context, _, _, token string) (bool, error) {
	return token == "a/b c" || token == appleToken, p.or(nil)
}

func (p *fakePeople) Suppression(_ context.Context, tenant string, c notice.Channel, address string) (recipients.Suppression, error) {
	if found, ok := p.entries[tenant+"/"+string(c)+"/"+address]; ok {
		return found, nil
	}
	return recipients.Suppression{}, p.or(recipients.ErrNotFound)
}

func (p *fakePeople) Suppress(_ context.Context, tenant string, c notice.Channel, address, reason string) error {
	p.entries[tenant+"/"+string(c)+"/"+address] = recipients.Suppression{Reason: reason, At: testNow}
	return p.or(nil)
}

func (p *fakePeople) Unsuppress(_ context.Context, tenant string, c notice.Channel, address string) error {
	if _, ok := p.entries[tenant+"/"+string(c)+"/"+address]; !ok {
		return p.or(recipients.ErrNotFound)
	}
	delete(p.entries, tenant+"/"+string(c)+"/"+address)
	return p.or(nil)
}

func (p *fakePeople) Erase(_ context.Context, tenant, user string) error {
	p.erased = append(p.erased, tenant+"/"+user)
	return p.or(nil)
}

func startPeople(t *testing.T) (*fixture, *fakePeople) {
	people := newPeople()
	return start(t, func(o *ingest.Options) { o.Profiles, o.Suppressions, o.Eraser = people, people, people }), people
}

const hookSecret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"

func TestAProfileIsKeptReadChangedAndErased(t *testing.T) {
	f, people := startPeople(t)
	body := `{"email":"ada@example.com","locale":"de","webhooks":[{"url":"https://example.com/h","secret":"` + hookSecret + `"}],"preferences":{"marketing":{"*":false}}}`
	var got recipients.Profile
	f.call("PUT", "/v1/recipients/u%2F42", body).into(t, 200, &got)
	f.call("GET", "/v1/recipients/u%2F42", "").into(t, 200, &got)
	if got.Email != "ada@example.com" || got.Webhooks[0].Secret != hookSecret || got.Preferences["marketing"]["*"] || people.profiles["acme/u/42"] == nil {
		t.Errorf("got %+v", got)
	}
	r := f.call("GET", "/v1/recipients/u%2F42", "", "Authorization", "Bearer "+readKey)
	if r.status != 200 || strings.Contains(r.body, hookSecret) || !strings.Contains(r.body, "[redacted]") {
		t.Errorf("a key that may only read sees the secret: %d %s", r.status, r.body)
	}
	f.call("GET", "/v1/recipients/u%2F42", "", "Authorization", "Bearer "+otherKey).wantProblem(t, 404, "not-found")
	f.call("PATCH", "/v1/recipients/u%2F42", `{"name":"Ada"}`, "Content-Type", "application/merge-patch+json").into(t, 200, &got)
	if got.Name != "Ada" || got.Email != "ada@example.com" {
		t.Errorf("patched to %+v", got)
	}
	if r := f.call("DELETE", "/v1/recipients/u%2F42", ""); r.status != 204 || r.body != "" || len(people.erased) != 1 || people.erased[0] != "acme/u/42" {
		t.Errorf("erasing: %d %q, records of %v", r.status, r.body, people.erased)
	}
	f.call("GET", "/v1/recipients/u%2F42", "").wantProblem(t, 404, "not-found")
	f.call("DELETE", "/v1/recipients/u%2F42", "").wantProblem(t, 404, "not-found")
}

func TestWhatIsWrongWithAProfileIsNamed(t *testing.T) {
	f, people := startPeople(t)
	p := f.call("PUT", "/v1/recipients/u", `{"email":"nobody","preferences":{"a":{"e-mail":true}},"devices":[{"platform":"ios","token":"zz"}]}`).wantProblem(t, 422, "invalid")
	p.wantFault(t, "/email", "mail address")
	p.wantFault(t, "/preferences/a/e-mail", `"email"`)
	p.wantFault(t, "/devices/0/token", "hex")
	p = f.call("PUT", "/v1/recipients/u", `{"emial":"a@b.c","devices":7,"preferences":{"a":{"email":"yes"}}}`).wantProblem(t, 422, "invalid")
	p.wantFault(t, "/emial", `"email"`)
	p.wantFault(t, "/devices", "an array")
	p.wantFault(t, "/preferences/a/email", "true or false")
	f.call("PUT", "/v1/recipients/u", `{"email":`).wantProblem(t, 400, "malformed-json")
	f.call("PUT", "/v1/recipients/"+strings.Repeat("u", 257), `{}`).wantProblem(t, 400, "bad-request")
	f.call("PUT", "/v1/recipients/u%0A", `{}`).wantProblem(t, 400, "bad-request")
	f.call("PUT", "/v1/recipients/u", `{}`, "Content-Type", "text/plain").wantProblem(t, 415, "unsupported-media-type")
	f.call("PUT", "/v1/recipients/u", `{}`, "Authorization", "Bearer "+readKey).wantProblem(t, 403, "forbidden")
	if len(people.profiles) != 0 {
		t.Errorf("stored %v", people.profiles)
	}
	people.fail = errors.New("dial tcp 10.0.0.1: refused")
	r := f.call("GET", "/v1/recipients/u", "")
	r.wantProblem(t, 503, "unavailable")
	if strings.Contains(r.body, "10.0.0.1") {
		t.Errorf("the answer tells what is inside: %s", r.body)
	}
}

func TestPreferencesAndDevices(t *testing.T) {
	f, people := startPeople(t)
	var wanted map[string]map[string]bool
	f.call("PUT", "/v1/recipients/u/preferences", `{"*":{"push":false}}`).into(t, 200, &wanted)
	if wanted["*"]["push"] || len(wanted) != 1 {
		t.Errorf("got %v", wanted)
	}
	f.call("PUT", "/v1/recipients/u/preferences", `{"a":{"sms":false}}`).wantProblem(t, 422, "invalid").wantFault(t, "/a/sms", "sms")
	var device notice.Device
	f.call("POST", "/v1/recipients/u/devices", `{"platform":"android","token":"a/b"}`).into(t, 201, &device)
	if device.Token != "a/b" || len(people.devices) != 1 || people.devices[0].Platform != notice.PlatformAndroid {
		t.Errorf("got %+v, stored %+v", device, people.devices)
	}
	if r := f.call("DELETE", "/v1/recipients/u/devices/a%2Fb%20c", ""); r.status != 204 {
		t.Errorf("got %d %s", r.status, r.body)
	}
	f.call("DELETE", "/v1/recipients/u/devices/other", "").wantProblem(t, 404, "not-found")
}

func TestSuppressions(t *testing.T) {
	f, _ := startPeople(t)
	path := "/v1/suppressions/email/ada@example.com"
	f.call("GET", path, "").wantProblem(t, 404, "not-found")
	want := `{"channel":"email","address":"ada@example.com","reason":"asked","at":"2026-11-20T12:00:00Z"}` + "\n"
	if r := f.call("PUT", path, `{"reason":"asked"}`); r.status != 200 || r.body != want {
		t.Errorf("got %d %s want %s", r.status, r.body, want)
	}
	if r := f.call("GET", path, ""); r.status != 200 || r.body != want {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if r := f.call("DELETE", path, ""); r.status != 204 {
		t.Errorf("got %d %s", r.status, r.body)
	}
	f.call("DELETE", path, "").wantProblem(t, 404, "not-found")
	if r := f.call("PUT", "/v1/suppressions/webhook/https%3A%2F%2Fexample.com%2Fh", ""); r.status != 200 || !strings.Contains(r.body, `"reason":"manual"`) {
		t.Errorf("without a body: %d %s", r.status, r.body)
	}
	f.call("PUT", "/v1/suppressions/sms/1", "").wantProblem(t, 400, "bad-request")
	f.call("PUT", "/v1/suppressions/email/nobody", "").wantProblem(t, 400, "bad-request")
	f.call("PUT", path, `{"raeson":"x"}`).wantProblem(t, 422, "invalid").wantFault(t, "/raeson", `"reason"`)
}

func TestTheCatalogueIsListed(t *testing.T) {
	r := start(t, nil).call("GET", "/v1/templates", "")
	want := `{"templates":[{"name":"order-shipped","category":"shipping","priority":"normal","channels":["push","email"],"expires_in":"24h","opt_out":true},` +
		`{"name":"welcome","title":"Welcome","description":"Sent once, when somebody joins.","category":"account","priority":"critical","channels":["email"],"opt_out":false}]}` + "\n"
	if r.status != 200 || r.body != want {
		t.Errorf("got %d %s want %s", r.status, r.body, want)
	}
}

func TestRenderingSendsNothing(t *testing.T) {
	f := start(t, nil)
	var got struct {
		Template, Version, Locale string
		Content                   notice.Content
	}
	f.call("POST", "/v1/templates/order-shipped/render", `{"data":{"order":"B-2"}}`).into(t, 200, &got)
	if got.Template != "order-shipped" || len(got.Version) != 12 || got.Locale != "en" || got.Content.Email.Subject != "Order B-2" || got.Content.Push.Title != "Order B-2" {
		t.Errorf("got %+v", got)
	}
	got.Content = notice.Content{}
	f.call("POST", "/v1/templates/order-shipped/render", ``).into(t, 200, &got)
	if got.Content.Email.Subject != "Order A-1" {
		t.Errorf("without a body got %+v, want the template's sample", got.Content.Email)
	}
	r := f.call("POST", "/v1/templates/welcome/render", `{"to":{"name":"Grace"},"channel":"email","locale":"en"}`)
	if r.status != 200 || !strings.Contains(r.body, "Welcome Grace") || strings.Contains(r.body, "push") {
		t.Errorf("got %d %s", r.status, r.body)
	}
	f.call("POST", "/v1/templates/order-shipped/render", `{"data":{}}`).wantProblem(t, 422, "data-mismatch").wantFault(t, "/data/order")
	f.call("POST", "/v1/templates/welcome/render", `{"channel":"push","locale":"!"}`).wantProblem(t, 422, "invalid").wantFault(t, "/channel", "email")
	p := f.call("POST", "/v1/templates/welcom/render", ``).wantProblem(t, 404, "not-found")
	if !strings.Contains(p.Detail, `"welcome"`) {
		t.Errorf("detail %q", p.Detail)
	}
	if f.queue.count() != 0 {
		t.Error("a rendering was admitted")
	}
}

func TestWhatComesInIsCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	f := start(t, func(o *ingest.Options) { o.Registry = registry; o.Router = issueRouter{} })
	f.call("POST", "/v1/notifications", shipped, "Idempotency-Key", "k")
	f.call("POST", "/v1/notifications", shipped, "Idempotency-Key", "k")
	f.call("POST", "/v1/notifications", `{}`)
	f.call("POST", "/v1/notifications/batch", `[`+shipped+`,{}]`)
	f.call("POST", "/v1/events", strings.Replace(issue("1", ``), ".issue", ".other", 1), "Content-Type", structured)
	for range 3 {
		f.call("POST", "/v1/notifications", shipped, "Authorization", "Bearer "+slowKey, "Idempotency-Key", "k")
	}
	f.queue.fail = queue.ErrUnavailable
	f.call("POST", "/v1/notifications", shipped)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.Metric {
			switch family.GetName() {
			case "carillon_ingest_notifications_total":
				got[m.Label[0].GetValue()] = m.Counter.GetValue()
			case "carillon_ingest_seconds":
				got["seconds"] = float64(m.Histogram.GetSampleCount())
			}
		}
	}
	for name, want := range map[string]float64{"accepted": 2, "duplicate": 3, "invalid": 2, "ignored": 1, "unavailable": 1, "limited": 1, "seconds": 8} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}
