package delivery

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
)

// planBatch plans leased events. Every step may be made again, so each is
// tried until Redis answers; when a stop comes first, the leases run out and
// another consumer plans them.
func (p *Pipeline) planBatch(ctx context.Context, lane notice.Lane, leases []*queue.Lease) {
	drafts := p.dropCanceled(p.drafts(leases))
	var found []recipients.Found
	err := p.persist(ctx, "looking recipients up", func() (err error) {
		found, err = p.Directory.Lookup(ctx, queries(drafts))
		return err
	})
	if err == nil {
		for i := range drafts {
			p.address(drafts[i], &found[i])
		}
		err = p.decide(ctx, drafts)
	}
	if err != nil {
		for _, d := range drafts {
			p.held.drop(d.lease)
		}
		return
	}
	for _, d := range drafts {
		d.chain()
	}
	offers, written := p.offerings(drafts)
	p.write(ctx, written)
	p.write(ctx, p.handOver(ctx, lane, offers))
}

// decide asks for caps and for what expires. A chain whose link has nothing
// left goes on to its next one, for which the same is asked.
func (p *Pipeline) decide(ctx context.Context, drafts []*draft) error {
	for len(drafts) > 0 {
		if err := p.cap(ctx, drafts); err != nil {
			return err
		}
		var further []*draft
		for _, d := range drafts {
			d.expire()
			if p.goOn(d) {
				further = append(further, d)
			}
		}
		drafts = further
	}
	return nil
}

// draft is an event on its way to becoming deliveries.
type draft struct {
	lease   *queue.Lease
	event   notice.Event
	now     time.Time
	note    queue.Entry
	media   []notice.Medium // that it goes over; of a chain those that are left
	found   *recipients.Found
	person  notice.Person
	version string
	binding bool   // its template says that nobody can leave it
	digest  string // the template that it may be digested by; empty: none
	out     []queue.PlannedDelivery
	link    int                    // of a chain: where its current link begins in out
	allowed []int                  // indices into out that may start, as far as is decided; of a chain those of its link
	hours   *recipients.QuietHours // that it must keep; nil: none
	zone    *time.Location         // of hours

	suspected bool // its delivery is marked as one that may have been sent
}

// drafts decodes what was leased. An event that cannot be read was written by
// nobody here; it is kept as a dead letter.
func (p *Pipeline) drafts(leases []*queue.Lease) []*draft {
	out := make([]*draft, 0, len(leases))
	for _, l := range leases {
		d := &draft{lease: l, now: p.Now()}
		if err := d.event.UnmarshalBinary(l.Payload); err != nil {
			p.Log.Error("an event on the queue cannot be read", "error", err)
			p.finish(&queue.Settlement{Kind: queue.Unreadable, Lease: l, Reason: "malformed", Entry: queue.Entry{At: d.now, Detail: err.Error()}})
			continue
		}
		if l.Lost > 0 {
			p.metrics.reclaimed.Inc()
		}
		p.chooseMedia(d)
		out = append(out, d)
	}
	return out
}

// chooseMedia says over which media an event goes: those it asks for, or all
// that it can be rendered for.
func (p *Pipeline) chooseMedia(d *draft) {
	n := &d.event.Notification
	if exp := n.ExpiresAt; !exp.IsZero() && !d.now.Before(exp) {
		d.note = queue.Entry{At: d.now, Status: notice.StatusExpired, Code: "expires_at", Detail: "expires_at passed before it could be planned: " + stamp(exp)}
		return
	}
	d.media = n.Channels
	if n.Content != nil {
		if len(d.media) == 0 {
			for _, m := range notice.Media() {
				if n.Content.Has(m) {
					d.media = append(d.media, m)
				}
			}
		}
		return
	}
	t, ok := p.Catalogue.Current().Template(n.Template)
	if !ok {
		d.note = queue.Entry{At: d.now, Status: notice.StatusFailed, Code: "unknown_template",
			Detail: "the template " + n.Template + " is not in this consumer's catalogue"}
		d.media = nil
		return
	}
	d.version, d.digest, d.binding = t.Version, t.Digest, t.Mandatory
	if len(d.media) == 0 {
		d.media = t.Channels()
	}
}

// queries asks for the profile and the suppressions of every draft.
func queries(drafts []*draft) []recipients.Query {
	out := make([]recipients.Query, len(drafts))
	for i, d := range drafts {
		out[i] = recipients.Query{Tenant: d.event.Tenant, User: d.event.Notification.To.User}
		for _, m := range d.media {
			out[i].Addresses = append(out[i].Addresses, inline(&d.event.Notification.To, m)...)
		}
	}
	return out
}

// inline lists the addresses of one medium that a notification gives itself.
func inline(to *notice.Recipient, m notice.Medium) (out []notice.Address) {
	switch m {
	case notice.MediumEmail:
		if to.Email != "" {
			out = append(out, notice.Address{Channel: notice.ChannelEmail, To: to.Email})
		}
	case notice.MediumPush:
		for _, d := range to.Devices {
			out = append(out, notice.Address{Channel: d.Platform.Channel(), To: d.Token, App: d.App, Environment: d.Environment})
		}
	case notice.MediumWebhook:
		for _, w := range to.Webhooks {
			out = append(out, notice.Address{Channel: notice.ChannelWebhook, To: w.URL, Secret: w.Secret})
		}
	}
	return out
}

// address finds every address of a draft and decides what is known without
// counting: channels that are off, preferences, suppressions, quiet hours.
func (p *Pipeline) address(d *draft, found *recipients.Found) {
	n := &d.event.Notification
	if found.Err != nil {
		// What the recipient does not want is in there too.
		p.Log.Error("a stored profile cannot be read", "notification", d.event.ID, "error", found.Err)
		d.note = failed(d.now, "profile_unreadable", "the recipient's stored profile cannot be read: write it anew")
		return
	}
	d.found, d.person = found, personOf(&n.To, found.Profile)
	d.setQuiet((*recipients.QuietHours)(p.settings.Load().quietHours), p.zones.Location(d.person.Timezone))
	if n.Route == notice.RouteFirst {
		p.nextLink(d)
	} else {
		for _, m := range d.media {
			p.over(d, m)
		}
	}
	if len(d.out) == 0 && d.note.Status == "" {
		d.note = failed(d.now, "no_address", "the recipient has no address on any channel that this goes over")
	}
}

// over adds the addresses of one medium, those that get nothing too.
func (p *Pipeline) over(d *draft, m notice.Medium) {
	n := &d.event.Notification
	addresses := inline(&n.To, m)
	if len(addresses) == 0 {
		addresses = stored(d.found.Profile, m)
	}
	if len(addresses) == 0 && len(n.Channels) > 0 {
		// Asked for by name, and nowhere to send it to: that must be seen.
		p.add(d, notice.Address{Channel: notice.Channel(m)}, failed(d.now, "no_address", "the recipient has no address for "+string(m)))
	}
	for _, a := range addresses {
		p.add(d, a, p.refused(d, d.found, a))
	}
}

// nextLink goes on to the next medium of a chain that has an address which may
// be written to. All addresses of one medium are one link.
func (p *Pipeline) nextLink(d *draft) {
	for d.allowed = nil; len(d.media) > 0 && len(d.allowed) == 0; {
		m := d.media[0]
		d.media = d.media[1:]
		d.link = len(d.out)
		p.over(d, m)
	}
}

// goOn begins the next link of a chain when nothing of the current one starts,
// and reports whether there is something new to decide on.
func (p *Pipeline) goOn(d *draft) bool {
	if d.event.Notification.Route != notice.RouteFirst || len(d.allowed) == 0 {
		return false
	}
	if slices.ContainsFunc(d.allowed, func(i int) bool { return d.out[i].Ended.Status == "" }) {
		return false
	}
	p.nextLink(d)
	return len(d.allowed) > 0
}

// chain says how each delivery of a chain's link goes on when all of them fail.
func (d *draft) chain() {
	if d.event.Notification.Route != notice.RouteFirst || len(d.media) == 0 {
		return
	}
	rest := d.event
	rest.Notification.Channels = d.media
	rest.Planned += len(d.out)
	for _, i := range d.allowed {
		if d.out[i].Ended.Status == "" {
			d.out[i].Delivery.Chain = &notice.Chain{First: d.event.Planned + d.link + 1, Last: d.event.Planned + len(d.out), Rest: rest}
		}
	}
}

// personOf is what a rendering knows of the recipient: what the notification
// says, and the profile where it says nothing.
func personOf(to *notice.Recipient, profile *recipients.Profile) notice.Person {
	person := notice.Person{User: to.User, Name: to.Name, Email: to.Email, Locale: to.Locale, Timezone: to.Timezone}
	if profile != nil {
		for _, f := range []struct {
			own   *string
			other string
		}{{&person.Name, profile.Name}, {&person.Email, profile.Email}, {&person.Locale, profile.Locale}, {&person.Timezone, profile.Timezone}} {
			if *f.own == "" {
				*f.own = f.other
			}
		}
	}
	return person
}

func stored(profile *recipients.Profile, m notice.Medium) (out []notice.Address) {
	for _, a := range profile.Addresses() {
		if a.Channel.Medium() == m {
			out = append(out, a)
		}
	}
	return out
}

// refused says why an address gets nothing; a zero Entry when it may.
func (p *Pipeline) refused(d *draft, found *recipients.Found, a notice.Address) queue.Entry {
	n := &d.event.Notification
	if !p.Enabled[a.Channel] {
		return failed(d.now, "channel_off", "the channel "+string(a.Channel)+" is not configured")
	}
	mandatory := p.mandatory(d.binding, n.Category, a.Channel)
	if why := unwanted(found, a, n.Category); why != "" && !mandatory {
		return queue.Entry{At: d.now, Status: notice.StatusSuppressed, Code: "preferences", Detail: why}
	}
	// Who called a newsletter spam still needs the code to log in, while a
	// mailbox that does not exist gets nothing.
	if s, ok := found.Suppressed(a); ok && !(mandatory && s.Kind == recipients.KindComplaint) {
		return queue.Entry{At: d.now, Status: notice.StatusSuppressed, Code: "suppressed", Detail: s.Reason}
	}
	return queue.Entry{}
}

func failed(now time.Time, code, detail string) queue.Entry {
	return queue.Entry{At: now, Status: notice.StatusFailed, Code: code, Detail: detail}
}

// add appends one delivery to a draft; one with an end starts not at all.
func (p *Pipeline) add(d *draft, a notice.Address, end queue.Entry) {
	n, lane := &d.event.Notification, d.lane()
	d.out = append(d.out, queue.PlannedDelivery{Ended: end, Delivery: notice.Delivery{
		ID: notice.DeliveryID(d.event.ID, d.event.Planned+len(d.out)+1), Tenant: d.event.Tenant, Template: n.Template, Version: d.version,
		Content: contentFor(n, a.Channel.Medium()), Data: n.Data, Category: n.Category, Lane: lane, To: d.person, Address: a,
		AcceptedAt: d.event.AcceptedAt, ExpiresAt: n.ExpiresAt, CollapseKey: n.CollapseKey, Keyed: d.event.Keyed,
		Quiet: d.quiet(a.Channel),
	}})
	if i := len(d.out) - 1; end.Status == "" {
		d.allowed = append(d.allowed, i)
		d.keepQuiet(i, d.now)
	}
}

// lane is that of the draft's deliveries.
func (d *draft) lane() notice.Lane { return cmp.Or(d.event.Notification.Priority, notice.LaneNormal) }

// quiet are the quiet hours that a channel keeps. A webhook wakes nobody.
func (d *draft) quiet(c notice.Channel) string {
	if d.hours == nil || c == notice.ChannelWebhook {
		return ""
	}
	return d.hours.From + "-" + d.hours.To
}

// contentFor is the part of a given content that a medium needs.
func contentFor(n *notice.Notification, m notice.Medium) *notice.Content {
	if n.Content == nil {
		return nil
	}
	switch m {
	case notice.MediumEmail:
		return &notice.Content{Email: n.Content.Email}
	case notice.MediumPush:
		return &notice.Content{Push: n.Content.Push}
	}
	return &notice.Content{Webhook: n.Content.Webhook}
}

// setQuiet notes the quiet hours that a draft must keep: the recipient's own,
// or else everybody's.
func (d *draft) setQuiet(everybodys *recipients.QuietHours, zone *time.Location) {
	hours := everybodys
	if d.found.Profile != nil && d.found.Profile.QuietHours != nil {
		hours = d.found.Profile.QuietHours
	}
	n := &d.event.Notification
	if hours != nil && n.Priority != notice.LaneCritical && !hours.Excepts(n.Priority, n.Category) {
		d.hours, d.zone = hours, zone
	}
}

// keepQuiet puts a delivery that would go at a time off to the end of the quiet
// hours that the time is in, and reports whether it is in any.
func (d *draft) keepQuiet(i int, at time.Time) bool {
	if d.out[i].Delivery.Quiet == "" {
		return false
	}
	end, quiet := d.hours.Until(at, d.zone)
	if quiet {
		d.wait(i, end, "quiet_hours", quietWords(d.out[i].Delivery.Quiet, d.zone))
	}
	return quiet
}

// wait puts a delivery off to a later time than it had.
func (d *draft) wait(i int, until time.Time, rule, why string) {
	pd := &d.out[i]
	pd.Due = until
	pd.Why = queue.Entry{At: d.now, Status: notice.StatusDeferred, Code: rule, Detail: why, Until: until}
}

func (d *draft) end(i int, status notice.Status, code, why string) {
	d.out[i].Ended = queue.Entry{At: d.now, Status: status, Code: code, Detail: why}
}

// expire ends what would start only after it has expired.
func (d *draft) expire() {
	for _, i := range d.allowed {
		pd := &d.out[i]
		if exp := pd.Delivery.ExpiresAt; pd.Ended.Status == "" && !exp.IsZero() && !pd.Due.Before(exp) {
			d.end(i, notice.StatusExpired, pd.Why.Code, "it expires before it may go")
		}
	}
}

// planned says what the queue is to write.
func (p *Pipeline) planned(drafts []*draft) []*queue.Planned {
	out := make([]*queue.Planned, len(drafts))
	for k, d := range drafts {
		p.mayBeSent(d)
		out[k] = &queue.Planned{Lease: d.lease, Event: &d.event, Deliveries: d.out, Note: d.note}
	}
	return out
}

// observe counts what the plan decided.
func (p *Pipeline) observe(d *draft) {
	for i := range d.out {
		pd := &d.out[i]
		switch {
		case pd.Ended.Status != "":
			p.metrics.ended(pd.Delivery.Address.Channel, pd.Ended.Status)
			if pd.Ended.Status == notice.StatusCapped {
				p.metrics.throttled.WithLabelValues("user", cappedBy(pd)).Inc()
			}
		case !pd.Due.IsZero():
			p.metrics.throttled.WithLabelValues("user", "defer").Inc()
			p.wakeAt(pd.Due)
		}
	}
}
