package egress

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestWhatMayBeReached(t *testing.T) {
	for _, c := range []struct {
		name, address string
		allow         []string
		refused       bool
	}{
		{name: "a public IPv4 address passes", address: "93.184.215.14:443"},
		{name: "a public IPv6 address passes", address: "[2606:4700::1111]:443"},
		{name: "any port passes", address: "93.184.215.14:8443"},
		{name: "loopback is refused", address: "127.0.0.1:80", refused: true},
		{name: "the whole of 127/8 is refused", address: "127.8.9.10:80", refused: true},
		{name: "IPv6 loopback is refused", address: "[::1]:80", refused: true},
		{name: "IPv4 loopback written as IPv6 is refused", address: "[::ffff:127.0.0.1]:80", refused: true},
		{name: "0.0.0.0 is refused", address: "0.0.0.0:80", refused: true},
		{name: ":: is refused", address: "[::]:80", refused: true},
		{name: "10/8 is refused", address: "10.1.2.3:80", refused: true},
		{name: "172.16/12 is refused", address: "172.31.255.255:80", refused: true},
		{name: "192.168/16 is refused", address: "192.168.1.1:80", refused: true},
		{name: "the metadata service is refused", address: "169.254.169.254:80", refused: true},
		{name: "the IPv6 metadata service is refused", address: "[fd00:ec2::254]:80", refused: true},
		{name: "carrier-grade NAT is refused", address: "100.64.0.1:80", refused: true},
		{name: "multicast is refused", address: "224.0.0.1:80", refused: true},
		{name: "broadcast is refused", address: "255.255.255.255:80", refused: true},
		{name: "a unique local address is refused", address: "[fd12::1]:80", refused: true},
		{name: "an IPv6 link-local address is refused", address: "[fe80::1%eth0]:80", refused: true},
		{name: "NAT64 is refused", address: "[64:ff9b::5db8:d70e]:80", refused: true},
		{name: "6to4 is refused", address: "[2002:7f00:1::]:80", refused: true},
		{name: "Teredo is refused", address: "[2001:0:1::1]:80", refused: true},
		{name: "an allowed network passes", address: "10.20.3.4:80", allow: []string{"10.20.0.0/16"}},
		{name: "a network beside an allowed one is refused", address: "10.21.3.4:80", allow: []string{"10.20.0.0/16"}, refused: true},
		{name: "an allowed single address passes", address: "127.0.0.1:80", allow: []string{"127.0.0.1"}},
		{name: "an allowed IPv6 network passes", address: "[fd12::1]:80", allow: []string{"fd12::/16"}},
		{name: "allowed NAT64 reaches a public address", address: "[64:ff9b::5db8:d70e]:80", allow: []string{"64:ff9b::/96"}},
		{name: "a local NAT64 prefix is refused", address: "[64:ff9b:1::5db8:d70e]:80", refused: true},
		{name: "an allowed local NAT64 prefix reaches a public address", address: "[64:ff9b:1:1::5db8:d70e]:80", allow: []string{"64:ff9b:1:1::/96"}},
		{name: "an allowed local NAT64 prefix is no way round to loopback", address: "[64:ff9b:1:1::7f00:1]:80", allow: []string{"64:ff9b:1:1::/96"}, refused: true},
		{name: "nor is one of 48 bits", address: "[64:ff9b:1:7f00:0:100::]:80", allow: []string{"64:ff9b:1::/48"}, refused: true},
		{name: "nor is what a gateway of 48 bits ignores", address: "[64:ff9b:1:a01:2:300:808:808]:80", allow: []string{"64:ff9b:1::/48"}, refused: true},
		{name: "48 bits reach a public address", address: "[64:ff9b:1:5db8:d7:e00::]:80", allow: []string{"64:ff9b:1::/48"}},
		{name: "64 bits reach a public address", address: "[64:ff9b:1:2:5d:b8d7:e00:0]:80", allow: []string{"64:ff9b:1:2::/64"}},
		{name: "64 bits are no way round to a private address", address: "[64:ff9b:1:2:a:102:300:0]:80", allow: []string{"64:ff9b:1:2::/64"}, refused: true},
		{name: "an allowed network behind an allowed gateway passes", address: "[64:ff9b::a01:203]:80", allow: []string{"64:ff9b::/96", "10.0.0.0/8"}},
		{name: "allowed 6to4 is no way round to loopback", address: "[2002:7f00:1::]:80", allow: []string{"2002::/16"}, refused: true},
		{name: "allowed 6to4 reaches a public address", address: "[2002:5db8:d70e::1]:80", allow: []string{"2002::/16"}},
		{name: "allowed Teredo is no way round to a private client", address: "[2001:0:5db8:d70e::f5fe:fdfc]:80", allow: []string{"2001::/32"}, refused: true},
		{name: "an IPv4-compatible address is refused", address: "[::7f00:1]:80", refused: true},
		{name: "allowed NAT64 is no way round to loopback", address: "[64:ff9b::7f00:1]:80", allow: []string{"64:ff9b::/96"}, refused: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := newGuard(c.allow)
			if err != nil {
				t.Fatal(err)
			}
			network := "tcp4"
			if strings.HasPrefix(c.address, "[") {
				network = "tcp6"
			}
			if err := g.control(network, c.address, nil); Refused(err) != c.refused || (err != nil) != c.refused {
				t.Errorf("%s: %v, want refused %v", c.address, err, c.refused)
			}
		})
	}
}

// serve starts a server on loopback and counts who reached it.
func serve(t *testing.T) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	reached := new(atomic.Int32)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { reached.Add(1) }))
	t.Cleanup(srv.Close)
	return srv, reached
}

func get(t *testing.T, o Options, target string) (*http.Response, error) {
	t.Helper()
	tr, err := NewTransport(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := tr.RoundTrip(req)
	if err == nil {
		t.Cleanup(func() { res.Body.Close() })
	}
	return res, err
}

func TestARefusedConnectionIsRecognised(t *testing.T) {
	srv, reached := serve(t)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"by its address":                        srv.URL,
		"by a name that resolves to loopback":   "http://localhost:" + u.Port(),
		"by an IPv4 address in IPv6's spelling": "http://[::ffff:127.0.0.1]:" + u.Port(),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := get(t, Options{}, target); !Refused(err) {
				t.Errorf("%s: %v, want a refusal", target, err)
			}
		})
	}
	if reached.Load() != 0 {
		t.Errorf("the server was reached %d times", reached.Load())
	}
}

func TestAnAllowedNetworkIsReached(t *testing.T) {
	srv, reached := serve(t)
	if _, err := get(t, Options{AllowNetworks: []string{"127.0.0.0/8"}}, srv.URL); err != nil {
		t.Fatal(err)
	}
	if reached.Load() != 1 {
		t.Errorf("the server was reached %d times, want once", reached.Load())
	}
}

func TestAProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	proxy, reached := serve(t)
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	if _, err := get(t, Options{}, "http://10.255.255.1:9/"); !Refused(err) {
		t.Errorf("got %v, want a refusal", err)
	}
	if reached.Load() != 0 {
		t.Error("the request went to the proxy, which resolves names beyond the check")
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	target, reached := serve(t)
	srv := httptest.NewServer(http.RedirectHandler(target.URL, http.StatusTemporaryRedirect))
	t.Cleanup(srv.Close)
	res, err := get(t, Options{AllowNetworks: []string{"127.0.0.1"}}, srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusTemporaryRedirect || reached.Load() != 0 {
		t.Errorf("status %d, target reached %d times; want 307 and never", res.StatusCode, reached.Load())
	}
}

func TestNoCompressionIsAskedForOrUndone(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		io.WriteString(w, r.Header.Get("Accept-Encoding")+"|as sent")
	}))
	t.Cleanup(srv.Close)
	res, err := get(t, Options{AllowNetworks: []string{"127.0.0.1"}}, srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(res.Body); string(body) != "|as sent" {
		t.Errorf("body %q: want no Accept-Encoding, and the bytes as sent", body)
	}
}

func TestTLSTrustAndVersion(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pemOf(srv.Certificate().Raw), 0o600); err != nil {
		t.Fatal(err)
	}
	local := []string{"127.0.0.1"}
	t.Run("an unknown authority is not trusted", func(t *testing.T) {
		if _, err := get(t, Options{AllowNetworks: local}, srv.URL); err == nil || Refused(err) {
			t.Errorf("got %v, want a certificate error", err)
		}
	})
	t.Run("ca_file is trusted and HTTP/2 spoken", func(t *testing.T) {
		res, err := get(t, Options{AllowNetworks: local, CAFile: ca}, srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		if res.ProtoMajor != 2 {
			t.Errorf("spoke %s, want HTTP/2", res.Proto)
		}
	})
	t.Run("TLS 1.1 is not spoken", func(t *testing.T) {
		old := httptest.NewUnstartedServer(http.NotFoundHandler())
		old.TLS = tlsUpTo11()
		old.StartTLS()
		t.Cleanup(old.Close)
		if _, err := get(t, Options{AllowNetworks: local, CAFile: ca}, old.URL); err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("got %v, want a protocol version error", err)
		}
	})
}

func TestAClientCertificateIsShown(t *testing.T) {
	cert, key := writePair(t)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	srv.TLS = tlsAskingForCertificate()
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pemOf(srv.Certificate().Raw), 0o600); err != nil {
		t.Fatal(err)
	}
	res, err := get(t, Options{AllowNetworks: []string{"127.0.0.1"}, CAFile: ca, ClientCert: cert, ClientKey: key}, srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(res.Body); string(body) != "carillon test client" {
		t.Errorf("the server saw %q", body)
	}
}

func TestBadOptionsSayWhatToMend(t *testing.T) {
	cert, key := writePair(t)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		o    Options
		says string
	}{
		{"a network that is none", Options{AllowNetworks: []string{"10.0.0/8"}}, `allow_networks: "10.0.0/8"`},
		{"an IPv4 network written as IPv6", Options{AllowNetworks: []string{"::ffff:10.0.0.0/104"}}, "write it as IPv4"},
		{"a missing ca_file", Options{CAFile: "/nonexistent/ca.pem"}, "ca_file: open /nonexistent/ca.pem"},
		{"a ca_file without a certificate", Options{CAFile: empty}, "holds no PEM certificate"},
		{"a certificate without its key", Options{ClientCert: cert}, "give both or neither"},
		{"a key without its certificate", Options{ClientKey: key}, "give both or neither"},
		{"a key in the certificate's place", Options{ClientCert: key, ClientKey: key}, "client_cert"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := NewTransport(c.o); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to say %q", err, c.says)
			}
		})
	}
}

func TestOtherErrorsAreNotRefusals(t *testing.T) {
	if Refused(nil) || Refused(errors.New("connection refused")) {
		t.Error("an error that is no refusal counts as one")
	}
}

func TestWhatIsNoHost(t *testing.T) {
	for _, host := range []string{"0", "2130706433", "0x7f000001", "0x7f.1", "0X7F.0.0.1", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "127.0.0.1.",
		"1.2.3.4.5", "256.1.1.1", "example.1", "example.0x", "0x", ".", ""} {
		if err := CheckHost(host); !Refused(err) {
			t.Errorf("%q passes", host)
		}
	}
	for _, host := range []string{"127.0.0.1", "::1", "fe80::1%eth0", "example.com", "example.com.", "1.example.com", "0x7f.example", "a1", "x0x1", "3com.example.e2"} {
		if err := CheckHost(host); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestAHostWithAnAddressThatMayBeReachedIsNotRefusedForAnother(t *testing.T) {
	d, err := NewDialer(Options{AllowNetworks: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	// Nobody listens on port 1, and localhost is ::1 as well where there is IPv6.
	_, err = d.DialContext(t.Context(), "tcp", "localhost:1")
	if err == nil || Refused(err) {
		t.Errorf("got %v, want a connection that failed", err)
	}
}
