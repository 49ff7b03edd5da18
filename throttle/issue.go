package throttle

import (
	"context"
	_ "embed" // the script
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed issue.lua
var issueLua string

// Issues lets every consumer agree on when the token of a signing key was
// issued, for providers that refuse senders whose token changes too often. It
// keeps the moment and no token.
type Issues struct {
	rdb          redis.UniversalClient
	keys         keys
	renew, least time.Duration
	script       *redis.Script
}

// NewIssues makes what consumers agree by: a token is replaced at the age
// renewAfter, or at the age least once its provider refused it. Whole seconds
// count.
func NewIssues(rdb redis.UniversalClient, namespace string, renewAfter, least time.Duration) *Issues {
	return &Issues{rdb: rdb, keys: keys{namespace}, renew: renewAfter, least: least, script: redis.NewScript(issueLua)}
}

// Issued returns when the token of a key was issued, and how old that is, by
// Redis's clock. A key without a token takes the one that was issued at
// proposed, where that is young enough. The zero time is none.
func (s *Issues) Issued(ctx context.Context, key string, proposed, refused time.Time) (at time.Time, age time.Duration, err error) {
	got, err := s.script.Run(ctx, s.rdb, []string{s.keys.issued(key)},
		seconds(proposed), seconds(refused), int64(s.renew/time.Second), int64(s.least/time.Second)).Int64Slice()
	if err == nil && len(got) != 2 {
		err = errors.New("the answer is no moment and age")
	}
	if err != nil {
		return time.Time{}, 0, fmt.Errorf("agree on a provider token: %w", err)
	}
	return time.Unix(got[0], 0), time.Duration(got[1]) * time.Second, nil
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
