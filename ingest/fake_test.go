package ingest_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	stdjson "encoding/json"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/templates"
)

// fakeQueue keeps admissions in memory. It is strict: what the real queue may
// rely on, it checks.
type fakeQueue struct {
	t     *testing.T
	clock func() time.Time

	mu       sync.Mutex
	taken    []queue.Admission
	keys     map[string]queue.Admission
	ids      map[string]string // key → id
	records  map[string]queue.Record
	fail     error                                               // of every call
	failUser string                                              // of admissions for this user alone
	full     map[notice.Lane]time.Duration                       // lanes that are full
	hook     func(context.Context)                               // called by Admit and AdmitAll
	cancel   func(tenant, id string) (queue.Cancellation, error) // nil: ErrNotFound
}

func newFakeQueue(t *testing.T, clock func() time.Time) *fakeQueue {
	return &fakeQueue{t: t, clock: clock, keys: map[string]queue.Admission{}, ids: map[string]string{}, records: map[string]queue.Record{}}
}

func (q *fakeQueue) Admit(ctx context.Context, a queue.Admission) (queue.Admitted, error) {
	if q.hook != nil {
		q.hook(ctx)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	res := q.admit(a)
	return res, res.Err
}

func (q *fakeQueue) AdmitAll(ctx context.Context, as []queue.Admission) []queue.Admitted {
	if q.hook != nil {
		q.hook(ctx)
	}
	if len(as) == 0 {
		q.t.Error("AdmitAll was called with nothing to admit")
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]queue.Admitted, len(as))
	for i, a := range as {
		out[i] = q.admit(a)
	}
	return out
}

func (q *fakeQueue) admit(a queue.Admission) queue.Admitted {
	if q.fail != nil {
		return queue.Admitted{Err: fmt.Errorf("admit: %w", q.fail)}
	}
	if q.failUser != "" && a.Notification.To.User == q.failUser {
		return queue.Admitted{Err: queue.ErrUnavailable}
	}
	if f := a.Notification.Validate(q.clock()); f != nil {
		q.t.Errorf("an invalid notification reached the queue: %v", f)
	}
	if a.Tenant == "" || !a.Notification.Priority.Valid() {
		q.t.Errorf("an admission without tenant or priority reached the queue: %+v", a)
	}
	id := notice.NewID(3, q.clock())
	if a.Key != "" {
		key := a.Tenant + "\x00" + a.Key
		if first, ok := q.keys[key]; ok {
			if first.Digest != a.Digest {
				return queue.Admitted{Err: queue.ErrKeyReused}
			}
			return queue.Admitted{ID: q.ids[key], Duplicate: true}
		}
		q.keys[key], q.ids[key] = a, id
	}
	q.taken = append(q.taken, a)
	q.records[id] = queue.Record{
		ID: id, Tenant: a.Tenant, User: a.Notification.To.User, Template: a.Notification.Template,
		Category: a.Notification.Category, Lane: a.Notification.Priority, AcceptedAt: q.clock(),
	}
	return queue.Admitted{ID: id}
}

func (q *fakeQueue) Record(_ context.Context, tenant, id string) (queue.Record, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.fail != nil {
		return queue.Record{}, q.fail
	}
	rec, ok := q.records[id]
	if !ok || rec.Tenant != tenant {
		return queue.Record{}, fmt.Errorf("record %s: %w", id, queue.ErrNotFound)
	}
	return rec, nil
}

func (q *fakeQueue) Cancel(_ context.Context, tenant, id string) (queue.Cancellation, error) {
	if q.cancel == nil {
		return queue.Cancellation{}, queue.ErrNotFound
	}
	return q.cancel(tenant, id)
}

func (q *fakeQueue) Pressure(_ string, n *notice.Notification) (queue.Refusal, bool) {
	after, full := q.full[n.Priority]
	return queue.Refusal{RetryAfter: after, Why: "the queue is full"}, full
}

// fakeRates keeps rates by the fake's clock.
type fakeRates struct {
	clock func() time.Time
	mu    sync.Mutex
	full  map[string]time.Time
	fail  error
}

func (r *fakeRates) Spend(_ context.Context, a *queue.Account, n int) (out queue.Spent, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full == nil {
		r.full = map[string]time.Time{}
	}
	now := r.clock()
	out.Granted = n
	missing := func(q queue.Quota) time.Duration { return max(r.full[a.Tenant+q.Name].Sub(now), 0) }
	for _, q := range a.Quotas {
		out.Granted = min(out.Granted, int((q.Per-missing(q))*time.Duration(q.Count)/q.Per))
	}
	for _, q := range a.Quotas {
		after := missing(q) + time.Duration(out.Granted)*q.Per/time.Duration(q.Count)
		r.full[a.Tenant+q.Name] = now.Add(after)
		out.Quotas = append(out.Quotas, queue.QuotaState{Left: int((q.Per - after) * time.Duration(q.Count) / q.Per), Full: after})
	}
	return out, r.fail
}

// last is the admission that was taken last.
func (q *fakeQueue) last() queue.Admission {
	q.t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.taken) == 0 {
		q.t.Fatal("nothing was admitted")
	}
	return q.taken[len(q.taken)-1]
}

func (q *fakeQueue) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.taken)
}

// catalogue serves one catalogue.
type catalogue struct{ c *templates.Catalogue }

func (c catalogue) Current() *templates.Catalogue { return c.c }

func loadCatalogue(t testing.TB) catalogue {
	t.Helper()
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	c, err := templates.Load(fstest.MapFS{
		"catalogue.yaml": file("default_locale: en\n"),
		"order-shipped/template.yaml": file(`category: shipping
priority: normal
expires_in: 24h
schema:
  type: object
  required: [order]
  properties: {order: {type: string}, items: {type: array, items: {type: string}}}
samples:
  default: {order: A-1, items: [tea]}
`),
		"order-shipped/en/email.subject.txt": file("Order {{.data.order}}"),
		"order-shipped/en/email.txt":         file("Order {{.data.order}} is on its way."),
		"order-shipped/en/push.title.txt":    file("Order {{.data.order}}"),
		"welcome/template.yaml":              file("title: Welcome\ncollapse_key: hello\ndescription: Sent once, when somebody joins.\nopt_out: false\ncategory: account\npriority: critical\nchannels: [email]\nsamples: {default: {}}\n"),
		"welcome/en/email.subject.txt":       file("Welcome"),
		"welcome/en/email.txt":               file("Welcome {{.to.name}}"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return catalogue{c}
}

// fixture is the API over HTTP with everything behind it in memory.
type fixture struct {
	t     *testing.T
	url   string
	queue *fakeQueue
	logs  *lockedBuffer
	now   time.Time
}

var testNow = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

const (
	acmeKey  = "acme-key-0123456789"
	readKey  = "acme-read-0123456789"
	otherKey = "other-key-0123456789"
	slowKey  = "slow-key-0123456789"
)

// start serves the API. change may alter the options first.
func start(t *testing.T, change func(*ingest.Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, now: testNow, logs: &lockedBuffer{}}
	clock := func() time.Time { return testNow }
	f.queue = newFakeQueue(t, clock)
	o := ingest.Options{
		Ingest: config.Ingest{MaxBody: 64 << 10, MaxBatch: 5},
		Auth: config.Auth{Keys: []config.Key{
			{Tenant: "acme", Key: config.NewSecret(acmeKey)},
			{Tenant: "acme", Key: config.NewSecret(readKey), Scopes: []config.Scope{config.ScopeRead}},
			{Tenant: "other", Key: config.NewSecret(otherKey), Scopes: []config.Scope{config.ScopeSend, config.ScopeRead}},
			{Tenant: "acme", Key: config.NewSecret(slowKey), Rate: config.Rate{Count: 2, Per: time.Minute}},
		}},
		Queue:           f.queue,
		Rates:           &fakeRates{clock: f.queue.clock},
		Templates:       loadCatalogue(t),
		EnabledChannels: map[notice.Channel]bool{notice.ChannelEmail: true, notice.ChannelAPNs: true, notice.ChannelWebhook: true},
		Registry:        prometheus.NewRegistry(),
		Clock:           clock,
		Logger:          slog.New(slog.NewTextHandler(f.logs, nil)),
	}
	if change != nil {
		change(&o)
	}
	server := httptest.NewServer(watched(t, ingest.New(o)))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// reply is an answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// call makes a request with acme's key; headers come in pairs and replace it.
func (f *fixture) call(method, path, body string, headers ...string) reply {
	f.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, f.url+path, reader)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+acmeKey)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return f.do(req)
}

func (f *fixture) do(req *http.Request) reply {
	f.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(data)}
}

// problem is an answer's problem, after checking its form.
type problem struct {
	Type, Title, Detail string
	Status              int
	Errors              []notice.Fault
}

// wantProblem fails unless r is a problem of that status and kind.
func (r reply) wantProblem(t *testing.T, status int, kind string) problem {
	t.Helper()
	var p problem
	if err := stdjson.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatalf("status %d, body is no JSON: %q", r.status, r.body)
	}
	if r.status != status || p.Status != status || p.Type != "https://carillon.dev/problems/"+kind {
		t.Fatalf("got %d %s: %s; want %d %s", r.status, p.Type, r.body, status, kind)
	}
	if got := r.header.Get("Content-Type"); got != "application/problem+json" || p.Title == "" {
		t.Errorf("content type %q, title %q", got, p.Title)
	}
	return p
}

// wantFault fails unless p has a fault at pointer that says each of words.
func (p problem) wantFault(t *testing.T, pointer string, words ...string) {
	t.Helper()
	for _, f := range p.Errors {
		if f.Pointer != pointer {
			continue
		}
		for _, w := range words {
			if !strings.Contains(f.Detail, w) {
				t.Errorf("the fault at %q is %q, want it to say %q", pointer, f.Detail, w)
			}
		}
		return
	}
	t.Errorf("no fault at %q in %+v", pointer, p.Errors)
}

// into reads the answer, which must have that status.
func (r reply) into(t *testing.T, status int, v any) {
	t.Helper()
	if r.status != status {
		t.Fatalf("got %d %s, want %d", r.status, r.body, status)
	}
	if err := stdjson.Unmarshal([]byte(r.body), v); err != nil {
		t.Fatalf("%v in %q", err, r.body)
	}
}

// lockedBuffer is a log that may be written from many goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
