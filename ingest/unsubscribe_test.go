package ingest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/notice/optout"
)

// fakeWishes notes what is asked of it.
type fakeWishes struct {
	mu   sync.Mutex
	told []string
	fail error
}

func (w *fakeWishes) note(format string, args ...any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail == nil {
		w.told = append(w.told, fmt.Sprintf(format, args...))
	}
	return w.fail
}

func (w *fakeWishes) SetPreference(_ context.Context, tenant, user, category, channel string, wanted bool) error {
	return w.note("preference %s/%s %s by %s: %v", tenant, user, category, channel, wanted)
}
func (w *fakeWishes) OptOut(_ context.Context, tenant, address, category string) error {
	return w.note("out %s/%s %s", tenant, address, category)
}
func (w *fakeWishes) OptIn(_ context.Context, tenant, address, category string) error {
	return w.note("in %s/%s %s", tenant, address, category)
}

const formType = "application/x-www-form-urlencoded"

func startOptOut(t *testing.T) (*fixture, *optout.Keys, *fakeWishes) {
	t.Helper()
	keys, err := optout.NewKeys([]byte("the secret of the test"))
	if err != nil {
		t.Fatal(err)
	}
	wishes := &fakeWishes{}
	f := start(t, func(o *ingest.Options) { o.OptOuts, o.Wishes = keys, wishes })
	return f, keys, wishes
}

// browse makes a request as a stranger: without a key.
func (f *fixture) browse(method, path, contentType, body string) reply {
	f.t.Helper()
	req, err := http.NewRequest(method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return f.do(req)
}

func userWish() optout.Wish { return optout.Wish{Tenant: "acme", User: "u42", Category: "marketing"} }

func TestALinkIsFollowedByAButtonAndTheButtonLeaves(t *testing.T) {
	f, keys, wishes := startOptOut(t)
	path := "/u/" + keys.Token(userWish(), testNow)
	for _, method := range []string{"GET", "HEAD", "GET"} {
		if r := f.browse(method, path, "", ""); r.status != 200 || method == "GET" && !strings.Contains(r.body, `<button name="List-Unsubscribe" value="One-Click">Unsubscribe</button>`) {
			t.Fatalf("%s: %d %s", method, r.status, r.body)
		}
	}
	if len(wishes.told) != 0 {
		t.Fatalf("looking at the page did %q", wishes.told)
	}
	r := f.browse("POST", path, formType, "List-Unsubscribe=One-Click")
	if r.status != 200 || !strings.Contains(r.body, "You are unsubscribed") || !strings.Contains(r.body, "marketing") || !strings.Contains(r.body, ">Undo<") {
		t.Errorf("leaving: %d %s", r.status, r.body)
	}
	r = f.browse("POST", path, formType, "List-Unsubscribe=Undo")
	if r.status != 200 || !strings.Contains(r.body, "subscribed again") {
		t.Errorf("undoing: %d %s", r.status, r.body)
	}
	want := []string{"preference acme/u42 marketing by email: false", "preference acme/u42 marketing by email: true"}
	if !slices.Equal(wishes.told, want) {
		t.Errorf("kept %q, want %q", wishes.told, want)
	}
}

func TestAnAddressWithoutAUserLeavesForItself(t *testing.T) {
	f, keys, wishes := startOptOut(t)
	path := "/u/" + keys.Token(optout.Wish{Tenant: "acme", Address: "ada@example.com", Category: "news"}, testNow)
	if r := f.browse("GET", path, "", ""); strings.Contains(r.body, "ada@example.com") {
		t.Error("the page shows the address to whoever has the link")
	}
	f.browse("POST", path, formType, "List-Unsubscribe=One-Click")
	f.browse("POST", path, formType, "List-Unsubscribe=Undo")
	if want := []string{"out acme/ada@example.com news", "in acme/ada@example.com news"}; !slices.Equal(wishes.told, want) {
		t.Errorf("kept %q, want %q", wishes.told, want)
	}
}

func TestOneClickComesInEitherTypeOfForm(t *testing.T) {
	f, keys, wishes := startOptOut(t)
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	if err := errors.Join(form.WriteField("List-Unsubscribe", "One-Click"), form.Close()); err != nil {
		t.Fatal(err)
	}
	if r := f.browse("POST", "/u/"+keys.Token(userWish(), testNow), form.FormDataContentType(), body.String()); r.status != 200 || len(wishes.told) != 1 {
		t.Errorf("%d, kept %q", r.status, wishes.told)
	}
}

func TestWhatDoesNotLeave(t *testing.T) {
	f, keys, wishes := startOptOut(t)
	token := keys.Token(userWish(), testNow)
	for name, c := range map[string]struct {
		token, contentType, body string
		status                   int
	}{
		"a token that was changed":     {token[:len(token)-2] + "AA", formType, "List-Unsubscribe=One-Click", 404},
		"a token that was cut":         {token[:20], formType, "List-Unsubscribe=One-Click", 404},
		"a token that is none":         {"..%2F..%2Fetc", formType, "List-Unsubscribe=One-Click", 404},
		"a token without end":          {strings.Repeat("A", 5000), formType, "List-Unsubscribe=One-Click", 404},
		"a token that is too old":      {keys.Token(userWish(), testNow.Add(-optout.Lifetime-48*time.Hour)), formType, "List-Unsubscribe=One-Click", 404},
		"an empty body":                {token, formType, "", 400},
		"another word":                 {token, formType, "List-Unsubscribe=Maybe", 400},
		"the word in the query alone":  {token + "?List-Unsubscribe=One-Click", formType, "", 400},
		"a body that is too large":     {token, formType, "x=" + strings.Repeat("y", 8<<10) + "&List-Unsubscribe=One-Click", 400},
		"a form that breaks off":       {token, "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=", 400},
		"a body of another type":       {token, "application/json", `{"List-Unsubscribe":"One-Click"}`, 400},
		"a body of an unreadable type": {token, ";;;", "List-Unsubscribe=One-Click", 400},
	} {
		t.Run(name, func(t *testing.T) {
			if r := f.browse("POST", "/u/"+c.token, c.contentType, c.body); r.status != c.status || !strings.Contains(r.body, "<h1>") {
				t.Errorf("%d, want %d: %s", r.status, c.status, r.body)
			}
		})
	}
	if len(wishes.told) != 0 {
		t.Errorf("kept %q", wishes.told)
	}
}

func TestThePageKeepsItsVisitorsSafe(t *testing.T) {
	f, keys, _ := startOptOut(t)
	r := f.browse("GET", "/u/"+keys.Token(userWish(), testNow), "", "")
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
		"X-Content-Type-Options": "nosniff", "X-Robots-Tag": "noindex", "Set-Cookie": "",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(r.body)
	if style == nil {
		t.Fatal("the page has no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	policy := r.header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'", "form-action 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("the policy %q lacks %q", policy, part)
		}
	}
	for _, part := range []string{`<html lang="en">`, "<title>Unsubscribe</title>", `name="viewport"`, "<main>", "<h1>"} {
		if !strings.Contains(r.body, part) {
			t.Errorf("the page lacks %s", part)
		}
	}
	if strings.Contains(r.body, "<script") {
		t.Error("the page has a script")
	}
}

func TestAStoreThatIsAwayIsSaidAndTriedAgain(t *testing.T) {
	f, keys, wishes := startOptOut(t)
	wishes.fail = errors.New("no redis")
	r := f.browse("POST", "/u/"+keys.Token(userWish(), testNow), formType, "List-Unsubscribe=One-Click")
	if r.status != 503 || r.header.Get("Retry-After") != "2" || strings.Contains(r.body, "redis") {
		t.Errorf("%d, Retry-After %q: %s", r.status, r.header.Get("Retry-After"), r.body)
	}
}

// The clock of the test stands still, so no turn comes back.
func TestStrangersCannotKeepTheStoreBusy(t *testing.T) {
	f, keys, wishes := startOptOut(t)
	path := "/u/" + keys.Token(userWish(), testNow)
	refused := 0
	for range 250 {
		if r := f.browse("POST", path, formType, "List-Unsubscribe=One-Click"); r.status == 429 && r.header.Get("Retry-After") == "1" {
			refused++
		}
	}
	if refused != 50 || len(wishes.told) != 200 {
		t.Errorf("%d of 250 were refused, %d reached the store", refused, len(wishes.told))
	}
}

func TestWithoutAKeyThereIsNoPage(t *testing.T) {
	f := start(t, nil)
	f.browse("GET", "/u/AQ", "", "").wantProblem(t, 404, "not-found")
}
