package delivery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// inboxBatch is the most inbox entries that are admitted together.
const inboxBatch = 256

// inboxLoop admits what other programs put on the inbox. Each entry is
// admitted under an identity of its own, then finished; dying in between
// admits it again, which changes nothing. ctx ends the reading, workCtx the
// admission of what was read.
func (p *Pipeline) inboxLoop(ctx, workCtx context.Context) {
	reader := p.Queue.InboxReader(p.Consumer)
	reclaimEvery := p.Visibility / 4
	nextReclaim := p.Now().Add(p.Jitter(reclaimEvery))
	var lost lostReplies
	for ctx.Err() == nil {
		var entries []*queue.InboxEntry
		var err error
		switch now := p.Now(); {
		case lost.lookNow(now):
			entries, err = reader.Own(ctx, inboxBatch)
		case !now.Before(nextReclaim):
			nextReclaim = now.Add(reclaimEvery)
			entries, err = reader.Reclaim(ctx, inboxBatch)
			p.metrics.reclaimed.Add(float64(len(entries)))
		}
		if len(entries) == 0 && err == nil {
			entries, err = reader.Read(ctx, inboxBatch)
		}
		if len(entries) > 0 {
			p.admitInbox(workCtx, entries)
		}
		if p.noteRead(ctx, err); err != nil && ctx.Err() == nil {
			sleep(ctx, retryFirst+p.Jitter(retryMost))
			lost.after(p.Now())
		}
	}
}

// admitInbox admits a batch of entries, buries those that make no sense, and
// finishes all of them.
func (p *Pipeline) admitInbox(ctx context.Context, entries []*queue.InboxEntry) {
	var admissions []queue.Admission
	var from []*queue.InboxEntry // whose each admission is
	unfinished := map[*queue.InboxEntry]bool{}
	for _, e := range entries {
		as, err := p.read(e)
		if err != nil {
			p.bury(ctx, e, err)
			continue
		}
		unfinished[e] = true
		admissions = append(admissions, as...)
		from = append(from, slices.Repeat([]*queue.InboxEntry{e}, len(as))...)
	}
	var refused map[int]error
	err := p.persist(ctx, "admitting inbox entries", func() (err error) {
		refused, err = refusals(p.Queue.AdmitAll(ctx, admissions))
		return err
	})
	if err != nil {
		return // the leases run out, and the entries are read again
	}
	for i, why := range refused {
		if e := from[i]; unfinished[e] {
			delete(unfinished, e)
			p.bury(ctx, e, why)
		}
	}
	_ = p.persist(ctx, "finishing inbox entries", func() error {
		return p.Queue.FinishInbox(ctx, slices.Collect(maps.Keys(unfinished)))
	})
}

// refusals are the admissions that can never be stored, which must not be
// tried until they can: they would hold up the inbox for good. The error is of
// a store that is away, which says nothing about any of them.
func refusals(admitted []queue.Admitted) (map[int]error, error) {
	refused := map[int]error{}
	for i, got := range admitted {
		switch {
		case got.Err == nil, errors.Is(got.Err, queue.ErrKeyReused):
			// A key that stands for another body was used by another entry,
			// whose notification went out: this one is a duplicate.
		case errors.Is(got.Err, queue.ErrUnavailable):
			return nil, got.Err
		default:
			refused[i] = got.Err
		}
	}
	return refused, nil
}

func (p *Pipeline) bury(ctx context.Context, e *queue.InboxEntry, why error) {
	_ = p.persist(ctx, "burying an inbox entry", func() error { return p.Queue.BuryInbox(ctx, e, reasonOf(why), why.Error()) })
}

// reasonOf is the word that dead inbox entries are filtered by.
func reasonOf(err error) string {
	var syntax *notice.SyntaxError
	switch {
	case errors.Is(err, errNoEvent), errors.As(err, &syntax):
		return "malformed"
	}
	return "invalid"
}

var errNoEvent = errors.New(`the entry has no field "event": add the notification, or the CloudEvent, as JSON: XADD … * event '{"template":…}'`)

var errTenant = errors.New(`the field "tenant" names no tenant: write 1 to 64 letters, digits, dots, dashes and underscores, as auth.keys does`)

// isTenant holds a tenant to the form that the configuration gives it: one of
// another could never ask for its notifications.
func isTenant(s string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
	return len(s) >= 1 && len(s) <= 64 && strings.Trim(s, letters) == ""
}

// read makes admissions of one entry: one of a notification, as many as there
// are routes of a CloudEvent, none of an event that no route takes.
func (p *Pipeline) read(e *queue.InboxEntry) ([]queue.Admission, error) {
	if e.Event == "" {
		return nil, errNoEvent
	}
	tenant := e.Tenant
	if tenant == "" {
		tenant = p.settings.Load().tenant
	}
	if !isTenant(tenant) {
		return nil, errTenant
	}
	body := []byte(e.Event)
	if notice.LooksLikeCloudEvent(body) {
		return p.routed(e, tenant, body)
	}
	n, err := notice.DecodeNotification(body)
	if err != nil {
		return nil, err
	}
	if err := p.Accept.Accept(&n, p.Now()); err != nil {
		return nil, err
	}
	return []queue.Admission{{Tenant: tenant, Notification: n, Identity: e.Identity, ReadAt: e.At}}, nil
}

func (p *Pipeline) routed(e *queue.InboxEntry, tenant string, body []byte) ([]queue.Admission, error) {
	ce, err := notice.DecodeCloudEvent(body)
	if err != nil {
		return nil, err
	}
	notifications, err := p.Routes.Route(ce)
	if err != nil {
		return nil, fmt.Errorf("routing the event: %w", err)
	}
	out := make([]queue.Admission, len(notifications))
	for i := range notifications {
		if err := p.Accept.Accept(&notifications[i], p.Now()); err != nil {
			return nil, fmt.Errorf("the notification that a route makes of the event: %w", err)
		}
		out[i] = queue.Admission{Tenant: tenant, Notification: notifications[i], Key: ce.Key(i),
			Identity: fmt.Sprintf("%s/%d", e.Identity, i), ReadAt: e.At}
	}
	return out, nil
}
