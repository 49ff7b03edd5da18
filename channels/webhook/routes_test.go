package webhook

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
)

func routed(t *testing.T, d ...config.Destination) *Adapter {
	t.Helper()
	a, err := New(config.Webhook{
		Timeout: config.Duration(5 * time.Second), MaxResponse: 4 << 10, AllowNetworks: []string{"127.0.0.0/8"}, Destinations: d,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func TestWhichDestinationHoldsAHost(t *testing.T) {
	a := routed(t,
		config.Destination{Host: "hooks.acme.example", Concurrency: 1},
		config.Destination{Host: "*.acme.example", Concurrency: 2},
		config.Destination{Host: "*.Bücher.example", Concurrency: 3},
		config.Destination{Host: "10.1.2.3", Concurrency: 4})
	for host, want := range map[string]int{
		"hooks.acme.example": 1, "hooks.acme.example.": 1, "a.b.acme.example": 2, "acme.example": 0, "evilacme.example": 0,
		"a.xn--bcher-kva.example": 3, "10.1.2.3": 4, "other.example": 0,
	} {
		if got := a.Places("https://" + host + ":8443"); got != want {
			t.Errorf("%s: %d in flight, want %d", host, got, want)
		}
	}
}

func TestADestinationIsSentItsHeaders(t *testing.T) {
	rec := startReceiver(t)
	a := routed(t, config.Destination{Host: "127.0.0.1", Headers: []config.Header{{Name: "X-Api-Key", Value: config.NewSecret("k3y")}, {Name: "accept", Value: config.NewSecret("*/*")}}})
	mustSend(t, a, messageTo(rec.URL, "1-a-0"))
	mustSend(t, a, messageTo(strings.Replace(rec.URL, "127.0.0.1", "localhost", 1), "1-a-0"))
	first, second := rec.requests()[0].header, rec.requests()[1].header
	if first.Get("X-Api-Key") != "k3y" || first.Get("Accept") != "*/*" {
		t.Errorf("the destination got %q", first)
	}
	if second.Get("X-Api-Key") != "" {
		t.Error("another host got the destination's key")
	}
}

func TestADestinationHasItsCertificateAndAuthority(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // one client hangs up on purpose
	srv.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	srv.StartTLS()
	defer srv.Close()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	pair := srv.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	d := config.Destination{Host: "127.0.0.1", CAFile: write("ca.pem", "CERTIFICATE", srv.Certificate().Raw)}
	m := messageTo(srv.URL, "1-a-0")
	if r := routed(t).Send(t.Context(), m); r.Verdict != channels.Retry || r.Code != "tls" {
		t.Errorf("without the authority: %v, %q, %v; want a TLS failure", r.Verdict, r.Code, r.Err)
	}
	if r := routed(t, d).Send(t.Context(), m); r.Code != "403" {
		t.Errorf("without a certificate: %q, %v; want 403", r.Code, r.Err)
	}
	d.ClientCert, d.ClientKey = write("cert.pem", "CERTIFICATE", pair.Certificate[0]), write("key.pem", "PRIVATE KEY", key)
	mustSend(t, routed(t, d), m)
}

func TestBadDestinationsSayWhatToMend(t *testing.T) {
	for _, c := range []struct {
		name string
		d    config.Destination
		says string
	}{
		{"a header that frames", config.Destination{Host: "h.example", Headers: []config.Header{{Name: "Transfer-Encoding", Value: config.NewSecret("chunked")}}}, "destinations[0].headers[0]: name: Transfer-Encoding"},
		{"a signed header", config.Destination{Host: "h.example", Headers: []config.Header{{Name: "Webhook-Id", Value: config.NewSecret("1")}}}, "Webhook-Id"},
		{"a line break in a value", config.Destination{Host: "h.example", Headers: []config.Header{{Name: "X-A", Value: config.NewSecret("1\r\nX-B: 2")}}}, "the value of X-A holds a line break"},
		{"a line break in a name", config.Destination{Host: "h.example", Headers: []config.Header{{Name: "X-A\r\nX-B", Value: config.NewSecret("1")}}}, "is no header name"},
		{"a key without its certificate", config.Destination{Host: "h.example", ClientKey: "key.pem"}, "give both or neither"},
		{"a missing authority", config.Destination{Host: "h.example", CAFile: "/nonexistent.pem"}, "destinations[0].ca_file"},
		{"a number for a host", config.Destination{Host: "0x7f.1"}, `destinations[0].host: "0x7f.1"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(config.Webhook{Timeout: config.Duration(time.Second), MaxResponse: 1, Destinations: []config.Destination{c.d}})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to say %s", err, c.says)
			}
		})
	}
}

func TestAPrivateKeySignsWhatItsPublicKeyVerifies(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string][]byte{"32 bytes": private.Seed(), "64 bytes": private} {
		got, err := sign(secretA+" whsk_"+base64.StdEncoding.EncodeToString(key), "1-a-0", "1700000000", []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		both := strings.Fields(got)
		if len(both) != 2 || !strings.HasPrefix(both[0], "v1,") || !strings.HasPrefix(both[1], "v1a,") {
			t.Fatalf("%s: %q", name, got)
		}
		signature, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(both[1], "v1a,"))
		if err != nil || !ed25519.Verify(public, []byte("1-a-0.1700000000.{}"), signature) {
			t.Errorf("%s: the signature does not verify", name)
		}
	}
	wrong := append(private.Seed(), make([]byte, 32)...)
	for name, key := range map[string][]byte{"31 bytes": private[:31], "another public half": wrong, "nothing": nil} {
		if _, err := sign("whsk_"+base64.StdEncoding.EncodeToString(key), "i", "1", nil); err == nil {
			t.Errorf("%s is taken for a key", name)
		}
	}
}
