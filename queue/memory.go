package queue

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// store is the memory of one server.
type store struct {
	used int64 // what counts against its maxmemory
	most int64 // its maxmemory; 0: none
}

// readStore reads an answer to INFO memory; nothing when it is of a server that
// does not say.
func readStore(said string) (s store) {
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(infoField(said, name), 10, 64)
		return n
	}
	// What replicas and the append-only file wait for does not count.
	return store{used: number("used_memory") - number("mem_not_counted_for_evict"), most: number("maxmemory")}
}

// over is by how much a server's memory is past what a lane may add to; negative
// while there is room. Bulk leaves an eighth of the bound to the others, and what
// is critical goes beyond it by as much, though not further than half of the way
// to where Redis itself refuses: working off what was accepted takes memory too.
func (s store) over(lane notice.Lane, bound config.Bound) int64 {
	limit := bound.Of(s.most)
	if limit == 0 {
		return -1
	}
	switch lane {
	case notice.LaneBulk:
		limit -= limit / headroom
	case notice.LaneCritical:
		beyond := limit / headroom
		if s.most > 0 {
			beyond = max(min(beyond, (s.most-limit)/2), 0)
		}
		limit += beyond
	}
	return s.used - limit
}

// measureMemory asks every master that a partition lives on. One that does not
// answer keeps what it said last.
func (q *Queue) measureMemory(ctx context.Context) {
	if q.bounds.Load().MaxMemory.IsZero() {
		return
	}
	stores, err := q.readStores(ctx)
	if err != nil {
		return
	}
	now := q.now()
	b := &q.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stores = stores
	for _, s := range stores {
		if s.over(notice.LaneBulk, q.bounds.Load().MaxMemory) >= 0 {
			return
		}
	}
	b.tight = now
}

// memoryLeft is what is left until the next lane is refused, of the server that
// has the least.
func (q *Queue) memoryLeft() int64 {
	q.backlog.mu.Lock()
	defer q.backlog.mu.Unlock()
	least := int64(math.MaxInt64)
	for _, s := range q.backlog.stores {
		for _, lane := range notice.Lanes() {
			if over := s.over(lane, q.bounds.Load().MaxMemory); over < 0 && q.bounds.Load().MaxMemory.Of(s.most) > 0 {
				least = min(least, -over)
			}
		}
	}
	return least
}

// readStores is the memory of each partition's server; one for all on a single
// server.
func (q *Queue) readStores(ctx context.Context) ([]store, error) {
	cluster, ok := q.rdb.(*redis.ClusterClient)
	if !ok {
		said, err := q.rdb.Info(ctx, "memory").Result()
		if err != nil {
			return nil, unavailable(err)
		}
		return []store{readStore(said)}, nil
	}
	var mu sync.Mutex
	byNode := map[string]store{}
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		said, err := node.Info(ctx, "memory").Result()
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			byNode[node.Options().Addr] = readStore(said)
		}
		return nil // of a master that is away nothing is known; the others count
	})
	if err != nil {
		return nil, unavailable(err)
	}
	out := make([]store, q.cfg.Partitions)
	for p := range out {
		if node, err := cluster.MasterForKey(ctx, q.keys.tag(p)); err == nil {
			out[p] = byNode[node.Options().Addr]
		}
	}
	return out, nil
}

// memoryPressure says that the server that a notification goes to has no memory
// for it; "" when it has. It is called with the backlog's lock.
func (q *Queue) memoryPressure(tenant string, n *notice.Notification, lane notice.Lane, now time.Time) (time.Duration, string) {
	b := &q.backlog
	if len(b.stores) == 0 {
		return 0, ""
	}
	at := b.stores[0]
	if len(b.stores) > 1 {
		at = b.stores[q.keys.partition(tenant, recipientKey(n))]
	}
	if at.over(lane, q.bounds.Load().MaxMemory) < 0 {
		return 0, ""
	}
	return growing(now.Sub(b.tight)), fmt.Sprintf("the store's memory is needed for what was accepted, for the lane %q (queue.max_memory)", lane)
}

// fullestStore is the server that is nearest to its bound; false while none has
// said anything.
func (q *Queue) fullestStore() (fullest store, known bool) {
	q.backlog.mu.Lock()
	defer q.backlog.mu.Unlock()
	for _, s := range q.backlog.stores {
		if s.used > 0 && (!known || s.over(notice.LaneNormal, q.bounds.Load().MaxMemory) > fullest.over(notice.LaneNormal, q.bounds.Load().MaxMemory)) {
			fullest, known = s, true
		}
	}
	return fullest, known
}
