package throttle

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

const any_ = "*"

// What a digest holds of which no more is said, as in config.DigestMax.
const (
	defaultDigestItems = 50
	defaultDigestSize  = config.Size(64 << 10)
)

// rule is a cap of the configuration, checked and ready to match.
type rule struct {
	config.Cap
	id [4]byte // what its places are kept under: a hash of its name
}

// newRule checks one cap. index is its place in throttle.per_user, for the
// error, which names the key, the value and the mend.
func newRule(c config.Cap, index int) (rule, error) {
	at := fmt.Sprintf("throttle.per_user[%d]", index)
	c.Tenant, c.Category, c.Channel, c.Lane = orAny(c.Tenant), orAny(c.Category), orAny(c.Channel), orAny(c.Lane)
	if c.Over == "" {
		c.Over = config.OverDefer
	}
	if err := checkWindows(c, at); err != nil {
		return rule{}, err
	}
	if c.Channel != any_ && !notice.Medium(c.Channel).Valid() {
		return rule{}, fmt.Errorf("%s.channel: %q is none of email, push, webhook, *", at, c.Channel)
	}
	if c.Lane != any_ && !notice.Lane(c.Lane).Valid() {
		return rule{}, fmt.Errorf("%s.lane: %q is none of critical, normal, bulk, *", at, c.Lane)
	}
	if c.Over != config.OverDrop && c.Over != config.OverDefer && c.Over != config.OverDigest {
		return rule{}, fmt.Errorf("%s.over: %q is none of drop, defer, digest", at, c.Over)
	}
	c.DigestMax.Items = cmp.Or(c.DigestMax.Items, defaultDigestItems)
	c.DigestMax.Size = cmp.Or(c.DigestMax.Size, defaultDigestSize)
	c.Name = c.Called()
	return rule{Cap: c, id: ruleID(c.Name)}, nil
}

// checkWindows checks what the places of a rule have room for.
func checkWindows(c config.Cap, at string) error {
	if c.Limit.Count <= 0 || c.Limit.Per < time.Millisecond || c.Limit.Count > config.MaxCapCount || c.Limit.Per > config.MaxCapWindow {
		return fmt.Errorf("%s.limit: %q is no cap: write how many (at most %d) in which window (1ms to 31d), as 3/24h", at, c.Limit, config.MaxCapCount)
	}
	if c.Burst.IsZero() {
		return nil
	}
	if c.Burst.Count <= 0 || c.Burst.Per < time.Millisecond || c.Burst.Count >= c.Limit.Count || c.Burst.Per >= c.Limit.Per {
		return fmt.Errorf("%s.burst: %q is no burst of %s: write fewer in a shorter window, as 2/10m of 20/24h", at, c.Burst, c.Limit)
	}
	return nil
}

func orAny(s string) string {
	if s == "" {
		return any_
	}
	return s
}

// ruleID is what a rule's places are kept under. Whatever else of a rule is
// changed, its places go on counting as long as its name stays.
func ruleID(name string) [4]byte {
	var id [4]byte
	binary.BigEndian.PutUint32(id[:], uint32(xxhash.Sum64String(name)))
	return id
}

// appendPlaceID appends what a delivery's place is known by, 5 bytes: under a rule with
// ten places, one delivery in 10¹¹ is taken for one that has a place already.
func appendPlaceID(out []byte, delivery string) []byte {
	var sum [8]byte
	binary.BigEndian.PutUint64(sum[:], xxhash.Sum64String(delivery))
	return append(out, sum[:5]...)
}

// heirID is what an ask's place is known by from now on; empty: nothing is.
func heirID(a *Ask) []byte {
	if a.Heir == "" {
		return []byte{}
	}
	return appendPlaceID(nil, a.Heir)
}

// matches reports whether r counts a: for which nothing may stand against it.
func (r *rule) matches(a *Ask) bool { return r.against(a) == against{} }

// against says why a rule does not count an ask: by which of its fields, which
// differs from the ask's.
type against struct{ field, wants, is string }

// against is the first that keeps r from counting a. Without a user there is
// nobody to count for, and a rule counts the critical lane only by its name.
func (r *rule) against(a *Ask) against {
	switch {
	case a.User == "":
		return against{"user", "a user id", ""}
	case r.Tenant != any_ && r.Tenant != a.Tenant:
		return against{"tenant", r.Tenant, a.Tenant}
	case r.Category != any_ && r.Category != a.Category:
		return against{"category", r.Category, a.Category}
	case r.Channel != any_ && r.Channel != string(a.Medium):
		return against{"channel", r.Channel, string(a.Medium)}
	case r.Lane == any_ && a.Lane == notice.LaneCritical:
		return against{"lane", "every lane but critical", string(a.Lane)}
	case r.Lane != any_ && r.Lane != string(a.Lane):
		return against{"lane", r.Lane, string(a.Lane)}
	}
	return against{}
}

// String is why, for somebody who wonders; empty when nothing is against it.
func (w against) String() string {
	switch {
	case w.field == "":
		return ""
	case w.is == "":
		return fmt.Sprintf("counts %s %s, and this has none", w.field, w.wants)
	}
	return fmt.Sprintf("counts %s %s, and this is %s", w.field, w.wants, w.is)
}

// window words the window of r that is full.
func (r *rule) window(burst bool) string {
	if burst {
		return "burst " + r.Burst.String()
	}
	return r.Limit.String()
}

// args are a rule as decide.lua reads it.
func (r *rule) args() []any {
	head := binary.BigEndian.AppendUint32(append([]byte(nil), r.id[:]...), uint32(r.Limit.Per.Milliseconds()))
	full := map[config.Over]int{config.OverDrop: 1, config.OverDigest: 2}[r.Over]
	return []any{head, r.Limit.Count, r.Limit.Per.Milliseconds(), r.Burst.Count, r.Burst.Per.Milliseconds(), full}
}

// rules are the caps that are in force together.
type rules struct {
	list  []rule
	table []any // the rules as decide.lua reads them
}

func newRules(caps []config.Cap) (*rules, error) {
	rs := &rules{table: []any{"decide", len(caps)}}
	byID := map[[4]byte]int{}
	for i, spec := range caps {
		r, err := newRule(spec, i)
		if err != nil {
			return nil, err
		}
		if j, taken := byID[r.id]; taken {
			return nil, fmt.Errorf("throttle.per_user[%d].name: %q cannot be told from throttle.per_user[%d] (%q): give it another name", i, r.Name, j, rs.list[j].Name)
		}
		byID[r.id] = i
		rs.list, rs.table = append(rs.list, r), append(rs.table, r.args()...)
	}
	return rs, nil
}

// terms are the rules that count a and its times, as decide.lua reads them,
// appended to out; nothing is when no rule does.
func (rs *rules) terms(out []byte, a *Ask) []byte {
	start := len(out)
	for i := range rs.list {
		if rs.list[i].matches(a) {
			out = append(strconv.AppendInt(out, int64(i+1), 10), ',')
		}
	}
	if len(out) == start {
		return out
	}
	now := ms(a.At)
	out = strconv.AppendInt(append(out, ':'), now, 10)
	out = strconv.AppendInt(append(out, ':'), ms(a.from())-now, 10)
	if a.Collect {
		out = append(out, 'c')
	}
	if !a.ExpiresAt.IsZero() && ms(a.ExpiresAt) <= now {
		out = append(out, 'x')
	}
	return out
}

// ms is t in the unit of the scripts; 0 for the zero time.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
