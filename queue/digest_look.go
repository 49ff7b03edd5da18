package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// OpenDigest is a digest that still collects.
type OpenDigest struct {
	Rule     string // the cap that it waits for
	Template string // that it will be sent by; empty when its carrier is about to be sent
	Carrier  string // the delivery that carries it
	Channel  notice.Channel
	Address  string // shortened so that it names nobody
	Items    int    // what it will show, its carrier among them
	More     int    // what it will only count
	Size     int64  // bytes of what is collected, as digest_max.size counts them: without the carrier
	Opened   time.Time
	Goes     time.Time // when its window opens, and it is sent; zero: it is about to be
	Expires  time.Time // when its carrier does, and another one carries it; zero: never
}

// OpenDigests are a person's digests that still collect, the one that goes first
// first. It writes nothing, and needs no Queue. The error is ErrUnavailable, or
// ErrFault for what no version of the gateway wrote.
func OpenDigests(ctx context.Context, rdb redis.UniversalClient, cfg config.Queue, tenant, user string) (out []OpenDigest, err error) {
	q := &Queue{rdb: rdb, cfg: cfg, keys: keys{namespace: cfg.Namespace, partitions: cfg.Partitions}}
	q.learnLayout(ctx)
	for _, p := range q.homes(tenant, user) {
		carriers, err := rdb.SMembers(ctx, q.keys.digests(p, digestPerson(tenant, user))).Result()
		if err != nil {
			return nil, unavailable(err)
		}
		for _, carrier := range carriers {
			d, open, err := q.openDigest(ctx, p, tenant, user, carrier)
			if err != nil {
				return nil, err
			}
			if open {
				out = append(out, d)
			}
		}
	}
	slices.SortFunc(out, func(a, b OpenDigest) int {
		return cmp.Or(a.Goes.Compare(b.Goes), cmp.Compare(a.Carrier, b.Carrier))
	})
	return out, nil
}

// openDigest looks at what a delivery carries. It is not open when the delivery
// has gone meanwhile, or what it carries is closed.
func (q *Queue) openDigest(ctx context.Context, p int, tenant, user, carrier string) (d OpenDigest, open bool, err error) {
	pipe := q.rdb.Pipeline()
	head, length := pipe.LIndex(ctx, q.keys.digest(p, carrier), 0), pipe.LLen(ctx, q.keys.digest(p, carrier))
	parked := pipe.HGet(ctx, q.keys.parked(p), carrier)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return d, false, unavailable(err)
	}
	if head.Err() != nil {
		return d, false, nil
	}
	got, err := readCollected(carrier, []string{head.Val()})
	if err != nil || !got.open() {
		return d, false, err
	}
	r, err := q.Record(ctx, tenant, carrier)
	if errors.Is(err, ErrNotFound) || err == nil && r.User != user {
		return d, false, nil
	}
	if err != nil {
		return d, false, err
	}
	bytes, _, _ := strings.Cut(head.Val(), " ")
	d = OpenDigest{Carrier: carrier, Items: int(length.Val()), More: got.More, Expires: r.ExpiresAt}
	if d.Size, err = strconv.ParseInt(bytes, 10, 64); err != nil {
		return d, false, fmt.Errorf("%w: the digest of %s: %w", ErrFault, carrier, err)
	}
	d.carriedBy(r)
	return d, true, d.goesBy(parked.Val())
}

// open reports whether a digest was not closed yet.
func (c *Collected) open() bool { return c.At.UnixMilli() == 0 }

// carriedBy takes in what the record says of the carrier: which rule it waits
// for, since when and until when.
func (d *OpenDigest) carriedBy(r Record) {
	for _, carrier := range r.Deliveries {
		if carrier.ID != d.Carrier {
			continue
		}
		d.Channel, d.Address = carrier.Channel, carrier.Address
		for _, e := range carrier.Timeline {
			if e.Status == notice.StatusDeferred && d.Opened.IsZero() {
				d.Rule, d.Opened = e.Code, e.At
			}
			d.Goes = e.Until
		}
	}
}

// goesBy takes in what is parked of the carrier, which says by which template
// the digest goes.
func (d *OpenDigest) goesBy(parked string) error {
	_, payload, ok := strings.Cut(parked, "\n")
	if !ok {
		d.Goes = time.Time{}
		return nil
	}
	var carrier notice.Delivery
	if err := carrier.UnmarshalBinary([]byte(payload)); err != nil {
		return fmt.Errorf("%w: the carrier %s: %w", ErrFault, d.Carrier, err)
	}
	d.Template, d.Expires = carrier.Digest, carrier.ExpiresAt
	return nil
}
