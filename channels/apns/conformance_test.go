package apns

import (
	"net/http"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/channelstest"
	"github.com/carillonhq/carillon/config"
)

func TestConformance(t *testing.T) {
	key, _ := newKey(t)
	channelstest.Run(t, channelstest.Harness{
		TLS: true, HTTP2: true,
		New: func(t *testing.T, at channelstest.Target) channels.Adapter {
			a, err := New(config.APNs{
				Host: at.URL, CAFile: at.CAFile, Timeout: config.Duration(at.Timeout),
				APNsCredential: config.APNsCredential{Key: config.NewSecret(key), KeyID: "ABC123DEFG", TeamID: "DEF123GHIJ"}, Topic: "com.acme.app", Connections: 2,
			}, WithRedialAfter(10*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			return a
		},
		Message: func(_ *testing.T, _ channelstest.Target, id string) channels.Message {
			m := message()
			m.ID = id
			return m
		},
		Accept:  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
		ID:      func(r *http.Request, _ []byte) string { return r.Header.Get("apns-id") },
		Private: []string{deviceToken, "ABC123DEFG", "PRIVATE KEY", "127.0.0.1"},
		Answers: []channelstest.Answer{
			{Name: "an unregistered device is gone since the time that Apple names", Status: 410,
				Body: `{"reason":"Unregistered","timestamp":1700000000000}`,
				Want: channels.Result{Verdict: channels.Gone, Code: "Unregistered", GoneSince: time.Unix(1700000000, 0)}},
			{Name: "a busy device is throttled alone", Status: 429, Header: http.Header{"Retry-After": {"3"}},
				Body: `{"reason":"TooManyRequests"}`,
				Want: channels.Result{Verdict: channels.Throttled, Scope: channels.ScopeDevice, RetryAfter: 3 * time.Second, Code: "TooManyRequests"}},
			{Name: "a reason that quotes the token is not repeated", Status: 400, Body: `{"reason":"` + deviceToken + `"}`,
				Want: channels.Result{Verdict: channels.Rejected, Code: "400"}},
		},
	})
}
