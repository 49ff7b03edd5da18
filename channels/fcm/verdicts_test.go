package fcm

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
)

// fcmError is an error as the messaging service writes it.
func fcmError(status int, rpc, code, message string) string {
	return fmt.Sprintf(`{"error":{"code":%d,"message":%q,"status":%q,"details":[
		{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":%q}]}}`, status, message, rpc, code)
}

// rpcError is an error as Google's front end writes it.
func rpcError(status int, rpc string) string {
	return fmt.Sprintf(`{"error":{"code":%d,"message":"refused","status":%q}}`, status, rpc)
}

func TestEveryDocumentedAnswerHasItsVerdictAfterOneRequest(t *testing.T) {
	var now row
	var body string
	srv := newGoogle(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(now.status)
		fmt.Fprint(w, body)
	})
	a := adapterFor(t, srv.URL)
	walk := func(r row, text string) {
		t.Run(fmt.Sprintf("%d %s", r.status, r.code), func(t *testing.T) {
			now, body = r, text
			before := len(srv.all())
			got := send(t, a, message())
			code := r.code
			if code == "" {
				code = fmt.Sprint(r.status)
			}
			wants(t, got, r.verdict, code)
			if got.RetryAfter != r.wait {
				t.Errorf("RetryAfter %v, want %v", got.RetryAfter, r.wait)
			}
			if n := len(srv.all()) - before; n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
	for _, r := range fcmErrors() {
		walk(r, fcmError(r.status, "", r.code, ""))
	}
	for _, r := range rpcErrors() {
		walk(r, rpcError(r.status, r.code))
	}
}

func TestTheVerdictsThatCostSomebodySomething(t *testing.T) {
	const violation = `{"error":{"code":400,"message":"Invalid","status":"INVALID_ARGUMENT","details":[
		{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"INVALID_ARGUMENT"},
		{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[%s]}]}}`
	for name, tc := range map[string]struct {
		status int
		body   string
		want   channels.Verdict
		scope  channels.Scope
	}{
		"a token that the service calls invalid is gone": {400,
			fcmError(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token"), channels.Gone, 0},
		"a violation of the token is gone": {400,
			fmt.Sprintf(violation, `{"field":"message.token"}`), channels.Gone, 0},
		"a violation of our payload costs no device": {400,
			fmt.Sprintf(violation, `{"field":"message.data[0].value"}`), channels.Rejected, 0},
		"a violation of both costs no device": {400,
			fmt.Sprintf(violation, `{"field":"message.token"},{"field":"message.android.ttl"}`), channels.Rejected, 0},
		"a message that is too big costs no device": {400,
			fcmError(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "Android message is too big"), channels.Rejected, 0},
		"the front end cannot judge a token": {400,
			`{"error":{"code":400,"message":"Invalid value at 'message.token' registration token","status":"INVALID_ARGUMENT","details":[
			{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"message.token"}]}]}}`, channels.Rejected, 0},
		"a 404 without UNREGISTERED is about the project": {404, rpcError(404, "NOT_FOUND"), channels.Broken, 0},
		"a 404 that is not Google's removes nobody":       {404, "<html>not here</html>", channels.Broken, 0},
		"a 401 that is not Google's stops the channel":    {401, "", channels.Broken, 0},
		"a device's own quota slows the device": {429,
			fcmError(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Exceeded device message rate"), channels.Throttled, channels.ScopeDevice},
		"the project's quota slows the channel": {429,
			fcmError(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Quota exceeded for quota metric 'Messages'"), channels.Throttled, channels.ScopeChannel},
		"a code that is new is judged by its status":  {500, fcmError(500, "INTERNAL", "BRAND_NEW", ""), channels.Retry, 0},
		"an unspecified error is, too":                {400, fcmError(400, "", "UNSPECIFIED_ERROR", ""), channels.Rejected, 0},
		"a status that is new is judged by its class": {418, "", channels.Rejected, 0},
		"another one as well":                         {530, "", channels.Retry, 0},
		"a redirect is not FCM's":                     {302, "", channels.Broken, 0},
		"a 200 that is unreadable may have sent":      {200, "<html>", channels.Unknown, 0},
		"a 200 without a name may have sent":          {200, "{}", channels.Unknown, 0},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newGoogle(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
			})
			got := send(t, adapterFor(t, srv.URL), message())
			if got.Verdict != tc.want || got.Scope != tc.scope || got.Code == "" {
				t.Errorf("got %v scope %v code %q (%v), want %v scope %v", got.Verdict, got.Scope, got.Code, got.Err, tc.want, tc.scope)
			}
			if n := len(srv.all()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

func TestRetryAfterIsObeyedAndNeverShortened(t *testing.T) {
	at := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		status int
		header string
		want   time.Duration
	}{
		"a quota's own time, even a short one":   {429, "5", 5 * time.Second},
		"a date":                                 {429, "Tue, 03 Nov 2026 12:02:00 GMT", 2 * time.Minute},
		"a minute when a quota names none":       {429, "", time.Minute},
		"ten seconds at least after a failure":   {503, "1", 10 * time.Second},
		"what a failure asks for when it's more": {500, "120", 2 * time.Minute},
		"nothing for a message that is refused":  {400, "120", 0},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newGoogle(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", tc.header)
				w.WriteHeader(tc.status)
			})
			a := adapterFor(t, srv.URL, WithClock(func() time.Time { return at }))
			if got := send(t, a, message()); got.RetryAfter != tc.want {
				t.Errorf("RetryAfter %v, want %v", got.RetryAfter, tc.want)
			}
		})
	}
}

// The library alone would send each of these up to five times.
func TestALostAnswerIsNotSentAgainBehindTheQueuesBack(t *testing.T) {
	for name, cut := range map[string]func(net.Conn){
		"the connection ends before the answer": func(net.Conn) {},
		"the answer breaks off":                 func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"na") },
		"the answer is not HTTP":                func(c net.Conn) { fmt.Fprint(c, "220 mail.example ESMTP\r\n\r\n") },
		"a redirect to itself":                  func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 307 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			srv := newGoogle(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				cut(conn)
				conn.Close()
			})
			got := send(t, adapterFor(t, srv.URL), message())
			if want := channels.Unknown; got.Verdict != want && !strings.HasPrefix(name, "a redirect") {
				t.Errorf("got %v (%v), want %v", got.Verdict, got.Err, want)
			}
			if n := len(srv.all()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}
