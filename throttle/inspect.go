package throttle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
)

// Usage is what one user has of one window of a rule. A rule with a burst has
// two.
type Usage struct {
	Rule    string      // its name
	Over    config.Over // what it does when it is full
	Limit   config.Rate // how many in which sliding window
	Burst   bool        // Limit is the rule's burst
	Used    int         // places in the window that ends now
	Waiting int         // places after now
	Free    time.Time   // the first moment from now on with room for one more, to the millisecond
}

// Room is how many more may go now; 0 also where room must be left for those
// that wait.
func (u Usage) Room(now time.Time) int {
	if u.Free.UnixMilli() > now.UnixMilli() {
		return 0
	}
	return max(u.Limit.Count-u.Used, 0)
}

// Inspect tells what a user has of each window of the rules that count the
// tenant, in the rules' order, as of now. It reads, and changes nothing.
func (c *Caps) Inspect(ctx context.Context, tenant, user string, now time.Time) ([]Usage, error) {
	sections, err := c.places(ctx, tenant, user)
	if err != nil {
		return nil, err
	}
	var out []Usage
	list := c.rules.Load().list
	for i := range list {
		if r := &list[i]; r.Tenant == any_ || r.Tenant == tenant {
			out = append(out, r.usages(sections[r.id], ms(now))...)
		}
	}
	return out, nil
}

// places reads what one user has.
func (c *Caps) places(ctx context.Context, tenant, user string) (map[[4]byte]section, error) {
	raw, err := c.rdb.Get(ctx, c.keys.caps(c.partition(tenant, user), tenant, user)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read what a user has of the caps: %w", err)
	}
	sections, err := readPlaces(raw)
	if err != nil {
		return nil, fmt.Errorf("read what a user has of the caps: %w", err)
	}
	return sections, nil
}

// usages are what a section makes of r's windows at now.
func (r *rule) usages(s section, now int64) []Usage {
	out := []Usage{r.usage(s, now, r.Limit)}
	if !r.Burst.IsZero() {
		u := r.usage(s, now, r.Burst)
		u.Burst = true
		out = append(out, u)
	}
	return out
}

func (r *rule) usage(s section, now int64, limit config.Rate) Usage {
	return Usage{Rule: r.Name, Over: r.Over, Limit: limit, Used: s.within(now, limit.Per),
		Waiting: s.waiting(now), Free: time.UnixMilli(s.free(now, limit))}
}

// Trial is what would become of an Ask, and why.
type Trial struct {
	Answer Answer
	Rules  []RuleTrial // every rule, in order
}

// RuleTrial is what one rule has to do with an Ask.
type RuleTrial struct {
	Rule    string // its name
	Applies bool
	Why     string  // why it does not apply; empty when it does
	Usage   []Usage // of each window, at the earliest moment that the ask could go, before it takes a place; nil when it does not apply
}

// Try answers asks as Decide would, one after the other as if those before had
// been decided, and tells of each rule what it had to do with it. Nothing is
// taken and nothing is written: Redis itself would refuse it.
func (c *Caps) Try(ctx context.Context, asks []Ask) ([]Trial, error) {
	rs := c.rules.Load()
	answers, err := c.ask(ctx, c.try, rs, asks)
	if err != nil {
		return nil, fmt.Errorf("try the caps on %d deliveries: %w", len(asks), err)
	}
	known := map[[2]string]map[[4]byte]section{}
	trials := make([]Trial, len(asks))
	for i := range asks {
		a := &asks[i]
		who := [2]string{a.Tenant, a.User}
		if known[who] == nil {
			if known[who], err = c.places(ctx, a.Tenant, a.User); err != nil {
				return nil, fmt.Errorf("try the caps on %d deliveries: %w", len(asks), err)
			}
		}
		trials[i] = rs.trial(a, answers[i], known[who])
	}
	return trials, nil
}

// trial explains one answer by what its user has, to which it adds the place.
func (rs *rules) trial(a *Ask, got Answer, sections map[[4]byte]section) Trial {
	t := Trial{Answer: got, Rules: make([]RuleTrial, len(rs.list))}
	for i := range rs.list {
		r := &rs.list[i]
		t.Rules[i] = RuleTrial{Rule: r.Name, Why: r.against(a).String(), Applies: r.matches(a)}
		if !t.Rules[i].Applies {
			continue
		}
		t.Rules[i].Usage = r.usages(sections[r.id], ms(a.from()))
		if got.Action <= Wait {
			sections[r.id] = sections[r.id].add(ms(got.Until))
		}
	}
	return t
}
