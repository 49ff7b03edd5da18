package delivery

import (
	"context"
	"fmt"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/templates"
)

// sender works the deliveries of one channel.
type sender struct {
	Channel
	p       *Pipeline
	channel notice.Channel
	lanes   *lanes
	// shares is the consumer's side of Board.
	shares *sharer
	// destinations names those of a channel that has many; nil: it has one.
	destinations channels.Divided
	turn         sync.Mutex                // whoever holds it takes the next delivery
	slow         atomic.Pointer[time.Time] // until when planners do not wait for it; nil: they may

	credential credential
	crew       crew
}

func newSender(p *Pipeline, c Channel) *sender {
	n := c.Slots.Limit()
	s := &sender{Channel: c, p: p, channel: c.Adapter.Channel(), lanes: newLanes(roomFor(n), n, c.CriticalSlots)}
	if p.Queue != nil {
		s.lanes.weighTurns(p.Queue.Weights)
	}
	s.divide()
	s.share()
	if s.Pace != nil {
		s.Pace.Queue(s.queued)
	}
	return s
}

// queued is how many deliveries are at hand that could begin if there were
// permits: as many as there are slots for, with the one that has its slot and
// waits.
func (s *sender) queued() int {
	return min(s.lanes.atHand(), s.Slots.Present()-s.Slots.InUse()+1)
}

// atHand is how many wait in the lanes.
func (l *lanes) atHand() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.lanes {
		for t := range l.lanes[i].turns {
			n += len(l.lanes[i].turns[t].waiting)
		}
	}
	return n
}

// roomFor is how much may wait in each turn of a lane for so many slots: room
// for every slot's next delivery keeps slots busy between two reads without
// leasing more than will be worked soon.
func roomFor(slots int) int { return min(max(8*slots, 64), 1024) }

// work takes and sends deliveries, one after the other, until the lanes close.
// ctx ends the waiting, sendCtx what is being sent.
func (s *sender) work(ctx, sendCtx context.Context) {
	for {
		t := s.next(ctx)
		if t == nil {
			return
		}
		s.send(ctx, sendCtx, t)
	}
}

// send works a delivery that has a slot, and gives the slot back.
func (s *sender) send(ctx, sendCtx context.Context, t *task) {
	var settled *queue.Settlement
	if s.p.stillOurs(ctx, t.lease) {
		settled = s.deliver(sendCtx, t)
	}
	s.lanes.answered(t)
	if settled != nil {
		s.p.finish(settled)
	}
	s.Slots.Release(1)
	s.lanes.done(t)
}

// next waits for work, a slot and a permit, in this order, and only then takes
// the delivery whose turn it is: what is urgent overtakes what waits for the
// channel. It returns nil when it is time to stop. One worker waits at a time,
// so no permit is taken for nothing; when what waited was swept up meanwhile,
// the permit is for what comes next.
func (s *sender) next(ctx context.Context) *task {
	s.turn.Lock()
	defer s.turn.Unlock()
	for permitted := false; s.lanes.await(); permitted = true {
		if _, err := s.Slots.Acquire(ctx, 1); err != nil {
			return nil
		}
		s.refresh(ctx)
		if !permitted {
			if err := s.Pace.Wait(ctx); err != nil {
				s.Slots.Release(1)
				return nil
			}
		}
		// While it waited for the permit, others may have had the channel stopped.
		if s.Slots.MayBegin() {
			if t := s.lanes.take(); t != nil {
				return t
			}
		}
		s.Slots.Release(1)
	}
	return nil
}

// deliver works a delivery, and says what is to be committed for it.
func (s *sender) deliver(ctx context.Context, t *task) *queue.Settlement {
	if d := t.known(); d != nil {
		return t.planned(s.attempt(ctx, t, d))
	}
	d, err := readDelivery(t.lease.Payload)
	if err != nil {
		return s.unreadable(t.lease, err)
	}
	return s.attempt(ctx, t, &d)
}

// attempt makes one attempt and says what follows from it. A panic, of a
// template or an adapter, is an attempt that failed.
func (s *sender) attempt(ctx context.Context, t *task, d *notice.Delivery) (out *queue.Settlement) {
	l := t.lease
	defer func() {
		if r := recover(); r != nil {
			s.p.Log.Error("a panic while sending", "delivery", d.ID, "channel", s.channel, "panic", r, "stack", string(debug.Stack()))
			out = s.follow(l, d, channels.Result{Verdict: channels.Retry, Code: "panic", Err: errPanic}, false)
		}
	}()
	now := s.p.Now()
	if settled := s.beforeSend(l, d, now); settled != nil {
		return settled
	}
	if t.barred.wait > 0 {
		return s.bar(t, d, now)
	}
	sent, digest, err := s.digested(ctx, d)
	if err != nil {
		return s.undigested(l, d, now, err)
	}
	m, note, err := s.message(sent, now)
	if err != nil {
		return s.buried(l, d, now, "render", err)
	}
	note, m.Via, m.Permit = join(digest, note), t.via, s.permits()
	began, probe := time.Now(), s.Slots.Broken()
	result := s.Adapter.Send(ctx, m)
	if result.Verdict == channels.Gone && result.GoneSince.IsZero() {
		// What is registered while the provider answers is not what it speaks of.
		result.GoneSince = now
	}
	t.took, t.came = time.Since(began), came(result)
	answered := s.p.Now()
	s.p.metrics.send.WithLabelValues(string(s.channel)).Observe(answered.Sub(now).Seconds())
	s.Slots.Answered(t.took, t.came)
	settled := s.follow(l, d, result, probe)
	if note != "" {
		settled.Entry.Detail = join(note, settled.Entry.Detail)
	}
	return settled
}

// readDelivery decodes a delivery, and makes sure of its id, without which it
// could never be settled.
func readDelivery(payload []byte) (d notice.Delivery, err error) {
	if err := d.UnmarshalBinary(payload); err != nil {
		return d, fmt.Errorf("decoding a delivery: %w", err)
	}
	if _, _, ordinal, err := notice.SplitID(d.ID); err != nil || ordinal < 0 {
		return d, fmt.Errorf("decoding a delivery: its id: %w", notice.ErrBadID)
	}
	return d, nil
}

var errPanic = fmt.Errorf("an internal fault, see the log")

// beforeSend settles what must not be sent now; nil when it may go.
func (s *sender) beforeSend(l *queue.Lease, d *notice.Delivery, now time.Time) *queue.Settlement {
	if s.p.Queue.Canceled(d.ID) {
		return canceled(l, d, now)
	}
	if !d.ExpiresAt.IsZero() && !now.Before(d.ExpiresAt) {
		return &queue.Settlement{Lease: l, Delivery: d, Entry: queue.Entry{At: now, Status: notice.StatusExpired, Attempt: d.Attempt,
			Code: "expires_at", Detail: "expires_at passed before it could be sent: " + stamp(d.ExpiresAt)}}
	}
	if l.Lost > 0 || d.Unknown {
		if settled := s.afterLoss(l, d, now); settled != nil {
			return settled
		}
	}
	if end, quiet := s.quiet(d, now); quiet {
		return s.keepQuiet(l, d, now, end)
	}
	return s.waitForAddress(l, d, now)
}

// quiet reports whether a time is in quiet hours that a delivery keeps, and when
// they end.
func (s *sender) quiet(d *notice.Delivery, at time.Time) (end time.Time, quiet bool) {
	if d.Quiet == "" {
		return at, false
	}
	from, to, _ := strings.Cut(d.Quiet, "-")
	hours := recipients.QuietHours{From: from, To: to}
	return hours.Until(at, s.p.zones.Location(d.To.Timezone))
}

// keepQuiet puts off what has waited, for a slot or for another attempt, until
// its recipient's quiet hours have begun.
func (s *sender) keepQuiet(l *queue.Lease, d *notice.Delivery, now, end time.Time) *queue.Settlement {
	if !d.ExpiresAt.IsZero() && !end.Before(d.ExpiresAt) {
		return &queue.Settlement{Lease: l, Delivery: d, Entry: queue.Entry{At: now, Status: notice.StatusExpired, Attempt: d.Attempt,
			Code: "quiet_hours", Detail: "it expires before the recipient's quiet hours end"}}
	}
	s.p.metrics.throttled.WithLabelValues("user", "defer").Inc()
	return &queue.Settlement{Kind: queue.Later, Lease: l, Delivery: d, Due: end, Entry: queue.Entry{At: now, Status: notice.StatusDeferred,
		Attempt: d.Attempt, Code: "quiet_hours", Detail: quietWords(d.Quiet, s.p.zones.Location(d.To.Timezone)), Until: end}}
}

// quietWords say which quiet hours put a delivery off, for its timeline.
func quietWords(hours string, zone *time.Location) string {
	return "the recipient's quiet hours, " + hours + " in " + zone.String()
}

// afterLoss counts the attempts of the consumers that held the delivery before
// and died: each may have sent it. Nil when it may be sent again.
func (s *sender) afterLoss(l *queue.Lease, d *notice.Delivery, now time.Time) *queue.Settlement {
	if l.Lost > 0 {
		s.p.metrics.reclaimed.Inc()
	}
	d.Attempt += l.Lost
	if d.Unknown {
		d.Attempt, d.Unknown = d.Attempt+1, false
	}
	o := outcome{attempt: d.Attempt, entry: queue.Entry{At: now, Attempt: d.Attempt, Code: "lease-expired",
		Detail: "the consumer that held it was not heard of any more; it may have been sent"}}
	switch {
	case s.holds():
		o = o.bury("unknown-outcome")
	case d.Attempt > len(s.Retry.Schedule):
		o = o.giveUp(d)
	}
	s.countUnknown(o)
	if o.kind == queue.Done && o.entry.Status == "" {
		return nil
	}
	return &queue.Settlement{Kind: o.kind, Lease: l, Delivery: d, Entry: o.entry, Reason: o.reason}
}

// countUnknown counts an attempt of which nobody knows whether it arrived, by
// what follows from it.
func (s *sender) countUnknown(o outcome) {
	action := "resend"
	switch {
	case o.reason == "unknown-outcome":
		action = "hold"
	case o.entry.Status.Final():
		action = "give_up"
	}
	s.p.metrics.unknown.WithLabelValues(string(s.channel), action).Inc()
}

// message renders a delivery. note says what is worth knowing of the
// rendering, for the timeline.
func (s *sender) message(d *notice.Delivery, now time.Time) (m channels.Message, note string, err error) {
	m = channels.Message{ID: d.ID, Tenant: d.Tenant, Template: d.Template, Category: d.Category, Lane: d.Lane, To: d.To,
		Address: d.Address, AcceptedAt: d.AcceptedAt, ExpiresAt: d.ExpiresAt, CollapseKey: d.CollapseKey, Attempt: d.Attempt + 1,
		Unsubscribe: s.p.unsubscribeLink(d)}
	if d.Content != nil {
		m.Content = *d.Content
		return m, "", nil
	}
	notification := d.ID
	if _, id, _, err := notice.SplitID(d.ID); err == nil {
		notification = id
	}
	r, err := s.p.Catalogue.Current().Render(templates.Request{Template: d.Template, Version: d.Version, Medium: s.channel.Medium(),
		Locale: d.To.Locale, ID: notification, Category: d.Category, Data: d.Data, To: d.To, AcceptedAt: d.AcceptedAt, Now: now, UnsubscribeURL: m.Unsubscribe})
	if err != nil {
		return m, "", fmt.Errorf("rendering %s: %w", d.Template, err)
	}
	s.p.metrics.rendered(r)
	m.Content = r.Content
	return m, join(r.Fallback, r.LocaleNote), nil
}

// follow turns an answer into a settlement, and acts on what it says of the
// channel and the address. probe says that the attempt began while the provider
// refused our credential.
func (s *sender) follow(l *queue.Lease, d *notice.Delivery, r channels.Result, probe bool) *queue.Settlement {
	now := s.p.Now()
	o := decide(attemptOf{delivery: d, result: r, retry: s.Retry, now: now, jitter: s.p.Jitter,
		quiet: func(at time.Time) (time.Time, bool) { return s.quiet(d, at) }})
	if r.Verdict == channels.Unknown {
		s.countUnknown(o)
	}
	s.judge(o, r, probe)
	if !o.pause.IsZero() && !o.broken {
		s.pause(d, o, now)
	}
	if r.Verdict == channels.Sent {
		s.p.metrics.age.WithLabelValues(string(s.channel), string(d.Lane)).Observe(now.Sub(d.AcceptedAt).Seconds())
	}
	if o.entry.Status == notice.StatusRetrying {
		s.p.metrics.retries.WithLabelValues(string(s.channel)).Inc()
	}
	settled := &queue.Settlement{Kind: o.kind, Lease: l, Delivery: d, Entry: o.entry, Due: o.due, Reason: o.reason}
	d.Attempt = o.attempt
	if o.gone {
		if note := s.forget(d, r, now); note != "" {
			settled.Entry.Detail = join(note, settled.Entry.Detail)
		}
	}
	return settled
}

// forget removes an address that its provider called dead, so that the next
// notification does not try it, and says so for the timeline. A device that was
// registered again since the moment that the provider's word is about stays,
// and so does one that no profile lists: whoever names it is told by the
// timeline. It is tried once: an address that stays is found dead again.
func (s *sender) forget(d *notice.Delivery, r channels.Result, now time.Time) (note string) {
	since := now
	if !r.GoneSince.IsZero() {
		since = r.GoneSince
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	removed, err := false, error(nil)
	switch {
	case s.channel.Medium() != notice.MediumPush:
		err = s.p.Directory.Suppress(ctx, d.Tenant, s.channel, d.Address.To, "gone: "+r.Code)
	case d.To.User != "":
		removed, err = s.p.Directory.RetireDevice(ctx, d.Tenant, d.To.User, d.Address.To, since, r.Code)
	}
	if err != nil {
		s.p.Log.Warn("a dead address could not be removed; it will be found dead again", "delivery", d.ID, "error", err)
	}
	if removed {
		return "the device was removed from the recipient"
	}
	return ""
}

func (s *sender) buried(l *queue.Lease, d *notice.Delivery, now time.Time, reason string, err error) *queue.Settlement {
	s.p.Log.Error("a delivery cannot be sent and is kept as a dead letter", "delivery", d.ID, "reason", reason, "error", err)
	return &queue.Settlement{Kind: queue.Bury, Lease: l, Delivery: d, Reason: reason,
		Entry: queue.Entry{At: now, Status: notice.StatusDead, Attempt: d.Attempt, Code: reason, Detail: err.Error()}}
}

// unreadable keeps a delivery that this version cannot read.
func (s *sender) unreadable(l *queue.Lease, err error) *queue.Settlement {
	s.p.Log.Error("a delivery on the queue cannot be read", "channel", s.channel, "error", err)
	return &queue.Settlement{Kind: queue.Unreadable, Lease: l, Entry: queue.Entry{At: s.p.Now(), Detail: err.Error()}, Reason: "malformed"}
}

// hostOf is who answers for an address: the endpoint's host, the mailbox's
// domain; the channel where there is but one.
func hostOf(a notice.Address) string {
	if a.Channel == notice.ChannelEmail {
		return a.To[strings.LastIndexByte(a.To, '@')+1:]
	}
	if u, err := url.Parse(endpointOf(a)); err == nil && u.Host != "" {
		return u.Host
	}
	return string(a.Channel)
}

// endpointOf is the URL that an address is called at, as far as it has one.
func endpointOf(a notice.Address) string {
	if a.Channel != notice.ChannelWebPush {
		return a.To
	}
	var subscription struct {
		Endpoint string `json:"endpoint"`
	}
	if json.Unmarshal([]byte(a.To), &subscription) != nil {
		return a.To
	}
	return subscription.Endpoint
}
