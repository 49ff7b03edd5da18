// Package throttle answers one question: may it go now, and if not, when?
//
// Caps bound what one recipient gets, exactly, in sliding windows kept in
// Redis. Pace bounds what is sent a second, and Rates share a rate, a channel's
// or any other's, among the consumers that have something to send. Slots bound what is in flight, and stop a
// channel, a host or a device for as long as a provider asks.
package throttle

import (
	"context"
	_ "embed" // the scripts
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

//go:embed places.lua
var placesLua string

//go:embed decide.lua
var decideLua string

//go:embed release.lua
var releaseLua string

// Action is what a recipient's caps say about a delivery.
type Action uint8

// The actions. Go and Wait have taken a place in every window of the delivery;
// the others have taken none.
const (
	Go      Action = iota // it may go now
	Wait                  // it may go at Until, a place that it owns and need not fight for
	Drop                  // a rule with over: drop is full
	Expire                // its place would come at Until, when it has expired
	Collect               // a rule with over: digest is full
)

// String is the action's name in metrics and records.
func (a Action) String() string {
	switch a {
	case Go:
		return "go"
	case Wait:
		return "wait"
	case Drop:
		return "drop"
	case Expire:
		return "expire"
	case Collect:
		return "collect"
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// Ask is one delivery that wants to go.
type Ask struct {
	Tenant, User string
	Category     string
	Medium       notice.Medium
	Lane         notice.Lane
	DeliveryID   string    // the same id asked again gets the same place
	At           time.Time // the caller's now
	NotBefore    time.Time // the earliest that it could go (send_at, the end of quiet hours); zero, or past: At
	ExpiresAt    time.Time // zero: never; a place at or after it is none
	// Collect says that it need not go by itself: where a rule with over: digest
	// would put it off the answer is Collect. Otherwise such a rule defers.
	Collect bool
	// Heir is for Release: the delivery that takes the place over; empty: none.
	Heir string
}

// Answer is what becomes of an Ask.
type Answer struct {
	Action Action
	Until  time.Time // Go: At. Wait: when it goes. Expire, Collect: when it would have gone. To the millisecond
	Rule   string    // the name of the cap that said so; empty when none did
	Limit  string    // that cap's window, "3/24h" or "burst 2/10m"; empty when none did
	// Digest bounds the digests of that cap; nil when it makes none.
	Digest *config.DigestMax
}

// Caps are the limits on what one recipient gets. They are exact: in no
// half-open window of a rule's length do more than its limit go, and nothing is
// held back that the windows have room for. (With more than 256 deliveries of
// one user waiting under one rule, the next goes behind the last of them, even
// where another rule has left a gap between. With more than 2,000, the first of
// them are no longer known one by one: such a one, asked for again, goes to the
// end.)
//
// Times are the callers', in milliseconds. Callers' clocks may differ by five
// seconds without a limit being passed. A clock that steps back leaves places
// in the future, which are kept like any other reservation: only deliveries
// within a window of them are held back, and nothing is stuck behind them.
type Caps struct {
	rdb       redis.UniversalClient
	keys      keys
	partition Partitioner
	rules     atomic.Pointer[rules]
	decide    script
	try       script
	release   script
}

// NewCaps checks the rules and makes their Caps. An error names the key of the
// configuration, its value and the mend.
func NewCaps(rdb redis.UniversalClient, namespace string, partition Partitioner, caps []config.Cap) (*Caps, error) {
	decide, release := redis.NewScript(placesLua+decideLua), redis.NewScript(placesLua+releaseLua)
	c := &Caps{
		rdb: rdb, keys: keys{namespace}, partition: partition,
		decide: script{Script: decide}, try: script{Script: decide, reads: true}, release: script{Script: release},
	}
	return c, c.Replace(caps)
}

// Replace puts other rules in force, all at once, or on an error (as NewCaps's)
// leaves those that are. A rule goes on counting where one of the same name
// stood, whatever else of it is changed; the places of a name that is gone are
// forgotten with their windows. It is safe while others decide: what is being
// decided is decided by the rules that it began with.
func (c *Caps) Replace(caps []config.Cap) error {
	rs, err := newRules(caps)
	if err != nil {
		return err
	}
	c.rules.Store(rs)
	return nil
}

// Applies reports whether any cap counts a, without asking Redis. The critical
// lane is exempt from all but the rules that name it, and a recipient without
// a user id from all.
func (c *Caps) Applies(a Ask) bool {
	list := c.rules.Load().list
	return slices.ContainsFunc(list, func(r rule) bool { return r.matches(&a) })
}

// Decide answers every ask, in order; two asks of one user see each other. It
// costs one round trip, and one script call (on a cluster, one for each
// partition among the asks); none when no cap applies. All rules of one ask are
// decided together: it takes a place under each of them, or under none.
//
// It is safe to ask again after an error, a crash or a lost reply: an id that
// has a place keeps it, and is counted once. An id that was dropped has left
// nothing behind, and may find room when it asks again later.
func (c *Caps) Decide(ctx context.Context, asks []Ask) ([]Answer, error) {
	answers, err := c.ask(ctx, c.decide, c.rules.Load(), asks)
	if err != nil {
		return nil, fmt.Errorf("decide the caps of %d deliveries: %w", len(asks), err)
	}
	return answers, nil
}

// ask has a script, to decide or to try, answer asks by some rules.
func (c *Caps) ask(ctx context.Context, s script, rs *rules, asks []Ask) ([]Answer, error) {
	answers := make([]Answer, len(asks))
	batches := c.batch(rs, asks, answers)
	for _, b := range batches {
		b.endRun()
		b.call.args[0] = "decide"
		if s.reads {
			b.call.args[0] = "try"
		}
	}
	cmds, err := runAll(ctx, c.rdb, s, callsOf(batches))
	if err != nil {
		return nil, err
	}
	return answers, rs.readAll(cmds, batches, answers)
}

// batch is the part of some asks that one script call decides.
type batch struct {
	call  call
	asks  []int          // their indexes
	users map[string]int // the number of each one's key, from 1
	first int            // of the run that is being written: its first key
	next  int            // and the one that would go on with it
	terms string         // of the run
	run   []byte         // its asks, as decide.lua reads them
}

func callsOf(batches []*batch) []call {
	calls := make([]call, len(batches))
	for i, b := range batches {
		calls[i] = b.call
	}
	return calls
}

// batch divides the asks by slot, and gives every one the answer that it has
// unless the script says another.
func (c *Caps) batch(rs *rules, asks []Ask, answers []Answer) []*batch {
	var batches []*batch
	var terms []byte
	bySlot := map[int]*batch{}
	for i := range asks {
		a := &asks[i]
		answers[i] = unlimited(a)
		if terms = rs.terms(terms[:0], a); len(terms) == 0 {
			continue
		}
		p := c.partition(a.Tenant, a.User)
		b := bySlot[c.slot(p)]
		if b == nil {
			b = &batch{call: call{args: append(make([]any, 0, len(rs.table)+3), rs.table...)}, users: make(map[string]int, len(asks))}
			bySlot[c.slot(p)] = b
			batches = append(batches, b)
		}
		b.add(i, a, c.keys.caps(p, a.Tenant, a.User), terms)
	}
	return batches
}

// slot is what tells apart partitions that must not share a script call: on a
// single server all may.
func (c *Caps) slot(partition int) int {
	if _, cluster := c.rdb.(*redis.ClusterClient); cluster {
		return partition
	}
	return 0
}

// unlimited is the answer to an ask that no rule stands against.
func unlimited(a *Ask) Answer {
	from := a.from()
	if from.After(a.At) {
		return Answer{Action: Wait, Until: from}
	}
	return Answer{Action: Go, Until: from}
}

// from is the earliest moment at which a could go.
func (a *Ask) from() time.Time {
	if a.NotBefore.After(a.At) {
		return a.NotBefore
	}
	return a.At
}

// add appends the i-th ask to a call.
func (b *batch) add(i int, a *Ask, key string, terms []byte) {
	k := b.users[key]
	if k == 0 {
		b.call.keys = append(b.call.keys, key)
		k = len(b.call.keys)
		b.users[key] = k
	}
	if k != b.next || string(terms) != b.terms {
		b.endRun()
		b.first, b.terms = k, string(terms)
	}
	b.next = k + 1
	b.asks = append(b.asks, i)
	b.run = append(appendPlaceID(b.run, a.DeliveryID), expiry(a)...)
}

// endRun makes arguments of a run of asks: such as have the same terms, and are
// of one user after the other.
func (b *batch) endRun() {
	if len(b.run) > 0 {
		b.call.args, b.run = append(b.call.args, b.first, b.terms, b.run), nil
	}
}

// expiry is when an ask expires, in the six bytes that the script reads.
func expiry(a *Ask) []byte {
	var out [8]byte
	binary.BigEndian.PutUint64(out[:], uint64(max(ms(a.ExpiresAt), 0)))
	return out[2:]
}

// readAll takes the replies to some batches apart.
func (rs *rules) readAll(cmds []*redis.Cmd, batches []*batch, answers []Answer) error {
	for i, b := range batches {
		reply, err := cmds[i].Int64Slice()
		if err != nil {
			return fmt.Errorf("read the script's reply: %w", err)
		}
		for ; len(reply) >= 5; reply = reply[5:] {
			if n := reply[0]; n < 1 || n > int64(len(b.asks)) {
				return fmt.Errorf("the script answered ask %d of %d", n, len(b.asks))
			}
			answers[b.asks[reply[0]-1]] = rs.answer(reply)
		}
	}
	return nil
}

// answer reads the five numbers of one answer, the first of which is the ask's.
func (rs *rules) answer(reply []int64) Answer {
	a := Answer{Action: Action(reply[1]), Until: time.UnixMilli(reply[2])}
	if n := reply[3]; n > 0 && n <= int64(len(rs.list)) {
		r := &rs.list[n-1]
		a.Rule, a.Limit = r.Name, r.window(reply[4] == 1)
		if r.Over == config.OverDigest {
			a.Digest = &r.DigestMax
		}
	}
	return a
}

// Release gives back the places of deliveries that will not go after all
// (canceled, expired while they waited), or hands them to their heirs, under
// whatever rules they were taken.
// Those that wait already keep their moments; the room goes to the next that
// asks. A place that there is not, or that was given back before, is no error.
func (c *Caps) Release(ctx context.Context, asks []Ask) error {
	var batches []*batch
	bySlot := map[int]*batch{}
	for i := range asks {
		a := &asks[i]
		if a.User == "" {
			continue
		}
		p := c.partition(a.Tenant, a.User)
		b := bySlot[c.slot(p)]
		if b == nil {
			b = &batch{}
			bySlot[c.slot(p)] = b
			batches = append(batches, b)
		}
		b.call.keys = append(b.call.keys, c.keys.caps(p, a.Tenant, a.User))
		b.call.args = append(b.call.args, appendPlaceID(nil, a.DeliveryID), ms(a.At), heirID(a))
	}
	if _, err := runAll(ctx, c.rdb, c.release, callsOf(batches)); err != nil {
		return fmt.Errorf("give back the caps of %d deliveries: %w", len(asks), err)
	}
	return nil
}
