package webpush

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	other "github.com/SherClockHolmes/webpush-go"
	"github.com/carillonhq/carillon/channels"
)

// quiet is a stand-in that keeps nothing.
func quiet(b *testing.B) *service {
	s := &service{Server: httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
	}))}
	s.EnableHTTP2 = true
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 1000}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	b.Cleanup(s.Close)
	return s
}

func BenchmarkSend(b *testing.B) {
	srv := quiet(b)
	a := newAdapter(b, srv.section(b))
	m := message("3-0123456789abcdefghij-0", newBrowser(b).subscription(srv.URL+"/push/1"))
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if r := a.Send(context.Background(), m); r.Verdict != channels.Sent {
				b.Error(r.Err)
				return
			}
		}
	})
}

// BenchmarkUsualLibrary is a plain loop around webpush-go, to the same
// receiver.
func BenchmarkUsualLibrary(b *testing.B) {
	srv := quiet(b)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	private, public, err := other.GenerateVAPIDKeys()
	if err != nil {
		b.Fatal(err)
	}
	br := newBrowser(b)
	sub := &other.Subscription{Endpoint: srv.URL + "/push/1", Keys: other.Keys{P256dh: b64(br.key.PublicKey().Bytes()), Auth: b64(br.auth)}}
	o := &other.Options{HTTPClient: &http.Client{Transport: transport}, Subscriber: "ops@acme.example", TTL: 60, VAPIDPrivateKey: private, VAPIDPublicKey: public}
	text := []byte(`{"id":"3-0123456789abcdefghij-0","title":"Shipped","body":"Order A-1"}`)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := other.SendNotification(text, sub, o)
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
}
