package ingest

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/carillonhq/carillon/config"
)

// caller is who makes a request, by the key that it presents.
type caller struct {
	tenant string
	scopes []config.Scope // empty: every one
	limit  *limit         // nil: none
}

// may reports whether the key has a scope.
func (c *caller) may(s config.Scope) bool {
	return len(c.scopes) == 0 || slices.Contains(c.scopes, s)
}

// defaultTenant is whose everything is when auth is disabled.
const defaultTenant = "default"

// keyring knows the API keys. It holds digests alone: a look-up by digest
// takes no time that depends on how near a guess is, and a dump of memory
// shows no key.
type keyring struct {
	open    *caller // when auth is disabled; otherwise nil
	callers map[[sha256.Size]byte]*caller
}

func newKeyring(auth config.Auth) *keyring {
	if auth.Disabled {
		return &keyring{open: &caller{tenant: defaultTenant}}
	}
	k := &keyring{callers: make(map[[sha256.Size]byte]*caller, len(auth.Keys))}
	for _, key := range auth.Keys {
		k.callers[sha256.Sum256([]byte(key.Key.Reveal()))] = &caller{
			tenant: key.Tenant, scopes: key.Scopes, limit: newLimit(key.Rate),
		}
	}
	return k
}

// admit finds who makes r and whether they may, and writes their rate's state
// into the answer's header.
func (k *keyring) admit(h http.Header, r *http.Request, scope config.Scope, now time.Time) (*caller, error) {
	who, err := k.find(r)
	if err != nil {
		return nil, err
	}
	if !who.may(scope) {
		return nil, kindForbidden.problem(fmt.Sprintf("the key has the scopes %v, and this takes %q", who.scopes, scope))
	}
	if who.limit == nil {
		return who, nil
	}
	return who, who.limit.take(h, now)
}

func (k *keyring) find(r *http.Request) (*caller, error) {
	if k.open != nil {
		return k.open, nil
	}
	presented := r.Header.Get("Authorization")
	if presented == "" {
		return nil, kindUnauthorized.problem("send the key as: Authorization: Bearer KEY")
	}
	scheme, key, _ := strings.Cut(presented, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, kindUnauthorized.problem("want the scheme Bearer: Authorization: Bearer KEY")
	}
	who, ok := k.callers[sha256.Sum256([]byte(strings.TrimSpace(key)))]
	if !ok {
		return nil, kindUnauthorized.problem("the key is not known here")
	}
	return who, nil
}

// limit is one key's rate of requests: a bucket that holds Count and fills in
// Per.
type limit struct {
	bucket *rate.Limiter
	policy []string // the RateLimit-Policy header
	count  int
}

func newLimit(r config.Rate) *limit {
	if r.IsZero() {
		return nil
	}
	window := max(1, int(r.Per.Seconds()))
	return &limit{
		bucket: rate.NewLimiter(rate.Limit(r.PerSecond()), r.Count),
		policy: []string{fmt.Sprintf(`"default";q=%d;w=%d`, r.Count, window)},
		count:  r.Count,
	}
}

// take spends one request, or refuses with the time until there is one. The
// headers are those of
// https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/.
func (l *limit) take(h http.Header, now time.Time) error {
	ok := l.bucket.AllowN(now, 1)
	tokens := l.bucket.TokensAt(now)
	h["Ratelimit-Policy"] = l.policy
	h["Ratelimit"] = []string{`"default";r=` + strconv.Itoa(max(0, int(tokens))) + `;t=` + seconds(l.wait(float64(l.count)-tokens))}
	if ok {
		return nil
	}
	return kindRate.problem("the key may make " + l.policy[0] + " requests: wait as Retry-After says").after(l.wait(1 - tokens))
}

// wait is how long n tokens take to come.
func (l *limit) wait(n float64) time.Duration {
	return time.Duration(max(0, n) / float64(l.bucket.Limit()) * float64(time.Second))
}
