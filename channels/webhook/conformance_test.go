package webhook

import (
	"net/http"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/channels/channelstest"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

const (
	pathToken = "path-token-4711"
	secretA   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	secretB   = "whsec_c2Vjb25kLXNlY3JldC1mb3Itcm90YXRpb24="
)

func newAt(t *testing.T, at channelstest.Target) *Adapter {
	t.Helper()
	a, err := New(config.Webhook{
		Limits:        config.Limits{Concurrency: 256}, // so that one host may have 64
		Timeout:       config.Duration(at.Timeout),
		AllowNetworks: []string{"127.0.0.1"},
		MaxResponse:   4 << 10,
		CAFile:        at.CAFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func messageTo(url, id string) channels.Message {
	return channels.Message{
		ID:      id,
		Attempt: 1,
		Address: notice.Address{Channel: notice.ChannelWebhook, To: url, Secret: secretA + " " + secretB},
		Content: notice.Content{Webhook: []byte(`{"hello":"wörld"}`)},
	}
}

func harness() channelstest.Harness {
	return channelstest.Harness{
		New: func(t *testing.T, at channelstest.Target) channels.Adapter { return newAt(t, at) },
		Message: func(_ *testing.T, at channelstest.Target, id string) channels.Message {
			return messageTo(at.URL+"/"+pathToken, id)
		},
		Accept:  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		Answers: answers(),
		ID:      func(r *http.Request, _ []byte) string { return r.Header.Get("webhook-id") },
		Private: []string{pathToken, secretA, secretB, secretA[6:], "wörld"},
	}
}

func TestConformance(t *testing.T) { channelstest.Run(t, harness()) }

// The server speaks HTTP/2 as well; HTTP/1.1 is what is agreed on.
func TestConformanceOverTLS(t *testing.T) {
	h := harness()
	h.TLS, h.HTTP2 = true, true
	channelstest.Run(t, h)
}

func answers() []channelstest.Answer {
	retry := func(code string) channels.Result { return channels.Result{Verdict: channels.Retry, Code: code} }
	after := func(r channels.Result, d time.Duration) channels.Result {
		r.RetryAfter = d
		return r
	}
	ofHost := func(r channels.Result) channels.Result {
		r.Scope = channels.ScopeHost
		return r
	}
	throttled := channels.Result{Verdict: channels.Throttled, Scope: channels.ScopeHost, Code: "429"}
	in := func(v string) http.Header { return http.Header{"Retry-After": {v}} }
	date := func(d time.Duration) http.Header { return in(time.Now().Add(d).UTC().Format(http.TimeFormat)) }
	return []channelstest.Answer{
		{Name: "200 with a body is sent", Status: 200, Body: "thank you", Want: channels.Result{Verdict: channels.Sent, Code: "200"}},
		{Name: "202 is sent", Status: 202, Want: channels.Result{Verdict: channels.Sent, Code: "202"}},
		{Name: "299 is sent", Status: 299, Want: channels.Result{Verdict: channels.Sent, Code: "299"}},
		{Name: "304 is tried again", Status: 304, Want: retry("304")},
		{Name: "400 is tried again", Status: 400, Want: retry("400")},
		{Name: "401 is tried again", Status: 401, Want: retry("401")},
		{Name: "404 is tried again, since a deployment answers so for a while", Status: 404, Want: retry("404")},
		{Name: "408 is tried again", Status: 408, Want: retry("408")},
		{Name: "410 is gone", Status: 410, Body: pathToken, Want: channels.Result{Verdict: channels.Gone, Code: "410"}},
		{Name: "413 is tried again", Status: 413, Want: retry("413")},
		{Name: "425 is tried again", Status: 425, Want: retry("425")},
		{Name: "429 slows the host down", Status: 429, Want: throttled},
		{Name: "429 with seconds is obeyed to the second", Status: 429, Header: in("7"), Want: after(throttled, 7*time.Second)},
		{Name: "429 with a date is obeyed", Status: 429, Header: date(time.Hour), Want: after(throttled, time.Hour), RetryAfterWithin: time.Minute},
		{Name: "429 with a date in the past has no wait", Status: 429, Header: date(-time.Hour), Want: throttled},
		{Name: "429 with an unreadable wait has none", Status: 429, Header: in("soon"), Want: throttled},
		{Name: "500 is tried again", Status: 500, Want: retry("500")},
		{Name: "502 is tried again", Status: 502, Want: ofHost(retry("502"))},
		{Name: "503 with seconds keeps them", Status: 503, Header: in("120"), Want: ofHost(after(retry("503"), 2*time.Minute))},
		{Name: "504 is tried again", Status: 504, Want: ofHost(retry("504"))},
		{Name: "a status beyond the known ones is tried again", Status: 799, Want: retry("799")},
	}
}
