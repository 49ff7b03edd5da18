package preview

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

// madeUp is a Wire whose formats are simple enough to predict.
type madeUp struct{}

func (madeUp) Mail(s Specimen) ([]byte, error) {
	if strings.Contains(s.Content.Email.Subject, "unsendable") {
		return nil, errors.New("the subject is unsendable")
	}
	return []byte("From: Acme <no-reply@acme.example>\r\nTo: \"Ada Example\" <ada@example.com>\r\nSubject: =?UTF-8?q?" +
		strings.ReplaceAll(s.Content.Email.Subject, " ", "_") + "?=\r\nX-Long: one\r\n two\r\n\r\n" + s.Content.Email.Text), nil
}

func (madeUp) Push(s Specimen) []Payload {
	text, _ := json.Marshal(map[string]string{"body": s.Content.Push.Body}) // strings always can be
	size := 10 * len(s.Content.Push.Body)
	p := Payload{Service: "APNs", Used: size, Most: 4096, Text: string(text), Headers: []Header{{Name: "apns-push-type", Value: "alert"}}}
	q := Payload{Service: "FCM", Used: size, Most: 4096, Text: string(text)}
	if size > 4096 {
		q.Error = "the payload is too large"
	}
	return []Payload{p, q}
}

func (madeUp) Webhook(s Specimen, at time.Time) (Call, error) {
	return Call{Secret: "whsec_example", Body: string(s.Content.Webhook), Headers: []Header{{Name: "Content-Type", Value: "application/json"},
		{Name: "webhook-id", Value: s.ID}, {Name: "webhook-timestamp", Value: fmt.Sprint(at.Unix())},
		{Name: "webhook-signature", Value: fmt.Sprintf("v1,%d-%d", len(s.Content.Webhook), at.Unix())}}}, nil
}

// sent gathers the tests that a page sends.
type sent struct {
	mu    sync.Mutex
	tests []Test
	fails error
}

func (s *sent) send(_ context.Context, t Test) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tests = append(s.tests, t)
	return "Sent: the provider took it.", s.fails
}

func (s *sent) sending() *Sending {
	return &Sending{Where: "the sandbox", Inbox: "../inbox/", Send: s.send, Destinations: []Destination{
		{ID: "email", Channel: notice.MediumEmail, Label: "The sandbox's mailbox"},
		{ID: "webhook", Channel: notice.MediumWebhook, Label: "Webhook URL", Ask: true, Example: "https://hooks.example.com"},
	}}
}

// serve mounts the preview under a prefix, as the development server does.
func serve(t *testing.T) (base, dir string) {
	t.Helper()
	return servePage(t, func(p *Page) { p.Sending = new(sent).sending() })
}

func servePage(t *testing.T, change func(*Page)) (base, dir string) {
	t.Helper()
	dir = copyCatalogue(t)
	store, err := templates.OpenStore(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	page := Page{Dir: dir, App: "Acme", Wire: madeUp{}, Hosts: []string{"preview.acme.example"}}
	change(&page)
	handler := Handler(store, page)
	mux := http.NewServeMux()
	mux.Handle("/dev/preview/", http.StripPrefix("/dev/preview", handler))
	mux.Handle("/dev/preview", http.StripPrefix("/dev/preview", handler))
	server := httptest.NewServer(mux)
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(server.Close)
	return server.URL + "/dev/preview/", dir
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, request)
}

func do(t *testing.T, request *http.Request) (*http.Response, string) {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func read[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func TestThePageWorksUnderAPrefixAndAsksNobodyElse(t *testing.T) {
	base, _ := serve(t)
	response, body := get(t, strings.TrimSuffix(base, "/"))
	if response.Request.URL.String() != base || !strings.Contains(body, "Template preview") {
		t.Errorf("without its slash the page is at %s: %.80s", response.Request.URL, body)
	}
	if policy := response.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; script-src 'self';") {
		t.Errorf("content security policy %q", policy)
	}
	files := map[string]string{"": "text/html", "api/catalogue": "application/json"}
	for _, name := range assetNames() {
		files[name] = map[string]string{".js": "text/javascript", ".css": "text/css"}[filepath.Ext(name)]
	}
	for name, kind := range files {
		response, body := get(t, base+name)
		if response.StatusCode != 200 || !strings.HasPrefix(response.Header.Get("Content-Type"), kind) || strings.Contains(body, `"https://`) && strings.HasSuffix(name, "html") {
			t.Errorf("%s: %s, %s", name, response.Status, response.Header.Get("Content-Type"))
		}
	}
	if response, _ := get(t, base+"../../etc/passwd"); response.StatusCode != 404 {
		t.Errorf("a path outside: %s", response.Status)
	}
}

func TestThePageIsServedUnderNamesThatNoStrangerCanPointHere(t *testing.T) {
	base, _ := serve(t)
	for host, want := range map[string]int{"127.0.0.1:1": 200, "localhost": 200, "build-7": 200, "[::1]:80": 200, "preview.acme.example": 200, "evil.example": 421} {
		request, _ := http.NewRequest(http.MethodGet, base+"api/catalogue", nil)
		request.Host = host
		if response, body := do(t, request); response.StatusCode != want {
			t.Errorf("under %s: %s %.60s, want %d", host, response.Status, body, want)
		}
	}
}

func TestAnotherSiteCanAskForNothing(t *testing.T) {
	base, _ := serve(t)
	for _, path := range []string{"api/render", "api/test", "api/webhook"} {
		request, _ := http.NewRequest(http.MethodPost, base+path, strings.NewReader("{}"))
		request.Header.Set("Sec-Fetch-Site", "cross-site")
		if response, body := do(t, request); response.StatusCode != http.StatusForbidden || !strings.Contains(body, "another site") {
			t.Errorf("%s: %s %s", path, response.Status, body)
		}
	}
}

func TestTheCatalogueIsListedAndATemplateDescribed(t *testing.T) {
	base, _ := serve(t)
	_, body := get(t, base+"api/catalogue")
	list := read[catalogueView](t, body)
	if len(list.Templates) != 3 || list.App != "Acme" || list.DefaultLocale != "en" || len(list.Token) < 20 || list.Sending.Where != "the sandbox" || len(list.Faults) != 0 {
		t.Errorf("catalogue %s", body)
	}
	_, body = get(t, base+"api/template?name=order-shipped")
	detail := read[detailView](t, body)
	if detail.Name != "order-shipped" || detail.Schema.Kind() != '{' || len(detail.Samples) != 2 || detail.Samples[0].Name != "default" || !strings.Contains(detail.Samples[0].Data, "\n  \"") {
		t.Errorf("template %s", body)
	}
	if response, body := get(t, base+"api/template?name=order-shiped"); response.StatusCode != 404 || !strings.Contains(body, "did you mean order-shipped?") {
		t.Errorf("an unknown template: %s %s", response.Status, body)
	}
}

func postRender(t *testing.T, base, body string) (int, []renderView) {
	t.Helper()
	request, _ := http.NewRequest(http.MethodPost, base+"api/render", strings.NewReader(body))
	response, text := do(t, request)
	if response.StatusCode != 200 {
		return response.StatusCode, nil
	}
	return 200, read[renderedView](t, text).Renderings
}

func TestThePageRendersInSeveralLocalesAtOnce(t *testing.T) {
	base, _ := serve(t)
	status, views := postRender(t, base, `{"template":"order-shipped","locales":["de","en"],"data":"{\"order\":\"A-9\"}"}`)
	if status != 200 || len(views) != 2 {
		t.Fatalf("%d %+v", status, views)
	}
	de, en := views[0], views[1]
	if de.Content.Email.Subject != "Ihre Bestellung A-9 ist unterwegs" || en.Content.Email.Subject != "Your order A-9 is on its way" || de.Locale != "de" {
		t.Errorf("subjects %q and %q", de.Content.Email.Subject, en.Content.Email.Subject)
	}
	if want := (Header{"Subject", "=?UTF-8?q?Ihre_Bestellung_A-9_ist_unterwegs?=", "Ihre Bestellung A-9 ist unterwegs"}); len(de.Mail.Headers) != 4 || de.Mail.Headers[2] != want || de.Mail.Headers[3].Value != "one two" {
		t.Errorf("headers %+v", de.Mail.Headers)
	}
	if len(de.Payloads) != 2 || de.Payloads[0].Used != 10*len(de.Content.Push.Body) || !strings.Contains(de.Payloads[0].Text, "{\n  \"body\"") {
		t.Errorf("payloads %+v", de.Payloads)
	}
	if de.Webhook == nil || de.Webhook.Secret == "" || len(de.Webhook.Headers) != 4 || !strings.Contains(de.Webhook.Body, `"A-9"`) || !strings.Contains(de.Webhook.Pretty, "\n") {
		t.Errorf("webhook %+v", de.Webhook)
	}
}

func TestThePageSaysWhatIsWrong(t *testing.T) {
	base, _ := serve(t)
	for body, pointer := range map[string]string{
		`{"template":"order-shipped","data":"{\"order\":"}`:                    "/data",
		`{"template":"order-shipped","data":""}`:                               "/data/order",
		`{"template":"order-shipped","data":"{\"order\":7}"}`:                  "/data/order",
		`{"template":"nothing","data":"{}"}`:                                   "",
		`{"template":"order-shipped","locales":["d!"],"data":"{\"order\":1}"}`: "/data/order",
	} {
		_, views := postRender(t, base, body)
		if len(views) != 1 || len(views[0].Errors) == 0 || views[0].Errors[0].Pointer != pointer || views[0].Errors[0].Detail == "" {
			t.Errorf("%s: %+v, want an error at %q", body, views, pointer)
		}
	}
	for body, want := range map[string]int{"not JSON": 400, `{"locales":["a","b","c","d","e"]}`: 400, strings.Repeat(" ", maxBody+1): 413} {
		if status, _ := postRender(t, base, body); status != want {
			t.Errorf("%.20s: %d, want %d", body, status, want)
		}
	}
}

func TestAMailThatCouldNeverBeSentSaysSo(t *testing.T) {
	base, _ := serve(t)
	_, views := postRender(t, base, `{"template":"order-shipped","data":"{\"order\":\"unsendable\"}"}`)
	if m := views[0].Mail; m == nil || m.Error != "the subject is unsendable" || m.Raw != "" {
		t.Errorf("mail %+v", m)
	}
}

func TestWithoutAWireThereAreTheRenderingAndItsSourcesAlone(t *testing.T) {
	base, _ := servePage(t, func(p *Page) { p.Wire, p.Dir = nil, "" })
	_, views := postRender(t, base, `{"template":"order-shipped","data":"{\"order\":\"A\"}"}`)
	if v := views[0]; v.Mail != nil || len(v.Payloads) != 0 || v.Webhook == nil || len(v.Webhook.Headers) != 0 || v.Content.Email == nil {
		t.Errorf("%+v", v)
	}
	if _, body := get(t, base+"api/source?template=order-shipped"); !strings.Contains(body, `"order-shipped/template.yaml"`) || strings.Contains(body, "price-drop/") {
		t.Errorf("without a folder the sources are not the served version's own: %.300s", body)
	}
}

func TestTheSourcesAreTheTemplatesOwnAndTheSharedOnes(t *testing.T) {
	base, dir := serve(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("top secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "order-shipped", "README.md")); err != nil {
		t.Fatal(err)
	}
	_, body := get(t, base+"api/source?template=order-shipped")
	names := map[string]string{}
	for _, f := range read[sourceView](t, body).Files {
		names[f.Name] = f.Text
	}
	for _, want := range []string{"order-shipped/template.yaml", "order-shipped/de/email.html", "_layouts/email.html", "_partials/footer.txt", "_locales/de.yaml", "catalogue.yaml"} {
		if names[want] == "" {
			t.Errorf("%s is not among the sources", want)
		}
	}
	if strings.Contains(body, "top secret") || names["price-drop/template.yaml"] != "" {
		t.Error("a link led out of the catalogue, or another template's file is among the sources")
	}
	for _, name := range []string{"..", ".", "", "/etc", "order-shipped/de", `..\..`} {
		if response, _ := get(t, base+"api/source?template="+name); response.StatusCode != 404 {
			t.Errorf("the sources of %q: %s", name, response.Status)
		}
	}
}

func TestThePageIsToldOfChangesAndShowsWhyOneIsRefused(t *testing.T) {
	base, dir := serve(t)
	client := http.Client{Timeout: time.Minute}
	response, err := client.Get(base + "api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	if !lines.Scan() || lines.Text() != "retry: 1000" {
		t.Fatalf("the stream begins with %q", lines.Text())
	}
	if err := os.WriteFile(dir+"/price-drop/en/push.title.txt", []byte("\n{{.data.price"), 0o644); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() && lines.Text() != "event: changed" {
		continue
	}
	if lines.Err() != nil {
		t.Fatalf("no change was told: %v", lines.Err())
	}
	_, body := get(t, base+"api/catalogue")
	list := read[catalogueView](t, body)
	if len(list.Faults) == 0 || list.Faults[0].File != "price-drop/en/push.title.txt" || list.Faults[0].Line != 2 || len(list.Templates) != 3 {
		t.Errorf("the catalogue lists neither the fault nor the last good templates: %s", body)
	}
}

func TestWarningsAreListedApart(t *testing.T) {
	base, dir := serve(t)
	client := http.Client{Timeout: time.Minute}
	response, err := client.Get(base + "api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	write(t, dir, "order-shipped/en/email.html", `<p><img src="https://img.example/a.png" width="10"> {{.data.order}}</p>`)
	for lines := bufio.NewScanner(response.Body); lines.Scan() && lines.Text() != "event: changed"; {
		continue
	}
	_, body := get(t, base+"api/warnings")
	for _, f := range read[warningsView](t, body).Warnings {
		if f.File == "order-shipped/en/email.html" && f.Line == 1 && strings.Contains(f.What, "alt") {
			return
		}
	}
	t.Errorf("an image without alt is no warning: %s", body)
}

func TestAWebhookIsReceivedOnlyAsItWasSigned(t *testing.T) {
	base, _ := serve(t)
	post := func(body, signature string) (int, string) {
		request, _ := http.NewRequest(http.MethodPost, base+"api/webhook", strings.NewReader(body))
		request.Header.Set("webhook-id", "0-x")
		request.Header.Set("webhook-timestamp", "1700000000")
		request.Header.Set("webhook-signature", signature)
		response, answer := do(t, request)
		return response.StatusCode, answer
	}
	if status, answer := post(`{"a":1}`, "v1,7-1700000000"); status != 200 || answer != `{"received":true,"signature":"verified"}` {
		t.Errorf("a signed call: %d %s", status, answer)
	}
	for body, signature := range map[string]string{`{"a":11}`: "v1,7-1700000000", `{"a":1}`: "", `{"a":`: "v1,5-1700000000"} {
		if status, answer := post(body, signature); status != 401 {
			t.Errorf("%s with %q: %d %s", body, signature, status, answer)
		}
	}
}
