package queue

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

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

//go:embed renew.lua
var renewLua string

//go:embed retire.lua
var retireLua string

//go:embed redrive.lua
var redriveLua string

//go:embed bury.lua
var buryLua string

//go:embed cancel.lua
var cancelLua string

// scripts are this room's transitions, each with its digest.
type scripts struct {
	claim, admit, plan, settle, promote, renew, retire, redrive, bury, cancel *redis.Script
}

func newScripts() scripts {
	return scripts{
		claim: redis.NewScript(claimLua), admit: redis.NewScript(admitLua), plan: redis.NewScript(planLua),
		settle: redis.NewScript(settleLua), promote: redis.NewScript(promoteLua), renew: redis.NewScript(renewLua),
		retire: redis.NewScript(retireLua), redrive: redis.NewScript(redriveLua), bury: redis.NewScript(buryLua),
		cancel: redis.NewScript(cancelLua),
	}
}

// call is one script over one slot, on its way to the server.
type call struct {
	script *redis.Script
	keys   []string
	args   []any
	reply  *redis.Cmd
}

// key adds a key and returns its index for ARGV, counting from 1 as Lua does.
// Keys that many entries share (streams) go through shared, so that each is
// sent once.
func (c *call) key(k string) int {
	c.keys = append(c.keys, k)
	return len(c.keys)
}

// shared remembers the index of a key that a call names repeatedly.
type shared map[string]int

func (s shared) key(c *call, k string) int {
	if i, ok := s[k]; ok {
		return i
	}
	i := c.key(k)
	s[k] = i
	return i
}

// runAll sends every call in one pipeline. A server that has lost its script
// cache is given the source; EVALSHA in a pipeline does not do so by itself.
// The error is the first of any call; each call's own is in its reply.
func (q *Queue) runAll(ctx context.Context, calls []*call) error {
	pipe := q.rdb.Pipeline()
	for _, c := range calls {
		c.reply = pipe.EvalSha(ctx, c.script.Hash(), c.keys, c.args...)
	}
	if _, err := pipe.Exec(ctx); err == nil {
		return nil
	}
	pipe = q.rdb.Pipeline()
	for _, c := range calls {
		if err := c.reply.Err(); err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
			c.reply = c.script.Eval(ctx, pipe, c.keys, c.args...)
		}
	}
	if pipe.Len() > 0 {
		pipe.Exec(ctx) // each call's error is looked at below
	}
	for _, c := range calls {
		if err := c.reply.Err(); err != nil {
			return unavailable(err)
		}
	}
	return nil
}

func (q *Queue) run(ctx context.Context, c *call) error {
	return q.runAll(ctx, []*call{c})
}

// unavailable marks an error of the server's or the network's, in words that
// hold no arguments of the command.
func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	words := err.Error()
	if i := strings.Index(words, " script: "); i > 0 {
		words = words[:i]
	}
	return fmt.Errorf("%w: %s", ErrUnavailable, words)
}

// ints reads a script's reply of 0s and 1s.
func ints(cmd *redis.Cmd, want int) ([]int64, error) {
	got, err := cmd.Int64Slice()
	if err != nil {
		return nil, unavailable(err)
	}
	if len(got) != want {
		return nil, fmt.Errorf("%w: a script answered %d values for %d entries", ErrUnavailable, len(got), want)
	}
	return got, nil
}
