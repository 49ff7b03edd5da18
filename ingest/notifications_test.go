package ingest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

const shipped = `{"template":"order-shipped","to":{"user":"u42"},"data":{"order":"A-1"}}`

type accepted struct {
	ID, Status string
	Duplicate  bool
}

func TestANotificationIsAcceptedAndCompletedFromItsTemplate(t *testing.T) {
	f := start(t, nil)
	var got accepted
	f.call("POST", "/v1/notifications", shipped).into(t, 202, &got)
	if !regexp.MustCompile(`^3-[0-9a-v]{20}$`).MatchString(got.ID) || got.Status != "accepted" || got.Duplicate {
		t.Errorf("answered %+v", got)
	}
	a := f.queue.last()
	n := a.Notification
	if a.Tenant != "acme" || a.Key != "" || n.Category != "shipping" || n.Priority != notice.LaneNormal || !n.ExpiresAt.Equal(testNow.Add(24*time.Hour)) {
		t.Errorf("admitted %+v", a)
	}
}

func TestWhatTheSenderSaysWinsOverTheTemplate(t *testing.T) {
	f := start(t, nil)
	f.call("POST", "/v1/notifications", `{"template":"order-shipped","to":{"user":"u"},"data":{"order":"A"},"category":"other","priority":"bulk",
		"send_at":"2026-11-20T18:00:00Z"}`).into(t, 202, &accepted{})
	n := f.queue.last().Notification
	if n.Category != "other" || n.Priority != notice.LaneBulk || !n.SendAt.Equal(testNow.Add(6*time.Hour)) || !n.ExpiresAt.Equal(testNow.Add(30*time.Hour)) {
		t.Errorf("admitted %+v: want category and priority kept, and expires_at counted from send_at", n)
	}
	f.call("POST", "/v1/notifications", `{"template":"order-shipped","to":{"user":"u"},"data":{"order":"A"},"send_at":"2026-11-20T11:59:30Z"}`).into(t, 202, &accepted{})
	if n := f.queue.last().Notification; !n.SendAt.IsZero() {
		t.Errorf("send_at half a minute ago was kept as %v: it means now", n.SendAt)
	}
}

func TestContentStandsInPlaceOfATemplate(t *testing.T) {
	f := start(t, nil)
	f.call("POST", "/v1/notifications", `{"content":{"email":{"subject":"Hi","text":"Hello"}},"to":{"email":"ada@example.com"}}`).into(t, 202, &accepted{})
	if n := f.queue.last().Notification; n.Priority != notice.LaneNormal || n.Content.Email.Text != "Hello" || !n.ExpiresAt.IsZero() {
		t.Errorf("admitted %+v", n)
	}
}

func TestBadNotificationsAreRefusedWithAPointerForEachFault(t *testing.T) {
	f := start(t, nil)
	for _, row := range []struct {
		name, body    string
		status        int
		kind, pointer string
		says          []string
	}{
		{"no body", ``, 400, "malformed-json", "", []string{"byte 0", "empty"}},
		{"malformed JSON", `{"template": }`, 400, "malformed-json", "", []string{"byte 13"}},
		{"an unknown field", `{"tempalte":"welcome","to":{"user":"u"}}`, 422, "invalid", "/tempalte", []string{`did you mean "template"?`}},
		{"an unreadable time", `{"template":"welcome","to":{"user":"u"},"send_at":"tomorrow"}`, 422, "invalid", "/send_at", []string{"tomorrow", "RFC 3339", "2027-01-01T09:00:00Z"}},
		{"a time in the past", `{"template":"welcome","to":{"user":"u"},"send_at":"2020-01-01T00:00:00Z"}`, 422, "invalid", "/send_at", []string{"2020-01-01T00:00:00Z", "past"}},
		{"an expiry before sending", `{"template":"welcome","to":{"user":"u"},"send_at":"2026-12-01T00:00:00Z","expires_at":"2026-11-30T00:00:00Z"}`, 422, "invalid", "/expires_at", []string{"not after send_at"}},
		{"nobody to tell", `{"template":"welcome","to":{}}`, 422, "invalid", "/to", []string{"names nobody"}},
		{"an unknown template, with the nearest", `{"template":"order-shiped","to":{"user":"u"}}`, 422, "unknown-template", "/template", []string{`"order-shiped"`, `did you mean "order-shipped"?`}},
		{"missing data", `{"template":"order-shipped","to":{"user":"u"}}`, 422, "data-mismatch", "/data/order", []string{"required"}},
		{"data of the wrong type", `{"template":"order-shipped","to":{"user":"u"},"data":{"order":"A","items":[1]}}`, 422, "data-mismatch", "/data/items/0", nil},
		{"an unknown channel", `{"template":"welcome","to":{"user":"u"},"channels":["e-mail"]}`, 422, "invalid", "/channels/0", []string{`"e-mail"`, `did you mean "email"?`}},
		{"a channel twice", `{"template":"welcome","to":{"user":"u"},"channels":["email","email"]}`, 422, "invalid", "/channels/1", []string{"twice"}},
		{"a channel that the template has no part for", `{"template":"welcome","to":{"user":"u"},"channels":["push"]}`, 422, "invalid", "/channels/0", []string{`no part for "push"`, "email"}},
		{"an address that cannot be one", `{"template":"welcome","to":{"email":"ada at example"}}`, 422, "invalid", "/to/email", []string{`"ada at example"`, "ada@example.com"}},
		{"a header smuggled into an address", `{"template":"welcome","to":{"email":"a@b.c\r\nBcc: x@y.z"}}`, 422, "invalid", "/to/email", nil},
		{"a device whose channel is off", `{"template":"order-shipped","data":{"order":"A"},"to":{"devices":[{"platform":"android","token":"abc"}]}}`, 422, "channel-off", "/to/devices/0", []string{`"fcm"`, "off"}},
		{"no address for the asked channel", `{"template":"order-shipped","data":{"order":"A"},"to":{"email":"a@b.c"},"channels":["push"]}`, 422, "no-address", "/to", []string{"push", "devices"}},
		{"no address for what the template renders", `{"template":"welcome","to":{"webhooks":[{"url":"https://example.com/h"}]}}`, 422, "no-address", "/to", []string{"email"}},
		{"a CloudEvent", `{"specversion":"1.0","id":"1","source":"s","type":"t"}`, 422, "not-a-notification", "", nil},
		{"a very deep body", strings.Repeat(`{"data":`, 200) + `1` + strings.Repeat(`}`, 200), 422, "invalid", "", []string{"64 levels"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := f.call("POST", "/v1/notifications", row.body).wantProblem(t, row.status, row.kind)
			if row.kind != "not-a-notification" {
				p.wantFault(t, row.pointer, row.says...)
			}
		})
	}
	if n := f.queue.count(); n != 0 {
		t.Errorf("%d bad notifications were admitted", n)
	}
}

func TestAllFaultsOfANotificationComeAtOnce(t *testing.T) {
	f := start(t, nil)
	p := f.call("POST", "/v1/notifications", `{"template":"order-shiped","to":{"email":"nobody","locale":"!!"},"channels":["sms"],"priority":"urgent","data":[]}`).
		wantProblem(t, 422, "invalid")
	for _, pointer := range []string{"/template", "/to/email", "/to/locale", "/channels/0", "/priority", "/data"} {
		p.wantFault(t, pointer)
	}
	if len(p.Errors) != 6 {
		t.Errorf("got %d faults, want 6: %+v", len(p.Errors), p.Errors)
	}
}

func TestAChannelThatIsOffIsSaidToBeOff(t *testing.T) {
	f := start(t, func(o *ingest.Options) { o.EnabledChannels = map[notice.Channel]bool{notice.ChannelWebhook: true} })
	p := f.call("POST", "/v1/notifications", `{"template":"order-shipped","to":{"user":"u"},"data":{"order":"A"},"channels":["webhook","push"]}`).wantProblem(t, 422, "channel-off")
	p.wantFault(t, "/channels/1", `"push" is off`)
	p = f.call("POST", "/v1/notifications", `{"template":"welcome","to":{"user":"u"}}`).wantProblem(t, 422, "channel-off")
	p.wantFault(t, "", "email")
	f.call("POST", "/v1/notifications", `{"template":"order-shipped","to":{"user":"u"},"data":{"order":"A"},"channels":["webhook"]}`).into(t, 202, &accepted{})
}

func TestAnIdempotencyKeyGivesTheFirstAnswerAgain(t *testing.T) {
	f := start(t, nil)
	var first, again, bare accepted
	f.call("POST", "/v1/notifications", shipped, "Idempotency-Key", `"k-1"`).into(t, 202, &first)
	f.call("POST", "/v1/notifications", "{\n \"to\": {\"user\":\"u42\"}, \"template\":\"order-shipped\",\"data\":{ \"order\":\"A-1\"}}", "Idempotency-Key", `"k-1"`).into(t, 202, &again)
	f.call("POST", "/v1/notifications", shipped, "Idempotency-Key", `k-1`).into(t, 202, &bare)
	if first.Duplicate || !again.Duplicate || !bare.Duplicate || again.ID != first.ID || bare.ID != first.ID {
		t.Errorf("got %+v, then %+v, then %+v: want one id", first, again, bare)
	}
	f.call("POST", "/v1/notifications", strings.Replace(shipped, "A-1", "A-2", 1), "Idempotency-Key", "k-1").wantProblem(t, 422, "idempotency-key-reused")
	var other accepted
	f.call("POST", "/v1/notifications", shipped, "Idempotency-Key", "k-1", "Authorization", "Bearer "+otherKey).into(t, 202, &other)
	if other.Duplicate {
		t.Error("another tenant's key was taken for this one's")
	}
}

func TestIdempotencyKeysThatCannotBe(t *testing.T) {
	f := start(t, nil)
	for _, row := range []struct{ name, key, says string }{
		{"empty in quotes", `""`, "empty"},
		{"256 bytes", strings.Repeat("k", 256), "at most 255"},
		{"257 bytes in quotes", `"` + strings.Repeat("k", 257) + `"`, "at most 255"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := f.call("POST", "/v1/notifications", shipped, "Idempotency-Key", row.key).wantProblem(t, 400, "bad-request")
			if !strings.Contains(p.Detail, row.says) {
				t.Errorf("detail %q, want %q in it", p.Detail, row.says)
			}
		})
	}
	f.call("POST", "/v1/notifications", shipped, "Idempotency-Key", `"`+strings.Repeat("k", 255)+`"`).into(t, 202, &accepted{})
}

func TestWhatTheQueueSaysBecomesTheAnswer(t *testing.T) {
	for _, row := range []struct {
		name   string
		fail   error
		status int
		kind   string
	}{
		{"unreachable is 503, never 202", fmt.Errorf("dial: %w", queue.ErrUnavailable), 503, "unavailable"},
		{"a deadline is 503", context.DeadlineExceeded, 503, "unavailable"},
		{"anything else is 500 without detail", errors.New("secret inside"), 500, "internal"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := start(t, nil)
			f.queue.fail = row.fail
			r := f.call("POST", "/v1/notifications", shipped)
			r.wantProblem(t, row.status, row.kind)
			if strings.Contains(r.body, "secret") || strings.Contains(r.body, "dial") {
				t.Errorf("the answer tells what is inside: %s", r.body)
			}
			if row.status == 503 && r.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
}

func TestAnOutageDoesNotFloodTheLog(t *testing.T) {
	f := start(t, nil)
	f.queue.fail = fmt.Errorf("dial: %w", queue.ErrUnavailable)
	begun := time.Now()
	for range 50 {
		f.call("POST", "/v1/notifications", shipped).wantProblem(t, 503, "unavailable")
	}
	lines, most := strings.Count(f.logs.String(), "a call failed"), 1+int(time.Since(begun)/time.Second)
	if lines < 1 || lines > most || !strings.Contains(f.logs.String(), "dial") {
		t.Errorf("50 failures made %d lines, want 1 to %d that say why:\n%s", lines, most, f.logs)
	}
}

func TestAFullLaneIs429AndTheOthersGoOn(t *testing.T) {
	f := start(t, nil)
	f.queue.full = map[notice.Lane]time.Duration{notice.LaneNormal: 1500 * time.Millisecond}
	r := f.call("POST", "/v1/notifications", shipped)
	r.wantProblem(t, 429, "backlog-full")
	if got := r.header.Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After is %q, want 2: rounded up", got)
	}
	f.call("POST", "/v1/notifications", `{"template":"welcome","to":{"user":"u"}}`).into(t, 202, &accepted{})
}

func TestABodyOverTheLimitIsNotReadOn(t *testing.T) {
	f := start(t, func(o *ingest.Options) { o.Ingest.MaxBody = 1 << 10 })
	f.call("POST", "/v1/notifications", `{"data":"`+strings.Repeat("x", 2<<10)+`"}`).wantProblem(t, 413, "body-too-large")

	// A declared length is refused before any of the body is sent.
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "POST /v1/notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000000000\r\n\r\n", acmeKey)
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 413") || !strings.Contains(string(answer[:n]), "Connection: close") {
		t.Errorf("got %q, %v", answer[:n], err)
	}
}

func TestAChunkedBodyIsReadToItsEnd(t *testing.T) {
	f := start(t, nil)
	body := &onlyReader{strings.NewReader(shipped)} // its length is not known, so it is sent in chunks
	req, err := http.NewRequest("POST", f.url+"/v1/notifications", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+acmeKey)
	f.do(req).into(t, 202, &accepted{})
	big := &onlyReader{strings.NewReader(`{"data":"` + strings.Repeat("x", 100<<10) + `"}`)}
	req, err = http.NewRequest("POST", f.url+"/v1/notifications", big)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+acmeKey)
	f.do(req).wantProblem(t, 413, "body-too-large")
}

type onlyReader struct{ r *strings.Reader }

func (o *onlyReader) Read(p []byte) (int, error) { return o.r.Read(p) }

func TestAClientThatStopsSendingIsCutOff(t *testing.T) {
	f := start(t, func(o *ingest.Options) { o.BodyTimeout = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "POST /v1/notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", acmeKey)
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 408") {
		t.Errorf("got %q, %v; want 408", answer[:n], err)
	}
}

func TestAPanicIsA500WithoutDetailAndTheServerGoesOn(t *testing.T) {
	f := start(t, nil)
	f.queue.hook = func(context.Context) { panic("the secret reason") }
	r := f.call("POST", "/v1/notifications", shipped)
	r.wantProblem(t, 500, "internal")
	if strings.Contains(r.body, "secret") || !strings.Contains(f.logs.String(), "the secret reason") {
		t.Errorf("the reason belongs in the log alone: answer %s, log %s", r.body, f.logs)
	}
	f.queue.hook = nil
	f.call("POST", "/v1/notifications", shipped).into(t, 202, &accepted{})
}

func TestContentTypes(t *testing.T) {
	f := start(t, nil)
	for _, row := range []struct {
		contentType string
		status      int
	}{
		{"application/json", 202}, {"application/json; charset=utf-8", 202}, {"Application/JSON", 202}, {"application/vnd.acme+json", 202}, {"", 202},
		{"text/plain", 415}, {"application/x-www-form-urlencoded", 415}, {"application/xml", 415}, {"application/cloudevents+json", 415}, {";;", 415},
	} {
		t.Run(row.contentType, func(t *testing.T) {
			if r := f.call("POST", "/v1/notifications", shipped, "Content-Type", row.contentType); r.status != row.status {
				t.Errorf("got %d %s, want %d", r.status, r.body, row.status)
			}
		})
	}
}

func TestPathsAndMethodsThatAreNot(t *testing.T) {
	f := start(t, nil)
	f.call("GET", "/v1/notification", "").wantProblem(t, 404, "not-found")
	f.call("GET", "/", "").wantProblem(t, 404, "not-found")
	r := f.call("PUT", "/v1/notifications", shipped)
	r.wantProblem(t, 405, "method-not-allowed")
	if r.header.Get("Allow") != "POST" {
		t.Errorf("Allow is %q", r.header.Get("Allow"))
	}
	if r := f.call("PATCH", "/v1/notifications/3-00000000000000000000", ""); r.header.Get("Allow") != "DELETE, GET, HEAD" {
		t.Errorf("Allow is %q", r.header.Get("Allow"))
	}
	if r := f.call("OPTIONS", "/v1/notifications", ""); r.status != 204 || r.header.Get("Allow") != "POST" || r.body != "" {
		t.Errorf("OPTIONS: got %d, Allow %q, body %q", r.status, r.header.Get("Allow"), r.body)
	}
	if r := f.call("HEAD", "/v1/templates", ""); r.status != 200 || r.body != "" {
		t.Errorf("HEAD: got %d %q", r.status, r.body)
	}
	if r := f.call("HEAD", "/v1/nothing", ""); r.status != 404 {
		t.Errorf("HEAD of nothing: got %d", r.status)
	}
}

func TestKeysAndScopes(t *testing.T) {
	f := start(t, nil)
	for _, row := range []struct {
		name, header string
		status       int
		kind         string
	}{
		{"no key", "", 401, "unauthorized"},
		{"another scheme", "Basic dTpw", 401, "unauthorized"},
		{"a wrong key", "Bearer nope-nope-nope-nope", 401, "unauthorized"},
		{"a key cut short", "Bearer " + acmeKey[:len(acmeKey)-1], 401, "unauthorized"},
		{"a key without the scope", "Bearer " + readKey, 403, "forbidden"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := f.call("POST", "/v1/notifications", shipped, "Authorization", row.header)
			r.wantProblem(t, row.status, row.kind)
			if (r.header.Get("WWW-Authenticate") == `Bearer realm="carillon"`) != (row.status == 401) {
				t.Errorf("WWW-Authenticate is %q", r.header.Get("WWW-Authenticate"))
			}
			if strings.Contains(r.body+f.logs.String(), acmeKey[:len(acmeKey)-1]) {
				t.Error("the key that was presented is repeated")
			}
		})
	}
	f.call("POST", "/v1/notifications", shipped, "Authorization", "bearer "+acmeKey).into(t, 202, &accepted{})
	if f.queue.count() != 1 {
		t.Errorf("%d were admitted, want 1", f.queue.count())
	}
}

func TestDisabledAuthIsTheDefaultTenant(t *testing.T) {
	f := start(t, func(o *ingest.Options) { o.Auth = config.Auth{Disabled: true} })
	f.call("POST", "/v1/notifications", shipped, "Authorization", "").into(t, 202, &accepted{})
	if got := f.queue.last().Tenant; got != "default" {
		t.Errorf("tenant %q", got)
	}
}

func TestAKeyOverItsRateIsToldWhenToComeBack(t *testing.T) {
	f := start(t, nil)
	for i, remaining := range []string{`"default";r=1;t=30`, `"default";r=0;t=60`} {
		r := f.call("POST", "/v1/notifications", shipped, "Authorization", "Bearer "+slowKey)
		if r.status != 202 || r.header.Get("RateLimit-Policy") != `"default";q=2;w=60` || r.header.Get("RateLimit") != remaining {
			t.Errorf("call %d: %d, policy %q, state %q, want %q", i, r.status, r.header.Get("RateLimit-Policy"), r.header.Get("RateLimit"), remaining)
		}
	}
	r := f.call("POST", "/v1/notifications", shipped, "Authorization", "Bearer "+slowKey)
	r.wantProblem(t, 429, "rate-limited")
	if r.header.Get("Retry-After") != "30" {
		t.Errorf("Retry-After is %q, want the 30 seconds until one more", r.header.Get("Retry-After"))
	}
	f.call("POST", "/v1/notifications", shipped).into(t, 202, &accepted{}) // another key of the tenant is not held up
}

func TestARecordIsShownWholeAndOnlyToItsTenant(t *testing.T) {
	f := start(t, nil)
	id := "3-0123456789abcdefghij"
	f.queue.records[id] = queue.Record{
		ID: id, Tenant: "acme", User: "u42", Template: "welcome", Category: "account", Lane: notice.LaneCritical, AcceptedAt: testNow,
		Timeline: []queue.Entry{{At: testNow, Status: notice.StatusQueued}},
		Deliveries: []queue.DeliveryRecord{
			{ID: id + "-0", Channel: notice.ChannelEmail, Address: "a…@example.com", Status: notice.StatusDelivered, Attempt: 1,
				Timeline: []queue.Entry{{At: testNow.Add(time.Second), Status: notice.StatusDelivered, Attempt: 1, Code: "250", ProviderID: "q1"}}},
			{ID: id + "-1", Channel: notice.ChannelWebhook, Address: "example.com", Status: notice.StatusRetrying, Attempt: 2,
				Timeline: []queue.Entry{{At: testNow, Status: notice.StatusRetrying, Attempt: 2, Code: "503", Detail: "unavailable", Until: testNow.Add(time.Minute)}}},
		},
	}
	r := f.call("GET", "/v1/notifications/"+id, "")
	want := `{"id":"3-0123456789abcdefghij","status":"processing","template":"welcome","category":"account","priority":"critical","to":{"user":"u42"},` +
		`"accepted_at":"2026-11-20T12:00:00Z","timeline":[{"at":"2026-11-20T12:00:00Z","status":"queued"}],"deliveries":[` +
		`{"id":"3-0123456789abcdefghij-0","channel":"email","address":"a…@example.com","status":"delivered","attempt":1,"timeline":[{"at":"2026-11-20T12:00:01Z","status":"delivered","attempt":1,"code":"250","provider_id":"q1"}]},` +
		`{"id":"3-0123456789abcdefghij-1","channel":"webhook","address":"example.com","status":"retrying","attempt":2,"timeline":[{"at":"2026-11-20T12:00:00Z","status":"retrying","attempt":2,"code":"503","detail":"unavailable","until":"2026-11-20T12:01:00Z"}]}]}` + "\n"
	if r.status != 200 || r.body != want {
		t.Errorf("got %d\n%s\nwant\n%s", r.status, r.body, want)
	}
	for _, row := range []struct{ name, id, key string }{
		{"another tenant's", id, otherKey},
		{"nobody's", "3-0123456789abcdefghik", acmeKey},
		{"no id at all", "../../etc/passwd", acmeKey},
		{"a delivery's", id + "-0", acmeKey},
		{"the batch path", "batch", acmeKey},
	} {
		t.Run(row.name, func(t *testing.T) {
			f.call("GET", "/v1/notifications/"+strings.ReplaceAll(row.id, "/", "%2F"), "", "Authorization", "Bearer "+row.key).wantProblem(t, 404, "not-found")
		})
	}
}

func TestTheStatusOfANotificationIsTheSumOfItsDeliveries(t *testing.T) {
	delivery := func(s ...notice.Status) (out []queue.DeliveryRecord) {
		for _, s := range s {
			out = append(out, queue.DeliveryRecord{ID: exampleID + "-0", Channel: notice.ChannelEmail, Status: s})
		}
		return out
	}
	for _, row := range []struct {
		name string
		rec  queue.Record
		want string
	}{
		{"not planned yet", queue.Record{}, "accepted"},
		{"canceled before it was planned", queue.Record{Timeline: []queue.Entry{{Status: notice.StatusCanceled}}}, "canceled"},
		{"waiting for its time", queue.Record{Timeline: []queue.Entry{{Status: notice.StatusDeferred}}}, "accepted"},
		{"one of two is open", queue.Record{Deliveries: delivery(notice.StatusDelivered, notice.StatusDeferred)}, "processing"},
		{"all have ended", queue.Record{Deliveries: delivery(notice.StatusDelivered, notice.StatusDead, notice.StatusCapped)}, "done"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := start(t, nil)
			id := "3-0123456789abcdefghij"
			row.rec.ID, row.rec.Tenant, row.rec.AcceptedAt = id, "acme", testNow
			f.queue.records[id] = row.rec
			var got struct{ Status string }
			f.call("GET", "/v1/notifications/"+id, "").into(t, 200, &got)
			if got.Status != row.want {
				t.Errorf("got %q, want %q", got.Status, row.want)
			}
		})
	}
}

func TestCancelingAnswersWhatWasLeft(t *testing.T) {
	f := start(t, nil)
	id := "3-0123456789abcdefghij"
	f.queue.cancel = func(tenant, got string) (queue.Cancellation, error) {
		if tenant != "acme" || got != id {
			return queue.Cancellation{}, queue.ErrNotFound
		}
		return queue.Cancellation{Canceled: []string{id + "-1", id + "-3"}, TooLate: []string{id + "-2"}}, nil
	}
	var got struct {
		ID, Status string
		Canceled   int
		Deliveries []struct{ ID, Status string }
	}
	f.call("DELETE", "/v1/notifications/"+id, "").into(t, 200, &got)
	if got.ID != id || got.Status != "canceled" || got.Canceled != 2 || fmt.Sprint(got.Deliveries) != fmt.Sprintf("[{%[1]s-1 canceled} {%[1]s-3 canceled} {%[1]s-2 too_late}]", id) {
		t.Errorf("got %+v", got)
	}
	f.call("DELETE", "/v1/notifications/"+id, "", "Authorization", "Bearer "+otherKey).wantProblem(t, 404, "not-found")
	f.queue.cancel = func(string, string) (queue.Cancellation, error) { return queue.Cancellation{}, queue.ErrFinished }
	f.call("DELETE", "/v1/notifications/"+id, "").wantProblem(t, 409, "nothing-to-cancel")
}

func TestTheAnswerIsWhatAJSONEncoderWouldWrite(t *testing.T) {
	f := start(t, nil)
	r := f.call("POST", "/v1/notifications", shipped)
	var got accepted
	r.into(t, 202, &got)
	want, err := json.Marshal(map[string]any{"id": got.ID, "status": "accepted", "duplicate": false})
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if json.Unmarshal(want, &a) != nil || json.Unmarshal([]byte(r.body), &b) != nil || fmt.Sprint(a) != fmt.Sprint(b) || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %q %q, want %s", r.header.Get("Content-Type"), r.body, want)
	}
}

func TestTheAcceptorSaysEveryFaultInOneLine(t *testing.T) {
	door := ingest.Acceptor{Templates: loadCatalogue(t), EnabledChannels: map[notice.Channel]bool{notice.ChannelEmail: true}}
	n := notice.Notification{Template: "order-shiped", To: notice.Recipient{Email: "nobody"}}
	err := door.Accept(&n, testNow)
	if err == nil || !strings.Contains(err.Error(), `/to/email: "nobody" cannot be`) || !strings.Contains(err.Error(), `/template: there is no template "order-shiped"`) {
		t.Errorf("got %v", err)
	}
	n = notice.Notification{Template: "welcome", To: notice.Recipient{User: "u"}}
	if err := door.Accept(&n, testNow); err != nil || n.Category != "account" || n.Priority != notice.LaneCritical {
		t.Errorf("got %v, completed to %+v", err, n)
	}
	n = notice.Notification{Template: "welcome", CollapseKey: "own", To: notice.Recipient{User: "u"}}
	if err := door.Accept(&n, testNow); err != nil || n.CollapseKey != "own" {
		t.Errorf("got %v, and its own collapse key became %q", err, n.CollapseKey)
	}
}
