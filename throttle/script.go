package throttle

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// call is one run of a script, all of whose keys lie in one slot.
type call struct {
	keys []string
	args []any
}

// script is a Lua script that takes any number of things at once.
type script struct {
	*redis.Script
	reads bool // it changes nothing: Redis is told to see to that
}

// send puts one call into a pipeline, by the script's hash or by its body.
func (s script) send(ctx context.Context, pipe redis.Pipeliner, c call, body bool) *redis.Cmd {
	switch {
	case body && s.reads:
		return s.EvalRO(ctx, pipe, c.keys, c.args...)
	case body:
		return s.Eval(ctx, pipe, c.keys, c.args...)
	case s.reads:
		return s.EvalShaRO(ctx, pipe, c.keys, c.args...)
	}
	return s.EvalSha(ctx, pipe, c.keys, c.args...)
}

// runAll runs a script once for each call, in one round trip. A server that
// does not know the script yet (a new one, a failover) is sent its body in a
// second one: a pipelined EVALSHA does not fall back by itself.
func runAll(ctx context.Context, rdb redis.UniversalClient, s script, calls []call) ([]*redis.Cmd, error) {
	if len(calls) == 0 {
		return nil, nil
	}
	cmds := make([]*redis.Cmd, len(calls))
	pipe := rdb.Pipeline()
	for i, c := range calls {
		cmds[i] = s.send(ctx, pipe, c, false)
	}
	_, err := pipe.Exec(ctx)
	if err == nil {
		return cmds, nil
	}
	return cmds, runMissing(ctx, rdb, s, calls, cmds, err)
}

// runMissing runs again, by their bodies, the calls that failed for want of the
// script, and returns the first error that then is left. err is the first
// round trip's: a server that refuses the connection itself (a wrong password,
// too many clients) fails the pipeline and not one command of it.
func runMissing(ctx context.Context, rdb redis.UniversalClient, s script, calls []call, cmds []*redis.Cmd, err error) error {
	pipe := rdb.Pipeline()
	for i, c := range calls {
		if redis.HasErrorPrefix(cmds[i].Err(), "NOSCRIPT") {
			cmds[i] = s.send(ctx, pipe, c, true)
		}
	}
	if pipe.Len() > 0 {
		_, err = pipe.Exec(ctx)
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			return err
		}
	}
	return err
}
