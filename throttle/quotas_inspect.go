package throttle

import (
	"slices"
	"time"

	"github.com/carillonhq/carillon/config"
)

// NamedRate is a rate by name as it holds for one name, or, without a name, as
// it is configured for every name under a pattern.
type NamedRate struct {
	Scope string           // domain, host, tenant, account or relay
	Name  string           // as it is counted
	Rule  config.KeyedRate // the entry, whose own name may be a pattern
	Key   string           // what Rates.Inspect takes; empty without a name
}

// QuotaStanding is what waits in one consumer for one rate by name.
type QuotaStanding struct {
	Scope   string
	Name    string
	Waiting int   // at hand
	PutOff  int64 // ms until the last comes back that was put off for it; 0: nothing is
}

// Of are the rates that count something by names: what Pin would return, for
// somebody who takes nothing.
func (q *Quotas) Of(names Names) (out []NamedRate) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for scope, name := range names {
		if name == "" {
			continue
		}
		if counted, rule := q.ruleOf(Scope(scope), name); !rule.Rate.IsZero() {
			out = append(out, NamedRate{q.labels[scope], counted, rule, q.keyOf(Scope(scope), counted)})
		}
	}
	return out
}

// Rules are all entries that have a rate, without those of patterns named.
func (q *Quotas) Rules() (out []NamedRate) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for scope, table := range q.tables {
		for _, rule := range table {
			switch {
			case rule.Rate.IsZero():
			case rule.Name[0] == '*':
				out = append(out, NamedRate{Scope: q.labels[scope], Rule: rule})
			default:
				out = append(out, NamedRate{q.labels[scope], rule.Name, rule, q.keyOf(Scope(scope), rule.Name)})
			}
		}
	}
	return out
}

// RulesOf are the entries of one scope that have a rate.
func (q *Quotas) RulesOf(scope string) []NamedRate {
	return slices.DeleteFunc(q.Rules(), func(r NamedRate) bool { return r.Scope != scope })
}

// Named is the rate of a name that a consumer reports, by the present rules;
// false when there is none any more.
func (q *Quotas) Named(scope, name string) (NamedRate, bool) {
	i := slices.Index(q.labels[:], scope)
	if i < 0 {
		return NamedRate{}, false
	}
	var names Names
	names[i] = name
	of := q.Of(names)
	if len(of) == 0 {
		return NamedRate{}, false
	}
	return of[0], true
}

// Standings are at most so many of the names that something waits for here, or
// was put off for.
func (q *Quotas) Standings(most int) (out []QuotaStanding) {
	if !q.Any() {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.running()
	for _, named := range q.named {
		for _, at := range named {
			s := QuotaStanding{Scope: at.Scope(), Name: at.name, Waiting: at.pace.waiting(), PutOff: (at.putOff.last() - now).Milliseconds()}
			if s.PutOff = max(s.PutOff, 0); s.Waiting > 0 || s.PutOff > 0 {
				out = append(out, s)
			}
			if len(out) == most {
				return out
			}
		}
	}
	return out
}

// last is when the last comes back of what was put off.
func (s *schedule) last() time.Duration { return time.Duration(slices.Max(s[:])) * time.Microsecond }

// waiting is how many wait for permits.
func (p *Pace) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.demand.waiting
}

// Waiting is what waits for a rate by name in all consumers together: how many
// are at hand, and when the last comes back of those that were put off; the zero
// time when none was.
func (o Overview) Waiting(r NamedRate) (atHand int, back time.Time) {
	for _, c := range o.Consumers {
		for _, s := range c.Waits {
			if s.Scope != r.Scope || s.Name != r.Name {
				continue
			}
			atHand += s.Waiting
			if until := o.At.Add(time.Duration(s.PutOff) * time.Millisecond); s.PutOff > 0 && until.After(back) {
				back = until
			}
		}
	}
	return atHand, back
}
