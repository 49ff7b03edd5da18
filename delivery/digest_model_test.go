package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/templates"
	"github.com/carillonhq/carillon/throttle"
)

// The model runs consumers command by command. Each of them stops before every
// command that it sends to Redis, and goes on when it is told to; it may be
// killed there, or when the command was done and the answer is on its way. So
// nothing happens but in the order that was drawn, and a fault is found again.

// errKilled is what a consumer gets of Redis from its death on.
var errKilled = errors.New("the consumer was killed")

// what a consumer is told that stands before a command.
type word uint8

const (
	goOn word = iota
	dieBefore
	dieAfter
)

// stepper is a consumer in the midst of one piece of work.
type stepper struct {
	*delivery.Pipeline
	queue  *queue.Queue  // its process's own
	at     chan struct{} // it stands before a command
	told   chan word
	done   chan struct{}
	cancel context.CancelFunc
	dead   bool
	unsure []string // what it has sent and not settled: it may be sent again when it dies
}

type stepperKey struct{}

// gates stops every command of a stepper.
type gates struct{}

// DialHook implements redis.Hook.
func (gates) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (gates) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return gated(ctx, func() error { return next(ctx, cmd) }, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (gates) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return gated(ctx, func() error { return next(ctx, cmds) }, cmds...)
	}
}

func gated(ctx context.Context, do func() error, cmds ...redis.Cmder) error {
	s, ok := ctx.Value(stepperKey{}).(*stepper)
	if !ok {
		return do()
	}
	if !s.dead {
		s.at <- struct{}{}
		switch <-s.told {
		case goOn:
			return do()
		case dieAfter:
			_ = do() // its answer reaches nobody
		}
		s.dead = true
		s.cancel()
	}
	for _, c := range cmds {
		c.SetErr(errKilled)
	}
	return errKilled
}

// digestModel is what should come of digests, told by what was asked and sent.
type digestModel struct {
	t     *rapid.T
	store *modelStore
	queue *queue.Queue // the door's
	spare []*queue.Queue
	caps  *throttle.Caps
	rule  config.Cap
	clock *stillClock

	lives    int
	working  []*stepper
	taker    *stepper // who takes over what the dead left, alone: a lease runs out at once here
	notes    []*asked
	failing  bool             // the provider answers 503
	sends    map[string][]out // by delivery
	unsure   map[string]int   // of a delivery, how often nobody was told that it was taken: its consumer died
	canceled map[string]bool  // ids that somebody tried to cancel
	erased   map[string]bool  // ids that were somebody's who was erased
}

// asked is a notification of the model.
type asked struct {
	n       int
	id      string
	user    string
	expires time.Time
}

// out is a message as it was sent.
type out struct {
	at    time.Time
	body  string
	taken bool // the provider answered so
}

// stillClock stands still until it is set on.
type stillClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *stillClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *stillClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// modelStore is what all runs of the model share.
type modelStore struct {
	rdb       *redis.Client
	plain     *redis.Client // without gates
	catalogue *templates.Store
	runs      int
}

func newModelStore(t *testing.T, addr string) *modelStore {
	t.Helper()
	open := func() *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, ContextTimeoutEnabled: true})
		t.Cleanup(func() { c.Close() })
		return c
	}
	s := &modelStore{rdb: open(), plain: open()}
	s.rdb.AddHook(gates{})
	dir := t.TempDir()
	files := maps.Clone(digesting(1).catalogue)
	files["catalogue.yaml"] = "default_locale: en\n"
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if s.catalogue, err = templates.OpenStore(dir, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.catalogue.Close() })
	return s
}

// begin empties the store and draws rules.
func (s *modelStore) begin(t *rapid.T) (*digestModel, func()) {
	s.runs++
	if err := s.plain.FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	m := &digestModel{t: t, store: s, clock: &stillClock{at: time.UnixMilli(1_800_000_000_000)}, sends: map[string][]out{}, unsure: map[string]int{},
		canceled: map[string]bool{}, erased: map[string]bool{}}
	cfg := config.Queue{Namespace: fmt.Sprintf("m%d", s.runs), Partitions: 1, Visibility: config.Duration(time.Millisecond), Retention: config.Duration(24 * time.Hour), MaxBacklog: 1000}
	for range atWork + 1 {
		q, err := queue.Open(context.Background(), s.rdb, s.rdb, cfg, queue.WithClock(m.clock.Now))
		if err != nil {
			t.Fatal(err)
		}
		m.spare = append(m.spare, q)
	}
	opened := slices.Clone(m.spare)
	m.queue, m.spare = m.spare[0], m.spare[1:]
	var err error
	m.rule = config.Cap{Name: "few", Category: "*", Channel: "*", Tenant: "*", Lane: "*", Over: config.OverDigest,
		Limit: config.Rate{Count: rapid.IntRange(1, 3).Draw(t, "limit"), Per: rapid.SampledFrom([]time.Duration{10 * time.Second, time.Minute, 10 * time.Minute}).Draw(t, "window")},
		DigestMax: config.DigestMax{Items: rapid.IntRange(2, 6).Draw(t, "items"),
			Size: rapid.SampledFrom([]config.Size{300, 700, 64 << 10}).Draw(t, "size")}}
	if m.caps, err = throttle.NewCaps(s.rdb, cfg.Namespace, m.queue.Partition, []config.Cap{m.rule}); err != nil {
		t.Fatal(err)
	}
	return m, func() {
		for _, q := range opened {
			q.Close()
		}
	}
}

// atWork is how many consumers there are at a time.
const atWork = 3

// consumer is a new life.
func (m *digestModel) consumer() *stepper {
	m.lives++
	s := &stepper{queue: m.spare[0], at: make(chan struct{}), told: make(chan word), done: make(chan struct{})}
	m.spare = m.spare[1:]
	schedule := make([]config.Duration, 100)
	for i := range schedule {
		schedule[i] = config.Duration(5 * time.Second)
	}
	s.Pipeline = delivery.New(delivery.Options{Consumer: fmt.Sprintf("c%d", m.lives), Queue: s.queue, Directory: recipients.New(m.store.rdb, "m", m.queue.Partition), Catalogue: m.store.catalogue,
		Caps: m.caps, Tenant: "acme", Visibility: time.Hour, Patience: -1, Now: m.clock.Now, Jitter: func(time.Duration) time.Duration { return 0 },
		Enabled: map[notice.Channel]bool{notice.ChannelWebhook: true}, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Channels: []delivery.Channel{{Adapter: &modelAdapter{m, s}, Slots: throttle.NewSlots(4, m.clock.Now), Pace: throttle.NewPace(config.Rate{}), Retry: config.Retry{Schedule: schedule}}}})
	return s
}

// modelAdapter is the provider of one consumer's messages.
type modelAdapter struct {
	m    *digestModel
	from *stepper
}

// Channel implements channels.Adapter.
func (*modelAdapter) Channel() notice.Channel { return notice.ChannelWebhook }

// Send implements channels.Adapter.
func (a *modelAdapter) Send(_ context.Context, got channels.Message) channels.Result {
	m := a.m
	m.sends[got.ID] = append(m.sends[got.ID], out{m.clock.Now(), string(got.Content.Webhook), !m.failing})
	if m.failing {
		return channels.Result{Verdict: channels.Retry, Code: "503"}
	}
	a.from.unsure = append(a.from.unsure, got.ID)
	return channels.Result{Verdict: channels.Sent, Code: "200"}
}

// begin has a new consumer do a piece of work, and returns when it stands before
// its first command.
func (m *digestModel) begin(do func(ctx context.Context, s *stepper)) *stepper {
	s := m.consumer()
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), stepperKey{}, s))
	s.cancel = cancel
	go func() { defer close(s.done); defer cancel(); do(ctx, s) }()
	if m.stands(s) {
		m.working = append(m.working, s)
	}
	return s
}

// stands waits until a consumer stands before a command; false: it has ended.
func (m *digestModel) stands(s *stepper) bool {
	select {
	case <-s.at:
		return true
	case <-s.done:
		m.spare = append(m.spare, s.queue)
		if s.dead {
			for _, id := range s.unsure {
				m.unsure[id]++
			}
		}
		return false
	}
}

// tell lets a consumer go on, or die.
func (m *digestModel) tell(s *stepper, w word) {
	s.told <- w
	if !m.stands(s) {
		m.working = slices.DeleteFunc(m.working, func(other *stepper) bool { return other == s })
	}
}

// finish lets everybody end what they are at.
func (m *digestModel) finish() {
	for len(m.working) > 0 {
		m.tell(m.working[0], goOn)
	}
}

// lease is a way to lease that never waits: only what is there is read.
func (m *digestModel) lease(ctx context.Context, stage string, most int) func(*queue.Reader) ([]*queue.Lease, error) {
	return func(r *queue.Reader) ([]*queue.Lease, error) {
		if !m.unread(stage) {
			return nil, nil
		}
		return r.Read(ctx, most)
	}
}

// unread reports whether a stage's streams have anything that nobody has read.
func (m *digestModel) unread(stage string) bool {
	return m.onStreams(stage, func(key string, length int64) bool { return length > pending(m.store.plain, key) })
}

// onStreams reports whether any stream of a stage is so.
func (m *digestModel) onStreams(stage string, is func(key string, length int64) bool) bool {
	for _, key := range m.store.plain.Keys(context.Background(), "*:"+stage+":normal*").Val() {
		if is(key, m.store.plain.XLen(context.Background(), key).Val()) {
			return true
		}
	}
	return false
}

func (m *digestModel) plan(ctx context.Context, s *stepper) {
	s.PlanOnce(ctx, m.lease(ctx, "events", 3))
}

func (m *digestModel) send(ctx context.Context, s *stepper) {
	s.SendOnce(ctx, m.lease(ctx, "webhook", 2))
}

// reclaim works what dead consumers left.
func (m *digestModel) reclaim(ctx context.Context, s *stepper) {
	take := func(r *queue.Reader) ([]*queue.Lease, error) { return r.Reclaim(ctx, 3) }
	s.PlanOnce(ctx, take)
	s.SendOnce(ctx, take)
}

func (m *digestModel) promote(ctx context.Context, s *stepper) { s.PromoteOnce(ctx) }

// admit admits a note to a user, at one or two addresses.
func (m *digestModel) admit(t *rapid.T) {
	a := &asked{n: len(m.notes) + 1, user: rapid.SampledFrom([]string{"ada", "bob"}).Draw(t, "user")}
	n := note(a.user, a.n)
	if rapid.IntRange(0, 3).Draw(t, "second address") == 0 {
		n.To.Webhooks = append(n.To.Webhooks, notice.Webhook{URL: "https://other-" + a.user + ".example/"})
	}
	if life := rapid.SampledFrom([]time.Duration{0, 0, 0, 2 * time.Second, 30 * time.Second, 3 * time.Minute}).Draw(t, "life"); life > 0 {
		a.expires = m.clock.Now().Add(life)
		n.ExpiresAt = a.expires
	}
	got, err := m.queue.Admit(context.Background(), queue.Admission{Tenant: "acme", Notification: n})
	if err != nil {
		t.Fatal(err)
	}
	a.id = got.ID
	m.notes = append(m.notes, a)
}

// actions are what may happen next.
func (m *digestModel) actions() map[string]func(*rapid.T) {
	start := func(do func(context.Context, *stepper)) func(*rapid.T) {
		return func(t *rapid.T) {
			if len(m.working) == atWork || slices.Contains(m.working, m.taker) {
				t.Skip("everybody is at work, or one takes leases over")
			}
			m.begin(do)
		}
	}
	resume := func(t *rapid.T) {
		if len(m.working) == 0 {
			t.Skip("nobody is at work")
		}
		s := m.working[rapid.IntRange(0, len(m.working)-1).Draw(t, "who")]
		for n := rapid.IntRange(1, 12).Draw(t, "commands"); n > 0 && slices.Contains(m.working, s); n-- {
			m.tell(s, goOn)
		}
	}
	return map[string]func(*rapid.T){
		"admit": m.admit, "admit more": func(t *rapid.T) {
			for range rapid.IntRange(2, 6).Draw(t, "more") {
				m.admit(t)
			}
		},
		"plan": start(m.plan), "plan too": start(m.plan), "send": start(m.send), "send too": start(m.send), "promote": start(m.promote),
		"go on": resume, "go on still": resume, "go on further": resume,
		"kill": func(t *rapid.T) {
			if len(m.working) == 0 {
				t.Skip("nobody is at work")
			}
			m.tell(m.working[rapid.IntRange(0, len(m.working)-1).Draw(t, "who")], rapid.SampledFrom([]word{dieBefore, dieAfter}).Draw(t, "when"))
		},
		"later": func(t *rapid.T) {
			m.clock.advance(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 7 * time.Second, time.Minute, 10 * time.Minute}).Draw(t, "by"))
		},
		"digests go meanwhile": m.sendMeanwhile,
		"take over":            func(t *rapid.T) { m.finish(); m.taker = m.begin(m.reclaim) },
		"trouble":              func(t *rapid.T) { m.failing = !m.failing },
		"cancel":               m.cancel,
		"erase":                m.erase,
	}
}

// sendMeanwhile has what waits come due, and sends it while others stand where
// they are.
func (m *digestModel) sendMeanwhile(t *rapid.T) {
	if len(m.working) == atWork || slices.Contains(m.working, m.taker) {
		t.Skip("everybody is at work, or one takes leases over")
	}
	m.clock.advance(m.rule.Limit.Per)
	for _, work := range []func(context.Context, *stepper){m.promote, m.send, m.send} {
		for s := m.begin(work); slices.Contains(m.working, s); {
			m.tell(s, goOn)
		}
	}
}

func (m *digestModel) cancel(t *rapid.T) {
	if len(m.notes) == 0 {
		t.Skip("there is nothing")
	}
	m.finish() // a cancel waits for what somebody holds, by the real clock
	a := m.notes[rapid.IntRange(0, len(m.notes)-1).Draw(t, "which")]
	m.canceled[a.id] = true
	ctx, end := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer end()
	_, _ = m.queue.Cancel(ctx, "acme", a.id) // what nothing is left of cannot be
}

func (m *digestModel) erase(t *rapid.T) {
	if len(m.notes) == 0 || rapid.IntRange(0, 4).Draw(t, "rarely") > 0 {
		t.Skip("not now")
	}
	m.finish()
	user := rapid.SampledFrom([]string{"ada", "bob"}).Draw(t, "user")
	for _, a := range m.notes {
		if a.user == user {
			m.erased[a.id] = true
		}
	}
	if err := m.queue.Erase(context.Background(), "acme", user); err != nil {
		t.Fatal(err)
	}
}

// drain lets everything come to its end.
func (m *digestModel) drain() {
	m.failing = false
	for range 400 {
		m.finish()
		for _, work := range []func(context.Context, *stepper){m.promote, m.plan, m.send, m.reclaim} {
			m.begin(work)
			m.finish()
		}
		if !m.left() {
			return
		}
		if !m.unread("events") && !m.unread("webhook") {
			m.clock.advance(m.rule.Limit.Per/2 + time.Second)
		}
	}
	m.t.Fatalf("not everything comes to an end: %v", m.store.plain.Keys(context.Background(), "*").Val())
}

// left reports whether anything may still happen.
func (m *digestModel) left() bool {
	any := func(_ string, length int64) bool { return length > 0 }
	return m.onStreams("events", any) || m.onStreams("webhook", any) || len(m.store.plain.Keys(context.Background(), "*:parked").Val()) > 0
}

// checkSends fails when a message was taken twice without need, was sent with two
// bodies, or is a digest of nothing or of too many. It returns those that were
// taken.
func (m *digestModel) checkSends() map[string]body {
	bodies := map[string]body{}
	for id, sends := range m.sends {
		taken := 0
		for _, s := range sends {
			if s.body != sends[0].body {
				m.t.Errorf("%s was sent as %s and as %s", id, sends[0].body, s.body)
			}
			if s.taken {
				taken++
			}
		}
		if taken > 1+m.unsure[id] {
			m.t.Errorf("%s was taken %d times, and there was cause for %d\n%s", id, taken, 1+m.unsure[id], m.story([]string{id}))
		}
		var b body
		if err := json.Unmarshal([]byte(sends[0].body), &b); err != nil {
			m.t.Fatal(err)
		}
		if b.N == 0 && (len(b.All) == 0 || len(b.All) > m.rule.DigestMax.Items || len(b.All) != b.Count || b.Count+b.More < 2) {
			m.t.Errorf("%s is a digest of %+v, with room for %d", id, b, m.rule.DigestMax.Items)
		}
		if taken > 0 {
			bodies[id] = b
		}
	}
	return bodies
}

// body is a message's.
type body struct {
	N     int   `json:"n"`
	All   []int `json:"all"`
	Count int   `json:"count"`
	More  int   `json:"more"`
}

// numbers are the notes that it tells of.
func (b body) numbers() []int {
	if b.N != 0 {
		return []int{b.N}
	}
	return b.All
}

// checkNotes fails unless each delivery is in exactly one message, or its record
// says why it is in none.
func (m *digestModel) checkNotes(bodies map[string]body) {
	in := map[int]map[string][]string{} // by note and address, the messages that tell of it
	for id, b := range bodies {
		for _, n := range b.numbers() {
			if in[n] == nil {
				in[n] = map[string][]string{}
			}
			address := ordinalOf(id)
			in[n][address] = append(in[n][address], id)
		}
	}
	counted := map[string]int{}
	for _, a := range m.notes {
		r, err := m.queue.Record(context.Background(), "acme", a.id)
		if err != nil || r.Open() {
			m.t.Fatalf("the record of note %d: %+v, %v", a.n, r, err)
		}
		for _, d := range r.Deliveries {
			m.checkDelivery(a, d, in[a.n][ordinalOf(d.ID)], counted)
		}
	}
	for id, b := range bodies {
		if b.More < counted[id] {
			m.t.Errorf("%s counts %d, and %d say that it counts them", id, b.More, counted[id])
		}
	}
}

// ordinalOf tells a notification's addresses apart; those of a digest are alike.
func ordinalOf(delivery string) string { return delivery[strings.LastIndexByte(delivery, '-'):] }

func (m *digestModel) checkDelivery(a *asked, d queue.DeliveryRecord, in []string, counted map[string]int) {
	end := d.Timeline[len(d.Timeline)-1]
	// A message of which nobody was told that it was taken may not have been.
	sure := slices.DeleteFunc(slices.Clone(in), func(id string) bool { return m.unsure[id] > 0 })
	if len(sure) > 1 {
		m.t.Errorf("%s is in several messages: %v\n%s", d.ID, in, m.story(append(in, d.ID)))
	}
	if m.erased[a.id] {
		return // its words are gone
	}
	told := len(in) > 0
	switch {
	case d.Status == notice.StatusDelivered:
		if !slices.Contains(in, d.ID) {
			m.t.Errorf("%s is delivered, and in %v", d.ID, in)
		}
	case d.Status == notice.StatusCapped && strings.HasPrefix(end.Detail, "collected into the digest of "):
		if !told && !m.mayBeLeftOut(a, carrierOf(end)) {
			m.t.Errorf("%s is in no message: %+v\n%s", d.ID, end, m.story([]string{carrierOf(end), d.ID}))
		}
	case d.Status == notice.StatusCapped && strings.HasPrefix(end.Detail, "too many or too large "):
		counted[carrierOf(end)]++
		fallthrough
	case d.Status == notice.StatusExpired && !a.expires.IsZero(), d.Status == notice.StatusCanceled && m.canceled[a.id]:
		if told && len(sure) > 0 {
			m.t.Errorf("%s is %s, and in %v\n%s", d.ID, d.Status, in, m.story(append(in, d.ID)))
		}
	default:
		m.t.Errorf("%s ended as %s: %+v", d.ID, d.Status, end)
	}
}

// story is what there is to say of some deliveries.
func (m *digestModel) story(ids []string) string {
	var b strings.Builder
	for _, id := range ids {
		r, _ := m.queue.Record(context.Background(), "acme", id)
		for _, d := range r.Deliveries {
			for _, e := range d.Timeline {
				if d.ID == id {
					fmt.Fprintf(&b, "%s: %s %s %s %s\n", id, e.At.Format(time.TimeOnly+".000"), e.Status, e.Code, e.Detail)
				}
			}
		}
		for _, s := range m.sends[id] {
			fmt.Fprintf(&b, "%s: %s sent %+v\n", id, s.at.Format(time.TimeOnly+".000"), s)
		}
	}
	return b.String()
}

// carrierOf is the delivery that an entry of a collected one names.
func carrierOf(e queue.Entry) string {
	words := strings.Fields(strings.TrimSuffix(e.Detail, ", which only counts it"))
	return words[len(words)-1]
}

// mayBeLeftOut reports whether a collected note had expired when its digest went,
// under whichever carrier, or when none was left to go.
func (m *digestModel) mayBeLeftOut(a *asked, carrier string) bool {
	if m.erased[carrier[:len(carrier)-2]] {
		return true
	}
	return !a.expires.IsZero() && !m.clock.Now().Before(a.expires)
}

// checkPace fails when a person got more messages in a window than the cap lets
// through, by when they were sent first: nothing goes before its moment.
func (m *digestModel) checkPace() {
	at := map[string][]time.Time{}
	for id, sends := range m.sends {
		r, err := m.queue.Record(context.Background(), "acme", id)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, d := range r.Deliveries {
			if d.ID == id {
				m.checkMoment(d, sends[0].at)
			}
		}
		at[r.User] = append(at[r.User], sends[0].at)
	}
}

// checkMoment fails when a delivery was sent before the moment that it waited for.
func (m *digestModel) checkMoment(d queue.DeliveryRecord, sent time.Time) {
	for _, e := range d.Timeline {
		if e.Status == notice.StatusDeferred && sent.Before(e.Until.Truncate(time.Millisecond)) {
			m.t.Errorf("%s was sent at %v, before its moment: %+v", d.ID, sent, e)
		}
	}
}

// checkNothingStays fails when something of a digest is left. A list whose
// carrier has ended stays, until it expires, only when its consumer died then.
func (m *digestModel) checkNothingStays() {
	for _, key := range m.store.plain.Keys(context.Background(), "*:digest*").Val() {
		if !strings.Contains(key, ":digest:") || m.store.plain.PTTL(context.Background(), key).Val() < 0 {
			m.t.Errorf("left: %s, for %v", key, m.store.plain.PTTL(context.Background(), key).Val())
		}
	}
}

// run is one run of the model.
func (s *modelStore) run(t *rapid.T) {
	m, end := s.begin(t)
	defer end()
	defer m.finish()
	t.Repeat(m.actions())
	m.finish()
	m.drain()
	bodies := m.checkSends()
	m.checkNotes(bodies)
	m.checkPace()
	m.checkNothingStays()
}

func TestEachNoteIsInOneDigestOrWasLeftOutForAReason(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string]func(*testing.T) string{
		"miniredis": func(t *testing.T) string { return miniredis.RunT(t).Addr() },
		"redis":     func(t *testing.T) string { return queuetest.Start(t).Addr },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newModelStore(t, addr(t))
			rapid.Check(t, s.run)
		})
	}
}
