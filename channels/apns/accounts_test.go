package apns

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"software.sslmate.com/src/go-pkcs12"
)

// pushCertificate is a self-signed certificate with its key.
func pushCertificate(t *testing.T) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	return certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "Apple Push Services: com.acme.app"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// serverCertificate is what a stand-in on loopback shows.
func serverCertificate(t *testing.T) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	return certificate(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true})
}

func certificate(t *testing.T, template *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotAfter = big.NewInt(1), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

func writeFile(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func certificateFiles(t *testing.T) (files map[string]string, leaf *x509.Certificate) {
	t.Helper()
	key, leaf := pushCertificate(t)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	files = map[string]string{"PEM": writeFile(t, "push.pem", text)}
	for name, encoder := range map[string]*pkcs12.Encoder{"PKCS #12 as openssl 3 writes it": pkcs12.Modern, "PKCS #12 as Keychain writes it": pkcs12.LegacyDES} {
		p12, err := encoder.Encode(key, leaf, nil, "p12-secret")
		if err != nil {
			t.Fatal(err)
		}
		files[name] = writeFile(t, "push.p12", p12)
	}
	return files, leaf
}

func TestACertificateSpeaksInPlaceOfAToken(t *testing.T) {
	files, leaf := certificateFiles(t)
	var shown [][]byte
	var bearers []string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bearers = append(bearers, r.Header.Get("Authorization"))
		if len(r.TLS.PeerCertificates) == 1 {
			shown = append(shown, r.TLS.PeerCertificates[0].Raw)
		}
	}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			shown, bearers = nil, nil
			cfg := section(t, srv.URL, srv.Certificate())
			cfg.APNsCredential = config.APNsCredential{Certificate: file, CertificatePassword: config.NewSecret("p12-secret")}
			wants(t, send(t, newAdapter(t, cfg), message()), channels.Sent, "200")
			if len(shown) != 1 || string(shown[0]) != string(leaf.Raw) || bearers[0] != "" {
				t.Errorf("%d certificates, authorization %q", len(shown), bearers)
			}
		})
	}
}

func TestCertificatesThatCannotBeReadAreRefusedByName(t *testing.T) {
	files, _ := certificateFiles(t)
	for name, c := range map[string]config.APNsCredential{
		"a wrong password": {Certificate: files["PKCS #12 as openssl 3 writes it"], CertificatePassword: config.NewSecret("other-secret")},
		"no file":          {Certificate: "/nowhere/push.p12"},
		"another file":     {Certificate: "accounts_test.go"},
		"half a PEM":       {Certificate: writeFile(t, "half.pem", []byte("-----BEGIN CERTIFICATE-----\nsecret\n"))},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(config.APNs{APNsCredential: c})
			if err == nil || !strings.Contains(err.Error(), "apns.certificate: ") || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestEveryAppHasItsTopicAndItsKey(t *testing.T) {
	srv := newApple(t, 100, nil)
	cfg := section(t, srv.URL, srv.Certificate())
	own, _ := newKey(t)
	cfg.Apps = []config.APNsApp{
		{App: "com.acme.other"},
		{App: "tablet", Topic: "com.acme.tablet", APNsCredential: config.APNsCredential{Key: config.NewSecret(own), KeyID: "OTHERKEY00", TeamID: "DEF123GHIJ"}},
	}
	a := newAdapter(t, cfg)
	for name, tc := range map[string]struct{ app, topic, keyID string }{
		"no app is the channel's":         {"", "com.acme.app", "ABC123DEFG"},
		"its name is, too":                {"com.acme.app", "com.acme.app", "ABC123DEFG"},
		"an app without a key has ours":   {"com.acme.other", "com.acme.other", "ABC123DEFG"},
		"an app with its own has its own": {"tablet", "com.acme.tablet", "OTHERKEY00"},
	} {
		t.Run(name, func(t *testing.T) {
			m := message()
			m.Address.App = tc.app
			wants(t, send(t, a, m), channels.Sent, "200")
			all := srv.all()
			h := all[len(all)-1].header
			if h.Get("apns-topic") != tc.topic || !strings.Contains(decodedHeader(t, h.Get("Authorization")), tc.keyID) {
				t.Errorf("topic %q, token of %s", h.Get("apns-topic"), decodedHeader(t, h.Get("Authorization")))
			}
		})
	}
	m := message()
	m.Address.App = "com.stranger"
	wants(t, send(t, a, m), channels.Rejected, "app")
	if a.apps[""].account != a.apps["com.acme.other"].account || a.apps[""].account == a.apps["tablet"].account {
		t.Error("one key has several accounts, or two keys one")
	}
}

// TestOneDevicesOwnAppDoesNotStopTheChannel: where a device may name its app
// itself, a topic that Apple refuses is the device's fault.
func TestOneDevicesOwnAppDoesNotStopTheChannel(t *testing.T) {
	for _, reason := range []string{"BadTopic", "TopicDisallowed", "MissingTopic", "DeviceTokenNotForTopic"} {
		srv := newApple(t, 100, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"reason":"`+reason+`"}`)
		})
		a := adapterFor(t, srv)
		m := message()
		m.Address.App = "com.stranger"
		wants(t, send(t, a, m), channels.Rejected, reason)
		m.Address.App = "com.acme.app"
		if got := send(t, a, m); got.Verdict != channels.Broken && reason != "DeviceTokenNotForTopic" {
			t.Errorf("%s of our own topic: %v", reason, got.Verdict)
		}
	}
}

func TestADeviceIsPushedToWhereItIsKnown(t *testing.T) {
	production, sandbox := newApple(t, 100, nil), newApple(t, 100, nil)
	cfg := section(t, production.URL, production.Certificate())
	cfg.SandboxHost = sandbox.URL
	a := newAdapter(t, cfg)
	for environment, want := range map[notice.Environment]*apple{"": production, "production": production, "sandbox": sandbox} {
		before := len(want.all())
		m := message()
		m.Address.Environment = environment
		wants(t, send(t, a, m), channels.Sent, "200")
		if len(want.all()) != before+1 {
			t.Errorf("a device of environment %q was looked for in the other", environment)
		}
	}
}

func TestEveryPushTypeHasItsTopicPriorityAndSize(t *testing.T) {
	srv := newApple(t, 100, nil)
	a := adapterFor(t, srv)
	for kind, want := range map[notice.PushType]struct{ topic, priority string }{
		"alert": {"com.acme.app", "10"}, "background": {"com.acme.app", "5"}, "voip": {"com.acme.app.voip", "10"},
		"complication": {"com.acme.app.complication", "10"}, "fileprovider": {"com.acme.app.pushkit.fileprovider", "10"}, "mdm": {"com.acme.app", "10"},
		"location": {"com.acme.app.location-query", "10"}, "liveactivity": {"com.acme.app.push-type.liveactivity", "10"},
		"pushtotalk": {"com.acme.app.voip-ptt", "10"}, "controls": {"com.acme.app.push-type.controls", "10"}, "widgets": {"com.acme.app.push-type.widgets", "10"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			m := message()
			m.Content.Push = &notice.PushContent{Data: []byte(`{"a":1}`), Options: withOptions(notice.APNsOptions{PushType: kind})}
			wants(t, send(t, a, m), channels.Sent, "200")
			all := srv.all()
			h := all[len(all)-1].header
			if h.Get("apns-topic") != want.topic || h.Get("apns-priority") != want.priority || h.Get("apns-push-type") != string(kind) {
				t.Errorf("topic %q, priority %q, type %q", h.Get("apns-topic"), h.Get("apns-priority"), h.Get("apns-push-type"))
			}
			if now := h.Get("apns-expiration") == "0"; now != (kind == notice.PushToTalk) {
				t.Errorf("expiration %q", h.Get("apns-expiration"))
			}
		})
	}
	if n := len(notice.PushTypes()); n != 11 {
		t.Errorf("there are %d push types: add the new one here", n)
	}
	m := message()
	m.Content.Push.Options = withOptions(notice.APNsOptions{Priority: 1})
	send(t, a, m)
	if all := srv.all(); all[len(all)-1].header.Get("apns-priority") != "1" {
		t.Error("the priority that was asked for is not sent")
	}
}

func TestWarmConnectsBeforeTheFirstPush(t *testing.T) {
	srv := newApple(t, 100, nil)
	var mu sync.Mutex
	opened := 0
	a := adapterFor(t, srv, WithDialer(countingDialer(&mu, &opened)))
	a.Warm()
	waitFor(t, func() bool {
		p := poolOf(a)
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.slots[0].conn != nil && p.slots[1].conn != nil
	})
	wants(t, send(t, a, message()), channels.Sent, "200")
	mu.Lock()
	defer mu.Unlock()
	if opened != 2 {
		t.Errorf("%d connections", opened)
	}
}

// fakeIssuer is what consumers share; away: it does not answer.
type fakeIssuer struct {
	mu   sync.Mutex
	now  func() time.Time
	at   time.Time
	away bool
	asks int
}

func (f *fakeIssuer) Issued(_ context.Context, key string, proposed, refused time.Time) (time.Time, time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asks++
	now := f.now()
	switch {
	case f.away:
		return time.Time{}, 0, errors.New("away")
	case key != "DEF123GHIJ/ABC123DEFG":
		return time.Time{}, 0, errors.New("another key")
	case f.at.IsZero() && !proposed.IsZero():
		f.at = proposed
	case f.at.IsZero(), now.Sub(f.at) >= RenewAfter, f.at.Equal(refused) && now.Sub(f.at) >= RenewLeast:
		f.at = now
	}
	return f.at, now.Sub(f.at), nil
}

// TestConsumersWhoseClocksDifferPresentOneToken walks a day with consumers
// whose clocks are minutes apart, of which one starts late.
func TestConsumersWhoseClocksDifferPresentOneToken(t *testing.T) {
	pem, key := newKey(t)
	c := newClock(time.Date(2026, 11, 3, 12, 7, 0, 0, time.UTC))
	shared := &fakeIssuer{now: c.now}
	consumer := func(skew time.Duration) *provider {
		p := tokenFrom(t, pem, c)
		p.issuer, p.now = shared, func() time.Time { return c.now().Add(skew) }
		return p
	}
	all := []*provider{consumer(0), consumer(-17 * time.Minute), consumer(25 * time.Minute)}
	last, changed, changes := "", c.now(), 0
	for minute := range 24 * 60 {
		if minute == 700 {
			all = append(all, consumer(3*time.Hour))
		}
		seen := map[string]bool{}
		for _, p := range all {
			seen[bearer(t, p)] = true
		}
		if len(seen) != 1 {
			t.Fatalf("minute %d: %d tokens", minute, len(seen))
		}
		now := bearer(t, all[0])
		if age := c.now().Sub(issued(t, &key.PublicKey, now)); age < 0 || age > time.Hour {
			t.Fatalf("minute %d: a token of age %v", minute, age)
		}
		if now != last {
			if changes++; last != "" && c.now().Sub(changed) < RenewLeast {
				t.Fatalf("minute %d: changed after %v", minute, c.now().Sub(changed))
			}
			last, changed = now, c.now()
		}
		c.advance(time.Minute)
	}
	if changes < 24 || changes > 37 || shared.asks > 4*40 {
		t.Errorf("%d tokens a day, asked for %d times", changes, shared.asks)
	}
}

// TestWithoutTheIssuerTokensAreStillAgreedOn: a token is kept while it may be,
// then minted by this machine's clock, and proposed when the issuer is back.
func TestWithoutTheIssuerTokensAreStillAgreedOn(t *testing.T) {
	pem, key := newKey(t)
	c := newClock(time.Date(2026, 11, 3, 12, 7, 0, 0, time.UTC))
	shared := &fakeIssuer{now: c.now}
	p := tokenFrom(t, pem, c)
	p.issuer = shared
	first := bearer(t, p)
	shared.away = true
	c.advance(50 * time.Minute)
	if bearer(t, p) != first {
		t.Error("a token that is still good was replaced")
	}
	c.advance(10 * time.Minute)
	alone := bearer(t, p)
	if at := issued(t, &key.PublicKey, alone); !at.Equal(c.now().Truncate(tokenPeriod)) {
		t.Errorf("issued at %v", at)
	}
	shared.away, shared.at = false, time.Time{} // and it has forgotten
	c.advance(askAgain)
	if bearer(t, p) != alone || !shared.at.Equal(issued(t, &key.PublicKey, alone)) {
		t.Error("the token that was in use was not proposed")
	}
}

func TestARefusedTokenIsRenewedForAll(t *testing.T) {
	pem, _ := newKey(t)
	c := newClock(time.Date(2026, 11, 3, 12, 7, 0, 0, time.UTC))
	shared := &fakeIssuer{now: c.now}
	one, other := tokenFrom(t, pem, c), tokenFrom(t, pem, c)
	one.issuer, other.issuer = shared, shared
	old := bearer(t, one)
	if bearer(t, other) != old {
		t.Fatal("two tokens")
	}
	if _, ok := one.renew(t.Context(), old); ok {
		t.Error("a token that is new was replaced")
	}
	c.advance(RenewLeast)
	fresh, ok := one.renew(t.Context(), old)
	if !ok || fresh == old {
		t.Fatal("it was not renewed")
	}
	if got, ok := other.renew(t.Context(), old); !ok || got != fresh {
		t.Error("the other consumer has another one")
	}
}

// decodedHeader is the header of the token in an authorization.
func decodedHeader(t *testing.T, authorization string) string {
	t.Helper()
	head, _, _ := strings.Cut(strings.TrimPrefix(authorization, "bearer "), ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// countingDialer counts the connections that it opens.
func countingDialer(mu *sync.Mutex, opened *int) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		mu.Lock()
		*opened++
		mu.Unlock()
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
}
