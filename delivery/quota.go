package delivery

import (
	"context"
	"strings"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/throttle"
)

// way is what a delivery needs to go: a place at its destination, where the
// channel has many, and permits of the rates that it is counted by. What goes
// the same way waits in one line, so that nobody waits for another's rate.
type way struct {
	at    *throttle.Destination // nil: the channel has one
	needs throttle.Needs
}

const (
	// fewWaiting is how many may always wait for a rate, however much waits for
	// others.
	fewWaiting = 4
	// permitTime is how long a task may have had its permits when it begins.
	// Longer is possible only while it waits for the channel's own rate.
	permitTime = 30 * time.Millisecond
	// mostAhead is how many may have permits, and wait for the channel's rate.
	mostAhead = 2
)

// divides reports whether others go to the same destination in other lines.
func (w way) divides() bool { return w.at != nil && w.needs.Any() }

// restless reports whether the clock moves what waits.
func (w way) restless() bool { return w.needs.Any() || w.at != nil && w.at.Restless() }

// pin finds out which way a task goes, and reports whether it needs anything.
func (a *aside) pin(t *task) bool {
	if t.way != (way{}) {
		return true
	}
	if t.dest != "" {
		t.at = a.places.Pin(t.dest)
	}
	a.route(t)
	t.needs = a.quotas.Pin(t.names)
	return t.way != (way{})
}

// route chooses by which relay a task goes, where any has a rate: it waits for
// that one's. A task that cannot be read needs none.
func (a *aside) route(t *task) {
	if a.relays == nil || t.via != "" || !a.quotas.Counts(throttle.ScopeAccount) || !t.readable() {
		return
	}
	relay := a.relays.Choose(func(account string) time.Duration {
		return a.quotas.WaitOf(throttle.ScopeAccount, account, a.most/lineParts)
	})
	t.via, t.names[throttle.ScopeAccount] = relay.Key, relay.Account
}

// readable reports whether a task has a delivery, which is decoded when it was
// not before.
func (t *task) readable() bool {
	if t.known() == nil {
		d, err := readDelivery(t.lease.Payload)
		if err != nil {
			return false
		}
		t.delivery = &d
	}
	return true
}

// permits takes permits of relays' rates for whoever cannot go by the relay that
// was chosen; nil where no relay has a rate.
func (s *sender) permits() func(account string) bool {
	if s.lanes.aside.relays == nil || !s.Quotas.Counts(throttle.ScopeAccount) {
		return nil
	}
	return func(account string) bool { return s.Quotas.Try(throttle.ScopeAccount, account) }
}

func (a *aside) unpin(t *task) {
	if t.at != nil {
		a.places.Unpin(t.at)
	}
	a.quotas.Unpin(t.needs)
	t.way, t.placed, t.permit = way{}, false, time.Time{}
}

// enter takes everything that is needed to go a way, or nothing. Permits are
// only taken for what can begin at once.
func (a *aside) enter(to way, free int) throttle.Entry {
	switch {
	case to.needs.Any() && (free <= 0 || a.ahead >= mostAhead && a.paced != nil && a.paced()):
		return throttle.Rated
	case to.at != nil:
		return a.places.EnterWith(to.at, max(free, 1), to.needs)
	case to.needs.Take():
		return throttle.Entered
	}
	return throttle.Rated
}

// place notes that a task has what it needs.
func (a *aside) place(t *task) {
	t.placed = true
	a.reserved++
	if t.needs.Any() {
		t.permit = time.Now()
		a.ahead++
	}
}

// begin reports whether a task that is taken may still go. One whose permits
// are void by now, since it waited for the channel's rate, takes new ones, or
// goes back to the head of its line.
func (a *aside) begin(t *task) bool {
	if !t.placed {
		return true
	}
	if t.needs.Any() && time.Since(t.permit) > permitTime && !t.needs.Take() {
		a.takeBack(t)
		return false
	}
	a.reserved--
	if t.needs.Any() {
		a.ahead--
	}
	a.recheck(t)
	return true
}

// takeBack puts a task back to where it waited.
func (a *aside) takeBack(t *task) {
	a.withdraw(t)
	line := a.lines[t.way]
	if line == nil {
		line = a.open(t.way)
		line.rated = true
	}
	a.pushFirst(line, t)
}

// withdraw gives up what a task has and did not use.
func (a *aside) withdraw(t *task) {
	if t.at != nil {
		a.places.Withdraw(t.at)
	}
	a.reserved--
	if t.needs.Any() {
		a.ahead--
	}
	t.placed, t.permit = false, time.Time{}
}

// push adds a task to a line, pushFirst before all others of its turn.
func (a *aside) push(line *asideLine, t *task) {
	line.push(t)
	a.came(line)
}

func (a *aside) pushFirst(line *asideLine, t *task) {
	turn := &line.lanes[t.lane].turns[t.turn]
	line.push(t)
	copy((*turn)[1:], *turn)
	(*turn)[0] = t
	a.came(line)
}

// came and gone keep count of what waits, which is what is asked for at Redis.
func (a *aside) came(line *asideLine) {
	a.waiting++
	line.wait(1)
}

func (a *aside) gone(line *asideLine, n int) {
	a.waiting -= n
	line.wait(-n)
}

// wait counts what waits to go a way.
func (w way) wait(more int) {
	w.needs.Wait(more)
	if w.at != nil {
		w.at.Wait(more)
	}
}

// nextOf is the line that has a turn when a place comes free that something
// which went this way had.
func (a *aside) nextOf(w way) *asideLine {
	if w.at == nil || a.split == 0 {
		return a.lines[w]
	}
	for i := range a.ring {
		n := (a.turn + 1 + i) % len(a.ring)
		if a.ring[n].at == w.at {
			a.turn = n
			return a.ring[n]
		}
	}
	return nil
}

// waitOf is for how long a task that is put off has to stay away, and why.
func (a *aside) waitOf(t *task) putOff {
	quota := t.needs.Slowest()
	if quota == nil || !t.rated && t.at != nil {
		code, words := a.places.Why(t.at)
		return putOff{a.places.PutOff(t.at), code, words, "host", 0}
	}
	waiting := 0
	if line := a.lines[t.way]; line != nil {
		waiting = line.n
	}
	class := t.lane*(throttle.Classes/len(notice.Lanes())) + t.turn
	return putOff{quota.PutOff(class, waiting), "rate", quota.Words() + ": more are waiting than it lets through", quota.Scope(), queue.LabelOf(quota.Key())}
}

// jitter is how the moment is spread to which something is put off. What a
// rate puts off has a moment of its own, and would come too late for its place.
func (o putOff) jitter(usual func(time.Duration) time.Duration) func(time.Duration) time.Duration {
	if o.scope != "host" {
		return func(time.Duration) time.Duration { return 0 }
	}
	return usual
}

// wakeTending has the lines looked at soon.
func (a *aside) wakeTending() {
	select {
	case a.hurry <- struct{}{}:
	default:
	}
}

// await waits until the lines are to be looked at again; false when ctx ends.
func (a *aside) await(ctx context.Context, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.hurry:
	case <-ctx.Done():
		return false
	}
	return true
}

// names are what a delivery is counted by; none where there are no rates.
func (s *sender) names(d *notice.Delivery) (n throttle.Names) {
	if !s.Quotas.Any() {
		return n
	}
	_, host, _ := strings.Cut(s.destination(d), "://")
	return countedBy(d, host)
}

// countedBy are the names that rates count a delivery by. host is that of its
// destination, where the channel has many.
func countedBy(d *notice.Delivery, host string) (n throttle.Names) {
	n[throttle.ScopeTenant] = d.Tenant
	n[throttle.ScopeAccount] = d.Address.App
	switch d.Address.Channel {
	case notice.ChannelEmail:
		n[throttle.ScopeHost] = config.CanonicalHost(d.Address.To[strings.LastIndexByte(d.Address.To, '@')+1:])
	case notice.ChannelWebhook, notice.ChannelWebPush:
		n[throttle.ScopeHost] = host
	}
	return n
}
