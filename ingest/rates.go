package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/queue"
)

// Rates keeps the rates of keys and tenants for all processes together.
type Rates interface {
	// Spend takes up to n, and says how much it was; queue.ErrUnavailable when
	// that cannot be known.
	Spend(ctx context.Context, account *queue.Account, n int) (queue.Spent, error)
}

// purse is what calls take from, one for each notification: a key's rate, its
// tenant's, or both.
type purse struct {
	account *queue.Account
	names   []string // of its policies, as in the headers
	policy  []string // the RateLimit-Policy header
}

// quota is a rate with its name in the headers, that is no secret.
type quota struct {
	name string
	queue.Quota
}

// keyQuota is a key's rate. A part of the key's digest names it, since a key's
// place in the configuration may change; it is far too short to find the key by.
func keyQuota(digest [sha256.Size]byte, r config.Rate) quota {
	return quota{"default", queue.Quota{Name: "key-" + hex.EncodeToString(digest[:4]), Count: r.Count, Per: r.Per}}
}

// tenantQuota is the rate of a tenant's keys together.
func tenantQuota(r config.Rate) quota {
	return quota{"tenant", queue.Quota{Name: "all", Count: r.Count, Per: r.Per}}
}

// newPurse makes a purse of those quotas that are any; nil when none is.
func newPurse(tenant string, quotas ...quota) *purse {
	p := &purse{account: &queue.Account{Tenant: tenant}}
	policy := ""
	for _, q := range quotas {
		if q.Count == 0 {
			continue
		}
		p.account.Quotas = append(p.account.Quotas, q.Quota)
		p.names = append(p.names, q.name)
		policy = appendItem(policy, fmt.Sprintf("%q;q=%d;w=%d", q.name, q.Count, max(1, int(q.Per.Seconds()))))
	}
	if policy == "" {
		return nil
	}
	p.policy = []string{policy}
	return p
}

// appendItem adds an item to a list of a structured header (RFC 9651 §3.1).
func appendItem(list, item string) string {
	if list == "" {
		return item
	}
	return list + ", " + item
}

// spend takes up to n for a call, writes the state of the rates into the
// answer's header, and returns how much was granted; with less than n an error
// too, the problem with the time until there is enough for the rest. The headers
// are those of
// https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/.
func (p *purse) spend(ctx context.Context, rates Rates, h http.Header, n int) (granted int, err error) {
	if p == nil || n <= 0 {
		return n, nil
	}
	spent, err := rates.Spend(ctx, p.account, n)
	if err != nil {
		return 0, fmt.Errorf("looking at the key's rate: %w", err)
	}
	state := ""
	for i, q := range spent.Quotas {
		state = appendItem(state, `"`+p.names[i]+`";r=`+strconv.Itoa(q.Left)+`;t=`+seconds(q.Full))
	}
	h["Ratelimit-Policy"] = p.policy
	h["Ratelimit"] = []string{state}
	if spent.Granted == n {
		return n, nil
	}
	after := max(p.account.Until(spent, n-spent.Granted), time.Millisecond)
	return spent.Granted, kindRate.problem("what may be sent is " + p.policy[0] + ": wait as Retry-After says").after(after)
}
