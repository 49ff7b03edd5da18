package delivery_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
)

// deaf loses the server's first reply to a plan that has to do with a digest.
type deaf struct {
	plans atomic.Int64 // such plans so far
}

// DialHook implements redis.Hook.
func (d *deaf) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (d *deaf) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook implements redis.Hook: it loses a reply.
func (d *deaf) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if err != nil || !plansADigest(cmds) || d.plans.Add(1) > 1 {
			return err
		}
		err = errors.New("the connection broke before the reply came")
		for _, cmd := range cmds {
			cmd.SetErr(err)
		}
		return err
	}
}

// plansADigest reports whether a script plans something that is carried or
// collected: it has the keys of an event's stream and of a digest.
func plansADigest(cmds []redis.Cmder) bool {
	of := func(part string) bool {
		for _, cmd := range cmds {
			for _, arg := range cmd.Args() {
				if s, ok := arg.(string); ok && strings.HasPrefix(s, "{t:") && strings.Contains(s, part) {
					return true
				}
			}
		}
		return false
	}
	return of("}:events:") && of("}:digest:")
}

// A planner that does not hear that its plan was taken plans again. It is told
// that this is done, and not to decide anew because of the digest that it has
// opened itself: that would go on, without a rest, until the digest is sent.
func TestAPlanThatOpensADigestIsDoneWhenItsReplyIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, digesting(1))
	rdb, lost := w.server.Client(), &deaf{}
	rdb.AddHook(lost)
	c := w.start("c1", func(o *delivery.Options) { o.Queue = w.openQueue(rdb) })
	ids := w.admitNotes("ada", 3)
	w.became(ids[2], 1, notice.StatusDeferred)
	w.became(ids[3], 1, notice.StatusCapped)
	c.stop()
	if n := lost.plans.Load(); n != 3 {
		t.Errorf("%d plans were made of a digest, want 3: its opening, that again, and what it collects", n)
	}
	w.start("c2")
	w.clock.Advance(61 * time.Minute)
	w.became(ids[2], 1, notice.StatusDelivered)
	if got := w.bodies("ada"); len(got) != 2 || got[1] != `{"all":[2,3],"count":2,"more":0}` {
		t.Errorf("sent %q", got)
	}
	w.noDigests()
}
