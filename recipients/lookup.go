package recipients

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// Query asks for what planning one notification needs: the profile of its user
// (none when User is empty), and whether its addresses are suppressed.
type Query struct {
	Tenant, User string
	Addresses    []notice.Address // given inline; they stand in place of the profile's of the same medium
}

// Found answers a Query.
type Found struct {
	Profile    *Profile // nil when there is none
	Err        error    // the stored profile cannot be read, which is nobody else's trouble
	suppressed map[target]Suppression
	left       map[target]optOuts
}

// target is an address as suppressions know it.
type target struct {
	channel notice.Channel
	address string // normalised
}

func targetOf(a notice.Address) target { return target{a.Channel, normalise(a.Channel, a.To)} }

// Suppressed reports whether an address is suppressed, and why. It knows the
// addresses of the query, and the profile's of every medium of which the query
// has none.
func (f *Found) Suppressed(a notice.Address) (Suppression, bool) {
	if len(f.suppressed) == 0 {
		return Suppression{}, false
	}
	s, ok := f.suppressed[targetOf(a)]
	return s, ok
}

// Lookup answers a batch of queries, in order, in one round trip of one MGET
// for each partition among them; a second one follows only for addresses that
// stand in profiles.
func (s *Store) Lookup(ctx context.Context, queries []Query) ([]Found, error) {
	found := make([]Found, len(queries))
	if err := s.lookupInline(ctx, queries, found); err != nil {
		return nil, fmt.Errorf("look up %d recipients: %w", len(queries), err)
	}
	if err := s.lookupStored(ctx, queries, found); err != nil {
		return nil, fmt.Errorf("look up the addresses of %d recipients: %w", len(queries), err)
	}
	return found, nil
}

// lookupInline fetches the profiles, and the suppressions of the queries' own
// addresses.
func (s *Store) lookupInline(ctx context.Context, queries []Query, found []Found) error {
	var b bulk
	for i := range queries {
		q := &queries[i]
		if q.User != "" {
			p, key := s.keys.profile(q.Tenant, q.User)
			b.want(p, key, func(stored string) {
				found[i].Profile, found[i].Err = decodeStored([]byte(stored))
			})
		}
		for _, a := range q.Addresses {
			s.wantSuppression(&b, q.Tenant, a, &found[i])
		}
	}
	return b.fetch(ctx, s.rdb)
}

// lookupStored fetches the suppressions of the addresses that come from the
// profiles.
func (s *Store) lookupStored(ctx context.Context, queries []Query, found []Found) error {
	var b bulk
	for i := range found {
		for _, a := range found[i].Profile.Addresses() {
			if !hasMedium(queries[i].Addresses, a.Channel.Medium()) {
				s.wantSuppression(&b, queries[i].Tenant, a, &found[i])
			}
		}
	}
	return b.fetch(ctx, s.rdb)
}

func hasMedium(addresses []notice.Address, m notice.Medium) bool {
	return slices.ContainsFunc(addresses, func(a notice.Address) bool { return a.Channel.Medium() == m })
}

func (s *Store) wantSuppression(b *bulk, tenant string, a notice.Address, found *Found) {
	t := targetOf(a)
	s.wantOptOuts(b, tenant, t, found)
	p, key := s.keys.suppression(tenant, t.channel, t.address)
	b.want(p, key, func(stored string) {
		if found.suppressed == nil {
			found.suppressed = map[target]Suppression{}
		}
		found.suppressed[t] = decodeSuppression([]byte(stored))
	})
}

// bulk reads many values at once, those of one partition by one MGET.
type bulk struct{ pages []page }

type page struct {
	partition int
	keys      []string
	take      []func(stored string)
}

// want asks for one value; take is called with it if there is one.
func (b *bulk) want(partition int, key string, take func(stored string)) {
	i := slices.IndexFunc(b.pages, func(p page) bool { return p.partition == partition })
	if i < 0 {
		i = len(b.pages)
		b.pages = append(b.pages, page{partition: partition})
	}
	p := &b.pages[i]
	p.keys = append(p.keys, key)
	p.take = append(p.take, take)
}

// fetch reads everything that is wanted.
func (b *bulk) fetch(ctx context.Context, rdb redis.UniversalClient) error {
	if len(b.pages) == 0 {
		return nil
	}
	replies := make([]*redis.SliceCmd, len(b.pages))
	pipe := rdb.Pipeline()
	for i, p := range b.pages {
		replies[i] = pipe.MGet(ctx, p.keys...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for i, p := range b.pages {
		p.read(replies[i].Val())
	}
	return nil
}

func (p *page) read(values []any) {
	for i, v := range values {
		if stored, ok := v.(string); ok { // nil: nothing is stored
			p.take[i](stored)
		}
	}
}
