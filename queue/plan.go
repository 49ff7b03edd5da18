package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/carillonhq/carillon/notice"
)

// Planned is what became of one event: its deliveries, and what was decided
// about addresses that get none.
type Planned struct {
	Lease      *Lease
	Event      *notice.Event
	Deliveries []PlannedDelivery
	// Note is a decision about the notification itself, when there is no
	// delivery at all; zero for none.
	Note Entry
	// Again is set by Plan when nothing was planned since a digest was opened or
	// closed meanwhile: what its deliveries are collected in is to be decided anew.
	Again bool
}

// PlannedDelivery is one delivery to start, or, with a final Ended.Status, one
// that ends before it starts (suppressed, capped, expired).
type PlannedDelivery struct {
	Delivery notice.Delivery
	Before   Entry     // what is known of it from before this plan, for the timeline; zero: nothing
	Ended    Entry     // zero: it starts
	Due      time.Time // zero or past: at once
	Why      Entry     // when Due is later: the decision, for the timeline
	// Digest is what it is collected in, when it has Ended, and opens, when it
	// waits; nil: neither.
	Digest *Digest
}

// Plan moves events on to their deliveries, one script for each slot, in one
// pipeline. An event that another consumer has planned is left alone. An error
// is a *PartError; what it names may be planned again.
func (q *Queue) Plan(ctx context.Context, planned []*Planned) error {
	now := q.now()
	calls := newBatchCalls(q, q.scripts.plan, group, openLife.Milliseconds())
	calls.stale = func(i int) { planned[i].Again = true }
	for i, pl := range planned {
		pl.Again = false
		p := pl.Lease.Partition()
		calls.put(p, i, func(c *batchCall) error { return q.addPlanned(c, p, pl, now) })
	}
	return calls.run(ctx, func(i int, done bool) {
		if done {
			q.drained.add(planned[i].Lease.from, 1-planned[i].started(now))
		}
	})
}

// started is how many deliveries go to their streams at once.
func (pl *Planned) started(now time.Time) (n int) {
	for i := range pl.Deliveries {
		if d := &pl.Deliveries[i]; d.Ended.Status == "" && d.Due.Sub(now).Milliseconds() <= 0 {
			n++
		}
	}
	return n
}

func (q *Queue) addPlanned(c *batchCall, p int, pl *Planned, now time.Time) error {
	lines, open := planLines(pl, now)
	c.add(c.key(pl.Lease.from.key), pl.Lease.entry, c.own(q.keys.record(p, pl.Event.ID)),
		fmt.Sprintf("%03d", open), lines, q.recordLife(pl.Event.Keyed, pl.Event.AcceptedAt, now).Milliseconds(), open, pl.digests())
	for i := range pl.Deliveries {
		if pl.Deliveries[i].Ended.Status != "" {
			continue
		}
		if err := q.addDelivery(c, pl.Lease.from, &pl.Deliveries[i], open == 1, now); err != nil {
			return err
		}
	}
	for i := range pl.Deliveries {
		if d := &pl.Deliveries[i]; d.Digest != nil {
			q.addDigest(c, pl, d, now)
		}
	}
	return nil
}

// digests is how many deliveries have to do with one.
func (pl *Planned) digests() (n int) {
	for i := range pl.Deliveries {
		if pl.Deliveries[i].Digest != nil {
			n++
		}
	}
	return n
}

// addDelivery adds a delivery in the partition and the turn of its event.
func (q *Queue) addDelivery(c *batchCall, from *stream, d *PlannedDelivery, alone bool, now time.Time) error {
	d.Delivery.Alone = alone
	payload := encode(&d.Delivery)
	p, stage, lane := from.partition, string(d.Delivery.Address.Channel), d.Delivery.Lane
	c.add(d.Delivery.ID, payload)
	if wait := d.Due.Sub(now).Milliseconds(); wait > 0 {
		c.add(d.Due.UnixMilli(), wait, streamSuffix(stage, lane, from.turn), c.key(q.keys.later(p)), c.key(q.keys.parked(p)))
		return nil
	}
	c.add(0, 0, c.key(q.keys.stream(p, stage, lane, from.turn)), 0, 0)
	return nil
}

// planLines writes what the plan decided and counts the deliveries that start.
func planLines(pl *Planned, now time.Time) (lines []byte, open int) {
	ev := pl.Event
	for i := range pl.Deliveries {
		d := &pl.Deliveries[i]
		_, _, ordinal, err := notice.SplitID(d.Delivery.ID)
		if err != nil {
			ordinal = i
		}
		lines = appendPlanned(lines, ordinal, now.Sub(ev.AcceptedAt), d.Delivery.Address)
		if d.Before.Status != "" {
			lines = appendEntry(lines, ordinal, ev.AcceptedAt, d.Before)
		}
		switch {
		case d.Ended.Status != "" && d.Digest != nil:
			continue // which line it is shows when it is collected
		case d.Ended.Status != "":
			lines = appendEntry(lines, ordinal, ev.AcceptedAt, d.Ended)
			continue
		case d.Why.Status != "":
			lines = appendEntry(lines, ordinal, ev.AcceptedAt, d.Why)
		}
		open++
	}
	if pl.Note.Status != "" {
		lines = appendEntry(lines, whole, ev.AcceptedAt, pl.Note)
	}
	return lines, open
}

// recordLife is how long a record stays once nothing of it is open: the
// configured retention, and at least as long as an idempotency key answers
// with its id, for the record is what stops the second admission.
func (q *Queue) recordLife(keyed bool, acceptedAt, now time.Time) time.Duration {
	life := q.cfg.Retention.Std()
	if keyed {
		life = max(life, acceptedAt.Add(keyLife+time.Hour).Sub(now))
	}
	return life
}
