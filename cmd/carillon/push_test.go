package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/apns"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

// TestConsumersOfOneKeyPresentOneTokenThroughRedis has consumers whose clocks
// are far apart push to a stand-in of Apple's.
func TestConsumersOfOneKeyPresentOneTokenThroughRedis(t *testing.T) {
	var mu sync.Mutex
	tokens := map[string]int{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		tokens[r.Header.Get("Authorization")]++
	}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.APNs{Host: srv.URL, CAFile: ca, Topic: "com.acme.app", APNsCredential: config.APNsCredential{KeyID: "ABC123DEFG", TeamID: "DEF123GHIJ",
		Key: config.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))}}
	rdb := queuetest.Redis(t)
	m := channels.Message{ID: "3-0123456789abcdefghij-0", Attempt: 1, Content: notice.Content{Push: &notice.PushContent{Title: "t"}},
		Address: notice.Address{Channel: notice.ChannelAPNs, To: "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"}}
	var sending sync.WaitGroup
	for _, skew := range []time.Duration{0, -50 * time.Minute, 3 * time.Hour, 29 * time.Minute} {
		issues := throttle.NewIssues(rdb, "test", apns.RenewAfter, apns.RenewLeast)
		consumer, err := apns.New(cfg, apns.WithIssuer(issues), apns.WithClock(func() time.Time { return time.Now().Add(skew) }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { consumer.Close() })
		sending.Go(func() {
			if r := consumer.Send(t.Context(), m); r.Verdict != channels.Sent {
				t.Errorf("%v: %v", r.Verdict, r.Err)
			}
		})
	}
	sending.Wait()
	if len(tokens) != 1 {
		t.Errorf("%d tokens of four consumers", len(tokens))
	}
}
