package queue

import (
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// Turns is how many streams each lane of a stage has in each partition. They
// are served in turn, so that up to so many tenants never wait in each other's
// queue; past it several share a turn.
const Turns = 8

// turnsKept is how many tenants' turns are remembered. One that comes later
// has the turn that its name hashes to, which costs no memory.
const turnsKept = 4096

// turns is what this process knows of the tenants' turns.
type turns struct {
	mu   sync.Mutex
	of   map[string]int
	seen int // tenants that the server remembered when it was last asked
}

// known gives the i-th tenant's turn to take, and returns those of the tenants
// whose turn is not known, each once.
func (t *turns) known(tenants iter.Seq2[int, string], take func(i, turn int)) (unknown []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, tenant := range tenants {
		if turn, ok := t.of[tenant]; ok {
			take(i, turn)
		} else if !slices.Contains(unknown, tenant) {
			unknown = append(unknown, tenant)
		}
	}
	return unknown
}

// guess is a tenant's turn as far as is known here. One that this process has
// not met is taken for one that has its turn still to get, and that to itself.
func (t *turns) guess(tenant string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if turn, ok := t.of[tenant]; ok {
		return turn
	}
	return t.seen % Turns
}

// learn keeps turns. A cache that tenants without a turn of their own have
// filled begins anew.
func (t *turns) learn(found map[string]int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil || len(t.of)+len(found) > 2*turnsKept {
		t.of = make(map[string]int, len(found))
	}
	for tenant, turn := range found {
		t.of[tenant] = turn
	}
}

// observe forgets everything when the server remembers fewer tenants than it
// did: it has lost its data, and gives the turns out again.
func (t *turns) observe(seen int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seen < t.seen {
		t.of = nil
	}
	t.seen = seen
}

// turnsOf gives the i-th tenant's turn to take, once or more. Only a tenant
// that this process has not met costs a round trip.
func (q *Queue) turnsOf(ctx context.Context, tenants iter.Seq2[int, string], take func(i, turn int)) error {
	unknown := q.turns.known(tenants, take)
	if len(unknown) == 0 {
		return nil
	}
	found, err := q.askTurns(ctx, unknown)
	if err != nil {
		return err
	}
	q.turns.learn(found)
	for i, tenant := range tenants {
		if turn, ok := found[tenant]; ok {
			take(i, turn)
		}
	}
	return nil
}

// assignTurns gives each admission of a batch its tenant's turn.
func (q *Queue) assignTurns(ctx context.Context, batch []*admission) error {
	tenants := func(yield func(int, string) bool) {
		for i, a := range batch {
			if !yield(i, a.Tenant) {
				return
			}
		}
	}
	return q.turnsOf(ctx, tenants, func(i, turn int) { batch[i].turn = turn })
}

// askTurns asks the server for tenants' turns, which gives one to those that
// have none.
func (q *Queue) askTurns(ctx context.Context, tenants []string) (map[string]int, error) {
	c := &call{script: q.scripts.turn, keys: []string{q.keys.meta()}, args: []any{Turns, turnsKept}}
	for _, t := range tenants {
		c.args = append(c.args, t)
	}
	if err := q.run(ctx, c); err != nil {
		return nil, err
	}
	turns, err := ints(c.reply, len(tenants))
	if err != nil {
		return nil, err
	}
	found := make(map[string]int, len(tenants))
	for i, t := range tenants {
		if turns[i] < 0 || turns[i] >= Turns { // none, or of a version that had more
			turns[i] = int64(xxhash.Sum64String(t) % Turns)
		}
		found[t] = int(turns[i])
	}
	return found, nil
}
