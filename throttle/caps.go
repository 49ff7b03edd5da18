// Package throttle answers one question: may it go now, and if not, when?
//
// Caps bound what one recipient gets, exactly, in sliding windows kept in
// Redis. Pace bounds what one channel sends a second, and Share divides that
// among the consumers of the channel. Slots bound what is in flight, and stop a
// channel, a host or a device for as long as a provider asks.
package throttle

import (
	"context"
	_ "embed" // the scripts
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

//go:embed decide.lua
var decideLua string

//go:embed release.lua
var releaseLua string

// Action is what a recipient's caps say about a delivery.
type Action uint8

// The actions. Go and Wait have taken a place in every window of the delivery;
// Drop and Expire have taken none.
const (
	Go     Action = iota // it may go now
	Wait                 // it may go at Until, a place that it owns and need not fight for
	Drop                 // a rule with over: drop is full
	Expire               // its place would come at Until, when it has expired
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
}

// Answer is what becomes of an Ask.
type Answer struct {
	Action Action
	Until  time.Time // Go: At. Wait: when it goes. Expire: when it would have gone. To the millisecond
	Rule   string    // the name of the cap that said so; empty when none did
}

// Caps are the limits on what one recipient gets. They are exact: in no
// half-open window of a rule's length do more than its limit go, and nothing is
// held back that the windows have room for. (With more than 256 deliveries of
// one user waiting under one rule, the next goes behind the last of them, even
// where another rule has left a gap between.)
//
// Times are the callers', in milliseconds. Callers' clocks may differ by five
// seconds without a limit being passed. A clock that steps back leaves places
// in the future, which are kept like any other reservation: only deliveries
// within a window of them are held back, and nothing is stuck behind them.
type Caps struct {
	rdb       redis.UniversalClient
	keys      keys
	partition Partitioner
	rules     []rule
	table     []any // the rules as the script reads them
	decide    *redis.Script
	release   *redis.Script
}

// NewCaps checks the rules and makes their Caps. An error names the key of the
// configuration, its value and the mend.
func NewCaps(rdb redis.UniversalClient, namespace string, partition Partitioner, caps []config.Cap) (*Caps, error) {
	c := &Caps{
		rdb: rdb, keys: keys{namespace}, partition: partition,
		table:  []any{len(caps)},
		decide: redis.NewScript(decideLua), release: redis.NewScript(releaseLua),
	}
	for i, spec := range caps {
		r, err := newRule(spec, i)
		if err != nil {
			return nil, err
		}
		c.rules = append(c.rules, r)
		c.table = append(c.table, r.limit, r.window, bit(r.drops))
	}
	return c, nil
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Applies reports whether any cap counts a, without asking Redis. The critical
// lane is exempt, and so is a recipient without a user id.
func (c *Caps) Applies(a Ask) bool {
	for i := range c.rules {
		if c.rules[i].matches(&a) {
			return true
		}
	}
	return false
}

// Decide answers every ask, in order; two asks of one user see each other. It
// costs one round trip and one script call for each partition among the asks,
// none when no cap applies. All rules of one ask are decided together: it takes
// a place in each of its windows, or in none.
//
// It is safe to ask again after an error, a crash or a lost reply: an id that
// has a place keeps it, and is counted once. An id that was dropped has left
// nothing behind, and may find room when it asks again later.
func (c *Caps) Decide(ctx context.Context, asks []Ask) ([]Answer, error) {
	answers := make([]Answer, len(asks))
	batches := c.batch(asks, answers)
	if len(batches) == 0 {
		return answers, nil
	}
	calls := make([]call, len(batches))
	for i, b := range batches {
		calls[i] = b.call
	}
	cmds, err := runAll(ctx, c.rdb, c.decide, calls)
	if err != nil {
		return nil, fmt.Errorf("decide the caps of %d deliveries: %w", len(asks), err)
	}
	for i, b := range batches {
		if err := c.read(cmds[i], b.asks, answers); err != nil {
			return nil, fmt.Errorf("decide the caps of %d deliveries: %w", len(asks), err)
		}
	}
	return answers, nil
}

// batch is the part of some asks that one partition decides.
type batch struct {
	call call
	asks []int // their indexes
}

// batch divides the asks by partition, and answers those that no rule counts.
func (c *Caps) batch(asks []Ask, answers []Answer) []*batch {
	var batches []*batch
	byPartition := map[int]*batch{}
	var matched []int
	for i := range asks {
		if matched = c.match(&asks[i], matched[:0]); len(matched) == 0 {
			answers[i] = unlimited(&asks[i])
			continue
		}
		p := c.partition(asks[i].Tenant, asks[i].User)
		b := byPartition[p]
		if b == nil {
			b = &batch{call: call{args: append(make([]any, 0, 256), c.table...)}}
			byPartition[p] = b
			batches = append(batches, b)
		}
		b.asks = append(b.asks, i)
		c.add(&b.call, &asks[i], p, matched)
	}
	return batches
}

// match appends the indexes of the rules that count a.
func (c *Caps) match(a *Ask, matched []int) []int {
	for i := range c.rules {
		if c.rules[i].matches(a) {
			matched = append(matched, i)
		}
	}
	return matched
}

// unlimited is the answer to an ask that no rule counts.
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

// add appends one ask to a partition's call.
func (c *Caps) add(to *call, a *Ask, partition int, matched []int) {
	to.args = append(to.args, a.DeliveryID, ms(a.At), ms(a.from()), ms(a.ExpiresAt), len(matched))
	for _, i := range matched {
		to.keys = append(to.keys, c.keys.cap(partition, c.rules[i].key, a.Tenant, a.User))
		to.args = append(to.args, i+1)
	}
}

// read takes one partition's reply apart, three numbers an ask.
func (c *Caps) read(cmd *redis.Cmd, asks []int, answers []Answer) error {
	reply, err := cmd.Int64Slice()
	if err != nil {
		return fmt.Errorf("read the script's reply: %w", err)
	}
	if len(reply) != 3*len(asks) {
		return fmt.Errorf("the script answered %d numbers to %d asks", len(reply), len(asks))
	}
	for n, i := range asks {
		a := Answer{Action: Action(reply[3*n]), Until: time.UnixMilli(reply[3*n+1])}
		if rule := reply[3*n+2]; rule > 0 && rule <= int64(len(c.rules)) {
			a.Rule = c.rules[rule-1].name
		}
		answers[i] = a
	}
	return nil
}

// Release gives back the places of deliveries that will not go after all
// (canceled, expired while they waited). Those that wait already keep their
// moments; the room goes to the next that asks. A place that there is not, or
// that was given back before, is no error.
func (c *Caps) Release(ctx context.Context, asks []Ask) error {
	calls := map[int]*call{}
	var matched []int
	for i := range asks {
		a := &asks[i]
		if matched = c.match(a, matched[:0]); len(matched) == 0 {
			continue
		}
		p := c.partition(a.Tenant, a.User)
		if calls[p] == nil {
			calls[p] = &call{}
		}
		for _, r := range matched {
			calls[p].keys = append(calls[p].keys, c.keys.cap(p, c.rules[r].key, a.Tenant, a.User))
			calls[p].args = append(calls[p].args, a.DeliveryID)
		}
	}
	if len(calls) == 0 {
		return nil
	}
	flat := make([]call, 0, len(calls))
	for _, c := range calls {
		flat = append(flat, *c)
	}
	if _, err := runAll(ctx, c.rdb, c.release, flat); err != nil {
		return fmt.Errorf("give back the caps of %d deliveries: %w", len(asks), err)
	}
	return nil
}
