package ingest_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/queue"
)

// socket is a connection to the API on which a test says what no well-behaved
// client would.
type socket struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

func (f *fixture) dial() *socket {
	f.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	return &socket{conn, f.t, bufio.NewReader(conn)}
}

// say writes; an error is the server's good right to have hung up.
func (s *socket) say(lines ...string) { io.WriteString(s, strings.Join(lines, "")) }

// hear reads one answer.
func (s *socket) hear(method string) reply {
	s.t.Helper()
	res, err := http.ReadResponse(s.in, &http.Request{Method: method})
	if err != nil {
		s.t.Fatalf("no answer: %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if res.Close {
		res.Header.Set("Connection", "close") // which ReadResponse takes out
	}
	return reply{res.StatusCode, res.Header, string(body)}
}

// ends fails unless the server closes the connection by itself.
func (s *socket) ends() {
	s.t.Helper()
	if _, err := io.Copy(io.Discard, s.in); errors.Is(err, os.ErrDeadlineExceeded) {
		s.t.Error("the server keeps the connection")
	}
}

// head is a request's header with acme's key.
func head(call string, more ...string) string {
	return call + " HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer " + acmeKey + "\r\n" + strings.Join(more, "\r\n") + "\r\n\r\n"
}

// post is a whole request with a body.
func post(path, body string, more ...string) string {
	return head("POST "+path, append(more, fmt.Sprint("Content-Length: ", len(body)))...) + body
}

const good = `{"template":"order-shipped","to":{"user":"u42"},"data":{"order":"A-1"}}`

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.String()
}

func TestWhatAnyHTTPClientExpects(t *testing.T) {
	f := start(t, nil)
	const gz = "Content-Encoding: gzip"
	for says, tc := range map[string]struct {
		request string
		status  int
		kind    string // of the problem; empty: it is none
		says    string // in the body
		header  string // "Name: value"; without a value it must be absent
	}{
		"OPTIONS says what is allowed":                  {head("OPTIONS /v1/notifications/x"), 204, "", "", "Allow: DELETE, GET, HEAD"},
		"HEAD is GET without the body":                  {head("HEAD /v1/templates"), 200, "", "", "Content-Type: application/json"},
		"another method is refused":                     {head("PUT /v1/events"), 405, "method-not-allowed", "allowed here: POST", "Allow: POST"},
		"an unknown path is a problem":                  {head("GET /v2/notifications"), 404, "not-found", "/docs", ""},
		"a doubled slash is no redirect":                {post("/v1//notifications", good), 404, "not-found", "dotted segment", "Location:"},
		"a dotted path is no redirect":                  {post("/v1/x/../notifications", good), 404, "not-found", "dotted segment", "Location:"},
		"Accept is not looked at":                       {head("GET /v1/templates", "Accept: image/png"), 200, "", "order-shipped", ""},
		"another content type is refused":               {post("/v1/notifications", good, "Content-Type: text/plain"), 415, "unsupported-media-type", "application/json", ""},
		"UTF-8 may be named":                            {post("/v1/notifications", good, `Content-Type: application/json; charset="UTF-8"`), 202, "", "accepted", ""},
		"another charset is refused":                    {post("/v1/notifications", good, "Content-Type: application/json; charset=iso-8859-1"), 415, "unsupported-media-type", "iso-8859-1", ""},
		"a packed body is taken":                        {post("/v1/notifications", zipped(good), gz), 202, "", "accepted", ""},
		"a packed batch is taken":                       {post("/v1/notifications/batch", zipped("["+good+"]"), gz), 202, "", `"accepted":1`, ""},
		"a bomb is no more than a large body":           {post("/v1/notifications", zipped(strings.Repeat(" ", 40<<20)), gz), 413, "body-too-large", "64KiB", ""},
		"half a packed body is refused":                 {post("/v1/notifications", zipped(good)[:40], gz), 400, "bad-request", "gzip", ""},
		"a body that is not packed is refused":          {post("/v1/notifications", good, gz), 400, "bad-request", "gzip", ""},
		"an empty packed body is refused":               {post("/v1/notifications", "", gz), 400, "bad-request", "gzip", ""},
		"another packing is refused":                    {post("/v1/notifications", good, "Content-Encoding: br"), 415, "unsupported-media-type", "br", "Accept-Encoding: gzip"},
		"packed twice is refused":                       {post("/v1/notifications", good, gz, gz), 415, "unsupported-media-type", "gzip, gzip", "Accept-Encoding: gzip"},
		"a doubled member is a fault":                   {post("/v1/notifications", `{"template":"welcome","template":"order-shipped","to":{"user":"u"}}`), 422, "invalid", "/template", ""},
		"a doubled member of the data is one":           {post("/v1/notifications", `{"template":"order-shipped","to":{"user":"u"},"data":{"order":"1","order":"2"}}`), 422, "invalid", "/order stands twice", ""},
		"a hundred levels are too many":                 {post("/v1/notifications", `{"data":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+"}"), 422, "invalid", "64 levels", ""},
		"thirty thousand that never close are no JSON":  {post("/v1/notifications", strings.Repeat("[", 30_000)), 422, "invalid", "64 levels", ""},
		"what is not UTF-8 is no JSON":                  {post("/v1/notifications", "{\"template\":\"\xff\"}"), 400, "malformed-json", "UTF-8", ""},
		"a byte order mark is no JSON":                  {post("/v1/notifications", "\ufeff"+good), 400, "malformed-json", "at byte 0", ""},
		"something after the end is refused":            {post("/v1/notifications", good+"}"), 400, "malformed-json", fmt.Sprint("at byte ", len(good)), ""},
		"an empty body is refused":                      {post("/v1/notifications", ""), 400, "malformed-json", "empty", ""},
		"a large body is refused by its length":         {head("POST /v1/notifications", "Content-Length: 99999999"), 413, "body-too-large", "64KiB", "Connection: close"},
		"a large body of unknown length is refused":     {head("POST /v1/notifications", "Transfer-Encoding: chunked") + "20000\r\n" + strings.Repeat(" ", 0x20000) + "\r\n0\r\n\r\n", 413, "body-too-large", "64KiB", "Connection: close"},
		"an event of unknown length is taken in chunks": {head("POST /v1/notifications", "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(good), good), 202, "", "accepted", ""},
		"a key in the wrong place is none":              {"GET /v1/templates?key=" + acmeKey + " HTTP/1.1\r\nHost: g\r\n\r\n", 401, "unauthorized", "Authorization", "Www-Authenticate: Bearer realm=\"carillon\""},
		"HTTP/1.0 is answered":                          {"GET /v1/templates HTTP/1.0\r\nAuthorization: Bearer " + acmeKey + "\r\n\r\n", 200, "", "order-shipped", ""},
	} {
		t.Run(says, func(t *testing.T) {
			s := f.dial()
			s.t = t
			s.say(tc.request)
			method, _, _ := strings.Cut(tc.request, " ")
			r := s.hear(method)
			if tc.kind != "" {
				r.wantProblem(t, tc.status, tc.kind)
			}
			if r.status != tc.status || !strings.Contains(r.body, tc.says) {
				t.Errorf("got %d %s, want %d and %q", r.status, r.body, tc.status, tc.says)
			}
			name, value, _ := strings.Cut(tc.header, ":")
			if got := r.header.Get(name); tc.header != "" && got != strings.TrimSpace(value) {
				t.Errorf("%s is %q, want %q", name, got, strings.TrimSpace(value))
			}
		})
	}
}

func TestNumbersKeepEveryDigit(t *testing.T) {
	f := start(t, nil)
	data := `{"order":"1","n":9007199254740993,"long":123456789012345678901234567890.10,"tiny":1e-400}`
	f.call("POST", "/v1/notifications", `{"template":"order-shipped","to":{"user":"u"},"data":`+data+`}`).into(t, 202, &accepted{})
	if got := string(f.queue.last().Notification.Data); got != data {
		t.Errorf("the queue got %s, want %s", got, data)
	}
}

func TestAClientThatAsksFirstIsToldBeforeItSends(t *testing.T) {
	f := start(t, nil)
	t.Run("a body that is too large is never sent", func(t *testing.T) {
		s := f.dial()
		s.say(head("POST /v1/notifications", "Content-Length: 99999999", "Expect: 100-continue"))
		s.hear("POST").wantProblem(t, 413, "body-too-large")
	})
	t.Run("nor is one without a key", func(t *testing.T) {
		s := f.dial()
		s.say("POST /v1/notifications HTTP/1.1\r\nHost: g\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
		s.hear("POST").wantProblem(t, 401, "unauthorized")
	})
	t.Run("one that is wanted is asked for", func(t *testing.T) {
		s := f.dial()
		s.say(head("POST /v1/notifications", fmt.Sprint("Content-Length: ", len(good)), "Expect: 100-continue"))
		if line, err := s.in.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("got %q, %v", line, err)
		}
		s.in.ReadString('\n')
		s.say(good)
		s.hear("POST").into(t, 202, &accepted{})
	})
}

func TestRequestsThatDoNotWaitAreAnsweredInOrder(t *testing.T) {
	f := start(t, nil)
	s := f.dial()
	const n = 200
	var all strings.Builder
	for i := range n {
		body := strings.Replace(good, "u42", fmt.Sprint("u", i), 1)
		all.WriteString(post("/v1/notifications", body, fmt.Sprint("X-Request-Id: r", i)))
	}
	go s.say(all.String())
	for i := range n {
		if r := s.hear("POST"); r.status != 202 || r.header.Get("X-Request-Id") != fmt.Sprint("r", i) {
			t.Fatalf("answer %d is %d to %q", i, r.status, r.header.Get("X-Request-Id"))
		}
	}
	if f.queue.count() != n {
		t.Errorf("%d of %d were taken", f.queue.count(), n)
	}
}

func TestAClientThatNeverSendsItsBodyIsCutOffThoughItIsRefused(t *testing.T) {
	f := start(t, func(o *ingest.Options) { o.BodyTimeout = 50 * time.Millisecond })
	for says, request := range map[string]string{
		"without a key":        "POST /v1/notifications HTTP/1.1\r\nHost: g\r\nContent-Length: 1000\r\n\r\n{",
		"a path that is not":   head("POST /nowhere", "Content-Length: 1000") + "{",
		"a call without body":  head("GET /v1/templates", "Content-Length: 1000") + "{",
		"a chunk that is none": head("POST /nowhere", "Transfer-Encoding: chunked") + "ff\r\n{",
		"an unsubscription":    head("POST /u/token", "Content-Length: 1000", "Content-Type: "+formType) + "L",
	} {
		t.Run(says, func(t *testing.T) {
			s := f.dial()
			s.t = t
			s.say(request)
			s.ends()
		})
	}
}

func TestAClientThatDoesNotReadIsCutOff(t *testing.T) {
	large := &fakeDead{}
	for range 1000 {
		large.dead = append(large.dead, queue.Dead{ID: "1-0", Channel: "inbox", Reason: "malformed", At: testNow, Payload: strings.Repeat("x", 16<<10)})
	}
	f := start(t, func(o *ingest.Options) { o.DeadLetters, o.AnswerTimeout = large, 100*time.Millisecond })
	s := f.dial()
	s.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	s.say(head("GET /v1/dead?limit=1000"))
	// Nothing is read until the server has given up: only then does the
	// connection break when more is said.
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := io.WriteString(s, " "); err != nil {
			return
		}
	}
	t.Error("the server still waits for its answer to be read")
}

func TestEveryAnswerNamesItsRequest(t *testing.T) {
	f := start(t, nil)
	seen := map[string]bool{}
	for says, tc := range map[string]struct{ given, want string }{
		"none":                {"", ""},
		"one that is good":    {"trace-1.2_3~4+5/6=7:8", "trace-1.2_3~4+5/6=7:8"},
		"a mail address":      {"ada@example.com", ""},
		"one with a space":    {"a b", ""},
		"one that is no text": {"\xff", ""},
		"one that is long":    {strings.Repeat("x", 129), ""},
		"the longest":         {strings.Repeat("x", 128), strings.Repeat("x", 128)},
	} {
		for _, path := range []string{"/v1/templates", "/nowhere", "/docs"} {
			r := f.call("GET", path, "", "X-Request-Id", tc.given)
			got := r.header.Get("X-Request-Id")
			if tc.want != "" && got != tc.want || tc.want == "" && (seen[got] || len(got) < 10 || got == tc.given) {
				t.Errorf("%s at %s: got %q, want %q", says, path, got, tc.want)
			}
			seen[got] = true
		}
	}
}

func TestTheLogNamesRequestsAndNobody(t *testing.T) {
	w := startWhole(t, func(w *whole) { w.options.Ingest.AccessLog = true })
	for _, d := range operationsOf(t, w) {
		d.header["X-Request-Id"] = "req-" + d.id
		if d.id == "reportMailByProvider" {
			continue
		}
		d.send(w)
	}
	w.call("BREW", "/v1/notifications", "")
	log := w.logs.String()
	for _, personal := range []string{"ada", "u42", "@", w.token, acmeKey, exampleID, "00fc13adff", "127.0.0.1", "BREW"} {
		if strings.Contains(log, personal) {
			t.Errorf("the log has %q:\n%s", personal, log)
		}
	}
	want := `msg=call request=req-createNotification method=POST pattern="POST /v1/notifications" tenant=acme status=202 bytes=`
	if !strings.Contains(log, want) || !strings.Contains(log, "method=other") {
		t.Errorf("the log has no %q:\n%s", want, log)
	}
}

func TestAFaultIsLoggedUnderTheRequestsName(t *testing.T) {
	w := startWhole(t, (*whole).breakAll)
	if r := w.call("GET", "/v1/templates", "", "X-Request-Id", "req-1"); r.status != 500 {
		t.Fatalf("got %d", r.status)
	}
	if log := w.logs.String(); !strings.Contains(log, "request=req-1") {
		t.Errorf("the log does not name it:\n%s", log)
	}
}
