package apns

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
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
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const deviceToken = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"

// seen is one request as the stand-in got it.
type seen struct {
	path   string
	header http.Header
	body   []byte
}

// apple is a stand-in for Apple's service: HTTP/2 over TLS on loopback.
type apple struct {
	*httptest.Server
	mu       sync.Mutex
	requests []seen
	conns    map[string]bool
}

// newApple starts a stand-in that records each request and then has answer
// write the answer; nil answers 200.
func newApple(t testing.TB, streams int, answer http.HandlerFunc) *apple {
	a := &apple{conns: map[string]bool{}}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		a.requests = append(a.requests, seen{r.URL.Path, r.Header.Clone(), body})
		a.conns[r.RemoteAddr] = true
		a.mu.Unlock()
		if answer == nil {
			w.Header().Set("apns-id", r.Header.Get("apns-id"))
			return
		}
		answer(w, r)
	}))
	a.EnableHTTP2 = true
	a.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

func (a *apple) all() []seen {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]seen(nil), a.requests...)
}

func newKey(t testing.TB) (string, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), key
}

func caFile(t testing.TB, cert *x509.Certificate) string {
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func section(t testing.TB, host string, cert *x509.Certificate) config.APNs {
	key, _ := newKey(t)
	return config.APNs{
		Host: host, APNsCredential: config.APNsCredential{Key: config.NewSecret(key), KeyID: "ABC123DEFG", TeamID: "DEF123GHIJ"},
		Topic: "com.acme.app", CAFile: caFile(t, cert), Connections: 2,
		Timeout: config.Duration(5 * time.Second),
	}
}

func newAdapter(t testing.TB, cfg config.APNs, opts ...Option) *Adapter {
	a, err := New(cfg, append([]Option{WithRedialAfter(10 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func adapterFor(t testing.TB, a *apple, opts ...Option) *Adapter {
	return newAdapter(t, section(t, a.URL, a.Certificate()), opts...)
}

func message() channels.Message {
	return channels.Message{
		ID: "3-0123456789abcdefghij-0", Lane: notice.LaneNormal,
		Address: notice.Address{Channel: notice.ChannelAPNs, To: deviceToken},
		Content: notice.Content{Push: &notice.PushContent{Title: "Shipped", Body: "Order A-1 is on its way"}},
		Attempt: 1,
	}
}

func send(t testing.TB, a *Adapter, m channels.Message) channels.Result {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return a.Send(ctx, m)
}

// wants checks a result's verdict and code, and that a failure is explained
// without a secret.
func wants(t *testing.T, got channels.Result, verdict channels.Verdict, code string) {
	t.Helper()
	if got.Verdict != verdict || got.Code != code {
		t.Errorf("got %v %q (%v), want %v %q", got.Verdict, got.Code, got.Err, verdict, code)
	}
	if (got.Err == nil) != (verdict == channels.Sent) {
		t.Errorf("a %v result has error %v", got.Verdict, got.Err)
	}
	if got.Err != nil && (strings.Contains(got.Err.Error(), deviceToken) || strings.Contains(got.Err.Error(), "127.0.0.1")) {
		t.Errorf("the error holds the token or the address: %v", got.Err)
	}
}

// unreachable is an address on which nothing listens.
func unreachable(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "https://" + l.Addr().String()
}

// poolOf is the pool of the one service that most tests speak to.
func poolOf(a *Adapter) *pool {
	return a.apps[""].account.services[notice.EnvironmentProduction].pool
}
