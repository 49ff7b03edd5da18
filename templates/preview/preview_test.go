package preview

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

const testdata = "../testdata/catalogue"

func loadTestdata(t *testing.T) *templates.Catalogue {
	t.Helper()
	c, err := templates.LoadDir(testdata)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRenderPutsEveryChannelTogether(t *testing.T) {
	r, err := Render(loadTestdata(t), "order-shipped", Options{Locale: "de_at"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Content.Email == nil || r.Content.Push == nil || len(r.Content.Webhook) == 0 || r.Locales[notice.MediumEmail] != "de" {
		t.Errorf("rendered %+v in %v", r.Content, r.Locales)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"order-shipped, version " + r.Version, "email (de, for want of de_at)", "Subject: Ihre Bestellung A-1", "* tea", "push (de, for want of de_at)", `"type": "order-shipped"`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
}

func TestRenderChoosesItsData(t *testing.T) {
	c := loadTestdata(t)
	subject := func(o Options) string {
		t.Helper()
		o.Channel = notice.MediumEmail
		r, err := Render(c, "order-shipped", o)
		if err != nil {
			t.Fatal(err)
		}
		return r.Content.Email.Subject
	}
	for want, o := range map[string]Options{
		"Your order A-1 is on its way": {},
		"Your order A-2 is on its way": {Sample: "bare"},
		"Your order Z is on its way":   {Sample: "bare", Data: jsontext.Value(`{"order":"Z"}`)},
	} {
		if got := subject(o); got != want {
			t.Errorf("%+v: subject %q, want %q", o, got, want)
		}
	}
}

func TestRenderSaysWhatIsNotThere(t *testing.T) {
	for _, w := range []struct {
		name string
		o    Options
		want string
	}{
		{"order-shiped", Options{}, "did you mean order-shipped?"},
		{"order-shipped", Options{Sample: "baer"}, "did you mean bare?"},
		{"order-shipped", Options{Locale: "d!"}, `locale "d!" is no language tag: write it as de or de-AT`},
		{"order-shipped", Options{Channel: "sms"}, "none of email, push, webhook"},
		{"price-drop", Options{Channel: notice.MediumEmail}, "no parts for email"},
	} {
		if _, err := Render(loadTestdata(t), w.name, w.o); err == nil || !strings.Contains(err.Error(), w.want) {
			t.Errorf("%s %+v: error %v, want %q", w.name, w.o, err, w.want)
		}
	}
	_, err := Render(loadTestdata(t), "order-shipped", Options{Data: jsontext.Value(`{}`)})
	var faults notice.Faults
	if !errors.As(err, &faults) || faults[0].Pointer != "/data/order" {
		t.Errorf("data without its order: %v", err)
	}
	r, err := Render(loadTestdata(t), "price-drop", Options{})
	if err != nil || !errors.Is(r.WriteHTML(io.Discard), ErrNoHTML) {
		t.Errorf("HTML of a push was written (%v)", err)
	}
}

func TestUnifiedDiffs(t *testing.T) {
	long := func(replaced map[int]string) string {
		var b strings.Builder
		for i := range 30 {
			line, ok := replaced[i]
			if !ok {
				line = "line"
			}
			b.WriteString(line + string(rune('A'+i)) + "\n")
		}
		return b.String()
	}
	for _, w := range []struct{ name, before, after, want string }{
		{"equal texts differ in nothing", "a\n", "a\n", ""},
		{"a new text", "", "a\nb\n", "--- x\n+++ y\n@@ -1,0 +1,2 @@\n+a\n+b\n"},
		{"a text that is gone", "a\n", "", "--- x\n+++ y\n@@ -1,1 +1,0 @@\n-a\n"},
		{"a changed line keeps three around it", "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n",
			"--- x\n+++ y\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"},
		{"changes far apart are hunks apart", long(nil), long(map[int]string{2: "two", 25: "far"}),
			"--- x\n+++ y\n@@ -1,6 +1,6 @@\n lineA\n lineB\n-lineC\n+twoC\n lineD\n lineE\n lineF\n@@ -23,7 +23,7 @@\n lineW\n lineX\n lineY\n-lineZ\n+farZ\n line[\n line\\\n line]\n"},
	} {
		t.Run(w.name, func(t *testing.T) {
			if got := unified("x", "y", w.before, w.after); got != w.want {
				t.Errorf("got\n%s\nwant\n%s", got, w.want)
			}
		})
	}
}

// copyCatalogue copies the test catalogue, for tests that change it.
func copyCatalogue(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "catalogue")
	if err := os.CopyFS(dir, os.DirFS(testdata)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSnapshotsFollowTheirRenderings(t *testing.T) {
	dir := copyCatalogue(t)
	compare := func() (map[string]string, []Difference) {
		t.Helper()
		c, err := templates.LoadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		rendered, err := Snapshots(c)
		if err != nil {
			t.Fatal(err)
		}
		differences, err := CompareSnapshots(dir, rendered)
		if err != nil && !errors.Is(err, ErrNoSnapshots) {
			t.Fatal(err)
		}
		return rendered, differences
	}
	rendered, differences := compare()
	if len(rendered) == 0 || len(differences) != len(rendered) {
		t.Fatalf("without golden files %d of %d differ, want all", len(differences), len(rendered))
	}
	if err := UpdateSnapshots(dir, rendered, differences); err != nil {
		t.Fatal(err)
	}
	if _, differences = compare(); len(differences) != 0 {
		t.Fatalf("after an update there are differences:\n%v", differences)
	}
	if err := os.WriteFile(dir+"/price-drop/en/push.title.txt", []byte("Less: {{.data.price}}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir + "/account-event"); err != nil {
		t.Fatal(err)
	}
	rendered, differences = compare()
	if len(differences) != 2 || !strings.Contains(differences[0].Diff, "+++ /dev/null") || !strings.Contains(differences[1].Diff, "+Less: 1234567.5\n") {
		t.Fatalf("differences %v, want the removed webhook and the changed title", differences)
	}
	if err := UpdateSnapshots(dir, rendered, differences); err != nil {
		t.Fatal(err)
	}
	if _, differences = compare(); len(differences) != 0 {
		t.Errorf("after the second update there are differences:\n%v", differences)
	}
}

// serve mounts the preview under a prefix, as the development server does.
func serve(t *testing.T) (base, dir string) {
	t.Helper()
	dir = copyCatalogue(t)
	store, err := templates.OpenStore(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	mux := http.NewServeMux()
	mux.Handle("/dev/preview/", http.StripPrefix("/dev/preview", Handler(store)))
	mux.Handle("/dev/preview", http.StripPrefix("/dev/preview", Handler(store)))
	server := httptest.NewServer(mux)
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(server.Close)
	return server.URL + "/dev/preview/", dir
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	response, err := http.Get(url)
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

func TestThePageWorksUnderAPrefixAndAsksNobodyElse(t *testing.T) {
	base, _ := serve(t)
	response, body := get(t, strings.TrimSuffix(base, "/"))
	if response.Request.URL.String() != base || !strings.Contains(body, "Template preview") {
		t.Errorf("without its slash the page is at %s: %.80s", response.Request.URL, body)
	}
	if policy := response.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("content security policy %q", policy)
	}
	for name, kind := range map[string]string{"style.css": "text/css", "app.js": "text/javascript", "catalogue.json": "application/json"} {
		response, body := get(t, base+name)
		if response.StatusCode != 200 || !strings.HasPrefix(response.Header.Get("Content-Type"), kind) || strings.Contains(body, "https://") {
			t.Errorf("%s: %s, %s", name, response.Status, response.Header.Get("Content-Type"))
		}
	}
	if response, _ := get(t, base+"../../etc/passwd"); response.StatusCode != 404 {
		t.Errorf("a path outside: %s", response.Status)
	}
}

func postRender(t *testing.T, base, body string) (int, renderView) {
	t.Helper()
	response, err := http.Post(base+"render", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var view renderView
	if response.StatusCode == 200 {
		if err := json.UnmarshalRead(response.Body, &view); err != nil {
			t.Fatal(err)
		}
	}
	return response.StatusCode, view
}

func TestThePageRendersOrSaysWhatIsWrong(t *testing.T) {
	base, _ := serve(t)
	status, view := postRender(t, base, `{"template":"order-shipped","locale":"de","data":"{\"order\":\"A-9\"}"}`)
	if status != 200 || view.Content.Email == nil || view.Content.Email.Subject != "Ihre Bestellung A-9 ist unterwegs" || !strings.Contains(view.Webhook, "A-9") {
		t.Errorf("%d %+v", status, view)
	}
	for body, pointer := range map[string]string{
		`{"template":"order-shipped","data":"{\"order\":"}`: "/data",
		`{"template":"order-shipped","data":""}`:            "/data/order",
		`{"template":"nothing","data":"{}"}`:                "",
	} {
		_, view := postRender(t, base, body)
		if len(view.Errors) == 0 || view.Errors[0].Pointer != pointer || view.Errors[0].Detail == "" {
			t.Errorf("%s: errors %v, want one at %q", body, view.Errors, pointer)
		}
	}
	if status, _ := postRender(t, base, `not JSON`); status != http.StatusBadRequest {
		t.Errorf("a body that is no JSON: %d", status)
	}
	if status, _ := postRender(t, base, strings.Repeat(" ", maxBody+1)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body that is too large: %d", status)
	}
}

func TestThePageIsToldOfChangesAndShowsWhyOneIsRefused(t *testing.T) {
	base, dir := serve(t)
	client := http.Client{Timeout: 15 * time.Second}
	response, err := client.Get(base + "events")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	if !lines.Scan() || lines.Text() != ": open" {
		t.Fatalf("the stream begins with %q", lines.Text())
	}
	if err := os.WriteFile(dir+"/price-drop/en/push.title.txt", []byte("{{.data.price"), 0o644); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() && lines.Text() != "event: changed" {
		continue
	}
	if lines.Err() != nil {
		t.Fatalf("no change was told: %v", lines.Err())
	}
	if _, body := get(t, base+"catalogue.json"); !strings.Contains(body, "price-drop/en/push.title.txt:1:1: ") || !strings.Contains(body, `"name":"price-drop"`) {
		t.Errorf("the catalogue lists neither the fault nor the last good template: %s", body)
	}
}
