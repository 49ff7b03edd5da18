package queue

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// Places finds where people's state lies for somebody who only looks: nothing
// is written, where Open makes what is missing. The error is a
// *PartitionsError, a *MovingError, or ErrUnavailable.
func Places(ctx context.Context, rdb redis.UniversalClient, cfg config.Queue) (partition func(tenant, user string) int, err error) {
	k := keys{namespace: cfg.Namespace, partitions: cfg.Partitions}
	stored, err := rdb.HMGet(ctx, k.meta(), metaPartitions, metaMoving).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, unavailable(err)
	}
	switch n, moving := number(stored[0]), number(stored[1]); {
	case moving != 0:
		return nil, &MovingError{To: moving}
	case n != 0 && n != cfg.Partitions:
		return nil, &PartitionsError{Stored: n, Configured: cfg.Partitions}
	}
	return k.partition, nil
}

// Hint names an address well enough for its owner to recognise it, and for
// nobody else to use it.
func Hint(a notice.Address) string { return hint(a) }

// Founded reports whether a gateway has ever opened the queue of this
// namespace on this Redis. Nothing is written.
func Founded(ctx context.Context, rdb redis.UniversalClient, cfg config.Queue) (bool, error) {
	k := keys{namespace: cfg.Namespace, partitions: cfg.Partitions}
	n, err := rdb.Exists(ctx, k.meta()).Result()
	if err != nil {
		return false, unavailable(err)
	}
	return n > 0, nil
}
