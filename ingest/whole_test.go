package ingest_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	stdjson "encoding/json"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/feedback/provider"
	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/notice/optout"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/templates"
)

// whole is the API with every part that it may have, and with what the
// document's examples name: a notification, a user, a suppression.
type whole struct {
	*fixture
	patterns []string
	options  ingest.Options
	people   *fakePeople
	dead     *fakeDead
	desk     *fakeDesk
	wishes   *fakeWishes
	token    string // of an unsubscribe link
}

// exampleID is the notification of the examples.
const exampleID = "3-0jq2v8c5k1m4n7p9r6s0"

// logo has the asset of the example.
func logo(_ context.Context, name string) (templates.Asset, bool, error) {
	a, ok := templates.NamedAsset(name, "\x89PNG\r\n\x1a\nlogo")
	return a, ok, nil
}

// scopeKey is a key with one scope; spentKey one that may call once an hour.
func scopeKey(scope string) string { return "whole-" + scope + "-0123456789" }

const spentKey = "whole-spent-0123456789"

func startWhole(t testing.TB, change ...func(*whole)) *whole {
	t.Helper()
	w := &whole{fixture: &fixture{now: testNow, logs: &lockedBuffer{}}, people: newPeople(), dead: &fakeDead{n: 1}, wishes: &fakeWishes{}}
	w.fixture.t, _ = t.(*testing.T)
	clock := func() time.Time { return testNow }
	w.queue = newFakeQueue(w.fixture.t, clock)
	w.desk = &fakeDesk{reports: map[string]bool{}}
	w.desk.desk = &feedback.Desk{People: w.desk, Records: w.desk, Tenant: "acme", Now: clock, Counter: feedback.NewCounter(prometheus.NewRegistry())}
	keys, err := optout.NewKeys([]byte("the secret of the test"))
	if err != nil {
		t.Fatal(err)
	}
	w.token = keys.Token(userWish(), testNow)
	providers, err := provider.New(config.FeedbackEmail{Mailgun: &config.FeedbackMailgun{SigningKey: config.NewSecret(mailgunKey)},
		Postmark: &config.FeedbackPostmark{Token: config.NewSecret(postmarkToken)}}, nil, clock)
	if err != nil {
		t.Fatal(err)
	}
	w.options = ingest.Options{
		Ingest: config.Ingest{MaxBody: 64 << 10, MaxBatch: 5}, Auth: config.Auth{Keys: wholeKeys()},
		Queue: w.queue, Rates: &fakeRates{clock: w.queue.clock}, DeadLetters: w.dead, Templates: loadCatalogue(t), Router: issueRouter{},
		Profiles: w.people, Suppressions: w.people, Eraser: w.people, OptOuts: keys, Wishes: w.wishes,
		Feedback: w.desk.desk, Providers: providers, Reports: w.desk, Assets: logo,
		EnabledChannels: map[notice.Channel]bool{notice.ChannelEmail: true, notice.ChannelAPNs: true, notice.ChannelFCM: true, notice.ChannelWebhook: true},
		Registry:        prometheus.NewRegistry(), Clock: clock, Logger: slog.New(slog.NewTextHandler(w.logs, nil)),
	}
	w.fill()
	for _, c := range change {
		c(w)
	}
	api := ingest.New(w.options)
	w.patterns = ingest.Patterns(api)
	server := httptest.NewServer(watched(t, api))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func wholeKeys() []config.Key {
	keys := []config.Key{
		{Tenant: "acme", Key: config.NewSecret(acmeKey)},
		{Tenant: "acme", Key: config.NewSecret(spentKey), Rate: config.Rate{Count: 1, Per: time.Hour}},
	}
	for _, s := range []config.Scope{config.ScopeSend, config.ScopeRead, config.ScopeAdmin, config.ScopeFeedback} {
		keys = append(keys, config.Key{Tenant: "acme", Key: config.NewSecret(scopeKey(string(s))), Scopes: []config.Scope{s}})
	}
	return keys
}

// fill keeps what the examples name.
func (w *whole) fill() {
	w.queue.records[exampleID] = queue.Record{ID: exampleID, Tenant: "acme", User: "u42", Template: "order-shipped", Category: "shipping", Lane: notice.LaneNormal,
		AcceptedAt: testNow, ExpiresAt: testNow.Add(24 * time.Hour), Deliveries: []queue.DeliveryRecord{{
			ID: exampleID + "-0", Channel: notice.ChannelEmail, Address: "a…@example.com", Status: notice.StatusRetrying, Attempt: 1,
			Timeline: []queue.Entry{{At: testNow.Add(time.Second), Status: notice.StatusRetrying, Attempt: 1, Code: "4.2.2", Detail: "mailbox full", Until: testNow.Add(time.Minute)}}}}}
	w.queue.cancel = func(_, id string) (queue.Cancellation, error) {
		if id != exampleID {
			return queue.Cancellation{}, queue.ErrNotFound
		}
		return queue.Cancellation{Canceled: []string{exampleID + "-1"}, TooLate: []string{exampleID + "-2"}}, w.queue.fail
	}
	w.people.profiles["acme/u42"] = &recipients.Profile{Email: "ada@example.com", Locale: "de", Devices: []recipients.Device{{Platform: "android", Token: "dQw4w9WgXcQ:APA91b", RegisteredAt: testNow}}}
	w.people.entries["acme/email/ada@example.com"] = recipients.Suppression{Reason: "asked by phone", At: testNow}
	w.dead.dead = []queue.Dead{{ID: exampleID + "-0", Tenant: "acme", Channel: notice.ChannelEmail, Reason: "attempts", Detail: "421", At: testNow, Payload: `{"template":"order-shipped"}`}}
}

// bare makes a request without a key of its own.
func (w *whole) bare(method, path string, headers ...string) reply {
	req, err := http.NewRequest(method, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return w.do(req)
}

// documented is one operation of the document, and a request for it.
type documented struct {
	id, method, path string
	op               *openapi3.Operation
	kind, body       string            // the request's
	header           map[string]string // beside Authorization
	key              string
}

func operationsOf(t testing.TB, w *whole) []documented {
	var all []documented
	for path, item := range loadContract(t).Paths.Map() {
		for method, op := range item.Operations() {
			d := documented{id: op.OperationID, method: method, path: sample(path, item, op), op: op, key: acmeKey, header: map[string]string{}}
			switch {
			case strings.HasPrefix(path, "/u/"):
				d.path = "/u/" + w.token
			case d.id == "removeDevice":
				d.path = "/v1/recipients/u42/devices/a%2Fb%20c"
			case d.id == "reportMailByProvider":
				d.header["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte("postmark:"+postmarkToken))
			}
			if e := examplesOf(t, op); len(e) > 0 {
				d.kind, d.body = e[0].kind, e[0].body
			}
			if d.id == "createEvent" {
				d.kind, d.body = "application/cloudevents+json", `{"specversion":"1.0","id":"1","source":"s","type":"com.github.push"}`
			}
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b documented) int { return strings.Compare(a.id, b.id) })
	return all
}

const (
	postmarkToken  = "a-token-of-more-than-16-bytes"
	postmarkBounce = `{"RecordType":"Bounce","ID":42,"Type":"HardBounce","TypeCode":1,"MessageID":"m-1","Email":"ada@example.com","BouncedAt":"2026-11-20T11:00:00Z","Inactive":true}`
)

// requestExample is a request's body that the document shows.
type requestExample struct{ name, kind, body string }

func examplesOf(t testing.TB, op *openapi3.Operation) []requestExample {
	var all []requestExample
	if op.OperationID == "reportMailByProvider" {
		return []requestExample{{"postmark", "application/json", postmarkBounce}}
	}
	if op.RequestBody == nil {
		return nil
	}
	for kind, media := range op.RequestBody.Value.Content {
		for name, e := range media.Examples {
			all = append(all, requestExample{name, kind, encodeExample(t, kind, e.Value.Value)})
		}
	}
	slices.SortFunc(all, func(a, b requestExample) int { return strings.Compare(a.kind+a.name, b.kind+b.name) })
	return all
}

func encodeExample(t testing.TB, kind string, v any) string {
	switch v := v.(type) {
	case string:
		return v
	case map[string]any:
		if kind == formType {
			form := url.Values{}
			for name, value := range v {
				form.Set(name, value.(string))
			}
			return form.Encode()
		}
	}
	b, err := stdjson.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// send makes the request.
func (d documented) send(w *whole) reply {
	var body io.Reader
	if d.body != "" {
		body = strings.NewReader(d.body)
	}
	req, err := http.NewRequest(d.method, w.url+d.path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	if d.key != "" && len(d.header["Authorization"]) == 0 {
		req.Header.Set("Authorization", "Bearer "+d.key)
	}
	if d.body != "" {
		req.Header.Set("Content-Type", d.kind)
	}
	for name, value := range d.header {
		req.Header.Set(name, value)
	}
	return w.do(req)
}

func TestEveryExampleOfARequestIsAccepted(t *testing.T) {
	count := 0
	for _, d := range operationsOf(t, startWhole(t)) {
		for _, e := range examplesOf(t, d.op) {
			t.Run(d.id+"/"+e.name, func(t *testing.T) {
				count++
				w := startWhole(t)
				d.kind, d.body = e.kind, e.body
				if strings.HasPrefix(d.path, "/u/") {
					d.path = "/u/" + w.token
				}
				if e.name == "binary" {
					for _, p := range d.op.Parameters {
						if p.Value.Example != nil {
							d.header[p.Value.Name] = p.Value.Example.(string)
						}
					}
				}
				if r := d.send(w); r.status/100 != 2 {
					t.Errorf("got %d %s", r.status, r.body)
				}
			})
		}
	}
	if count < 15 {
		t.Errorf("the document has only %d examples of requests", count)
	}
}

// TestEveryDocumentedStatusIsAnswered makes each status happen that the
// document names, of each operation. What watches the answers holds each
// against its schema.
func TestEveryDocumentedStatusIsAnswered(t *testing.T) {
	for _, d := range operationsOf(t, startWhole(t)) {
		for status := range d.op.Responses.Map() {
			t.Run(d.id+"/"+status, func(t *testing.T) {
				t.Parallel()
				want, err := strconv.Atoi(status)
				if err != nil {
					t.Fatal(err)
				}
				if got := provoke(t, d, want); got.status != want {
					t.Errorf("got %d %s", got.status, got.body)
				}
			})
		}
	}
}

// provoke makes a status happen.
func provoke(t *testing.T, d documented, status int) reply {
	var change []func(*whole)
	prepare := func(*whole) {}
	d.header = maps.Clone(d.header)
	switch status {
	case 206:
		d.header["Range"] = "bytes=1-3"
	case 304:
		d.header["If-None-Match"] = "*"
	case 400:
		d = d.wrong()
	case 401:
		d.key = ""
		delete(d.header, "Authorization")
	case 403:
		d = d.forbidden()
	case 404:
		d = d.lost()
		change = append(change, func(w *whole) { w.dead.n = 0 })
	case 408:
		return slow(t, d)
	case 409:
		change = append(change, func(w *whole) {
			w.queue.cancel = func(string, string) (queue.Cancellation, error) { return queue.Cancellation{}, queue.ErrFinished }
		})
	case 413:
		d.body = `"` + strings.Repeat("x", 64<<10) + `"`
	case 415:
		d.kind = "text/x-other"
		if d.id == "reportMailByProvider" {
			d.header["Content-Encoding"] = "br"
		}
		if d.id == "createNotifications" || d.body == "" {
			d.body = "[]"
		}
	case 416:
		d.header["Range"] = "bytes=1000-"
	case 422:
		d.body = d.faulty()
	case 429:
		d.key = spentKey
		prepare = func(w *whole) { w.spend(d) }
	case 500:
		change = append(change, (*whole).breakAll)
	case 503:
		change = append(change, (*whole).cutOff)
		if d.id == "createEvent" {
			d.body = issue("1", `"u1"`)
		}
	}
	w := startWhole(t, change...)
	if strings.HasPrefix(d.path, "/u/") && status != 404 {
		d.path = "/u/" + w.token
	}
	prepare(w)
	return d.send(w)
}

// wrong is a request that is no request of the operation.
func (d documented) wrong() documented {
	switch {
	case d.body != "":
		d.body = "{"
	case strings.HasPrefix(d.path, "/v1/suppressions/"):
		d.path = "/v1/suppressions/fax/1"
	case strings.HasPrefix(d.path, "/v1/recipients/"):
		d.path = strings.Replace(d.path, "/u42", "/%00", 1)
	default:
		d.path += "?limlt=1"
	}
	return d
}

// forbidden is a request of who may do something else.
func (d documented) forbidden() documented {
	if d.id == "reportMailByProvider" {
		d.header["Authorization"] = "Basic cG9zdG1hcms6bm90LXRoZS10b2tlbi1hdC1hbGw="
		return d
	}
	d.key = scopeKey("feedback")
	if scopeOf(d.op) == "feedback" {
		d.key = scopeKey("send")
	}
	return d
}

// lost is a request for something that is not there.
func (d documented) lost() documented {
	for _, known := range [][2]string{{exampleID + "-0", "x"}, {exampleID, "3-00000000000000000000"}, {"/u42", "/u43"}, {"a%2Fb%20c", "x"},
		{"ada@example.com", "bob@example.com"}, {"order-shipped", "order-shiped"}, {"postmark", "pigeon"}, {".png", ".gif"}} {
		d.path = strings.Replace(d.path, known[0], known[1], 1)
	}
	if strings.HasPrefix(d.path, "/u/") {
		d.path = "/u/no-token"
	}
	return d
}

// faulty is a body that is JSON and wrong.
func (d documented) faulty() string {
	switch d.id {
	case "createNotifications":
		return `[{}]`
	case "createEvent":
		return `{"specversion":"1.0"}`
	case "putPreferences":
		return `{"marketing":{"fax":true}}`
	case "reportMailByProvider":
		return `{"RecordType":7}`
	}
	return `{"unheard_of":1}`
}

// spend uses up what a caller may do.
func (w *whole) spend(d documented) {
	if d.id != "unsubscribe" {
		w.bare("GET", "/v1/templates", "Authorization", "Bearer "+spentKey)
		return
	}
	for range 200 {
		d.send(w)
	}
}

// breakAll makes every part panic when it is asked for anything.
func (w *whole) breakAll() {
	o := &w.options
	o.Queue, o.DeadLetters, o.Templates = struct{ ingest.Queue }{}, struct{ ingest.DeadLetters }{}, struct{ ingest.Templates }{}
	o.Router, o.Profiles, o.Suppressions, o.Eraser = struct{ ingest.Router }{}, struct{ ingest.Profiles }{}, struct{ ingest.Suppressions }{}, struct{ ingest.Eraser }{}
	o.OptOuts, o.Feedback = struct{ ingest.OptOuts }{}, &feedback.Desk{}
	o.Assets = func(context.Context, string) (templates.Asset, bool, error) { panic("broken") }
	o.Providers = map[string]provider.Provider{"postmark": struct{ provider.Provider }{}}
}

// cutOff takes the store away.
func (w *whole) cutOff() {
	away := errors.New("the store is away")
	w.queue.fail, w.dead.err = queue.ErrUnavailable, queue.ErrUnavailable
	w.options.Assets = func(context.Context, string) (templates.Asset, bool, error) { return templates.Asset{}, false, away }
	w.people.fail, w.desk.fail, w.wishes.fail = away, away, away
	clear(w.people.profiles)
	clear(w.people.entries)
}

// slow sends a request's header and never its body.
func slow(t *testing.T, d documented) reply {
	w := startWhole(t, func(w *whole) { w.options.BodyTimeout = 20 * time.Millisecond })
	body, end := io.Pipe()
	defer end.Close()
	req, err := http.NewRequest(d.method, w.url+d.path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.key)
	req.Header.Set("Content-Type", d.kind)
	if d.kind == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range d.header {
		req.Header.Set(name, value)
	}
	return w.do(req)
}
