package preview

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// desk is a page that can send.
type desk struct {
	t     *testing.T
	base  string
	token string
	sent  *sent
	now   time.Time
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, sent: &sent{}, now: time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)}
	d.base, _ = servePage(t, func(p *Page) { p.Sending, p.Now = d.sent.sending(), func() time.Time { return d.now } })
	_, body := get(t, d.base+"api/catalogue")
	d.token = read[catalogueView](t, body).Token
	return d
}

func (d *desk) post(token, body string) (*http.Response, string) {
	d.t.Helper()
	request, err := http.NewRequest(http.MethodPost, d.base+"api/test", strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header.Set("X-Preview-Token", token)
	return do(d.t, request)
}

const toMailbox = `{"template":"order-shipped","locale":"de","data":"{\"order\":\"A-9\"}","destination":"email","to":"ignored@example.com"}`

func TestATestIsSentAsItIsShownWithAnIDOfItsOwn(t *testing.T) {
	d := newDesk(t)
	for range 2 {
		if response, body := d.post(d.token, toMailbox); response.StatusCode != 200 || body != `{"ok":true,"words":"Sent: the provider took it.","inbox":"../inbox/"}` {
			t.Fatalf("%s %s", response.Status, body)
		}
	}
	if len(d.sent.tests) != 2 {
		t.Fatalf("%d tests were sent, want 2", len(d.sent.tests))
	}
	first, second := d.sent.tests[0], d.sent.tests[1]
	if first.Content.Email.Subject != "Ihre Bestellung A-9 ist unterwegs" || first.Content.Push != nil || first.To != "" || first.Destination != "email" || !first.At.Equal(d.now) {
		t.Errorf("sent %+v", first)
	}
	if first.ID == second.ID || strings.Contains(first.ID, ".") {
		t.Errorf("the ids are %q and %q", first.ID, second.ID)
	}
}

func TestOnlyThePageItselfCanSend(t *testing.T) {
	d := newDesk(t)
	for _, token := range []string{"", "x", d.token + "x"} {
		if response, body := d.post(token, toMailbox); response.StatusCode != http.StatusForbidden {
			t.Errorf("with token %q: %s %s", token, response.Status, body)
		}
	}
	if len(d.sent.tests) != 0 {
		t.Errorf("%d tests were sent without the token", len(d.sent.tests))
	}
}

func TestATestThatCannotBeSentSaysWhy(t *testing.T) {
	d := newDesk(t)
	for body, want := range map[string]string{
		strings.Replace(toMailbox, `"email"`, `"emial"`, 1):                                                      "did you mean email?",
		strings.Replace(toMailbox, `A-9\"}`, `A-9\",\"oder\":1}`, 1):                                             "/data/oder",
		`{"template":"order-shipped","data":"{\"order\":\"A\"}","destination":"webhook","to":" "}`:               "Webhook URL: is empty",
		`{"template":"price-drop","data":"{\"product\":\"x\",\"price\":1.5,\"count\":1}","destination":"email"}`: "no parts for email",
	} {
		if _, answer := d.post(d.token, body); read[testView](t, answer).OK || !strings.Contains(answer, want) {
			t.Errorf("%s: %s, want %q", body, answer, want)
		}
	}
	d.sent.fails = errors.New("not sent: broken (535)")
	if _, answer := d.post(d.token, toMailbox); read[testView](t, answer) != (testView{Words: "not sent: broken (535)"}) {
		t.Errorf("a failed one answers %s", answer)
	}
}

func TestTestsAreFew(t *testing.T) {
	d := newDesk(t)
	for range testBurst {
		if response, body := d.post(d.token, toMailbox); response.StatusCode != 200 {
			t.Fatalf("%s %s", response.Status, body)
		}
	}
	response, body := d.post(d.token, toMailbox)
	if response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") != "7" {
		t.Errorf("%s, Retry-After %q: %s", response.Status, response.Header.Get("Retry-After"), body)
	}
	d.now = d.now.Add(testEvery)
	if response, body := d.post(d.token, toMailbox); response.StatusCode != 200 {
		t.Errorf("after a pause: %s %s", response.Status, body)
	}
}

func TestWithoutChannelsNothingIsSent(t *testing.T) {
	base, _ := servePage(t, func(p *Page) { p.Sending = nil })
	request, _ := http.NewRequest(http.MethodPost, base+"api/test", strings.NewReader(toMailbox))
	if response, body := do(t, request); response.StatusCode != 404 || !strings.Contains(body, "--config FILE") {
		t.Errorf("%s %s", response.Status, body)
	}
	if _, body := get(t, base+"api/catalogue"); read[catalogueView](t, body).Sending != nil {
		t.Error("the page is told that it can send")
	}
}
