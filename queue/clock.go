package queue

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Clock tells the time of the Redis server, which is one for every process of
// the gateway. Due times, windows of caps and expiries are written by one
// process and read by another: by clocks of their own, a host whose clock is an
// hour ahead would send everybody's scheduled notifications an hour early.
//
// Between two looks at the server it goes by the monotonic clock, so a step of
// the host's own clock is never seen. Until the server has answered once it is
// the host's clock.
type Clock struct {
	rdb    redis.UniversalClient
	anchor atomic.Pointer[anchor]
}

// anchor is one moment by both clocks.
type anchor struct {
	server time.Time // without a monotonic reading
	local  time.Time // with one
}

const (
	syncEvery = time.Second
	// syncSlack is how far ours may be outside of what a round trip leaves open
	// before the anchor moves: a clock that trembles would be worse than one that
	// is a millisecond off.
	syncSlack = time.Millisecond
)

// NewClock makes a clock that Sync and Follow set by a server. On a cluster it
// is any of its nodes: their clocks are taken to be one.
func NewClock(rdb redis.UniversalClient) *Clock { return &Clock{rdb: rdb} }

// Now is the server's time, with no monotonic reading.
func (c *Clock) Now() time.Time {
	a := c.anchor.Load()
	if a == nil {
		return time.Now()
	}
	return a.server.Add(time.Since(a.local))
}

// Sync sets the clock by the server's. The server told its time somewhere on the
// round trip, and it is taken to have done so at the very end: the clock may be
// late by a part of the trip, until a quicker answer comes, but is not early, or
// a machine under load would send what is scheduled before its time.
func (c *Clock) Sync(ctx context.Context) error {
	asked := time.Now()
	told, err := c.rdb.Time(ctx).Result()
	if err != nil {
		return unavailable(err)
	}
	c.set(told, time.Since(asked))
	return nil
}

// set takes in that the server's time is now between what it told and a round
// trip more. An anchor that may be right by that stays.
func (c *Clock) set(told time.Time, trip time.Duration) {
	if c.anchor.Load() != nil {
		if past := c.Now().Sub(told); past >= -syncSlack && past <= trip+syncSlack {
			return
		}
	}
	c.anchor.Store(&anchor{server: told.Round(0), local: time.Now()})
}

// Follow keeps the clock set until ctx ends. While the server is away the
// clock goes on by itself.
func (c *Clock) Follow(ctx context.Context) {
	for pause(ctx, syncEvery) {
		ctx, cancel := context.WithTimeout(ctx, syncEvery)
		_ = c.Sync(ctx) // tried again in a second
		cancel()
	}
}
