package queue

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// canceledKept is how long this process keeps what it knows of the canceled
// before it reads all of it again, without those that are over.
const canceledKept = time.Minute

// canceled is what this process knows of the canceled notifications. Every
// read of a stream brings the number of the last cancel along, read after the
// stream in one round trip; only a new number costs another. So who reads an
// entry after its notification was canceled knows of it.
type canceled struct {
	fetching sync.Mutex     // held while the server is asked, so that what is older never replaces what is newer
	seen     []atomic.Int64 // of each partition, the number of the last cancel that is known; written behind fetching
	full     time.Time      // when everything was read last; behind fetching

	any  atomic.Bool // nearly always false
	mu   sync.RWMutex
	of   []map[string]bool // of each partition; behind mu
	news atomic.Int64      // cancels that were learned
}

func newCanceled(partitions int) *canceled {
	return &canceled{seen: make([]atomic.Int64, partitions), of: make([]map[string]bool, partitions)}
}

// markOf is how the canceled name a notification, by its id or a delivery's.
func markOf(id string) string {
	_, rest, _ := strings.Cut(id, "-")
	mark, _, _ := strings.Cut(rest, "-")
	return mark
}

// Canceled reports whether a notification, by its id or a delivery's, is known
// to be canceled: what is on a stream of it must not be sent. It asks nobody:
// what was read after the cancel is known, what was held before is with the
// next LearnCancels.
func (q *Queue) Canceled(id string) bool {
	if !q.canceled.any.Load() {
		return false
	}
	p, _, _, err := notice.SplitID(id)
	if err != nil || p >= len(q.canceled.of) {
		return false
	}
	q.canceled.mu.RLock()
	defer q.canceled.mu.RUnlock()
	return q.canceled.of[p][markOf(id)]
}

// AnyCanceled reports whether any notification is known to be canceled.
func (q *Queue) AnyCanceled() bool { return q.canceled.any.Load() }

// LearnCancels asks for cancels that are not known yet, and returns how many
// were learned so far. Readings teach them too: whoever is to act on each of
// them compares with the last number that it acted on.
func (q *Queue) LearnCancels(ctx context.Context) (learned int64, err error) {
	pipe := q.rdb.Pipeline()
	numbers := make([]*redis.StringCmd, q.cfg.Partitions)
	for p := range numbers {
		numbers[p] = pipe.Get(ctx, q.keys.cancels(p))
	}
	cmds, err := pipe.Exec(ctx)
	if err := unattributed(err, cmds); err != nil {
		return 0, unavailable(err)
	}
	for p, n := range numbers {
		if err := n.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return 0, unavailable(err)
		}
		if err := q.learnCancels(ctx, p, n.Val()); err != nil {
			return 0, err
		}
	}
	learned = q.canceled.news.Load()
	return learned, q.forgetCancels(ctx)
}

// learnCancels learns of the cancels of a partition up to a number that was
// read, as the server spells it; empty: none.
func (q *Queue) learnCancels(ctx context.Context, p int, number string) error {
	last, _ := strconv.ParseInt(number, 10, 64)
	c := q.canceled
	if last == c.seen[p].Load() {
		return nil
	}
	c.fetching.Lock()
	defer c.fetching.Unlock()
	known := c.seen[p].Load()
	if last < known {
		known = 0 // the server has lost its data
	}
	found, err := q.fetchCancels(ctx, p, known)
	if err != nil {
		return err
	}
	for _, z := range found {
		last = max(last, int64(z.Score))
	}
	c.keep(p, found, known == 0)
	c.seen[p].Store(last)
	c.news.Add(int64(len(found)))
	return nil
}

// fetchCancels reads the cancels of a partition after a number.
func (q *Queue) fetchCancels(ctx context.Context, p int, after int64) ([]redis.Z, error) {
	found, err := q.rdb.ZRangeByScoreWithScores(ctx, q.keys.canceled(p),
		&redis.ZRangeBy{Min: "(" + strconv.FormatInt(after, 10), Max: "+inf"}).Result()
	if err != nil {
		return nil, unavailable(err)
	}
	return found, nil
}

// keep takes cancels in: beside what is known, or, when they are all, instead.
func (c *canceled) keep(p int, found []redis.Z, all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if all || c.of[p] == nil {
		c.of[p] = make(map[string]bool, len(found))
	}
	for _, z := range found {
		mark, _ := z.Member.(string)
		c.of[p][mark] = true
	}
	c.any.Store(slices.ContainsFunc(c.of, func(of map[string]bool) bool { return len(of) > 0 }))
}

// forgetCancels reads all of the canceled anew, now and then, which leaves out
// those of which nothing is on its way any more.
func (q *Queue) forgetCancels(ctx context.Context) error {
	c := q.canceled
	c.fetching.Lock()
	defer c.fetching.Unlock()
	now := q.now()
	if !c.any.Load() || now.Sub(c.full) < canceledKept {
		return nil
	}
	c.full = now
	for p := range c.of {
		found, err := q.fetchCancels(ctx, p, 0)
		if err != nil {
			return err
		}
		c.keep(p, found, true)
	}
	return nil
}

// cancelNumbers asks, behind the reads of a pipeline, for the number of the
// last cancel of each partition that they read. It must be one server's: on a
// cluster the slot may move between the two.
func (q *Queue) cancelNumbers(ctx context.Context, pipe redis.Pipeliner) *redis.SliceCmd {
	keys := make([]string, q.cfg.Partitions)
	for p := range keys {
		keys[p] = q.keys.cancels(p)
	}
	return pipe.MGet(ctx, keys...)
}

// learnNumbers learns of the cancels up to the numbers of every partition.
func (q *Queue) learnNumbers(ctx context.Context, numbers *redis.SliceCmd) error {
	found, err := numbers.Result()
	if err != nil {
		return unavailable(err)
	}
	for p, n := range found {
		number, _ := n.(string)
		if err := q.learnCancels(ctx, p, number); err != nil {
			return err
		}
	}
	return nil
}
