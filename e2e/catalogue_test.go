package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A fleet serves what is pushed within seconds, at once and alike; a delivery
// that was planned before is sent as it was planned, also by a consumer that
// has never served that version; what is broken is refused before it is there.
func TestACatalogueThatIsPushedIsServedByAllAndPinnedVersionsStay(t *testing.T) {
	g := newGateway(t, sections{"templates": "{dir: catalogue, source: redis}", "retry": "{schedule: [4s, 4s]}"})
	config := g.config(nil)
	catalogue := func(args ...string) result {
		return run(t, append(append([]string{"catalogue"}, args...), "--config", config)...)
	}
	if r := run(t, "consume", "--config", config); r.code != 1 || !strings.Contains(r.stderr, "catalogue push") {
		t.Fatalf("before the first push: %+v", r)
	}
	write := func(mark string) {
		g.write("catalogue/ping/en/webhook.json", `{"mark":"`+mark+`","n":{{json .data.n}}}`)
	}
	write("one")
	g.write("catalogue/_assets/logo.svg", `<svg xmlns="http://www.w3.org/2000/svg"/>`)
	if r := catalogue("push", "-m", "first"); r.code != 0 {
		t.Fatalf("push: %+v", r)
	}
	api, first := g.ingest(), g.consume("a")
	second := g.consume("b")

	// The first attempt of a delivery fails, and by the second there is another
	// catalogue and there are other consumers.
	hooks := make(chan string, 100)
	server := newMarks(t, hooks)
	client := newClient(t, api.api)
	note := g.ping(1)
	note["to"].(object)["webhooks"] = []object{{"url": server + "/fail-once"}}
	client.post(note)
	if got := <-hooks; got != "one" {
		t.Fatalf("the first attempt says %q", got)
	}
	write("two")
	if r := catalogue("push"); r.code != 0 {
		t.Fatalf("push: %+v", r)
	}
	for _, p := range []*process{api, first, second} {
		eventually(t, patience, "the second version is loaded", func() bool { return strings.Count(p.log.String(), "catalogue loaded") == 2 }, p.state)
	}
	first.kill()
	second.stop()
	third := g.consume("c")
	select {
	case got := <-hooks:
		if got != "one" {
			t.Errorf("the retry by a consumer that never served the first version says %q, want one", got)
		}
	case <-time.After(2 * patience):
		t.Fatalf("no retry came; %v", third.state())
	}

	g.write("catalogue/ping/en/webhook.json", `{"mark":{{json .data.nn}}}`)
	if r := catalogue("push"); r.code != 1 || !strings.Contains(r.stderr, "ping/en/webhook.json:1:") {
		t.Errorf("a broken push: %+v", r)
	}
	if r := catalogue("rollback"); r.code != 0 || strings.Count(catalogue("list").stdout, "\n") != 4 {
		t.Errorf("rollback: %+v", r)
	}
	eventually(t, patience, "the first version is back", func() bool { return strings.Count(third.log.String(), "catalogue loaded") == 2 }, third.state)
	write("two")
	checkAsset(t, api.api, run(t, "catalogue", "assets", "--catalogue", g.dir+"/catalogue", "-o", g.dir+"/dist", "--format", "json").stdout)
	g.redis.Kill()
	if r := run(t, "consume", "--config", config); r.code != 3 {
		t.Errorf("with Redis away at the start: %+v", r)
	}
}

// newMarks is a webhook that tells the mark of each body, and refuses the
// first.
func newMarks(t *testing.T, marks chan<- string) string {
	t.Helper()
	mark := regexp.MustCompile(`"mark":"(\w+)"`)
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls++
		if calls == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		marks <- mark.FindStringSubmatch(string(body))[1]
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// checkAsset asks the API for the exported asset.
func checkAsset(t *testing.T, address, exported string) {
	t.Helper()
	name := regexp.MustCompile(`logo\.[0-9a-f]{32}\.svg`).FindString(exported)
	res, err := http.Get("http://" + address + "/assets/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	h := res.Header
	if res.StatusCode != 200 || h.Get("Content-Type") != "image/svg+xml" || !strings.Contains(h.Get("Cache-Control"), "immutable") || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("asset %q: %d %v", name, res.StatusCode, h)
	}
	none, err := http.Get("http://" + address + "/assets/..%2f..%2fcatalogue.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer none.Body.Close()
	if none.StatusCode != 404 {
		t.Errorf("a path out of the assets: %d", none.StatusCode)
	}
}
