package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// Stats is the state of the whole queue at one moment.
type Stats struct {
	Partitions int
	Lanes      []LaneStats            // of every stage, whatever waits there
	Inbox      int                    // entries that are not admitted yet
	Parked     Parked                 // waiting for their time
	Dead       map[notice.Channel]int // dead letters
	Consumers  []ConsumerStats        // by name
}

// LaneStats is one lane of one stage, over all partitions and turns.
type LaneStats struct {
	Depth
	InFlight int // leased by some consumer
}

// ConsumerStats is one consumer, over all streams.
type ConsumerStats struct {
	Name     string
	InFlight int           // entries that it holds
	Idle     time.Duration // since it was last heard of
}

// Stats measures the queue. It asks more of the server than a scrape does: the
// leases and the consumers of every stream that is not empty.
func (q *Queue) Stats(ctx context.Context) (s Stats, err error) {
	s.Partitions = q.keys.partitions
	depths, err := q.Depths(ctx)
	if err != nil {
		return s, err
	}
	if s.Parked, err = q.Parked(ctx); err != nil {
		return s, err
	}
	if s.Dead, err = q.DeadCounts(ctx); err != nil {
		return s, err
	}
	inbox, err := q.rdb.XLen(ctx, q.keys.inbox()).Result()
	if err != nil {
		return s, unavailable(err)
	}
	s.Inbox = int(inbox)
	for _, d := range depths {
		s.Lanes = append(s.Lanes, LaneStats{Depth: d})
	}
	return s, q.addLeases(ctx, &s)
}

// addLeases adds who holds what.
func (q *Queue) addLeases(ctx context.Context, s *Stats) error {
	pipe := q.rdb.Pipeline()
	asked := make([]*redis.XInfoConsumersCmd, len(q.streams))
	for i, st := range q.streams {
		asked[i] = pipe.XInfoConsumers(ctx, st.key, group)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return unavailable(err)
	}
	consumers := map[string]*ConsumerStats{}
	for i, st := range q.streams {
		lane := &s.Lanes[slices.IndexFunc(s.Lanes, func(l LaneStats) bool { return l.Stage == st.stage && l.Lane == st.lane })]
		for _, c := range asked[i].Val() {
			lane.InFlight += int(c.Pending)
			one := consumers[c.Name]
			if one == nil {
				one = &ConsumerStats{Name: c.Name, Idle: c.Idle}
				consumers[c.Name] = one
			}
			one.InFlight += int(c.Pending)
			one.Idle = min(one.Idle, c.Idle)
		}
	}
	for _, c := range consumers {
		s.Consumers = append(s.Consumers, *c)
	}
	slices.SortFunc(s.Consumers, func(a, b ConsumerStats) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

// Peeked is an entry that waits, seen without leasing it. Secrets are left out,
// and addresses shortened as in records.
type Peeked struct {
	ID       string
	Tenant   string
	User     string
	Template string
	Stage    string
	Lane     notice.Lane
	Address  string // of a delivery
	Attempt  int    // attempts made
	Since    time.Time
	Bytes    int // of the entry's payload
}

// Peek returns the n oldest entries of a stage ("events", or a channel) and
// lane without leasing them; of every lane when lane is empty.
func (q *Queue) Peek(ctx context.Context, stage string, lane notice.Lane, n int) ([]Peeked, error) {
	pipe := q.rdb.Pipeline()
	asked := map[int]*redis.XMessageSliceCmd{}
	for i, s := range q.streams {
		if s.stage == stage && (lane == "" || s.lane == lane) {
			asked[i] = pipe.XRangeN(ctx, s.key, "-", "+", int64(n))
		}
	}
	if len(asked) == 0 {
		return nil, fmt.Errorf("nothing is called stage %q, lane %q: %w", stage, lane, ErrNotFound)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, unavailable(err)
	}
	var out []Peeked
	for i, cmd := range asked {
		for _, m := range cmd.Val() {
			out = append(out, peeked(&q.streams[i], m))
		}
	}
	slices.SortFunc(out, func(a, b Peeked) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return out[:min(n, len(out))], nil
}

// peeked reads an entry as far as it can be read: what is unreadable is shown
// by its place and size alone.
func peeked(s *stream, m redis.XMessage) Peeked {
	payload, _ := m.Values["d"].(string)
	p := Peeked{ID: m.ID + " of " + s.key + " (unreadable)", Stage: s.stage, Lane: s.lane, Since: entryTime(m.ID), Bytes: len(payload)}
	if s.stage == stageEvents {
		var ev notice.Event
		if ev.UnmarshalBinary([]byte(payload)) == nil {
			p.ID, p.Tenant, p.User, p.Template = ev.ID, ev.Tenant, ev.Notification.To.User, ev.Notification.Template
		}
		return p
	}
	var d notice.Delivery
	if d.UnmarshalBinary([]byte(payload)) == nil {
		p.ID, p.Tenant, p.User, p.Template, p.Address, p.Attempt = d.ID, d.Tenant, d.To.User, d.Template, hint(d.Address), d.Attempt
	}
	return p
}

// Reach is how many partitions hold anything: more than are configured where
// there were more before a repartition.
func (q *Queue) Reach() int { return q.cfg.Partitions }
