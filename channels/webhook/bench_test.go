package webhook

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const benchSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func benchMessage(url string) channels.Message {
	return channels.Message{
		ID:      "3-0123456789abcdefghij-0",
		Address: notice.Address{Channel: notice.ChannelWebhook, To: url, Secret: benchSecret},
		Content: notice.Content{Webhook: []byte(`{"id":"3-0123456789abcdefghij","data":"` + strings.Repeat("x", 600) + `"}`)},
	}
}

// BenchmarkSend sets the adapter beside the plainest loop to the same
// receiver, in the same process and run.
func BenchmarkSend(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	m := benchMessage(srv.URL)
	b.Run("plain net/http", func(b *testing.B) {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 15 * time.Second}
		defer client.CloseIdleConnections()
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				res, err := client.Post(m.Address.To, "application/json", bytes.NewReader(m.Content.Webhook))
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		})
	})
	b.Run("adapter", func(b *testing.B) {
		a, err := New(config.Webhook{Timeout: config.Duration(15 * time.Second), MaxResponse: 64 << 10, AllowNetworks: []string{"127.0.0.1"}})
		if err != nil {
			b.Fatal(err)
		}
		defer a.Close()
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if r := a.Send(b.Context(), m); r.Verdict != channels.Sent {
					b.Errorf("%v: %v", r.Verdict, r.Err)
					return
				}
			}
		})
	})
}

// BenchmarkSign sets the signer beside the reference library's.
func BenchmarkSign(b *testing.B) {
	m := benchMessage("")
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := sign(benchSecret, m.ID, "1700000000", m.Content.Webhook); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		at := time.Unix(1700000000, 0)
		for b.Loop() {
			wh, err := standardwebhooks.NewWebhook(benchSecret)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := wh.Sign(m.ID, at, m.Content.Webhook); err != nil {
				b.Fatal(err)
			}
		}
	})
}
