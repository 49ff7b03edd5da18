package sandbox_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels/sandbox"
	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json"
)

// mount serves the inbox where `carillon dev` has it, and tells its URL.
func mount(t *testing.T, box *sandbox.Sandbox) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/dev/inbox/", http.StripPrefix("/dev/inbox", box.Handler()))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/dev/inbox/"
}

// listed is the numbers that GET messages answers to a query.
func listed(t *testing.T, base, query string) []sandbox.Message {
	t.Helper()
	got := must(t, http.DefaultClient, "GET", base+"messages"+query, "", nil)
	var answer struct {
		Messages []sandbox.Message `json:"messages"`
	}
	if err := json.Unmarshal([]byte(got.body), &answer); err != nil || got.status != 200 || answer.Messages == nil {
		t.Fatalf("GET messages%s: %d %s, %v", query, got.status, got.body, err)
	}
	return answer.Messages
}

func TestMessagesAreListedByQuery(t *testing.T) {
	box := start(t, sandbox.Options{})
	base := mount(t, box)
	if got := listed(t, base, ""); len(got) != 0 {
		t.Errorf("an empty inbox lists %d", len(got))
	}
	for _, c := range []notice.Channel{notice.ChannelEmail, notice.ChannelFCM, notice.ChannelWebhook} {
		if _, err := send(t, box, c); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]string{
		"": "[3 2 1]", "?after=1": "[3 2]", "?channel=email": "[1]", "?limit=1": "[3]", "?q=MORNING": "[1]",
		"?to=/hook": "[3]", "?id=1@acme.example": "[1]", "?channel=apns": "[]",
	} {
		t.Run(query, func(t *testing.T) {
			numbers := []int{}
			for _, m := range listed(t, base, query) {
				numbers = append(numbers, m.Seq)
			}
			if fmt.Sprint(numbers) != want {
				t.Errorf("got %v, want %s", numbers, want)
			}
		})
	}
	if m := listed(t, base, "?channel=email")[0]; m.Raw == "" || m.Text == "" {
		t.Errorf("the whole message is listed unless view=list: %+v", m)
	}
	if m := listed(t, base, "?channel=email&view=list")[0]; m.Raw != "" || m.Title != "Hello" {
		t.Errorf("view=list gives %+v", m)
	}
}

func TestWrongRequestsAreAnsweredWithTheMend(t *testing.T) {
	box := start(t, sandbox.Options{})
	base := mount(t, box)
	for _, tc := range []struct {
		method, path, body string
		status             int
		words              string
	}{
		{"GET", "messages?channel=pigeon", "", 400, "channel=pigeon: there is no such channel: use one of [email"},
		{"GET", "messages?after=x", "", 400, "after=x: use a number"},
		{"GET", "messages?limit=-1", "", 400, "limit=-1: use a number"},
		{"GET", "messages/7", "", 404, "no such message"},
		{"GET", "messages/x/html", "", 404, "no such message"},
		{"GET", "events?after=x", "", 400, "after=x"},
		{"POST", "misbehave/pigeon", "{}", 422, "there is no such channel"},
		{"POST", "misbehave/email", `{"status":200}`, 422, "email wants 400 to 599"},
		{"POST", "misbehave/fcm", `{"delay":"soon"}`, 422, `delay \"soon\" is no duration: write it as`},
		{"POST", "misbehave/fcm", `{"statsu":500}`, 422, "the body is no behaviour such as"},
		{"POST", "misbehave/fcm", `{"status":`, 422, "the body is no behaviour"},
		{"POST", "misbehave/fcm", `{"reason":"` + strings.Repeat("x", 5000) + `"}`, 422, "larger than 4096"},
		{"POST", "messages", "", 405, ""},
	} {
		t.Run(tc.method+" "+tc.path+" "+fmt.Sprintf("%.20s", tc.body), func(t *testing.T) {
			got := must(t, http.DefaultClient, tc.method, base+tc.path, tc.body, nil)
			if got.status != tc.status || !strings.Contains(got.body, tc.words) {
				t.Errorf("got %d %s, want %d %s", got.status, got.body, tc.status, tc.words)
			}
		})
	}
}

func TestMisbehaviourIsSetShownAndEndedOverHTTP(t *testing.T) {
	box := start(t, sandbox.Options{})
	base := mount(t, box)
	const told = `{"delay":"10ms","status":503,"reason":"busy","retry_after":"30s","cut":"after","share":0.5,"times":3}`
	if got := must(t, http.DefaultClient, "POST", base+"misbehave/webhook", told, nil); got.status != 200 || got.body != told {
		t.Errorf("answer %d %s", got.status, got.body)
	}
	if got := must(t, http.DefaultClient, "GET", base+"state", "", nil); !strings.Contains(got.body, `"behaviours":{"webhook":`+told+`}`) {
		t.Errorf("state %s", got.body)
	}
	must(t, http.DefaultClient, "POST", base+"misbehave/webhook", "{}", nil)
	if got := must(t, http.DefaultClient, "GET", base+"state", "", nil); !strings.Contains(got.body, `"behaviours":{}`) {
		t.Errorf("state %s", got.body)
	}
}

func TestClearForgetsButNumbersGoOn(t *testing.T) {
	box := start(t, sandbox.Options{})
	base := mount(t, box)
	if _, err := send(t, box, notice.ChannelFCM); err != nil {
		t.Fatal(err)
	}
	if got := must(t, http.DefaultClient, "DELETE", base+"messages", "", nil); got.status != 204 {
		t.Fatalf("answer %+v", got)
	}
	if n := len(listed(t, base, "")) + box.Counts()[notice.ChannelFCM]; n != 0 {
		t.Errorf("%d are left", n)
	}
	if _, err := send(t, box, notice.ChannelFCM); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, base, ""); len(got) != 1 || got[0].Seq != 2 {
		t.Errorf("after clearing: %+v", got)
	}
}

func TestOtherSitesCanNeitherChangeNorRead(t *testing.T) {
	box := start(t, sandbox.Options{Hosts: []string{"inbox.dev.example"}})
	base := mount(t, box)
	for name, tc := range map[string]struct {
		method, path string
		header       map[string]string
		host         string
		status       int
	}{
		"a form on another site":                  {"POST", "misbehave/fcm", map[string]string{"Sec-Fetch-Site": "cross-site"}, "", 403},
		"an old browser on another site":          {"POST", "misbehave/fcm", map[string]string{"Origin": "https://evil.example"}, "", 403},
		"another port of the same machine":        {"DELETE", "messages", map[string]string{"Sec-Fetch-Site": "same-site"}, "", 403},
		"a sandboxed frame, such as a mail's":     {"DELETE", "messages", map[string]string{"Origin": "null"}, "", 403},
		"the page itself":                         {"POST", "misbehave/fcm", map[string]string{"Sec-Fetch-Site": "same-origin"}, "", 200},
		"curl":                                    {"POST", "misbehave/fcm", nil, "", 200},
		"a name that a stranger pointed here":     {"GET", "messages", nil, "rebound.evil.example", 421},
		"a name that was allowed":                 {"GET", "messages", nil, "inbox.dev.example:8080", 200},
		"localhost":                               {"GET", "messages", nil, "localhost:8080", 200},
		"an address of version 6":                 {"GET", "messages", nil, "[::1]:8080", 200},
		"the name of a container beside this one": {"GET", "messages", nil, "carillon:8080", 200},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(tc.method, base+tc.path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range tc.header {
				req.Header.Set(name, value)
			}
			req.Host = tc.host
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tc.status {
				t.Errorf("answer %d, want %d", resp.StatusCode, tc.status)
			}
		})
	}
}

func TestMailIsServedWithoutAnyRights(t *testing.T) {
	box := start(t, sandbox.Options{})
	base := mount(t, box)
	if err := mail(box, "ada@example.com", multipart); err != nil {
		t.Fatal(err)
	}
	got := must(t, http.DefaultClient, "GET", base+"messages/1/html", "", nil)
	policy := got.header.Get("Content-Security-Policy")
	for _, rule := range []string{"sandbox;", "default-src 'none'", "img-src data:", "form-action 'none'"} {
		if !strings.Contains(policy, rule) {
			t.Errorf("the policy %q lacks %q", policy, rule)
		}
	}
	if strings.Contains(policy, "allow-") || got.body != "<p>Grüße</p>" {
		t.Errorf("policy %q, body %q", policy, got.body)
	}
	raw := must(t, http.DefaultClient, "GET", base+"messages/1/raw", "", nil)
	if !strings.HasPrefix(raw.header.Get("Content-Type"), "text/plain") || raw.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("raw is served as %v", raw.header)
	}
}

func TestMountPointLeadsToItsSlash(t *testing.T) {
	box := start(t, sandbox.Options{})
	handler := http.StripPrefix("/dev/inbox", box.Handler())
	for target, want := range map[string]string{
		"/dev/inbox":    "./inbox/",
		"//evil.x/a/..": "", // the prefix is not there: not ours to answer
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", target, nil)
		r.Host = "localhost"
		handler.ServeHTTP(w, r)
		if got := w.Header().Get("Location"); got != want {
			t.Errorf("%s leads to %q, want %q", target, got, want)
		}
	}
}

// stream reads server-sent events one by one.
type stream struct{ lines *bufio.Scanner }

func openStream(t *testing.T, base, query string, header map[string]string) stream {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", base+"events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	c := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close(); c.CloseIdleConnections() })
	return stream{bufio.NewScanner(resp.Body)}
}

// until reads to the next event of a kind and gives its id and data.
func (s stream) until(t *testing.T, kind string) (id, data string) {
	t.Helper()
	event := ""
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			if data = value; event == kind {
				return id, data
			}
			id = ""
		}
	}
	t.Fatalf("the stream ended before a %q: %v", kind, s.lines.Err())
	return "", ""
}

func TestEventsArriveLiveAndResume(t *testing.T) {
	box := start(t, sandbox.Options{})
	base := mount(t, box)
	live := openStream(t, base, "", nil)
	if _, data := live.until(t, "state"); !strings.Contains(data, `"last":0`) {
		t.Fatalf("the first state is %s", data)
	}
	for range 3 {
		if _, err := send(t, box, notice.ChannelFCM); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"1", "2", "3"} {
		if id, data := live.until(t, "message"); id != want || !strings.Contains(data, `"channel":"fcm"`) {
			t.Errorf("event %s %s, want %s", id, data, want)
		}
	}
	if id, _ := openStream(t, base, "?after=1", nil).until(t, "message"); id != "2" {
		t.Errorf("after=1 starts at %s", id)
	}
	if id, _ := openStream(t, base, "?after=1", map[string]string{"Last-Event-ID": "2"}).until(t, "message"); id != "3" {
		t.Errorf("a browser that saw 2 resumes at %s", id)
	}
	misbehave(t, box, notice.ChannelFCM, sandbox.Behaviour{Status: 503})
	for {
		if _, data := live.until(t, "state"); strings.Contains(data, `"behaviours":{"fcm":{"status":503}}`) {
			break
		}
	}
}
