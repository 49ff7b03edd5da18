package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/carillonhq/carillon/notice"
)

// Kind is how a lease of a delivery ends.
type Kind uint8

// The kinds of a Settlement.
const (
	Done       Kind = iota // ended; its record is all that stays
	Later                  // parked until Due, for its provider's sake, then sent again
	Bury                   // given up, kept as a dead letter
	Next                   // failed for good, and its Chain goes on unless another delivery of its link has not
	Requeue                // handed back as it was, at once: the consumer stops
	Unreadable             // given up because its payload makes no sense, kept as a dead letter
	Cancel                 // not sent, because its notification was canceled
)

// Settlement is what became of one leased delivery.
type Settlement struct {
	Kind     Kind
	Lease    *Lease
	Delivery *notice.Delivery // as it goes on; nil for Requeue and Unreadable. Cancel of an event: see CanceledEvent
	Entry    Entry            // the decision, for the timeline
	Due      time.Time        // Later
	Label    Label            // Later: what it may be called back by; 0: nothing
	Reason   string           // Bury: a short word to filter by
	// Planned is set when Lease is of the delivery's event: then this plans the
	// event, at that time, and ends its only delivery in one, which has never
	// been on a stream. Not for Next.
	Planned time.Time

	heir string // the delivery that its digest was handed on to
}

// CanceledEvent is the Cancel of an event that was leased and is not planned.
func CanceledEvent(l *Lease, ev *notice.Event, e Entry) *Settlement {
	return &Settlement{Kind: Cancel, Lease: l, Entry: e,
		Delivery: &notice.Delivery{ID: ev.ID, AcceptedAt: ev.AcceptedAt, Keyed: ev.Keyed, Alone: true}}
}

// Settle ends the leases of a batch, one script for each slot, in one
// pipeline. settled tells for each whether it was ours to end: an entry that
// another consumer has taken over is left to it, unless its outcome is final.
// An error is a *PartError; what it names may be settled again.
func (q *Queue) Settle(ctx context.Context, consumer string, batch []*Settlement) (settled []bool, err error) {
	now := q.now()
	settled = make([]bool, len(batch))
	unkept := q.keepDigests(ctx, batch, now)
	calls := newBatchCalls(q, q.scripts.settle, group, consumer, openLife.Milliseconds(), longestOpenRecord)
	calls.unfit = unkept
	for i, s := range batch {
		if unkept.has(i) {
			continue
		}
		p := s.Lease.Partition()
		calls.put(p, i, func(c *batchCall) error { return q.addSettlement(c, p, s, now) })
	}
	err = calls.run(ctx, func(i int, mine bool) {
		if settled[i] = mine; mine && batch[i].Kind != Requeue {
			q.drained.add(batch[i].Lease.from, 1)
		}
	})
	q.dropDigests(ctx, batch, settled)
	q.tellUnsent(ctx, batch, settled)
	return settled, err
}

func (q *Queue) addSettlement(c *batchCall, p int, s *Settlement, now time.Time) error {
	switch s.Kind {
	case Requeue:
		c.addWithoutRecord(s, "requeue", s.Lease.Payload)
		return nil
	case Unreadable:
		return q.addUnreadable(c, p, s, now)
	}
	d := s.Delivery
	_, notification, ordinal, err := notice.SplitID(d.ID)
	if err != nil {
		return fmt.Errorf("settling: %w", err)
	}
	head := func(kind string) {
		c.add(kind, c.key(s.Lease.from.key), s.Lease.entry, c.own(q.keys.record(p, notification)), s.lines(ordinal))
	}
	life := q.recordLife(d.Keyed, d.AcceptedAt, now).Milliseconds()
	switch s.Kind {
	case Done:
		if q.Canceled(d.ID) {
			return q.addCanceled(c, p, s, life, "") // it was too late for it
		}
		head("done")
		c.add(life, flag(d.Alone))
		return nil
	case Cancel:
		return q.addCanceled(c, p, s, life, "\nc\t"+ordinalText(ordinal)+"\t")
	case Later:
		head("later")
		return q.addLater(c, p, s, now)
	case Bury:
		head("dead")
		return q.addDead(c, p, s, now, life)
	case Next:
		return q.addNext(c, p, s, now, life)
	}
	return fmt.Errorf("settling %s: unknown kind %d", d.ID, s.Kind)
}

// addCanceled ends a delivery, or an event, of a notification that was
// canceled. The record has its line already when the cancel found that nobody
// held it; told is how such a line begins, and empty when there can be none.
func (q *Queue) addCanceled(c *batchCall, p int, s *Settlement, life int64, told string) error {
	d := s.Delivery
	_, notification, ordinal, _ := notice.SplitID(d.ID)
	c.add("canceled", c.key(s.Lease.from.key), s.Lease.entry, c.own(q.keys.record(p, notification)), s.lines(ordinal),
		life, flag(d.Alone), told, c.key(q.keys.canceled(p)), markOf(d.ID))
	return nil
}

// lines are what the notification's record gets.
func (s *Settlement) lines(ordinal int) []byte {
	d, b := s.Delivery, make([]byte, 0, 96)
	if !s.Planned.IsZero() {
		b = appendPlanned(b, ordinal, s.Planned.Sub(d.AcceptedAt), d.Address)
	}
	return appendEntry(b, ordinal, d.AcceptedAt, s.Entry)
}

// addWithoutRecord adds a settlement that its notification's record knows
// nothing of; the script does not touch the key that stands in its place.
func (c *batchCall) addWithoutRecord(s *Settlement, kind string, args ...any) {
	stream := c.key(s.Lease.from.key)
	c.add(kind, stream, s.Lease.entry, stream, "")
	c.add(args...)
}

func (q *Queue) addUnreadable(c *batchCall, p int, s *Settlement, now time.Time) error {
	from := s.Lease.from
	id := notice.DeliveryID(notice.DerivedID(p, now, from.key+s.Lease.entry), 0)
	l := deadLetter{Channel: notice.Channel(from.stage), Reason: s.Reason, Detail: s.Entry.Detail, At: now, Lane: from.lane, Payload: string(s.Lease.Payload)}
	letter, err := l.encode(id)
	if err != nil {
		return err
	}
	c.addWithoutRecord(s, "unreadable", id, letter, now.UnixMilli(), c.key(q.keys.dead(p, l.Channel)), c.key(q.keys.deadLetters(p)))
	return nil
}

func (q *Queue) addLater(c *batchCall, p int, s *Settlement, now time.Time) error {
	payload := encode(s.Delivery)
	wait := max(0, s.Due.Sub(now))
	c.add(s.Delivery.ID, payload, s.Label.score(s.Due), wait.Milliseconds(), streamSuffix(string(s.Delivery.Address.Channel), s.Lease.from.lane, s.Lease.from.turn),
		c.key(q.keys.waiting(p)), c.key(q.keys.parked(p)), c.key(q.keys.waits(p)))
	return nil
}

func (q *Queue) addDead(c *batchCall, p int, s *Settlement, now time.Time, life int64) error {
	d := s.Delivery
	payload, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encoding delivery %s: %w", d.ID, err)
	}
	l := deadLetter{Tenant: d.Tenant, Channel: d.Address.Channel, Reason: s.Reason, Detail: s.Entry.Detail, At: now, Lane: d.Lane, Payload: string(payload)}
	letter, err := l.encode(d.ID)
	if err != nil {
		return err
	}
	c.add(d.ID, letter, now.UnixMilli(), c.key(q.keys.dead(p, l.Channel)), c.key(q.keys.deadLetters(p)), life)
	return nil
}

// addNext ends a delivery of a chain's link for good. When it was the last of
// its link, and none of them arrived, the notification goes back to be planned
// for the links that follow, so that those are decided on when they start.
func (q *Queue) addNext(c *batchCall, p int, s *Settlement, now time.Time, life int64) error {
	d := s.Delivery
	_, notification, ordinal, _ := notice.SplitID(d.ID)
	rest, err := d.Chain.Rest.AppendBinary(nil)
	if err != nil {
		return fmt.Errorf("the rest of the chain of %s: %w", d.ID, err)
	}
	waits := appendEntry(nil, whole, d.AcceptedAt, Entry{At: now, Status: notice.StatusQueued, Code: "next",
		Detail: string(d.Address.Channel.Medium()) + " failed for good"})
	c.add("next", c.key(s.Lease.from.key), s.Lease.entry, c.own(q.keys.record(p, notification)), appendEntry(nil, ordinal, d.AcceptedAt, s.Entry),
		rest, c.key(q.keys.stream(p, stageEvents, d.Lane, s.Lease.from.turn)), waits, life, flag(d.Alone), d.Chain.First, d.Chain.Last)
	return nil
}

// encode writes a delivery as its stream keeps it. A dead letter is for people
// to read, and keeps it as JSON.
func encode(d *notice.Delivery) []byte {
	b, _ := d.AppendBinary(make([]byte, 0, 256+len(d.Data))) // there is nothing that it fails at
	return b
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
