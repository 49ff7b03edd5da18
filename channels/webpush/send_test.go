package webpush

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
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
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newKey(t testing.TB) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pkcs8(t, key)
}

func pkcs8(t testing.TB, key any) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

type seen struct {
	header http.Header
	body   []byte
}

// service is a stand-in for a push service: HTTPS on loopback.
type service struct {
	*httptest.Server
	mu       sync.Mutex
	requests []seen
}

func newService(t testing.TB, answer http.HandlerFunc) *service {
	s := &service{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.requests = append(s.requests, seen{r.Header.Clone(), body})
		s.mu.Unlock()
		if answer == nil {
			w.WriteHeader(http.StatusCreated)
			return
		}
		answer(w, r)
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *service) last() seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[len(s.requests)-1]
}

func (s *service) section(t testing.TB) config.WebPush {
	file := filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	return config.WebPush{
		Subject: "mailto:ops@acme.example", PrivateKey: config.NewSecret(newKey(t)),
		Timeout: config.Duration(5 * time.Second), AllowNetworks: []string{"127.0.0.0/8"}, CAFile: file,
	}
}

func newAdapter(t testing.TB, cfg config.WebPush, opts ...Option) *Adapter {
	a, err := New(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func message(id, subscription string) channels.Message {
	return channels.Message{
		ID: id, Lane: notice.LaneNormal, Attempt: 1,
		Address: notice.Address{Channel: notice.ChannelWebPush, To: subscription},
		Content: notice.Content{Push: &notice.PushContent{Title: "Shipped", Body: "Order A-1"}},
	}
}

func send(t testing.TB, a *Adapter, m channels.Message) channels.Result {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return a.Send(ctx, m)
}

func TestAPushGoesOutAsTheRFCsSay(t *testing.T) {
	srv, b := newService(t, nil), newBrowser(t)
	at := time.Now().Truncate(time.Second)
	a := newAdapter(t, srv.section(t), WithClock(func() time.Time { return at }))
	m := message("3-x-0", b.subscription(srv.URL+"/push/1"))
	m.Content.Push.Data = []byte(`{"order":"A-1"}`)
	m.ExpiresAt = at.Add(90 * time.Second)
	m.CollapseKey = strings.Repeat("order-A-1", 20)
	if got := send(t, a, m); got.Verdict != channels.Sent || got.ProviderID != "" {
		t.Fatalf("%+v", got)
	}
	req := srv.last()
	for name, want := range map[string]string{
		"TTL": "90", "Urgency": "normal", "Content-Encoding": "aes128gcm", "Topic": topic(m.CollapseKey),
	} {
		if have := req.header.Get(name); have != want {
			t.Errorf("%s is %q, want %q", name, have, want)
		}
	}
	if n := len(req.header.Get("Topic")); n != 32 {
		t.Errorf("the topic has %d characters, and 32 at most are allowed", n)
	}
	plain, err := b.read(req.body)
	if want := `{"id":"3-x-0","title":"Shipped","body":"Order A-1","data":{"order":"A-1"}}`; err != nil || string(plain) != want {
		t.Errorf("the browser reads %s (%v), want %s", plain, err, want)
	}
}

func TestTheVAPIDTokenIsSignedForTheServiceAndKeptHalfItsLife(t *testing.T) {
	srv, b := newService(t, nil), newBrowser(t)
	at := time.Now().Truncate(time.Second)
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return at }
	a := newAdapter(t, srv.section(t), WithClock(clock))
	m := message("3-x-0", b.subscription(srv.URL+"/push/1"))
	authorization := func() string {
		if got := send(t, a, m); got.Verdict != channels.Sent {
			t.Fatal(got.Err)
		}
		return srv.last().header.Get("Authorization")
	}
	first := authorization()
	claims := verify(t, a, first)
	if claims["aud"] != srv.URL || claims["sub"] != "mailto:ops@acme.example" || int64(claims["exp"].(float64)) != at.Add(12*time.Hour).Unix() {
		t.Errorf("claims %v", claims)
	}
	for _, step := range []struct {
		later time.Duration
		same  bool
	}{{6*time.Hour - time.Second, true}, {time.Second, false}} {
		mu.Lock()
		at = at.Add(step.later)
		mu.Unlock()
		if next := authorization(); (next == first) != step.same {
			t.Errorf("after another %v: the same token is %v, want %v", step.later, next == first, step.same)
		}
	}
}

// verify checks a VAPID header with its own key and gives the claims.
func verify(t *testing.T, a *Adapter, header string) jwt.MapClaims {
	t.Helper()
	rest, ok := strings.CutPrefix(header, "vapid t=")
	token, key, named := strings.Cut(rest, ", k=")
	if !ok || !named || key != a.PublicKey() {
		t.Fatalf("the header %q does not name the key %s", header, a.PublicKey())
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), unb64(t, key))
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return public, nil }, jwt.WithValidMethods([]string{"ES256"})); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestTokensAreKeptForABoundedNumberOfServices(t *testing.T) {
	v, err := newVAPID(newKey(t), "mailto:ops@acme.example", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxAudiences + 10 {
		if _, err := v.authorization(fmt.Sprintf("https://%d.example", i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(v.tokens) > maxAudiences {
		t.Errorf("%d tokens are kept", len(v.tokens))
	}
}

func TestLanesAndLifetimesBecomeHeaders(t *testing.T) {
	srv, b := newService(t, nil), newBrowser(t)
	at := time.Now()
	a := newAdapter(t, srv.section(t), WithClock(func() time.Time { return at }))
	for name, tc := range map[string]struct {
		lane         notice.Lane
		expires      time.Time
		urgency, ttl string
	}{
		"critical is high":                     {notice.LaneCritical, time.Time{}, "high", "2419200"},
		"normal is normal, and kept 28 days":   {notice.LaneNormal, time.Time{}, "normal", "2419200"},
		"bulk is low":                          {notice.LaneBulk, at.Add(time.Hour), "low", "3600"},
		"what has expired is now or never":     {notice.LaneNormal, at.Add(-time.Hour), "normal", "0"},
		"nothing is kept longer than 28 days":  {notice.LaneNormal, at.Add(9999 * time.Hour), "normal", "2419200"},
		"part of a second is not a second yet": {notice.LaneNormal, at.Add(1900 * time.Millisecond), "normal", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			m := message("3-x-0", b.subscription(srv.URL+"/push/1"))
			m.Lane, m.ExpiresAt = tc.lane, tc.expires
			if got := send(t, a, m); got.Verdict != channels.Sent {
				t.Fatal(got.Err)
			}
			h := srv.last().header
			if h.Get("Urgency") != tc.urgency || h.Get("TTL") != tc.ttl || h.Values("Topic") != nil {
				t.Errorf("urgency %q, TTL %q, topic %q", h.Get("Urgency"), h.Get("TTL"), h.Get("Topic"))
			}
		})
	}
}

func TestEveryDocumentedStatusHasItsVerdict(t *testing.T) {
	var status int
	srv := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	})
	a := newAdapter(t, srv.section(t))
	sub := newBrowser(t).subscription(srv.URL + "/push/1")
	rows := append(table(), row{418, channels.Rejected, 0, "", ""}, row{599, channels.Retry, 0, "", ""}, row{300, channels.Rejected, 0, "", ""}, row{226, channels.Sent, 0, "", ""})
	for _, r := range rows {
		t.Run(fmt.Sprint(r.status), func(t *testing.T) {
			status = r.status
			got := send(t, a, message("3-x-0", sub))
			if got.Verdict != r.verdict || got.Scope != r.scope || got.Code != fmt.Sprint(r.status) {
				t.Errorf("got %+v, want %v scope %v", got, r.verdict, r.scope)
			}
			if later := r.verdict == channels.Retry || r.verdict == channels.Throttled; later != (got.RetryAfter == 7*time.Second) {
				t.Errorf("RetryAfter %v", got.RetryAfter)
			}
		})
	}
}

func TestOnlyA404AndA410RemoveASubscriptionAndNothingStopsTheChannel(t *testing.T) {
	rows := index(table())
	for status := 100; status < 600; status++ {
		got := lookUp(rows, status).verdict
		if gone := status == 404 || status == 410; gone != (got == channels.Gone) {
			t.Errorf("%d is %v", status, got)
		}
		if got == channels.Broken {
			t.Errorf("%d is Broken: any subscriber could have his endpoint answer it", status)
		}
	}
}

func TestAnAddressInsideIsNeverConnectedTo(t *testing.T) {
	srv, b := newService(t, nil), newBrowser(t)
	cfg := srv.section(t)
	cfg.AllowNetworks = nil
	a := newAdapter(t, cfg)
	for _, endpoint := range []string{srv.URL, "https://localhost:1/", "https://[::1]:1/", "https://10.0.0.1/", "https://169.254.169.254/latest", "https://[::ffff:127.0.0.1]/"} {
		got := send(t, a, message("3-x-0", b.subscription(endpoint)))
		if got.Verdict != channels.Rejected || got.Code != "address" {
			t.Errorf("%s: %+v", endpoint, got)
		}
	}
	if len(srv.requests) != 0 {
		t.Error("a request arrived")
	}
}

func TestPayloadsAreMadeToFit(t *testing.T) {
	for name, tc := range map[string]struct {
		content notice.PushContent
		fails   string
		check   func(content) bool
	}{
		"a short one stays":        {notice.PushContent{Title: "t", Body: "b"}, "", func(c content) bool { return c.Body == "b" }},
		"a long body is shortened": {notice.PushContent{Title: "t", Body: strings.Repeat("wörd ", 2000)}, "", func(c content) bool { return strings.HasSuffix(c.Body, "wörd…") }},
		"a body of markup as well": {notice.PushContent{Body: strings.Repeat("<b>", 2000)}, "", func(c content) bool { return strings.HasSuffix(c.Body, "…") }},
		"a title cannot be":        {notice.PushContent{Title: strings.Repeat("t", 4000)}, "title and data", nil},
		"nor can data":             {notice.PushContent{Body: "b", Data: []byte(`{"k":"` + strings.Repeat("v", 4000) + `"}`)}, "title and data", nil},
		"data that is not JSON":    {notice.PushContent{Body: "b", Data: []byte(`{"secret`)}, "not JSON", nil},
		"data with a name twice":   {notice.PushContent{Body: "b", Data: []byte(`{"secret":1,"secret":2}`)}, "not JSON", nil},
		"bytes that are not UTF-8": {notice.PushContent{Body: "a\xffb"}, "", func(c content) bool { return c.Body == "a\ufffdb" }},
	} {
		t.Run(name, func(t *testing.T) {
			m := message("3-x-0", "")
			m.Content.Push = &tc.content
			raw, err := newPayload(m, maxPayload)
			if tc.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fails) || strings.Contains(err.Error(), "secret") {
					t.Errorf("error %v, want it to say %q", err, tc.fails)
				}
				return
			}
			var got content
			if err != nil || len(raw) > maxPayload || json.Unmarshal(raw, &got) != nil || !tc.check(got) {
				t.Errorf("%d bytes, %v: %.200s", len(raw), err, raw)
			}
		})
	}
	if _, err := newPayload(channels.Message{}, maxPayload); err == nil {
		t.Error("a message without push content was encoded")
	}
}

func TestKeysAreReadInEveryUsualForm(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := key.Bytes()
	sec1, _ := x509.MarshalECPrivateKey(key)
	sec1PEM := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}))
	params := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
	public, _ := key.PublicKey.Bytes()
	for name, text := range map[string]string{
		"PKCS #8": pkcs8(t, key), "SEC 1": sec1PEM, "as openssl writes it": params + sec1PEM,
		"base64url": b64(raw), "base64url with a newline": b64(raw) + "\n", "padded": b64(raw) + "=",
	} {
		v, err := newVAPID(text, "https://acme.example", time.Now)
		if err != nil || v.public != b64(public) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSectionsThatCannotWorkAreRefusedByName(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := config.WebPush{Subject: "mailto:ops@acme.example", PrivateKey: config.NewSecret(newKey(t))}
	for name, tc := range map[string]struct {
		change func(*config.WebPush)
		says   string
	}{
		"no subject":          {func(c *config.WebPush) { c.Subject = "" }, "webpush.subject"},
		"a bare mail address": {func(c *config.WebPush) { c.Subject = "ops@acme.example" }, "webpush.subject"},
		"no key":              {func(c *config.WebPush) { c.PrivateKey = config.NewSecret("") }, "webpush.private_key"},
		"a key that is none":  {func(c *config.WebPush) { c.PrivateKey = config.NewSecret("secret!") }, "webpush.private_key"},
		"only the key's curve": {func(c *config.WebPush) {
			c.PrivateKey = config.NewSecret("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n")
		}, "webpush.private_key"},
		"a key of 31 bytes":      {func(c *config.WebPush) { c.PrivateKey = config.NewSecret(b64(make([]byte, 31))) }, "webpush.private_key"},
		"a key that is zero":     {func(c *config.WebPush) { c.PrivateKey = config.NewSecret(b64(make([]byte, 32))) }, "webpush.private_key"},
		"a key of another curve": {func(c *config.WebPush) { c.PrivateKey = config.NewSecret(pkcs8(t, p384)) }, "webpush.private_key"},
		"a network that is none": {func(c *config.WebPush) { c.AllowNetworks = []string{"all"} }, "webpush.allow_networks"},
		"an authority not there": {func(c *config.WebPush) { c.CAFile = "/nowhere/ca.pem" }, "webpush.ca_file"},
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
}

func TestAServiceThatTakesLessGetsLessOnce(t *testing.T) {
	b := newBrowser(t)
	limit := 2200
	srv := newService(t, nil)
	var sizes []int64
	srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sizes = append(sizes, r.ContentLength)
		if r.ContentLength > int64(limit) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	a := newAdapter(t, srv.section(t))
	m := message("3-x-0", b.subscription(srv.URL+"/push/1"))
	m.Content.Push.Body = strings.Repeat("wörd ", 2000)
	if r := send(t, a, m); r.Verdict != channels.Sent || len(sizes) != 2 {
		t.Errorf("%+v after requests of %v bytes", r, sizes)
	}
	sizes, limit = nil, 100
	if r := send(t, a, m); r.Verdict != channels.Rejected || r.Code != "413" || len(sizes) != 2 {
		t.Errorf("%+v after requests of %v bytes", r, sizes)
	}
	sizes = nil
	m.Content.Push.Body = "short"
	if r := send(t, a, m); r.Verdict != channels.Rejected || len(sizes) != 1 {
		t.Errorf("%+v after requests of %v bytes", r, sizes)
	}
}

func TestOptionsReachTheServiceAndThePage(t *testing.T) {
	srv, b := newService(t, nil), newBrowser(t)
	m := message("3-x-0", b.subscription(srv.URL+"/push/1"))
	m.Content.Push.Options = &notice.PushOptions{WebPush: &notice.WebPushOptions{Urgency: "very-low", Notification: []byte(`{"icon":"/i.png","tag":"t"}`)}}
	send(t, newAdapter(t, srv.section(t)), m)
	req := srv.last()
	plain, err := b.read(req.body)
	want := `{"id":"3-x-0","title":"Shipped","body":"Order A-1","notification":{"icon":"/i.png","tag":"t"}}`
	if err != nil || string(plain) != want || req.header.Get("Urgency") != "very-low" {
		t.Errorf("urgency %q, the page reads %s (%v)", req.header.Get("Urgency"), plain, err)
	}
}

func TestHostileTextsAreReadAsTextOrRefused(t *testing.T) {
	srv, b := newService(t, nil), newBrowser(t)
	a := newAdapter(t, srv.section(t))
	for name, p := range map[string]notice.PushContent{
		"a NUL":            {Body: "a\x00b"},
		"an override":      {Title: "a\u202eb", Body: "\u200b\u2060\ufeff"},
		"no UTF-8":         {Body: "\xff\xed\xa0\x80"},
		"half a pair":      {Body: "b", Data: []byte(`{"a":"\ud800"}`)},
		"a megabyte":       {Title: "t", Body: strings.Repeat("ä", 1<<19)},
		"a title as long":  {Title: strings.Repeat("ä", 1<<19), Body: "b"},
		"one character":    {Body: "e" + strings.Repeat("\u0301", 4000)},
		"brackets in data": {Body: "b", Data: []byte(`{"a":` + strings.Repeat("[", 1500) + strings.Repeat("]", 1500) + `}`)},
	} {
		t.Run(name, func(t *testing.T) {
			m := message("3-x-0", b.subscription(srv.URL+"/push/1"))
			m.Content.Push = &p
			switch r := send(t, a, m); r.Verdict {
			case channels.Sent:
				if plain, err := b.read(srv.last().body); err != nil || !jsontext.Value(plain).IsValid() {
					t.Errorf("the page reads %.100q, %v", plain, err)
				}
			case channels.Rejected:
				if len(r.Err.Error()) > 300 {
					t.Errorf("the error repeats it: %.100v", r.Err)
				}
			default:
				t.Errorf("%+v", r)
			}
		})
	}
}
