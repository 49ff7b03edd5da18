package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/carillonhq/carillon/config"
)

func TestAHostMayBePastedWithWhatStandsAroundIt(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a name", "hooks.acme.example", "hooks.acme.example"},
		{"in capitals, with the root's dot", "Hooks.Acme.EXAMPLE.", "hooks.acme.example"},
		{"with a port", "hooks.acme.example:8443", "hooks.acme.example:8443"},
		{"a whole URL", "https://hooks.acme.example:8443/T0/secret?k=secret#f", "https://hooks.acme.example:8443"},
		{"a URL with a login", "HTTPS://user:secret@hooks.acme.example/", "https://hooks.acme.example"},
		{"a login without a scheme", "user:secret@hooks.acme.example", "hooks.acme.example"},
		{"a mail address", "ada@example.com", "example.com"},
		{"letters that are not ASCII", "BÜCHER.example", "xn--bcher-kva.example"},
		{"an address of IPv6", "http://[::1]:8080/", "http://[::1]:8080"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := askedHost(c.text)
			if err != nil || got != c.want {
				t.Errorf("%q is taken for %q, %v; want %q", c.text, got, err, c.want)
			}
		})
	}
}

func TestAHostThatCannotBeOneIsRefusedWithoutWhatMayBeSecret(t *testing.T) {
	for _, text := range []string{"", "https://", "/secret", "user:secret@", "a b", "user:secret@a b", "a\nb", "*.acme.example"} {
		got, err := askedHost(text)
		if err == nil || exitCode(err) != 2 {
			t.Errorf("%q is taken for %q, %v; want a fault of usage", text, got, err)
			continue
		}
		if said := err.Error(); !strings.Contains(said, "hooks.acme.example") || strings.Contains(said, "secret") {
			t.Errorf("%q is refused with %q; want its mend, and no secret", text, said)
		}
	}
}

func TestATenantIsAskedForWhereThereAreSeveral(t *testing.T) {
	keys := func(tenants ...string) *config.Config {
		cfg := config.Default()
		for _, name := range tenants {
			cfg.Auth.Keys = append(cfg.Auth.Keys, config.Key{Tenant: name})
		}
		return cfg
	}
	for _, c := range []struct {
		name string
		cfg  *config.Config
		flag string
		want string // or in the error
		code int
	}{
		{"one has several keys", keys("acme", "acme"), "", "acme", 0},
		{"none has a key", keys(), "", defaultTenant, 0},
		{"two have keys", keys("beta", "acme"), "", "give one of acme, beta", 2},
		{"one of two is named", keys("beta", "acme"), "beta", "beta", 0},
		{"one is named that comes by the inbox", keys("acme"), "other", "other", 0},
		{"what is named cannot be one", keys("acme"), "a:b", `--tenant: "a:b"`, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := askedTenant(c.flag, c.cfg)
			switch {
			case c.code == 0 && (err != nil || got != c.want):
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			case c.code != 0 && (err == nil || exitCode(err) != c.code || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %q, %v; want %d and %q", got, err, c.code, c.want)
			}
		})
	}
	if said := strangeTenant("acem", keys("acme")); !strings.Contains(said, "acem") || !strings.Contains(said, "have one are acme") {
		t.Errorf("of a tenant without a key it says %q", said)
	}
	if said := strangeTenant("acme", keys("acme")) + strangeTenant("any", keys()); said != "" {
		t.Errorf("of tenants that may be so it says %q", said)
	}
}

func TestWhatRedisSaysIsFollowedByItsOwnMend(t *testing.T) {
	for _, c := range []struct{ said, mend string }{
		{"NOAUTH Authentication required.", "give the server's password"},
		{"WRONGPASS invalid username-password pair or user is disabled.", "check the user and the password"},
		{"NOPERM this user has no permissions to run the 'hmget' command", "ACL SETUSER"},
		{"ERR DB index is out of range", "end redis.url with /0"},
		{`redis: can't parse map reply: "HTTP/1.1 400 Bad Request"`, "is no Redis"},
		{"dial tcp: lookup nohost.invalid: no such host", "check the host"},
		{"read tcp: i/o timeout", "did not answer in time"},
		{"dial tcp 127.0.0.1:1: connect: connection refused", "does the server run?"},
	} {
		if got := storeMend(fmt.Errorf("asking: %w", errors.New(c.said))); !strings.Contains(got, c.mend) || !strings.Contains(got, "redis.url") {
			t.Errorf("%q is followed by %q, want %q, and the key", c.said, got, c.mend)
		}
	}
}
