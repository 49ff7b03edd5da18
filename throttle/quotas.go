package throttle

import (
	"container/list"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// Scope is what a Quota is counted by.
type Scope uint8

// The scopes.
const (
	ScopeHost    Scope = iota // the recipient's domain, or the endpoint's host
	ScopeTenant               // whose delivery it is
	ScopeAccount              // in whose name it is sent: an app's, or that of a relay

	scopes = iota
)

// mostQuotas is how many names of one channel are remembered that are not in
// use: patterns make many. One that is forgotten loses the schedule of what was
// put off for it, some of which is put off once more; its rate is Redis's.
const mostQuotas = 4096

// Names are what a delivery is counted by, by scope; empty: by nothing.
type Names [scopes]string

// Needs are the quotas that a delivery needs a permit of, by scope; nil: none.
type Needs [scopes]*Quota

// Quotas are one channel's rates by name, each of them shared by all consumers.
// They are safe for concurrent use, but for Take: of one channel's quotas only
// one caller at a time takes.
type Quotas struct {
	rates   *Rates
	channel notice.Channel
	labels  [scopes]string // how scopes are called
	now     func() time.Time
	made    time.Time // what schedules count from
	any     atomic.Bool

	mu     sync.Mutex
	tables [scopes]config.RateTable
	named  [scopes]map[string]*Quota
	idle   *list.List // *Quota: those without a pin, the one that was used longest ago first
}

// Quota is one name's rate.
type Quota struct {
	of     *Quotas
	scope  Scope
	key    string // in the rates
	name   string // as it is counted
	pace   *Pace
	pins   int
	idle   *list.Element
	rule   atomic.Pointer[config.KeyedRate]
	putOff schedule
}

// NewQuotas makes a channel's rates by name.
func NewQuotas(rates *Rates, channel notice.Channel, r config.KeyedRates) *Quotas {
	q := &Quotas{rates: rates, channel: channel, labels: [scopes]string{"host", "tenant", "account"}, now: time.Now, made: time.Now(), idle: list.New()}
	if channel == notice.ChannelEmail {
		q.labels[ScopeHost], q.labels[ScopeAccount] = "domain", "relay"
	}
	for i := range q.named {
		q.named[i] = map[string]*Quota{}
	}
	q.Replace(r)
	return q
}

// Replace changes the rates, also for what waits. What has been put off already
// keeps the moment that the rate before gave it; raised is how many a second may
// come back sooner, of the names whose rate is higher now, by Quota.Key.
func (q *Quotas) Replace(r config.KeyedRates) (raised map[string]float64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	raised = map[string]float64{}
	q.tables = [scopes]config.RateTable{slices.Concat(r.Domains, r.Hosts), r.Tenants, slices.Concat(r.Apps, r.Relays)}
	q.any.Store(len(q.tables[ScopeHost])+len(r.Tenants)+len(q.tables[ScopeAccount]) > 0)
	for scope := range q.named {
		for name, quota := range q.named[scope] {
			_, rule := q.ruleOf(Scope(scope), name)
			quota.rule.Store(&rule)
			before, now := backlogPace(quota.pace.Rate()), backlogPace(rule.Rate)
			if quota.pace.Replace(rule.Rate); now > before {
				raised[quota.key] = now
				quota.putOff.hasten(q.running(), before/now)
			}
		}
	}
	return raised
}

// recallMost is how many a second come back at most of what a rate has put off
// that is raised, or is no more.
const recallMost = 1000

// backlogPace is how many a second of a rate's backlog come back.
func backlogPace(r config.Rate) float64 {
	if r.IsZero() {
		return recallMost
	}
	return min(resupply*r.PerSecond(), recallMost)
}

// Any reports whether there is any rate; where there is none, nothing else
// costs anything.
func (q *Quotas) Any() bool { return q != nil && q.any.Load() }

// Pin returns the quotas of some names, which are remembered until Unpin.
func (q *Quotas) Pin(names Names) (needs Needs) {
	if !q.Any() {
		return needs
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for scope, name := range names {
		if name != "" {
			needs[scope] = q.pin(Scope(scope), name)
		}
	}
	return needs
}

func (q *Quotas) pin(scope Scope, name string) *Quota {
	counted, rule := q.ruleOf(scope, name)
	if rule.Rate.IsZero() {
		return nil
	}
	at := q.named[scope][counted]
	if at == nil {
		at = q.open(scope, strings.Clone(counted), rule)
	}
	if at.pins++; at.idle != nil {
		q.idle.Remove(at.idle)
		at.idle = nil
	}
	return at
}

// ruleOf is the entry that counts for a name, and the name by which it counts:
// a host's ports have one rate together, unless the entry names one.
func (q *Quotas) ruleOf(scope Scope, name string) (string, config.KeyedRate) {
	rule, ok := q.tables[scope].Of(name)
	if scope != ScopeHost || ok && rule.Name == name {
		return name, rule
	}
	if host := withoutPort(name); host != name {
		rule, _ = q.tables[scope].Of(host)
		return host, rule
	}
	return name, rule
}

// withoutPort cuts a port off a host; an IPv6 address stands in brackets where
// it has one.
func withoutPort(host string) string {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.HasPrefix(host, "[") && !strings.HasSuffix(host[:i], "]") || !strings.HasPrefix(host, "[") && strings.IndexByte(host, ':') < i {
		return host
	}
	return host[:i]
}

// keyOf is the key of a name's rate, among the Rates.
func (q *Quotas) keyOf(scope Scope, name string) string {
	return string(q.channel) + ":" + q.labels[scope] + ":" + name
}

func (q *Quotas) open(scope Scope, name string, rule config.KeyedRate) *Quota {
	key := q.keyOf(scope, name)
	at := &Quota{of: q, scope: scope, key: key, name: name, pace: q.rates.Pace(key, rule.Rate)}
	at.rule.Store(&rule)
	q.named[scope][name] = at
	return at
}

// Unpin ends a Pin.
func (q *Quotas) Unpin(needs Needs) {
	if needs == (Needs{}) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, at := range needs {
		if at == nil {
			continue
		}
		if at.pins--; at.pins == 0 {
			at.idle = q.idle.PushBack(at)
		}
	}
	for q.idle.Len() > mostQuotas {
		gone := q.idle.Remove(q.idle.Front()).(*Quota)
		delete(q.named[gone.scope], gone.name)
	}
}

// Known is how many names are remembered.
func (q *Quotas) Known() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, named := range q.named {
		n += len(named)
	}
	return n
}

// Any reports whether anything is needed.
func (n Needs) Any() bool { return n != Needs{} }

// Take takes a permit of every quota, or of none.
func (n Needs) Take() bool {
	var paces [scopes]*Pace
	some := paces[:0]
	for _, at := range n {
		if at != nil && at.pace.limited.Load() {
			some = append(some, at.pace)
		}
	}
	return takeAll(some)
}

// Wait counts how many wait for permits, which is what the consumer asks Redis
// for: with 1 when one begins to, with -1 when it has ended.
func (n Needs) Wait(more int) {
	for _, at := range n {
		if at != nil {
			at.pace.wants(more)
		}
	}
}

// Slowest is the quota that lets the fewest through here, which is what
// everything that waits for all of them waits for; nil when there is none.
func (n Needs) Slowest() (slowest *Quota) {
	for _, at := range n {
		if at != nil && (slowest == nil || at.perSecond() < slowest.perSecond()) {
			slowest = at
		}
	}
	return slowest
}

// Room is how many that wait are worth keeping at hand: what goes in two
// seconds, and two at least.
func (n Needs) Room() int {
	at := n.Slowest()
	if at == nil {
		return 1 << 20
	}
	return max(int(at.perSecond()*lineTime.Seconds()), 2)
}

// perSecond is how many a second this consumer may send, by what it was given
// lately when it wanted all.
func (at *Quota) perSecond() float64 {
	rate, part := at.pace.part()
	if rate.IsZero() {
		return 1e6
	}
	return rate.PerSecond() * part
}

// Scope names what is counted, as metrics do: domain, host, tenant, account,
// relay.
func (at *Quota) Scope() string { return at.of.labels[at.scope] }

// Key names the rate among all rates of all channels.
func (at *Quota) Key() string { return at.key }

// Words name the rule for the timeline: "rate email domain gmail.com 20/s".
func (at *Quota) Words() string {
	rule := at.rule.Load()
	words := "rate " + string(at.of.channel) + " " + at.Scope() + " " + at.name + " " + at.pace.Rate().String()
	if rule.Name != at.name {
		words += " (by " + rule.Name + ")"
	}
	return words
}

// PutOff is how long one more of a class has to stay away, when room are at
// hand already: until those of its class that were put off before have gone.
// Classes share the rate, each with what it has waiting.
func (at *Quota) PutOff(class, room int) time.Duration {
	at.of.mu.Lock()
	defer at.of.mu.Unlock()
	return at.putOff.next(at.of.running(), class, room, at.perSecond())
}

// running is for how long there have been these quotas. Schedules go by it: a
// machine's clock that is set back does not make what they say last longer.
func (q *Quotas) running() time.Duration { return q.now().Sub(q.made) }

// schedule is when what was put off last comes back, of each class, in µs since
// the quotas were made.
type schedule [24]int64

// Classes is how many classes there are: lanes by turns.
const Classes = len(schedule{})

const (
	// resupply is how many come back for one that goes, so that what waits
	// never runs dry, and little of it comes in vain.
	resupply = 1.04
	// quotaLeast is the shortest time that anything is put off for.
	quotaLeast = 200 * time.Millisecond
)

func (s *schedule) next(now time.Duration, class, room int, perSecond float64) time.Duration {
	at, busy := now.Microseconds(), int64(0)
	for i, back := range s {
		if i == class || back > at {
			busy++
		}
	}
	first := time.Duration(float64(room) / perSecond / 2 * float64(time.Second))
	due := max(s[class], at+max(min(first, putOffLeast), quotaLeast).Microseconds())
	s[class] = due + int64(float64(busy)*1e6/(resupply*perSecond))
	return time.Duration(due-at) * time.Microsecond
}

// hasten has what was put off come back sooner: what is left of each time is
// made so much of itself.
func (s *schedule) hasten(now time.Duration, part float64) {
	at := now.Microseconds()
	for i, back := range s {
		if back > at {
			s[i] = at + int64(float64(back-at)*part)
		}
	}
}
