package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// restOfKeys grow with what is queued and with the partitions, and not with the
// users.
const restOfKeys = "streams and the rest"

// keyKinds are the gateway's keys by what follows the partition's tag. The first
// that fits counts.
func keyKinds() []struct{ prefix, what string } {
	return []struct{ prefix, what string }{
		{"u:", "profiles"}, {"k:", "places under caps"}, {"n:", "records"}, {"parked", "parked payloads"}, {"later", "when they are due"},
		{"waiting", "when they are due"}, {"digest:", "digests"}, {"digesting:", "digests"}, {"", restOfKeys},
	}
}

// holding is what Redis holds of one kind of keys.
type holding struct {
	What   string
	Number float64 // of keys, or of what a single key is a list of
	Bytes  float64
}

// holds says what Redis holds by kind: MEMORY USAGE of every key. What is beyond
// that are Redis' own tables.
func (l *lab) holds(ctx context.Context) ([]holding, error) {
	var out []holding
	of := map[string]int{}
	for _, k := range keyKinds() {
		if _, known := of[k.what]; !known {
			of[k.what] = len(out)
			out = append(out, holding{What: k.what})
		}
	}
	for cursor := uint64(0); ; {
		keys, next, err := l.node.Scan(ctx, cursor, "", 1000).Result()
		if err != nil {
			return nil, fmt.Errorf("SCAN: %w", err)
		}
		sizes, err := l.sizes(ctx, keys)
		if err != nil {
			return nil, err
		}
		for i, key := range keys {
			s := &out[of[kindOf(key)]]
			s.Number += sizes[i].entries
			s.Bytes += sizes[i].bytes
		}
		if cursor = next; cursor == 0 {
			return out, nil
		}
	}
}

// kindOf is what a key is of.
func kindOf(key string) string {
	_, rest, _ := strings.Cut(key, "}:")
	for _, k := range keyKinds() {
		if strings.HasPrefix(rest, k.prefix) {
			return k.what
		}
	}
	return ""
}

// size is what one key takes.
type size struct{ entries, bytes float64 }

// sizes asks for what some keys take; nothing for one that is gone.
func (l *lab) sizes(ctx context.Context, keys []string) ([]size, error) {
	pipe := l.node.Pipeline()
	bytes, entries := make([]*redis.IntCmd, len(keys)), make([]*redis.IntCmd, len(keys))
	for i, key := range keys {
		bytes[i] = pipe.MemoryUsage(ctx, key, 200)
		switch _, name, _ := strings.Cut(key, "}:"); name {
		case "parked":
			entries[i] = pipe.HLen(ctx, key)
		case "later", "waiting":
			entries[i] = pipe.ZCard(ctx, key)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("MEMORY USAGE: %w", err)
	}
	out := make([]size, len(keys))
	for i := range keys {
		out[i] = size{1, float64(bytes[i].Val())}
		if entries[i] != nil {
			out[i].entries = float64(entries[i].Val())
		}
	}
	return out, nil
}
