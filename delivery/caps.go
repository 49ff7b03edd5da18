package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/throttle"
)

// place is one delivery of a draft that a cap counts.
type place struct {
	d *draft
	i int

	digest   *queue.Digest // what it may be collected in, once a cap has said so
	limit    string        // the window of that cap
	carrying bool          // it asks for a place of its own, to carry digest
	has      bool          // it has that place
	due      time.Time     // when it was to go before
	why      queue.Entry   // the same
}

func (at *place) planned() *queue.PlannedDelivery { return &at.d.out[at.i] }

// id is the delivery's.
func (at *place) id() string { return at.planned().Delivery.ID }

// cap asks for a place under the recipient's caps for everything that may
// start, in one round trip for the batch. A place in the recipient's quiet
// hours is given back for one after them, each of a later day than the one
// before: behind the last that the recipient has there is room at any time. It
// fails only when ctx ends.
func (p *Pipeline) cap(ctx context.Context, drafts []*draft) error {
	places := p.capped(drafts)
	c := collector{p: p, carriers: map[digestKey]string{}, candidates: map[digestKey]*place{}}
	for len(places)+len(c.held) > 0 {
		answers, err := p.askCaps(ctx, places)
		if err != nil {
			return err
		}
		again, collecting := take(places, answers)
		back := again
		if collecting = append(collecting, c.held...); len(collecting) > 0 {
			further, spare, err := c.collect(ctx, collecting)
			if err != nil {
				return err
			}
			back = append(append([]*place(nil), again...), spare...)
			again = append(again, further...)
		}
		if err := p.giveBack(ctx, back); err != nil {
			return err
		}
		places = again
	}
	return nil
}

// take takes answers in, and returns what is to be asked again, after quiet
// hours, and what a digest collects.
func take(places []*place, answers []throttle.Answer) (again, collecting []*place) {
	for k, a := range answers {
		at := places[k]
		switch {
		case a.Action == throttle.Collect:
			at.full(a)
			collecting = append(collecting, at)
		case at.d.answer(at.i, a):
			again = append(again, at)
		case at.carries(a):
			at.has = true
			collecting = append(collecting, at)
		default:
			at.carrying = false
		}
	}
	return again, collecting
}

func (p *Pipeline) askCaps(ctx context.Context, places []*place) (answers []throttle.Answer, err error) {
	err = p.persist(ctx, "deciding caps", func() (err error) {
		answers, err = p.Caps.Decide(ctx, asksFor(places))
		return err
	})
	return answers, err
}

func (p *Pipeline) giveBack(ctx context.Context, places []*place) error {
	if len(places) == 0 {
		return nil
	}
	return p.persist(ctx, "giving places back", func() error { return p.Caps.Release(ctx, asksFor(places)) })
}

// capped are the deliveries that any cap counts.
func (p *Pipeline) capped(drafts []*draft) (out []*place) {
	for _, d := range drafts {
		for _, i := range d.allowed {
			if p.Caps.Applies(askFor(d, i)) {
				out = append(out, &place{d: d, i: i, due: d.out[i].Due, why: d.out[i].Why})
			}
		}
	}
	return out
}

func asksFor(places []*place) []throttle.Ask {
	out := make([]throttle.Ask, len(places))
	for k, at := range places {
		out[k] = askFor(at.d, at.i)
		out[k].Collect = !at.carrying && at.d.digestible(at.i)
	}
	return out
}

func askFor(d *draft, i int) throttle.Ask {
	dl := &d.out[i].Delivery
	return throttle.Ask{Tenant: dl.Tenant, User: dl.To.User, Category: dl.Category, Medium: dl.Address.Channel.Medium(), Lane: dl.Lane,
		DeliveryID: dl.ID, At: d.now, NotBefore: d.out[i].Due, ExpiresAt: dl.ExpiresAt}
}

// answer takes a cap's answer in, and reports whether it names a time that the
// delivery must not go at.
func (d *draft) answer(i int, a throttle.Answer) (again bool) {
	switch a.Action {
	case throttle.Drop:
		d.end(i, notice.StatusCapped, a.Rule, fmt.Sprintf("the cap of %s a user is full", a.Limit))
	case throttle.Expire:
		d.end(i, notice.StatusExpired, a.Rule, fmt.Sprintf("the cap of %s a user frees a place only at %s, when it has expired", a.Limit, stamp(a.Until)))
	case throttle.Go, throttle.Wait:
		return d.goes(i, a)
	}
	return false
}

// goes takes in that a delivery has a place, and reports whether that is for a
// time that it must not go at: one in its quiet hours, or one before the end of
// those, which it got before its plan was lost and they were wished for.
func (d *draft) goes(i int, a throttle.Answer) (again bool) {
	due := d.out[i].Due
	switch {
	case !due.IsZero() && a.Until.UnixMilli() < due.UnixMilli():
		return true
	case a.Action == throttle.Wait && a.Until.After(due):
		d.wait(i, a.Until, a.Rule, fmt.Sprintf("the cap of %s a user is full until %s%s", a.Limit, stamp(a.Until), d.undigested(i, a)))
		return d.keepQuiet(i, a.Until)
	}
	return false
}

// stamp is a moment as a timeline's words have it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
