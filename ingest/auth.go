package ingest

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/carillonhq/carillon/config"
)

// caller is who makes a request, by the key that it presents.
type caller struct {
	tenant string
	scopes []config.Scope // empty: every one
	sends  *purse         // what calls that send take from; nil: nothing
	calls  *purse         // what other calls take from; nil: nothing
}

// purse is what a call of a scope takes from.
func (c *caller) purse(s config.Scope) *purse {
	if s == config.ScopeSend {
		return c.sends
	}
	return c.calls
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

func newKeyring(auth config.Auth, tenants []config.Tenant) *keyring {
	rates := map[string]config.Rate{}
	for _, t := range tenants {
		rates[t.Tenant] = t.Rate
	}
	if auth.Disabled {
		return &keyring{open: &caller{tenant: defaultTenant, sends: newPurse(defaultTenant, tenantQuota(rates[defaultTenant]))}}
	}
	k := &keyring{callers: make(map[[sha256.Size]byte]*caller, len(auth.Keys))}
	for _, key := range auth.Keys {
		digest := sha256.Sum256([]byte(key.Key.Reveal()))
		own := keyQuota(digest, key.Rate)
		k.callers[digest] = &caller{
			tenant: key.Tenant, scopes: key.Scopes,
			sends: newPurse(key.Tenant, own, tenantQuota(rates[key.Tenant])), calls: newPurse(key.Tenant, own),
		}
	}
	return k
}

// admit finds who makes r and whether they may.
func (k *keyring) admit(r *http.Request, scope config.Scope) (*caller, error) {
	who, err := k.find(r)
	if err != nil {
		return nil, err
	}
	if !who.may(scope) {
		return nil, kindForbidden.problem(fmt.Sprintf("the key has the scopes %v, and this takes %q", who.scopes, scope))
	}
	return who, nil
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
