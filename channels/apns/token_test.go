package apns

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// clock is a settable clock.
type clock struct{ at atomic.Int64 }

func newClock(at time.Time) *clock {
	c := &clock{}
	c.at.Store(at.Unix())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(c.at.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d / time.Second)) }

func tokenFrom(t *testing.T, pem string, c *clock) *provider {
	t.Helper()
	p, err := newProvider(pem, "ABC123DEFG", "DEF123GHIJ", c.now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func bearer(t *testing.T, p *provider) string {
	t.Helper()
	b, err := p.bearer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// issued checks a token as Apple does and gives the time that it was issued.
func issued(t *testing.T, key *ecdsa.PublicKey, token string) time.Time {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", token)
	}
	var raw [3][]byte
	for i, p := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.DecodeString(p); err != nil {
			t.Fatal(err)
		}
	}
	if string(raw[0]) != `{"alg":"ES256","kid":"ABC123DEFG"}` {
		t.Errorf("header %s", raw[0])
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(raw[2][:32]), new(big.Int).SetBytes(raw[2][32:])
	if len(raw[2]) != 64 || !ecdsa.Verify(key, sum[:], r, s) {
		t.Fatal("the signature is wrong")
	}
	var claims struct {
		Iss string `json:"iss"`
		Iat int64  `json:"iat"`
	}
	if err := json.Unmarshal(raw[1], &claims); err != nil || claims.Iss != "DEF123GHIJ" {
		t.Fatalf("claims %s", raw[1])
	}
	return time.Unix(claims.Iat, 0)
}

func TestTwoConsumersOfAKeyPresentTheSameTokenAtEveryMoment(t *testing.T) {
	pem, key := newKey(t)
	c := newClock(time.Date(2026, 11, 3, 12, 7, 0, 0, time.UTC))
	one := tokenFrom(t, pem, c)
	last, changes := bearer(t, one), 0
	for range 24 * 12 {
		c.advance(5 * time.Minute)
		now := bearer(t, one)
		if other := bearer(t, tokenFrom(t, pem, c)); other != now {
			t.Fatalf("at %v a consumer that starts mints another token", c.now())
		}
		if age := c.now().Sub(issued(t, &key.PublicKey, now)); age < 0 || age >= tokenPeriod {
			t.Fatalf("a token of age %v at %v", age, c.now())
		}
		if now != last {
			last, changes = now, changes+1
		}
	}
	if changes != 48 {
		t.Errorf("%d tokens a day, want one each half hour", changes)
	}
}

func TestATokenThatAppleCallsExpiredIsRenewedOnceAndNeverTooOften(t *testing.T) {
	pem, key := newKey(t)
	c := newClock(time.Date(2026, 11, 3, 12, 25, 0, 0, time.UTC))
	p := tokenFrom(t, pem, c)
	old := bearer(t, p)
	fresh, ok := p.renew(t.Context(), old)
	if !ok || fresh == old || !issued(t, &key.PublicKey, fresh).Equal(c.now()) {
		t.Fatalf("renewed: %v", ok)
	}
	if again, ok := p.renew(t.Context(), old); !ok || again != fresh {
		t.Error("a second request with the old token does not get the fresh one")
	}
	if _, ok := p.renew(t.Context(), fresh); ok {
		t.Error("the token changed twice within 20 minutes")
	}
	for range 19 { // past half past twelve, which would come too soon
		c.advance(time.Minute)
		if bearer(t, p) != fresh {
			t.Fatalf("the token changed at %v", c.now())
		}
	}
	c.advance(20 * time.Minute)
	if next := bearer(t, p); next == fresh {
		t.Error("the renewed token is kept too long")
	}
	if _, ok := p.renew(t.Context(), bearer(t, p)); !ok {
		t.Error("after 20 minutes a token cannot be renewed again")
	}
}

func TestExpiredProviderTokenIsMendedWithinTheSameSend(t *testing.T) {
	var mu sync.Mutex
	expired := map[string]bool{}
	srv := newApple(t, 100, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if len(expired) == 0 {
			expired[r.Header.Get("Authorization")] = true
		}
		if expired[r.Header.Get("Authorization")] {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"reason":"ExpiredProviderToken"}`)
		}
	})
	c := newClock(time.Date(2026, 11, 3, 12, 7, 0, 0, time.UTC))
	a := adapterFor(t, srv, WithClock(c.now))
	wants(t, send(t, a, message()), channels.Sent, "200")
	wants(t, send(t, a, message()), channels.Sent, "200")
	reqs := srv.all()
	if len(reqs) != 3 {
		t.Fatalf("%d requests, want 3: refused, mended, and one more", len(reqs))
	}
	auth := func(i int) string { return reqs[i].header.Get("Authorization") }
	if auth(0) == auth(1) || auth(1) != auth(2) || !strings.HasPrefix(auth(1), "bearer ") {
		t.Error("the fresh token was not used, or not kept")
	}
	if reqs[0].header.Get("apns-id") != reqs[1].header.Get("apns-id") || string(reqs[0].body) != string(reqs[1].body) {
		t.Error("the second try is not the same push")
	}
}

func TestATokenThatStaysExpiredStopsTheChannelAfterTwoRequests(t *testing.T) {
	srv := newApple(t, 100, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"reason":"ExpiredProviderToken"}`)
	})
	a := adapterFor(t, srv)
	got := send(t, a, message())
	wants(t, got, channels.Broken, "ExpiredProviderToken")
	if !strings.Contains(got.Err.Error(), "clock") {
		t.Errorf("the error does not name the mend: %v", got.Err)
	}
	send(t, a, message())
	if n := len(srv.all()); n != 3 {
		t.Errorf("%d requests, want 2 for the first and 1 for the second push", n)
	}
}

func TestSectionsThatCannotWorkAreRefusedByName(t *testing.T) {
	pem, _ := newKey(t)
	good := config.APNs{APNsCredential: config.APNsCredential{Key: config.NewSecret(pem), KeyID: "ABC123DEFG", TeamID: "DEF123GHIJ"}}
	for name, tc := range map[string]struct {
		change func(*config.APNs)
		says   string
	}{
		"no key":                   {func(c *config.APNs) { c.Key = config.NewSecret("") }, "apns.key:"},
		"a key that is none":       {func(c *config.APNs) { c.Key = config.NewSecret("secret") }, "apns.key:"},
		"no key id":                {func(c *config.APNs) { c.KeyID = "" }, "apns.key_id"},
		"no team id":               {func(c *config.APNs) { c.TeamID = "" }, "apns.team_id"},
		"a host without a scheme":  {func(c *config.APNs) { c.Host = "api.push.apple.com" }, "apns.host"},
		"a host without TLS":       {func(c *config.APNs) { c.Host = "http://api.push.apple.com" }, "apns.host"},
		"a host with a path":       {func(c *config.APNs) { c.Host = "https://api.push.apple.com/3/device" }, "apns.host"},
		"a host with a password":   {func(c *config.APNs) { c.Host = "https://u:secret@api.push.apple.com" }, "apns.host"},
		"an authority not there":   {func(c *config.APNs) { c.CAFile = "/nowhere/ca.pem" }, "apns.ca_file"},
		"an authority that's none": {func(c *config.APNs) { c.CAFile = "token_test.go" }, "apns.ca_file"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			tc.change(&cfg)
			_, err := New(cfg)
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v, want it to name %s", err, tc.says)
			}
		})
	}
	a, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	services := a.apps[""].account.services
	production, sandbox := services[notice.EnvironmentProduction], services[notice.EnvironmentSandbox]
	if production.host != defaultHost || sandbox.host != sandboxHost || a.timeout != defaultTimeout || len(production.pool.slots) != defaultConnections {
		t.Errorf("the defaults: %+v, %+v, %v", production, sandbox, a.timeout)
	}
}
