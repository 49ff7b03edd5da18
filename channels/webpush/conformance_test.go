package webpush

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/channelstest"
	"github.com/carillonhq/carillon/config"
	"github.com/go-json-experiment/json"
)

func TestConformance(t *testing.T) {
	b := newBrowser(t)
	channelstest.Run(t, channelstest.Harness{
		TLS: true, HTTP2: true,
		New: func(t *testing.T, at channelstest.Target) channels.Adapter {
			a, err := New(config.WebPush{
				Subject: "mailto:ops@acme.example", PrivateKey: config.NewSecret(newKey(t)),
				Timeout: config.Duration(at.Timeout), AllowNetworks: []string{"127.0.0.0/8"}, CAFile: at.CAFile,
			})
			if err != nil {
				t.Fatal(err)
			}
			return a
		},
		Message: func(_ *testing.T, at channelstest.Target, id string) channels.Message {
			return message(id, b.subscription(at.URL+"/push/secret-capability"))
		},
		Accept: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://push.example.net/message/secret-capability")
			w.WriteHeader(http.StatusCreated)
		},
		ID: func(_ *http.Request, body []byte) string {
			var got content
			plain, err := b.read(body)
			if err != nil || json.Unmarshal(plain, &got) != nil {
				return ""
			}
			return got.ID
		},
		Private: []string{"secret-capability", b64(b.auth), b64(b.key.PublicKey().Bytes()), "127.0.0.1", strings.ToLower("PRIVATE KEY")},
		Answers: []channelstest.Answer{
			{Name: "a subscription that has ended is gone", Status: 410, Want: channels.Result{Verdict: channels.Gone, Code: "410"}},
			{Name: "a busy subscription is throttled alone", Status: 429, Header: http.Header{"Retry-After": {"3"}},
				Want: channels.Result{Verdict: channels.Throttled, Scope: channels.ScopeDevice, RetryAfter: 3 * time.Second, Code: "429"}},
		},
	})
}
