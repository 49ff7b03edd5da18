package throttle

import (
	"fmt"
	"strings"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

const any_ = "*"

// rule is a cap of the configuration, checked and ready to match.
type rule struct {
	name     string
	key      string // of ruleKey
	category string // any_ for every category
	channel  string // any_ for every medium
	limit    int
	window   int64 // ms
	drops    bool
}

// newRule checks one cap. index is its place in throttle.per_user, for the
// error, which names the key, the value and the mend.
func newRule(c config.Cap, index int) (rule, error) {
	at := fmt.Sprintf("throttle.per_user[%d]", index)
	r := rule{name: c.Name, category: orAny(c.Category), channel: orAny(c.Channel), limit: c.Limit.Count, window: c.Limit.Per.Milliseconds()}
	if r.limit <= 0 || r.window <= 0 {
		return rule{}, fmt.Errorf("%s.limit: %q is no cap: write how many in which window of at least 1ms, as 3/24h", at, c.Limit)
	}
	if r.channel != any_ && !notice.Medium(r.channel).Valid() {
		return rule{}, fmt.Errorf("%s.channel: %q is none of email, push, webhook, *", at, c.Channel)
	}
	switch c.Over {
	case config.OverDrop:
		r.drops = true
	case config.OverDefer, "":
	default:
		return rule{}, fmt.Errorf("%s.over: %q is neither drop nor defer", at, c.Over)
	}
	r.key = ruleKey(r.category, r.channel, r.window)
	if r.name == "" {
		r.name = describe(r, c)
	}
	return r, nil
}

// describe names a rule that was given no name: "marketing/* 3/24h drop".
func describe(r rule, c config.Cap) string {
	over := config.OverDefer
	if r.drops {
		over = config.OverDrop
	}
	return strings.Join([]string{r.category + "/" + r.channel, c.Limit.String(), string(over)}, " ")
}

func orAny(s string) string {
	if s == "" {
		return any_
	}
	return s
}

// matches reports whether r counts a. The critical lane is never counted.
func (r *rule) matches(a *Ask) bool {
	return a.Lane != notice.LaneCritical && a.User != "" &&
		(r.category == any_ || r.category == a.Category) &&
		(r.channel == any_ || r.channel == string(a.Medium))
}

// ms is t in the unit of the scripts; 0 for the zero time.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
