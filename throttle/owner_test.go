package throttle

import (
	"strings"
	"testing"
)

func TestTheOwnerOfACapIsItsTenantAndUser(t *testing.T) {
	k := keys{"ns"}
	for _, who := range [][2]string{{"acme", "ada"}, {"a:c%m", "u:1"}, {"a%3Ab", ""}} {
		tenant, user, ok := Owner(strings.TrimPrefix(k.caps(3, who[0], who[1]), "{ns:3}:"))
		if !ok || tenant != who[0] || user != who[1] {
			t.Errorf("%q is read as %q, %q (%t)", who, tenant, user, ok)
		}
	}
	for _, name := range []string{"u:acme:ada", "consumers", "n:06h0gd90eatdk9rvfar9"} {
		if _, _, ok := Owner(name); ok {
			t.Errorf("%s has an owner here", name)
		}
	}
}
