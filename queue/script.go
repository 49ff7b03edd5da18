package queue

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"
)

//go:embed finals.lua
var finalsLua string

//go:embed claim.lua
var claimLua string

//go:embed admit.lua
var admitLua string

//go:embed plan.lua
var planLua string

//go:embed settle.lua
var settleLua string

//go:embed promote.lua
var promoteLua string

//go:embed recall.lua
var recallLua string

//go:embed renew.lua
var renewLua string

//go:embed retire.lua
var retireLua string

//go:embed redrive.lua
var redriveLua string

//go:embed erase.lua
var eraseLua string

//go:embed attend.lua
var attendLua string

//go:embed purge.lua
var purgeLua string

//go:embed bury.lua
var buryLua string

//go:embed cancel.lua
var cancelLua string

//go:embed feedback.lua
var feedbackLua string

//go:embed turn.lua
var turnLua string

//go:embed carriers.lua
var carriersLua string

//go:embed collected.lua
var collectedLua string

//go:embed handon.lua
var handonLua string

//go:embed spend.lua
var spendLua string

// scripts are this room's transitions, each with its digest.
type scripts struct {
	claim, admit, plan, settle, promote, recall, renew, retire, redrive, purge, erase, bury, cancel, turn, feedback, spend, carriers, collected, handon *redis.Script
}

// newScripts makes the scripts of a queue that keeps so many final states in
// each partition.
func newScripts(finals int) scripts {
	closes := func(lua string) *redis.Script {
		return redis.NewScript("local FINALS = " + strconv.Itoa(finals) + "\n" + finalsLua + lua)
	}
	return scripts{
		claim: redis.NewScript(claimLua), admit: redis.NewScript(admitLua), plan: closes(planLua),
		settle: closes(settleLua), promote: redis.NewScript(promoteLua), recall: redis.NewScript(recallLua), renew: redis.NewScript(renewLua),
		retire: redis.NewScript(retireLua), redrive: redis.NewScript(redriveLua), purge: redis.NewScript(purgeLua), erase: redis.NewScript(eraseLua), bury: redis.NewScript(buryLua),
		cancel: closes(cancelLua), turn: redis.NewScript(turnLua), feedback: redis.NewScript(feedbackLua),
		spend: redis.NewScript(spendLua), carriers: redis.NewScript(carriersLua), collected: redis.NewScript(collectedLua), handon: redis.NewScript(handonLua),
	}
}

// call is one script over one slot, on its way to the server.
type call struct {
	script *redis.Script
	keys   []string
	args   []any
	reply  *redis.Cmd
	err    error // why it was not done, or may not have been
}

// batchCalls gathers a batch into one call for each slot: on a cluster a slot
// is a partition, on a single server the whole batch is one call.
type batchCalls struct {
	q      *Queue
	script *redis.Script
	head   []any // what every call's ARGV begins with
	bySlot map[int]*batchCall
	calls  []*call
	unfit  *PartError // members that could not be encoded
	send   func(context.Context, []*call) error
	// stale is told of members of which nothing was done because what they go by
	// is so no more; nil: there are none.
	stale func(i int)
}

// batchCall is one call of a batch. Its script names keys by their index.
type batchCall struct {
	*call
	indices map[string]int
	members []int // of the batch, in the order of the script's reply
}

func newBatchCalls(q *Queue, script *redis.Script, head ...any) *batchCalls {
	return &batchCalls{q: q, script: script, head: head, bySlot: map[int]*batchCall{}, send: q.runAll}
}

// argsRoom is how many arguments a call has room for before it grows.
const argsRoom = 256

// of is the call that takes the i-th member of the batch, of partition p.
func (b *batchCalls) of(p, i int) *batchCall {
	slot := 0
	if b.q.cluster {
		slot = p
	}
	c := b.bySlot[slot]
	if c == nil {
		c = &batchCall{call: &call{script: b.script, args: append(make([]any, 0, argsRoom), b.head...)}, indices: map[string]int{}}
		b.bySlot[slot] = c
		b.calls = append(b.calls, c.call)
	}
	c.members = append(c.members, i)
	return c
}

// put adds the i-th member, of partition p, or, when add fails, nothing of it:
// what cannot be encoded holds up no other.
func (b *batchCalls) put(p, i int, add func(*batchCall) error) {
	c := b.of(p, i)
	keys, args := len(c.keys), len(c.args)
	err := add(c)
	if err == nil {
		return
	}
	c.keys, c.args, c.members = c.keys[:keys], c.args[:args], c.members[:len(c.members)-1]
	maps.DeleteFunc(c.indices, func(_ string, at int) bool { return at > keys })
	b.unfit = b.unfit.with(fmt.Errorf("%w: %w", ErrFault, err), []int{i})
}

// run runs the calls and says for each member whether the script did it. When
// some of the calls fail the error is a *PartError: a slot whose master is away
// holds up no other's members.
func (b *batchCalls) run(ctx context.Context, each func(i int, done bool)) error {
	b.calls = slices.DeleteFunc(b.calls, func(c *call) bool { return len(c.keys) == 0 })
	_ = b.send(ctx, b.calls) // each call has its own error
	failed := b.unfit
	for _, c := range b.bySlot {
		if len(c.members) == 0 {
			continue
		}
		done, err := c.answers(len(c.members))
		if err != nil {
			failed = failed.with(err, c.members)
			continue
		}
		for k, i := range c.members {
			each(i, done[k] == 1)
			if done[k] == stale {
				b.stale(i)
			}
		}
	}
	if failed != nil {
		return failed
	}
	return nil
}

// stale is what a script answers for a member that is to be decided anew.
const stale = 2

func (c *batchCall) add(args ...any) { c.args = append(c.args, args...) }

// key is the index of a key that several members may share, counting from 1 as
// Lua does.
func (c *batchCall) key(k string) int {
	if i, ok := c.indices[k]; ok {
		return i
	}
	i := c.own(k)
	c.indices[k] = i
	return i
}

// own is the index of a key that no other member names.
func (c *batchCall) own(k string) int {
	c.keys = append(c.keys, k)
	return len(c.keys)
}

// runAll sends every call in one pipeline. A server that has lost its script
// cache is given the source; EVALSHA in a pipeline does not do so by itself.
// The error is the first of any call; each call has its own.
func (q *Queue) runAll(ctx context.Context, calls []*call) error {
	pipe := q.rdb.Pipeline()
	for _, c := range calls {
		c.reply = pipe.EvalSha(ctx, c.script.Hash(), c.keys, c.args...)
	}
	exec(ctx, pipe, calls)
	pipe = q.rdb.Pipeline()
	var again []*call
	for _, c := range calls {
		if redis.HasErrorPrefix(c.reply.Err(), "NOSCRIPT") {
			c.reply = c.script.Eval(ctx, pipe, c.keys, c.args...)
			again = append(again, c)
		}
	}
	if len(again) > 0 {
		exec(ctx, pipe, again)
	}
	return firstError(calls)
}

// exec sends a pipeline and gives each call its error. A server that refuses
// the connection itself (a wrong password, too many clients) fails the pipeline
// and not one command of it: then nothing was done.
func exec(ctx context.Context, pipe redis.Pipeliner, calls []*call) {
	_, err := pipe.Exec(ctx)
	of := func(c *call) error { return c.reply.Err() }
	if err != nil && !slices.ContainsFunc(calls, func(c *call) bool { return of(c) != nil }) {
		of = func(*call) error { return err }
	}
	for _, c := range calls {
		c.err = classify(of(c))
	}
}

func firstError(calls []*call) error {
	for _, c := range calls {
		if c.err != nil {
			return c.err
		}
	}
	return nil
}

func (q *Queue) run(ctx context.Context, c *call) error {
	return q.runAll(ctx, []*call{c})
}

// answers are what the script said of each of its members.
func (c *call) answers(want int) ([]int64, error) {
	if c.err != nil {
		return nil, c.err
	}
	return ints(c.reply, want)
}

// ints reads a script's reply of 0s and 1s.
func ints(cmd *redis.Cmd, want int) ([]int64, error) {
	got, err := cmd.Int64Slice()
	if err != nil {
		return nil, unavailable(err)
	}
	if len(got) != want {
		return nil, fmt.Errorf("%w: a script answered %d values for %d entries", ErrFault, len(got), want)
	}
	return got, nil
}
