package apns

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/carillonhq/carillon/channels"
)

// callers is how many goroutines send at once for each processor.
const callers = 32

// quiet is a stand-in that keeps nothing.
func quiet(b *testing.B) *httptest.Server {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("apns-id", r.Header.Get("apns-id"))
	}))
	srv.EnableHTTP2 = true
	srv.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 1000}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	b.Cleanup(srv.Close)
	return srv
}

func BenchmarkSend(b *testing.B) {
	srv := quiet(b)
	a := newAdapter(b, section(b, srv.URL, srv.Certificate()))
	m := message()
	b.ReportAllocs()
	b.SetParallelism(callers)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if r := a.Send(context.Background(), m); r.Verdict != channels.Sent {
				b.Error(r.Err)
				return
			}
		}
	})
}

// BenchmarkPlainLoop only posts the same headers and bytes, through net/http's
// own HTTP/2 transport: what the adapter is measured against.
func BenchmarkPlainLoop(b *testing.B) {
	srv := quiet(b)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	body := []byte(`{"aps":{"alert":{"title":"Shipped","body":"Order A-1 is on its way"},"sound":"default"}}`)
	header := http.Header{
		"Authorization": {"bearer eyJhbGciOiJFUzI1NiIsImtpZCI6IkFCQzEyM0RFRkcifQ.eyJpc3MiOiJERUYxMjNHSElKIiwiaWF0IjoxODAwMDAwMDAwfQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
		"Content-Type":  {"application/json; charset=utf-8"}, "Apns-Topic": {"com.acme.app"}, "Apns-Priority": {"10"},
		"Apns-Push-Type": {"alert"}, "Apns-Id": {"0f1d8a7e-7f5a-5d43-8b8d-2f6f1c1e7a11"},
	}
	b.ReportAllocs()
	b.SetParallelism(callers)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequest(http.MethodPost, srv.URL+"/3/device/"+deviceToken, bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			req.Header = header.Clone()
			resp, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
}
