package recipients

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// optOuts are the categories that whoever reads an address has left, each with
// since when. They are kept apart from suppressions, which end everything for
// an address and are lifted as a whole.
type optOuts map[string]time.Time

// OptOut ends a category for a mail address that belongs to no user: what a
// person with a profile does not want is a preference (see SetPreference).
func (s *Store) OptOut(ctx context.Context, tenant, address, category string) error {
	return s.editOptOuts(ctx, tenant, address, category, func(left optOuts) {
		if _, already := left[category]; !already {
			left[category] = s.now().UTC().Truncate(time.Second)
		}
	})
}

// OptIn takes an OptOut back; one that there is not is no error.
func (s *Store) OptIn(ctx context.Context, tenant, address, category string) error {
	return s.editOptOuts(ctx, tenant, address, category, func(left optOuts) { delete(left, category) })
}

// editOptOuts changes what is stored of an address, and again when somebody
// else was quicker.
func (s *Store) editOptOuts(ctx context.Context, tenant, address, category string, change func(optOuts)) error {
	if detail := notice.CheckCategory(category); detail != "" {
		return notice.Faults{{Pointer: "/category", Detail: detail}}
	}
	if detail := notice.CheckEmail(address); detail != "" {
		return notice.Faults{{Pointer: "/address", Detail: detail}}
	}
	_, key := s.keys.optOuts(tenant, normaliseEmail(address))
	for {
		old, err := s.rdb.Get(ctx, key).Bytes()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("read an address's opt-outs: %w", err)
		}
		left := decodeOptOuts(old)
		change(left)
		if len(left) > MaxCategories {
			return notice.Faults{{Pointer: "/category", Detail: tooMany(len(left), MaxCategories)}}
		}
		done, err := s.swapOptOuts(ctx, key, old, left)
		if done || err != nil {
			return err
		}
	}
}

// swapOptOuts stores left if what is stored is still old; nothing left is
// nothing stored.
func (s *Store) swapOptOuts(ctx context.Context, key string, old []byte, left optOuts) (bool, error) {
	var next []byte
	if len(left) > 0 {
		var err error
		if next, err = json.Marshal(left, json.Deterministic(true)); err != nil {
			return false, fmt.Errorf("store an address's opt-outs: %w", err)
		}
	}
	done, err := s.swap.Run(ctx, s.rdb, []string{key}, digest(old), next).Bool()
	if err != nil {
		return false, fmt.Errorf("store an address's opt-outs: %w", err)
	}
	return done, nil
}

// decodeOptOuts reads what is stored; nothing, or what cannot be read, is no
// opt-out.
func decodeOptOuts(stored []byte) optOuts {
	left := optOuts{}
	if json.Unmarshal(stored, &left) != nil {
		return optOuts{}
	}
	return left
}

// Left reports whether whoever reads an address has left a category. It knows
// the addresses that Suppressed knows.
func (f *Found) Left(a notice.Address, category string) bool {
	_, left := f.left[targetOf(a)][category]
	return left
}

func (s *Store) wantOptOuts(b *bulk, tenant string, t target, found *Found) {
	if t.channel != notice.ChannelEmail {
		return
	}
	p, key := s.keys.optOuts(tenant, t.address)
	b.want(p, key, func(stored string) {
		if found.left == nil {
			found.left = map[target]optOuts{}
		}
		found.left[t] = decodeOptOuts([]byte(stored))
	})
}
