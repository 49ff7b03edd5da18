package openapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/carillonhq/carillon/ingest/openapi"
)

func get(t *testing.T, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	openapi.NewSite().ServeHTTP(w, r)
	return w
}

func TestJSONSaysWhatTheYAMLSays(t *testing.T) {
	var fromYAML, fromJSON any
	if err := yaml.Unmarshal(openapi.YAML(), &fromYAML); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(get(t, openapi.PathJSON).Body.Bytes(), &fromJSON); err != nil {
		t.Fatal(err)
	}
	// Numbers are floats in one and integers in the other: through JSON once.
	through, err := json.Marshal(fromYAML)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(through, &fromYAML); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(fromYAML, fromJSON) {
		t.Error("openapi.json and openapi.yaml say different things")
	}
}

func TestEachFormHasItsTypeAndATagThatSparesSendingItAgain(t *testing.T) {
	for path, contentType := range map[string]string{
		openapi.PathJSON: "application/json", openapi.PathYAML: "application/yaml", openapi.PathDocs: "text/html; charset=utf-8",
	} {
		w := get(t, path)
		if got := w.Header().Get("Content-Type"); w.Code != 200 || got != contentType || w.Body.Len() < 10_000 {
			t.Errorf("%s: %d, %q, %d bytes", path, w.Code, got, w.Body.Len())
		}
		tag := w.Header().Get("ETag")
		for _, names := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
			if again := get(t, path, "If-None-Match", names); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
				t.Errorf("%s with If-None-Match %s: %d, %d bytes", path, names, again.Code, again.Body.Len())
			}
		}
		if again := get(t, path, "If-None-Match", `"other"`); again.Code != 200 {
			t.Errorf("%s with another tag: %d", path, again.Code)
		}
	}
	if w := get(t, "/other"); w.Code != 404 {
		t.Errorf("another path: %d", w.Code)
	}
}

func TestEveryLinkOfThePageHasItsTargetOnIt(t *testing.T) {
	page := get(t, openapi.PathDocs).Body.String()
	ids := map[string]int{}
	for _, m := range regexp.MustCompile(`\sid="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		ids[m[1]]++
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("the id %q stands %d times", id, n)
		}
	}
	links := regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(links) < 100 {
		t.Fatalf("found only %d links", len(links))
	}
	for _, m := range links {
		to := m[1]
		switch {
		case strings.HasPrefix(to, "#") && ids[to[1:]] == 1:
		case to == openapi.PathJSON, to == openapi.PathYAML, strings.HasPrefix(to, "https://github.com/cloudevents/"):
		default:
			t.Errorf("the link %q leads nowhere", to)
		}
	}
	for _, m := range regexp.MustCompile(`(?:aria-labelledby)="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]] != 1 {
			t.Errorf("aria-labelledby names %q, which is not there", m[1])
		}
	}
}

func TestThePageIsWholeAndAsksForNothing(t *testing.T) {
	w := get(t, openapi.PathDocs)
	page := w.Body.String()
	for _, forbidden := range []string{"<script", `src="`, "srcset=", "<link", "@import", "url(", "ZgotmplZ", "&lt;nil&gt;", "%!"} {
		if strings.Contains(page, forbidden) {
			t.Errorf("the page has %q", forbidden)
		}
	}
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `yaml:"operationId"`
			Responses   map[string]any
		}
		Components struct{ Schemas map[string]any }
	}
	yaml.Unmarshal(openapi.YAML(), &doc) // parameters are no operation: what was read stands
	operations := 0
	for path, item := range doc.Paths {
		for method, op := range item {
			if method == "parameters" {
				continue
			}
			operations++
			at := strings.Index(page, `<section id="op-`+op.OperationID+`"`)
			if at < 0 {
				t.Errorf("the page has no section for %s %s", method, path)
				continue
			}
			section, _, _ := strings.Cut(page[at:], "</section>")
			for status := range op.Responses {
				if !strings.Contains(section, ">"+status+"</strong>") {
					t.Errorf("%s %s: the page does not show %s", method, path, status)
				}
			}
		}
	}
	if operations < 25 {
		t.Errorf("found only %d operations", operations)
	}
	for name := range doc.Components.Schemas {
		if !strings.Contains(page, `<section id="schema-`+name+`"`) {
			t.Errorf("the page has no section for the schema %s", name)
		}
	}
	if policy := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") {
		t.Errorf("the page's policy is %q", policy)
	}
}
