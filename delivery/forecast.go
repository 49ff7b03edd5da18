package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
	"github.com/carillonhq/carillon/throttle"
)

// Lookup finds people: the part of Directory that reads.
type Lookup interface {
	Lookup(ctx context.Context, queries []recipients.Query) ([]recipients.Found, error)
}

// ForecastOptions are what a forecast goes by; the fields are those of Options.
type ForecastOptions struct {
	People     Lookup
	Catalogue  Catalogue
	Caps       *throttle.Caps
	QuietHours *config.QuietHours
	Enabled    map[notice.Channel]bool
	Mandatory  []string
	Now        time.Time
}

// Expected is what would become of one delivery.
type Expected struct {
	Delivery notice.Delivery
	Stands   queue.Entry          // what stands against it, as its timeline would say; without a status nothing does
	Due      time.Time            // when it would go: Now, unless something puts it off; zero: never
	Rules    []throttle.RuleTrial // every cap, and what it has to do with it; nil when it ends before they are asked
	Digest   bool                 // a rule with over: digest would collect it, or have it carry a digest
}

// unreal is the id of a notification that is none: no id of the gateway's is
// of the epoch.
const unreal = "0-00000000000000000000"

// Forecast says what would become of a notification that has been accepted, by
// the code that plans notifications. note is about the whole of it, where there
// are no deliveries. Nothing is written or taken. A notification with a send_at
// is looked at as of then.
func Forecast(ctx context.Context, o ForecastOptions, tenant string, n notice.Notification) (out []Expected, note queue.Entry, err error) {
	trial := &trialCaps{caps: o.Caps, rules: map[string][]throttle.RuleTrial{}, digests: map[string]bool{}}
	p := &Pipeline{Options: Options{Catalogue: o.Catalogue, Caps: trial, Enabled: o.Enabled, Mandatory: o.Mandatory, Log: slog.New(slog.DiscardHandler)}, held: newHeld()}
	p.Replace(o.QuietHours, tenant)
	d := &draft{now: latest(o.Now, n.SendAt), lease: &queue.Lease{}, event: notice.Event{ID: unreal, Tenant: tenant, AcceptedAt: o.Now, Notification: n}}
	p.chooseMedia(d)
	found, err := o.People.Lookup(ctx, queries([]*draft{d}))
	if err != nil {
		return nil, note, fmt.Errorf("looking the recipient up: %w", err)
	}
	p.address(d, &found[0])
	if err := p.decideOnce(ctx, trial, d); err != nil {
		return nil, note, err
	}
	for i := range d.out {
		out = append(out, trial.expected(d, &d.out[i]))
	}
	return out, d.note, nil
}

// decideOnce is decide, which fails where decide would try on.
func (p *Pipeline) decideOnce(ctx context.Context, trial *trialCaps, d *draft) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	trial.failed = cancel
	if err := p.decide(ctx, []*draft{d}); err != nil {
		return fmt.Errorf("trying the caps: %w", context.Cause(ctx))
	}
	return nil
}

func (c *trialCaps) expected(d *draft, pd *queue.PlannedDelivery) Expected {
	e := Expected{Delivery: pd.Delivery, Stands: pd.Why, Due: latest(d.now, pd.Due), Rules: c.rules[pd.Delivery.ID], Digest: c.digests[pd.Delivery.ID]}
	if pd.Ended.Status != "" {
		e.Stands, e.Due = pd.Ended, time.Time{}
	}
	return e
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// trialCaps are caps of which nothing is taken: what a pipeline was given
// before is tried again together with what it asks for next.
type trialCaps struct {
	caps    *throttle.Caps
	taken   []throttle.Ask
	rules   map[string][]throttle.RuleTrial // by delivery
	digests map[string]bool                 // deliveries that a digest would take
	failed  context.CancelCauseFunc
}

// Applies implements Capper: each rule is to say what it has to do with each
// delivery.
func (c *trialCaps) Applies(throttle.Ask) bool { return true }

// Decide implements Capper. Where a digest would take a delivery, the answer is
// when the digest goes.
func (c *trialCaps) Decide(ctx context.Context, asks []throttle.Ask) ([]throttle.Answer, error) {
	all := append(slices.Clone(c.taken), asks...)
	for i := range all {
		all[i].Collect = false
	}
	trials, err := c.caps.Try(ctx, all)
	if err != nil {
		c.failed(err)
		return nil, err
	}
	answers := make([]throttle.Answer, len(asks))
	for i, t := range trials[len(c.taken):] {
		answers[i] = t.Answer
		answers[i].Digest = nil
		id := asks[i].DeliveryID
		c.rules[id], c.digests[id] = t.Rules, c.digests[id] || asks[i].Collect && t.Answer.Digest != nil
	}
	c.taken = all
	return answers, nil
}

// Release implements Capper.
func (c *trialCaps) Release(_ context.Context, asks []throttle.Ask) error {
	c.taken = slices.DeleteFunc(c.taken, func(t throttle.Ask) bool {
		return slices.ContainsFunc(asks, func(a throttle.Ask) bool { return a.DeliveryID == t.DeliveryID })
	})
	return nil
}

// Held says what of a channel's Overview holds a delivery to an address up, as
// its timeline would say, the one that lasts longest; without a status nothing
// does.
func Held(o throttle.Overview, a notice.Address) (held queue.Entry) {
	for _, l := range o.Lasting {
		scope, code := "", "paused"
		switch {
		case l.Kind == throttle.ChannelPaused:
			scope = "channel " + string(a.Channel)
		case l.Kind == throttle.CredentialRefused:
			scope, code = "channel "+string(a.Channel), "broken"
		case l.Kind == throttle.DevicePaused && l.Name == deviceName(a):
			scope = "address"
		case (l.Kind == throttle.HostPaused || l.Kind == throttle.HostDown) && isHost(l.Name, HostOf(a)):
			scope = "host " + HostOf(a)
			if l.Kind == throttle.HostDown {
				code = "host_down"
			}
		}
		if scope != "" && l.Until.After(held.Until) {
			held = queue.Entry{At: o.At, Status: notice.StatusDeferred, Code: code, Detail: scope + ": " + l.Because, Until: l.Until}
		}
	}
	return held
}

// HostOf is the host that an address is answered for by: the endpoint's, or the
// mailbox's domain; the channel's name where there is but one.
func HostOf(a notice.Address) string { return hostOf(a) }

// CountedBy are the names that rates by name count a delivery by, as a consumer
// finds them: a host without the port that is its scheme's own.
func CountedBy(d *notice.Delivery) throttle.Names {
	host, usual := config.CanonicalHost(hostOf(d.Address)), ":443"
	if strings.HasPrefix(strings.ToLower(endpointOf(d.Address)), "http://") {
		usual = ":80"
	}
	return countedBy(d, strings.TrimSuffix(host, usual))
}

// isHost reports whether what a Word names is a host, with its scheme or
// without.
func isHost(name, host string) bool {
	_, bare, _ := strings.Cut(name, "://")
	return name == host || bare == host
}
