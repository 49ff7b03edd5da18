package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/carillonhq/carillon/config"
)

// commandTimeout bounds one command's reply: past it the server counts as out
// of reach, and what was asked is asked again (every script may be).
const commandTimeout = 3 * time.Second

// blockTime is how long one read waits for work. Cancelling a context does not
// interrupt a blocked read, so this bounds how long a stop takes.
const blockTime = time.Second

// Connect opens a client of the configured server, Sentinel or cluster, with
// room for pool connections. It does not talk to the server yet.
//
// The client never sends a single command twice by itself: a lost reply to XADD
// would become two entries. On a cluster a pipeline may be sent again, so what
// goes into one must bear it, as scripts do.
func Connect(cfg config.Redis, pool int) (redis.UniversalClient, error) {
	opts, err := universalOptions(cfg)
	if err != nil {
		return nil, err
	}
	opts.MaxRetries = -1
	opts.PoolSize = pool
	opts.ContextTimeoutEnabled = true
	opts.DialTimeout = commandTimeout
	opts.DialerRetries = 1 // five by itself: half a second for each command to a server that refuses
	opts.ReadTimeout = commandTimeout
	opts.WriteTimeout = commandTimeout
	opts.PoolTimeout = commandTimeout
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if opts.IsClusterMode {
		return connectCluster(opts), nil
	}
	return redis.NewUniversalClient(opts), nil
}

func universalOptions(cfg config.Redis) (*redis.UniversalOptions, error) {
	urls := cfg.URLs
	if len(urls) == 0 {
		urls = []config.URL{cfg.URL}
	}
	o := &redis.UniversalOptions{IsClusterMode: cfg.Cluster || len(urls) > 1}
	for _, u := range urls {
		one, err := redis.ParseURL(u.Reveal())
		if err != nil {
			return nil, fmt.Errorf("redis.url: %q cannot be read (%w): write it as redis://127.0.0.1:6379/0, or rediss:// for TLS", u, withoutURL(err))
		}
		o.Addrs = append(o.Addrs, one.Addr)
		o.DB, o.Username, o.Password, o.TLSConfig = one.DB, one.Username, one.Password, one.TLSConfig
	}
	if cfg.Sentinel != nil {
		o.MasterName, o.Addrs = cfg.Sentinel.Master, cfg.Sentinel.Addresses
	}
	return o, nil
}

// withoutURL keeps a parse error's reason and drops the address it quotes,
// which may hold a password.
func withoutURL(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

// Ping tells whether the server answers, within a second.
func Ping(ctx context.Context, rdb redis.UniversalClient) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := rdb.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}
