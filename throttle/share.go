package throttle

import (
	"context"
	_ "embed" // the script
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

//go:embed share.lua
var shareLua string

// A consumer beats every beatEvery; one that has not for beatLife is gone. The
// others hear of a join within 0.5 s, and of a death within 2 s; who joins has
// its share within 1.5 s, since two beats of each other one come first.
const (
	beatEvery = 500 * time.Millisecond
	beatLife  = 1500 * time.Millisecond
)

// waryBeats is for how many beats a consumer that was forgotten takes no more
// than it had: long enough for every other one to be counted again.
const waryBeats = 6

// Share divides a channel's rate among its consumers: with n of them live, each
// has a Pace of rate/n. A consumer that joins sends nothing until every other
// one has made room for it, so that together they never pass the rate; one that
// leaves, or dies, leaves its part to the others. (Each consumer may hold one
// permit in hand: after an idle time, n consumers may send n at once.)
//
// While Redis cannot be reached, each keeps the part that it had.
type Share struct {
	rdb      redis.UniversalClient
	keys     []string // of share.lua
	consumer string
	pace     *Pace
	script   *redis.Script
	every    time.Duration
	life     time.Duration

	// What the beats have told, which only Run touches. Times are in ms, by
	// Redis's clock, and 0 before the first beat.
	joined  int64
	applied int64 // of the last beat, whose answer is the pace's share now
	settled bool  // every other consumer has made room
	wary    int   // for how many beats more not to take more than it has

	mu   sync.Mutex
	live int
	err  error
}

// NewShare makes the share of one consumer, whose name no other live consumer
// may have, and takes the pace's share away until Run has counted it in.
func NewShare(rdb redis.UniversalClient, namespace string, channel notice.Channel, consumer string, pace *Pace) *Share {
	pace.SetShare(0)
	return &Share{
		rdb: rdb, keys: keys{namespace}.consumers(channel), consumer: consumer, pace: pace,
		script: redis.NewScript(shareLua), every: beatEvery, life: beatLife,
	}
}

// Run keeps the share up to date until ctx ends, and then leaves, so that the
// others need not wait for its death to be noticed.
func (s *Share) Run(ctx context.Context) {
	ticker := time.NewTicker(s.every)
	defer ticker.Stop()
	for {
		s.note(s.beat(ctx))
		select {
		case <-ticker.C:
		case <-ctx.Done():
			s.leave()
			return
		}
	}
}

// beat says that the consumer lives, and takes the share that follows from how
// many do. It returns that number.
func (s *Share) beat(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, s.life)
	defer cancel()
	reply, err := s.script.Run(ctx, s.rdb, s.keys, s.consumer, s.life.Milliseconds(), s.joined, s.applied).Int64Slice()
	if err != nil {
		return 0, fmt.Errorf("count the consumers of a channel: %w", err)
	}
	if len(reply) != 4 || reply[1] < 1 {
		return 0, fmt.Errorf("count the consumers of a channel: the script answered %v", reply)
	}
	at, live, joined, settled := reply[0], int(reply[1]), reply[2], reply[3] == 1
	s.join(joined, settled)
	s.pace.SetShare(s.part(live))
	s.applied = at
	return live, nil
}

// join takes note of when the consumer was counted in. If that was just now,
// and not for the first time, it had been forgotten: Redis lost its data, or
// this process stood still for long.
func (s *Share) join(joined int64, settled bool) {
	if joined == s.joined {
		s.settled = s.settled || settled
		s.wary = max(s.wary-1, 0)
		return
	}
	if s.joined != 0 {
		s.wary = waryBeats
	}
	s.joined, s.settled = joined, settled
}

// part is the share of one among so many.
func (s *Share) part(live int) float64 {
	part := 1 / float64(live)
	switch {
	case !s.settled:
		return 0
	case s.wary > 0 && s.pace.Share() > 0:
		return min(part, s.pace.Share())
	}
	return part
}

// leave counts the consumer out. A failure is no matter: its beats end.
func (s *Share) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.pace.SetShare(0)
	_, err := s.rdb.ZRem(ctx, s.keys[0], s.consumer).Result()
	s.note(0, err)
}

func (s *Share) note(live int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = err; err == nil {
		s.live = live
	}
}

// Live is how many consumers the last beat that worked counted, this one among
// them, and the error of the last beat if it did not work.
func (s *Share) Live() (consumers int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live, s.err
}
