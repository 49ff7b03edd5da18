package fcm

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/channelstest"
	"github.com/carillonhq/carillon/config"
	"github.com/go-json-experiment/json"
)

func TestConformance(t *testing.T) {
	channelstest.Run(t, channelstest.Harness{
		New: func(t *testing.T, at channelstest.Target) channels.Adapter {
			a, err := New(config.FCM{Project: "acme", Endpoint: at.URL, Timeout: config.Duration(at.Timeout)})
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
		Accept:      func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"name":"projects/acme/messages/1"}`) },
		ID:          collapseKey,
		Private:     []string{deviceToken, "127.0.0.1"},
		EndlessBody: []channels.Verdict{channels.Unknown},
		Background:  []string{"go.opencensus.io/stats/view.(*worker).start"},
		Answers: []channelstest.Answer{
			{Name: "an unregistered device is gone", Status: 404, Body: fcmError(404, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found."),
				Want: channels.Result{Verdict: channels.Gone, Code: "UNREGISTERED"}},
			{Name: "a quota is obeyed to the second", Status: 429, Header: http.Header{"Retry-After": {"17"}}, Body: fcmError(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", ""),
				Want: channels.Result{Verdict: channels.Throttled, RetryAfter: 17 * time.Second, Code: "QUOTA_EXCEEDED"}},
		},
	})
}

// collapseKey is where the delivery's id stands when the sender gave no key.
func collapseKey(_ *http.Request, body []byte) string {
	var req struct {
		Message struct {
			Android struct {
				CollapseKey string `json:"collapse_key"`
			} `json:"android"`
		} `json:"message"`
	}
	if json.Unmarshal(body, &req) != nil {
		return ""
	}
	return req.Message.Android.CollapseKey
}
