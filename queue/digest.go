package queue

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// A digest is a delivery that waits for its recipient's cap, its carrier, and
// what comes for the same address meanwhile. What comes has ended then, with a
// line that names the carrier, and is kept in a list beside it:
//
//	<bytes> <more> <closed> <version> <pointer>   of what follows; how many did not fit; when it was closed, in
//	                                              unix ms, 0: it is open; the version of its template that it was
//	                                              closed with; the key without its tag that finds the carrier
//	<stream>\n<delivery>                          each delivery that was collected, the oldest first, as it is parked
//
// While a digest is open its pointer names the carrier, and its person's set has
// it, which nothing but a look at the person needs. Whoever is about to send
// the carrier closes it: from then on the list is the same at every attempt,
// whoever makes it, and what comes next opens another one. The list goes when
// the carrier has ended; a dead letter keeps it.

// Digest is what a planned delivery is collected in.
type Digest struct {
	Name    string // see DigestName
	Carrier string // the delivery that carries it; the planned one itself: it opens it
	// Items and Size bound it, in deliveries and in bytes of their encodings: of
	// what is beyond only the number is kept.
	Items int
	Size  int64
	// Full is the end of a delivery that does not fit; Ended that of one that does.
	Full Entry
}

// DigestName is what deliveries are collected under: nothing of two of them that
// differ in their recipient, address, template or rule comes together. It begins
// with whose it is.
func DigestName(d *notice.Delivery, template, rule string) string {
	return digestPerson(d.Tenant, d.To.User) + "." +
		hashed(16, d.Tenant, d.To.User, string(d.Address.Channel), d.Address.To, d.Address.App, string(d.Address.Environment), template, rule)
}

// digestPerson stands for a person in the names of their digests.
func digestPerson(tenant, user string) string { return hashed(9, tenant, user) }

// hashed is so many bytes of the hash of some words, in letters.
func hashed(length int, words ...string) string {
	h := sha256.New()
	for _, s := range words {
		fmt.Fprintf(h, "%d %s ", len(s), s)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:length])
}

// DigestPlace is where the carrier of a digest is looked for.
type DigestPlace struct {
	Partition int
	Name      string
}

// Carriers are the deliveries that carry open digests; empty where none is open.
func (q *Queue) Carriers(ctx context.Context, places []DigestPlace) ([]string, error) {
	out := make([]string, len(places))
	calls := newBatchCalls(q, q.scripts.carriers)
	for i, at := range places {
		calls.of(at.Partition, i).own(q.keys.digestPointer(at.Partition, at.Name))
	}
	if err := q.runAll(ctx, calls.calls); err != nil {
		return nil, err
	}
	for _, c := range calls.bySlot {
		found, err := c.reply.StringSlice()
		if err != nil || len(found) != len(c.members) {
			return nil, fmt.Errorf("%w: a script answered %d carriers of %d digests", ErrFault, len(found), len(c.members))
		}
		for k, i := range c.members {
			out[i] = found[k]
		}
	}
	return out, nil
}

// addDigest adds what a planned delivery has to do with a digest.
func (q *Queue) addDigest(c *batchCall, pl *Planned, d *PlannedDelivery, now time.Time) {
	p := pl.Lease.from.partition
	c.add(c.key(q.keys.digestPointer(p, d.Digest.Name)), c.key(q.keys.digest(p, d.Digest.Carrier)), d.Digest.Carrier, max(0, d.Due.Sub(now).Milliseconds()))
	if d.Ended.Status == "" {
		c.add("", "", "", 0, 0)
		return
	}
	_, _, ordinal, _ := notice.SplitID(d.Delivery.ID)
	item := append([]byte(streamSuffix(string(d.Delivery.Address.Channel), d.Delivery.Lane, pl.Lease.from.turn)+"\n"), encode(&d.Delivery)...)
	c.add(item, appendEntry(nil, ordinal, pl.Event.AcceptedAt, d.Ended), appendEntry(nil, ordinal, pl.Event.AcceptedAt, d.Digest.Full), d.Digest.Items, d.Digest.Size)
}

// Collected is a digest that is closed.
type Collected struct {
	At      time.Time         // when it was closed first
	Version string            // of its template, then
	More    int               // how many there were for which it had no room
	Items   []notice.Delivery // that were collected, the oldest first; the carrier is not among them
}

// Live are the items that had not expired when the digest was closed.
func (c *Collected) Live() (out []notice.Delivery) {
	for _, d := range c.Items {
		if d.ExpiresAt.IsZero() || c.At.Before(d.ExpiresAt) {
			out = append(out, d)
		}
	}
	return out
}

// CloseDigest closes what a delivery carries, and returns it. Closed again, by
// whomever, it is as it was the first time, whatever now is, and its version is
// the first that anybody knew: who hands a digest on knows none. A delivery that
// carries nothing has no items.
func (q *Queue) CloseDigest(ctx context.Context, carrier, version string, now time.Time) (out Collected, err error) {
	p, _, _, err := notice.SplitID(carrier)
	if err != nil {
		return out, fmt.Errorf("%w: closing a digest: %w", ErrFault, err)
	}
	c := &call{script: q.scripts.collected, keys: []string{q.keys.digest(p, carrier)},
		args: []any{carrier, now.UnixMilli(), version, openLife.Milliseconds()}}
	if err := q.run(ctx, c); err != nil {
		return out, err
	}
	rows, err := c.reply.StringSlice()
	if err != nil {
		return out, unavailable(err)
	}
	if len(rows) == 0 {
		return Collected{At: now, Version: version}, nil
	}
	return readCollected(carrier, rows)
}

func readCollected(carrier string, rows []string) (out Collected, err error) {
	head := strings.Split(rows[0], " ")
	if len(head) != 5 {
		return out, fmt.Errorf("%w: the digest of %s begins with %d words", ErrFault, carrier, len(head))
	}
	out.More, err = strconv.Atoi(head[1])
	at, badTime := strconv.ParseInt(head[2], 10, 64)
	if err = errors.Join(err, badTime); err != nil {
		return out, fmt.Errorf("%w: the digest of %s: %w", ErrFault, carrier, err)
	}
	out.At, out.Version = time.UnixMilli(at), head[3]
	for _, row := range rows[1:] {
		_, payload, _ := strings.Cut(row, "\n")
		var d notice.Delivery
		if err := d.UnmarshalBinary([]byte(payload)); err != nil {
			return out, fmt.Errorf("%w: the digest of %s: %w", ErrFault, carrier, err)
		}
		out.Items = append(out.Items, d)
	}
	return out, nil
}

// keepDigests looks after what the deliveries of a batch carry before they are
// settled: a retry and a dead letter keep it, and of one that goes no more, but
// neither arrived nor failed, the next that was collected takes it over. Each
// step may be repeated. It is a *PartError of what could not be done.
func (q *Queue) keepDigests(ctx context.Context, batch []*Settlement, now time.Time) *PartError {
	var failed *PartError
	for i, s := range batch {
		if err := q.keepDigest(ctx, s, now); err != nil {
			failed = failed.with(err, []int{i})
		}
	}
	return failed
}

func (q *Queue) keepDigest(ctx context.Context, s *Settlement, now time.Time) error {
	if !s.carries() {
		return nil
	}
	p, _, _, err := notice.SplitID(s.Delivery.ID)
	if err != nil {
		return nil // settling it says so
	}
	key := q.keys.digest(p, s.Delivery.ID)
	switch {
	case s.Kind == Later:
		return unavailableIf(q.rdb.PExpire(ctx, key, max(0, s.Due.Sub(now))+openLife).Err())
	case s.Kind == Bury:
		return unavailableIf(q.rdb.Persist(ctx, key).Err())
	case s.Entry.Status == notice.StatusCanceled, s.Entry.Status == notice.StatusExpired:
		return q.handOn(ctx, p, s, now)
	}
	return nil
}

// has reports whether e is of the i-th member; a nil e is of none.
func (e *PartError) has(i int) bool { return e != nil && slices.Contains(e.Members, i) }

// carries reports whether the settled delivery carries a digest.
func (s *Settlement) carries() bool { return s.Delivery != nil && s.Delivery.Digest != "" }

// dropDigests deletes what was carried by the deliveries of a batch that have
// ended. Where it fails the lists expire.
func (q *Queue) dropDigests(ctx context.Context, batch []*Settlement, settled []bool) {
	pipe := q.rdb.Pipeline()
	for i, s := range batch {
		if !settled[i] || !s.carries() || s.Kind != Done && s.Kind != Cancel && s.Kind != Next {
			continue
		}
		if p, _, _, err := notice.SplitID(s.Delivery.ID); err == nil {
			pipe.Unlink(ctx, q.keys.digest(p, s.Delivery.ID))
		}
	}
	if pipe.Len() > 0 {
		_, _ = pipe.Exec(ctx)
	}
}

// handOn makes the next live delivery of a digest its carrier, in the place of
// one that will not be sent. Its record goes on as a dead letter's does that is
// redriven.
func (q *Queue) handOn(ctx context.Context, p int, s *Settlement, now time.Time) error {
	from := s.Delivery.ID
	got, err := q.CloseDigest(ctx, from, "", now)
	if err != nil {
		return err
	}
	for i := range got.Items {
		d := &got.Items[i]
		if !d.ExpiresAt.IsZero() && !now.Before(d.ExpiresAt) {
			continue
		}
		_, notification, ordinal, err := notice.SplitID(d.ID)
		if err != nil {
			return fmt.Errorf("%w: handing the digest of %s on: %w", ErrFault, from, err)
		}
		line := appendEntry(nil, ordinal, d.AcceptedAt, Entry{At: now, Status: notice.StatusQueued,
			Detail: "carries the digest on in place of " + from + ", which is " + string(s.Entry.Status)})
		c := &call{script: q.scripts.handon,
			keys: []string{q.keys.digest(p, from), q.keys.digest(p, d.ID), q.keys.record(p, notification), s.Lease.from.key},
			args: []any{i + 1, q.keys.tag(p), s.Lease.entry, line, headOfDelivery(d, ordinal), openLife.Milliseconds()}}
		s.heir = d.ID
		return q.run(ctx, c)
	}
	return nil
}
