package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/delivery"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/throttle"
)

// namedState is a rate by name in `throttle show` and `throttle try --format
// json`.
type namedState struct {
	By         string       `json:"by"`            // domain, host, tenant, account or relay
	Name       string       `json:"name,omitzero"` // left out: the rate is for each name under the rule, and nothing waits for one
	Rule       string       `json:"rule"`          // the entry's name
	Rate       string       `json:"rate"`
	LastSecond int          `json:"last_second"`              // permits given
	Waiting    int          `json:"waiting"`                  // at hand in all consumers
	PutOff     time.Time    `json:"put_off_until,omitzero"`   // when the last comes back that was put off for it
	Turn       time.Time    `json:"turn_of_another,omitzero"` // about when one that came now would go
	Shares     []shareState `json:"shares,omitempty"`
}

// quotas are a channel's rates by name, for somebody who takes nothing.
func (v *view) quotas(c notice.Channel) *throttle.Quotas {
	return throttle.NewQuotas(v.rates, c, v.cfg.Channels.RatesOf(string(c)))
}

// namedRates are a channel's rates by name: every entry, and every name that
// something waits for.
func (v *view) namedRates(ctx context.Context, c notice.Channel, o throttle.Overview) ([]namedState, error) {
	quotas := v.quotas(c)
	rates, seen := quotas.Rules(), map[string]bool{}
	for _, r := range rates {
		seen[r.Key] = true
	}
	for _, consumer := range o.Consumers {
		for _, w := range consumer.Waits {
			if r, ok := quotas.Named(w.Scope, w.Name); ok && !seen[r.Key] {
				seen[r.Key] = true
				rates = append(rates, r)
			}
		}
	}
	return v.standNamed(ctx, o, rates)
}

// standNamed are how rates by name stand.
func (v *view) standNamed(ctx context.Context, o throttle.Overview, rates []throttle.NamedRate) (out []namedState, err error) {
	for _, r := range rates {
		s := namedState{By: r.Scope, Name: r.Name, Rule: r.Rule.Name, Rate: r.Rule.Rate.String()}
		if r.Key != "" {
			if err := v.inspectNamed(ctx, o, r, &s); err != nil {
				return nil, err
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func (v *view) inspectNamed(ctx context.Context, o throttle.Overview, r throttle.NamedRate, s *namedState) error {
	use, err := v.rates.Inspect(ctx, r.Key)
	if err != nil {
		return unreachable(err)
	}
	waiting, back := o.Waiting(r)
	s.LastSecond, s.Waiting, s.PutOff, s.Shares = use.LastSecond, waiting, inUTC(back), shareStates(use)
	s.Turn = turnBehind(use.Next, waiting, back, r.Rule.Rate).UTC()
	return nil
}

// turnBehind is about when one that came now would have a permit: the next but
// those of who waits, and not before what was put off.
func turnBehind(next time.Time, waiting int, back time.Time, rate config.Rate) time.Time {
	turn := next.Add(time.Duration(float64(waiting) / rate.PerSecond() * float64(time.Second)))
	if back.After(turn) {
		return back
	}
	return turn
}

func shareStates(use throttle.RateUse) (out []shareState) {
	for _, s := range use.Consumers {
		out = append(out, shareState{s.Consumer, s.Has, s.Wants, s.Asks})
	}
	return out
}

// words name the rate as a timeline does: "rate email domain gmail.com 20/s".
func (s *namedState) words(c notice.Channel) string {
	words := "rate " + string(c) + " " + s.By + " " + s.Name + " " + s.Rate
	if s.Rule != s.Name {
		words += " (by " + s.Rule + ")"
	}
	return words
}

// slowest is the rate whose turn comes last; nil without any.
func slowest(rates []namedState) (last *namedState) {
	for i := range rates {
		if last == nil || rates[i].Turn.After(last.Turn) {
			last = &rates[i]
		}
	}
	return last
}

func printNamed(w io.Writer, rates []namedState, now time.Time) {
	heading := "\nRATE BY\tNAME\tRULE\tRATE\tIN THE LAST SECOND\tWAITING\tPUT OFF UNTIL\tTURN OF ANOTHER\n"
	for _, s := range rates {
		name, turn := s.Name, turnText(s.Turn, now)
		if name == "" {
			name, turn = "each", ""
		}
		fmt.Fprintf(w, heading+"%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", s.By, printable(name), printable(s.Rule), s.Rate, s.LastSecond, s.Waiting, putOffText(s.PutOff), turn)
		heading = ""
	}
}

func putOffText(back time.Time) string {
	if back.IsZero() {
		return "none is"
	}
	return back.Format(time.RFC3339)
}

// soon is a wait that is not worth telling: less than it takes to ask for a
// permit and have it.
const soon = 500 * time.Millisecond

func turnText(turn, now time.Time) string {
	if turn.Before(now.Add(soon)) {
		return "now"
	}
	return "about " + turn.Format(time.RFC3339)
}

// tryNamed are the rates by name that would count a delivery; those of all
// relays, though it would go by one.
func (v *view) tryNamed(ctx context.Context, on channelState, d *notice.Delivery) ([]namedState, error) {
	quotas := v.quotas(d.Address.Channel)
	return v.standNamed(ctx, on.overview, append(quotas.Of(delivery.CountedBy(d)), quotas.RulesOf(byRelay)...))
}

// byRelay is the scope of relays' rates, of which a mail needs but one.
const byRelay = "relay"

// binding are the rates that a delivery has to wait for: of the relays' only the
// one that lets it go first, and none where a relay has no rate.
func (v *view) binding(rates []namedState) (out []namedState) {
	var soonest *namedState
	for i := range rates {
		switch r := &rates[i]; {
		case r.By != byRelay:
			out = append(out, *r)
		case soonest == nil || r.Turn.Before(soonest.Turn):
			soonest = r
		}
	}
	if soonest != nil && !v.cfg.Channels.Email.FreeRelay() {
		out = append(out, *soonest)
	}
	return out
}

// aboutHost are a channel's rates of one host: of mail, of the domain.
func (v *view) aboutHost(ctx context.Context, c notice.Channel, o throttle.Overview, host string) ([]namedState, error) {
	if _, bare, ok := strings.Cut(host, "://"); ok {
		host = bare
	}
	var names throttle.Names
	names[throttle.ScopeHost] = config.CanonicalHost(host)
	return v.standNamed(ctx, o, v.quotas(c).Of(names))
}
