package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// InboxEntry is what some program put on the inbox stream.
type InboxEntry struct {
	Lease    *Lease
	Event    string // the field `event`; empty when there was none
	Tenant   string // the field `tenant`
	Identity string // the same for every reading of the entry
	At       time.Time
	fields   string // all of it, for a dead letter
}

// InboxReader reads the inbox under one consumer's name. It is for one
// goroutine.
type InboxReader struct {
	q        *Queue
	consumer string
}

// InboxReader reads the inbox.
func (q *Queue) InboxReader(consumer string) *InboxReader { return &InboxReader{q, consumer} }

// Read leases up to room entries, waiting a second at most for the first.
func (r *InboxReader) Read(ctx context.Context, room int) ([]*InboxEntry, error) {
	return r.read(ctx, ">", room, blockTime)
}

// Own returns what this consumer holds by the server's account: between two
// reads, that is what came in replies that were lost.
func (r *InboxReader) Own(ctx context.Context, room int) ([]*InboxEntry, error) {
	return r.read(ctx, "0", room, -1)
}

func (r *InboxReader) read(ctx context.Context, from string, room int, block time.Duration) ([]*InboxEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout+blockTime)
	defer cancel()
	found, err := r.q.readers.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: group, Consumer: r.consumer, Streams: []string{r.q.keys.inbox(), from}, Count: int64(room), Block: block,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, r.q.recover(ctx, fmt.Errorf("reading the inbox: %w", err))
	}
	if len(found) == 0 {
		return nil, nil
	}
	return r.q.inboxEntries(found[0].Messages), nil
}

// Reclaim leases up to room entries whose consumers have not been heard of for
// queue.visibility.
func (r *InboxReader) Reclaim(ctx context.Context, room int) ([]*InboxEntry, error) {
	found, _, err := r.q.rdb.XAutoClaim(ctx, &redis.XAutoClaimArgs{
		Stream: r.q.keys.inbox(), Group: group, Consumer: r.consumer, MinIdle: r.q.cfg.Visibility.Std(), Start: "0", Count: int64(room),
	}).Result()
	if err != nil {
		return nil, r.q.recover(ctx, fmt.Errorf("reclaiming from the inbox: %w", err))
	}
	return r.q.inboxEntries(found), nil
}

func (q *Queue) inboxEntries(found []redis.XMessage) []*InboxEntry {
	now := q.now()
	out := make([]*InboxEntry, 0, len(found))
	for _, m := range found {
		if m.Values == nil {
			continue // acknowledged while it was pending
		}
		e := &InboxEntry{Lease: &Lease{entry: m.ID, at: now}, Identity: "inbox:" + m.ID, At: entryTime(m.ID), fields: fieldsText(m.Values)}
		e.Event, _ = m.Values["event"].(string)
		e.Tenant, _ = m.Values["tenant"].(string)
		if again, ok := m.Values["redrive"].(string); ok {
			// A dead letter put back twice is admitted once: its name and its time
			// are part of the id.
			e.Identity = "redrive:" + again
			if died, ok := m.Values["died"].(string); ok {
				e.At = entryTime(died)
			}
		}
		out = append(out, e)
	}
	return out
}

// entryTime is the millisecond in a stream entry's id: the server's time, or
// whatever a program that makes ids of its own put there. It must not depend on
// our clock, since an entry's time is part of its identity.
func entryTime(id string) time.Time {
	ms, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		n = math.MaxInt64 // the id is an unsigned number
	}
	return time.UnixMilli(n)
}

func fieldsText(values map[string]any) string {
	b, err := json.Marshal(values, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return fmt.Sprintf("%q", values)
	}
	return string(b)
}

// FinishInbox acknowledges and deletes entries whose events were admitted.
func (q *Queue) FinishInbox(ctx context.Context, entries []*InboxEntry) error {
	if len(entries) == 0 {
		return nil
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.Lease.entry
	}
	pipe := q.rdb.TxPipeline()
	pipe.XAck(ctx, q.keys.inbox(), group, ids...)
	pipe.XDel(ctx, q.keys.inbox(), ids...)
	if _, err := pipe.Exec(ctx); err != nil {
		return unavailable(err)
	}
	return nil
}

// BuryInbox keeps an unreadable entry as a dead letter, then finishes it.
// Dying in between buries it once all the same.
func (q *Queue) BuryInbox(ctx context.Context, e *InboxEntry, reason, detail string) error {
	tenant := e.Tenant
	p := q.keys.partition(tenant, e.Identity)
	id := notice.DeliveryID(notice.DerivedID(p, e.At, e.Identity), 0)
	now := q.now()
	l := deadLetter{Tenant: tenant, Channel: notice.ChannelInbox, Reason: reason, Detail: detail, At: now, Payload: e.fields}
	letter, err := l.encode(id)
	if err != nil {
		return err
	}
	c := &call{script: q.scripts.bury, keys: []string{q.keys.dead(p, l.Channel), q.keys.deadLetters(p)}, args: []any{id, letter, now.UnixMilli()}}
	if err := q.run(ctx, c); err != nil {
		return err
	}
	return q.FinishInbox(ctx, []*InboxEntry{e})
}
