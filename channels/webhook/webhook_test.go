package webhook

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/channelstest"
	"github.com/carillonhq/carillon/config"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// received is one request as the receiver saw it.
type received struct {
	header http.Header
	body   string
	peer   string // the connection it came over
}

// receiver records requests and answers 204.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	seen []received
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.seen = append(r.seen, received{req.Header, string(body), req.RemoteAddr})
		r.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) requests() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.seen...)
}

func localAdapter(t *testing.T, opts ...Option) *Adapter {
	t.Helper()
	a, err := New(config.Webhook{
		Timeout:       config.Duration(5 * time.Second),
		MaxResponse:   4 << 10,
		AllowNetworks: []string{"127.0.0.0/8"},
	}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func mustSend(t *testing.T, a *Adapter, m channels.Message) {
	t.Helper()
	if r := a.Send(t.Context(), m); r.Verdict != channels.Sent {
		t.Fatalf("%v: %v", r.Verdict, r.Err)
	}
}

func TestTheReferenceLibraryVerifiesWithEitherSecret(t *testing.T) {
	rec := startReceiver(t)
	mustSend(t, localAdapter(t), messageTo(rec.URL, "3-0123456789abcdefghij-0"))
	got := rec.requests()[0]
	for _, secret := range []string{secretA, secretB} {
		wh, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := wh.Verify([]byte(got.body), got.header); err != nil {
			t.Errorf("%s: %v", secret, err)
		}
		if err := wh.Verify([]byte(got.body+" "), got.header); err == nil {
			t.Errorf("%s: a changed body verifies", secret)
		}
	}
	other, err := standardwebhooks.NewWebhook("whsec_" + base64.StdEncoding.EncodeToString([]byte("some other secret of 24b")))
	if err != nil {
		t.Fatal(err)
	}
	if other.Verify([]byte(got.body), got.header) == nil {
		t.Error("another secret verifies")
	}
}

func TestWhatARequestCarries(t *testing.T) {
	rec := startReceiver(t)
	at := time.Unix(1700000000, 0)
	a := localAdapter(t, WithVersion("1.2.3"), WithClock(func() time.Time { return at }))
	m := messageTo(rec.URL+"/hook?x=1", "3-0123456789abcdefghij-0")
	m.Content.Webhook = []byte("{ \"b\" : 1,\n \"a\" : \"\\u0041\" }") // as rendered: not compacted, not reordered
	mustSend(t, a, m)
	at = at.Add(time.Minute)
	mustSend(t, a, m)
	first, second := rec.requests()[0], rec.requests()[1]
	if first.body != string(m.Content.Webhook) {
		t.Errorf("body %q, want it byte for byte", first.body)
	}
	for name, want := range map[string]string{
		"Content-Type":      "application/json",
		"User-Agent":        "Carillon/1.2.3",
		"Webhook-Id":        m.ID,
		"Webhook-Timestamp": "1700000000",
		"Content-Length":    fmt.Sprint(len(m.Content.Webhook)),
		"Accept-Encoding":   "",
		"Idempotency-Key":   "", // with one, net/http would send a POST again by itself
	} {
		if got := first.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if id, stamp := second.header.Get("Webhook-Id"), second.header.Get("Webhook-Timestamp"); id != m.ID || stamp != "1700000060" {
		t.Errorf("the second attempt: id %q at %q, want the same id a minute later", id, stamp)
	}
	if first.header.Get("Webhook-Signature") == second.header.Get("Webhook-Signature") {
		t.Error("another timestamp has the same signature")
	}
}

func TestWithoutASecretAWebhookIsUnsigned(t *testing.T) {
	rec := startReceiver(t)
	m := messageTo(rec.URL, "1-a-0")
	m.Address.Secret = ""
	mustSend(t, localAdapter(t), m)
	if _, signed := rec.requests()[0].header["Webhook-Signature"]; signed {
		t.Error("there is a signature")
	}
}

func TestUserAndPasswordOfTheURLAreSent(t *testing.T) {
	rec := startReceiver(t)
	mustSend(t, localAdapter(t), messageTo(strings.Replace(rec.URL, "http://", "http://ada:l0ve@", 1), "1-a-0"))
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:l0ve"))
	if got := rec.requests()[0].header.Get("Authorization"); got != want {
		t.Errorf("Authorization %q, want %q", got, want)
	}
}

func TestAMessageThatCanNeverGoIsRejected(t *testing.T) {
	for _, c := range []struct {
		name, code string
		set        func(*channels.Message)
	}{
		{"no URL", "invalid", func(m *channels.Message) { m.Address.To = "" }},
		{"a path alone", "invalid", func(m *channels.Message) { m.Address.To = "/" + pathToken }},
		{"another scheme", "invalid", func(m *channels.Message) { m.Address.To = "ftp://h.example/" + pathToken }},
		{"a file", "invalid", func(m *channels.Message) { m.Address.To = "file:///etc/passwd" }},
		{"no host", "invalid", func(m *channels.Message) { m.Address.To = "https:///" + pathToken }},
		{"a control character", "invalid", func(m *channels.Message) { m.Address.To = "http://h.example/" + pathToken + "\r\nx: y" }},
		{"no content", "invalid", func(m *channels.Message) { m.Content.Webhook = nil }},
		{"a secret that is not base64", "invalid", func(m *channels.Message) { m.Address.Secret = "whsec_!!!" }},
		{"a secret of nothing", "invalid", func(m *channels.Message) { m.Address.Secret = "whsec_" }},
		{"a private address", "address_refused", func(m *channels.Message) { m.Address.To = "http://10.1.2.3/" + pathToken }},
		{"the metadata service", "address_refused", func(m *channels.Message) { m.Address.To = "http://169.254.169.254/" + pathToken }},
		{"a name for loopback", "address_refused", func(m *channels.Message) { m.Address.To = "http://localhost:9/" + pathToken }},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := New(config.Webhook{Timeout: config.Duration(5 * time.Second), MaxResponse: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			m := messageTo("https://hooks.example/"+pathToken, "1-a-0")
			c.set(&m)
			r := a.Send(t.Context(), m)
			if r.Verdict != channels.Rejected || r.Code != c.code {
				t.Errorf("got %v, code %q, %v; want rejected, %q", r.Verdict, r.Code, r.Err, c.code)
			}
			channelstest.CheckResult(t, r, pathToken, "!!!", secretA[6:])
		})
	}
}

func TestAConnectionIsUsedAgainAfterASmallAnswer(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer string
		peers  int
	}{
		{"small", strings.Repeat("x", 1000), 1},
		{"none", "", 1},
		{"larger than max_response", strings.Repeat("x", 64<<10), 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			peers := map[string]bool{}
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				peers[r.RemoteAddr] = true // one request at a time
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, c.answer)
			}))
			defer srv.Close()
			a := localAdapter(t)
			for range 3 {
				mustSend(t, a, messageTo(srv.URL, "1-a-0"))
			}
			srv.Close() // the handlers have returned
			if len(peers) != c.peers {
				t.Errorf("%d connections for three requests, want %d", len(peers), c.peers)
			}
		})
	}
}

// TestAPostIsNotRepeatedBehindOurBack pins that net/http does not send a POST
// again by itself when a kept connection is closed under it: the receiver may
// have acted on it, and whether it is sent again is the caller's to decide.
func TestAPostIsNotRepeatedBehindOurBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	requests := 0
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					mu.Lock()
					requests++
					second := requests == 2
					mu.Unlock()
					if second {
						return // it was read, and is not answered
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
				}
			})
		}
	})
	defer serving.Wait()
	defer l.Close()
	a := localAdapter(t)
	defer a.Close()
	m := messageTo("http://"+l.Addr().String(), "1-a-0")
	mustSend(t, a, m)
	if r := a.Send(t.Context(), m); r.Verdict != channels.Unknown {
		t.Errorf("got %v, %v; want unknown", r.Verdict, r.Err)
	}
	mu.Lock()
	defer mu.Unlock()
	if requests != 2 {
		t.Errorf("the receiver saw %d requests, want 2", requests)
	}
}

func TestEveryStatusHasAVerdict(t *testing.T) {
	for status := 100; status <= 999; status++ {
		got := ruleFor(status).verdict
		switch {
		case status >= 200 && status < 300:
			if got != channels.Sent {
				t.Errorf("%d: %v", status, got)
			}
		case got == channels.Sent, got == channels.Rejected, got == channels.Broken, got == channels.Unknown:
			t.Errorf("%d: %v, want a failure that may pass", status, got)
		case got == channels.Gone && status != http.StatusGone, got == channels.Throttled && status != http.StatusTooManyRequests:
			t.Errorf("%d: %v", status, got)
		}
	}
}

func TestBadSettingsSayWhatToMend(t *testing.T) {
	good := config.Webhook{Timeout: config.Duration(time.Second), MaxResponse: 1}
	for _, c := range []struct {
		name string
		set  func(*config.Webhook)
		says string
	}{
		{"no timeout", func(c *config.Webhook) { c.Timeout = 0 }, "webhook.timeout"},
		{"a network that is none", func(c *config.Webhook) { c.AllowNetworks = []string{"ten"} }, `webhook.allow_networks: "ten"`},
		{"a missing ca_file", func(c *config.Webhook) { c.CAFile = "/nonexistent.pem" }, "webhook.ca_file"},
		{"a certificate without its key", func(c *config.Webhook) { c.ClientCert = "/nonexistent.pem" }, "webhook.client_cert"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good
			c.set(&cfg)
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to say %s", err, c.says)
			}
		})
	}
}

func FuzzSign(f *testing.F) {
	f.Add(secretA+" "+secretB, "1-a-0", `{}`)
	f.Add("  whsec_  AAAA", "id", "")
	f.Fuzz(func(t *testing.T, secrets, id, body string) {
		got, err := sign(secrets, id, "1700000000", []byte(body))
		if err != nil {
			return
		}
		for i, signature := range strings.Fields(got) {
			if strings.HasPrefix(signature, "v1a,") {
				continue // verified in TestAPrivateKeySignsWhatItsPublicKeyVerifies
			}
			key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(strings.Fields(secrets)[i], "whsec_"))
			if err != nil {
				t.Fatalf("%q was accepted as a secret", secrets)
			}
			h := hmac.New(sha256.New, key)
			io.WriteString(h, id+".1700000000."+body)
			if want := "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil)); signature != want {
				t.Errorf("%q, want %q", signature, want)
			}
		}
	})
}
