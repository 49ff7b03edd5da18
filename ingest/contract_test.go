package ingest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/carillonhq/carillon/ingest/openapi"
)

// contract is the API's own document as a validator reads it, made once for
// all tests.
var contract = sync.OnceValues(func() (*openapi3.T, error) {
	for _, also := range []string{"application/cloudevents+json", "application/cloudevents-batch+json"} {
		openapi3filter.RegisterBodyDecoder(also, openapi3filter.JSONBodyDecoder)
	}
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.PlainBodyDecoder)
	return openapi3.NewLoader().LoadFromData(openapi.YAML())
})

func loadContract(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := contract()
	if err != nil {
		t.Fatalf("the document cannot be read: %v", err)
	}
	return doc
}

// watched holds every answer that api gives in a test against the document,
// and every request that it accepts.
func watched(t testing.TB, api http.Handler) http.Handler {
	doc := loadContract(t)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &exchange{ResponseWriter: w, status: http.StatusOK}
		if r.Body != http.NoBody && r.Header.Get("Expect") == "" { // net/http has to recognise a body that it has not asked for
			r.Body = &recorded{r.Body, &seen.sent}
		}
		api.ServeHTTP(seen, r)
		if clean := path.Clean(r.URL.EscapedPath()); r.Pattern == "" || seen.status/100 == 3 || clean != r.URL.EscapedPath() ||
			seen.got.Len() > 1<<20 { // the validator takes half a minute for such
			return
		}
		if err := seen.check(doc, r); err != nil {
			t.Errorf("%s %s → %d is not as the document says: %v", r.Method, r.URL, seen.status, err)
		}
	})
}

// exchange is a request and its answer, as they pass.
type exchange struct {
	http.ResponseWriter
	sent   bytes.Buffer
	status int
	got    bytes.Buffer
}

func (e *exchange) WriteHeader(status int) {
	e.status = status
	e.ResponseWriter.WriteHeader(status)
}

func (e *exchange) Write(b []byte) (int, error) {
	e.got.Write(b)
	return e.ResponseWriter.Write(b)
}

func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// recorded is a body that keeps what was read of it.
type recorded struct {
	io.ReadCloser
	to *bytes.Buffer
}

func (r *recorded) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	r.to.Write(b[:n])
	return n, err
}

func (e *exchange) check(doc *openapi3.T, r *http.Request) error {
	method, route, _ := strings.Cut(r.Pattern, " ")
	item := doc.Paths.Value(route)
	if item == nil || item.GetOperation(method) == nil {
		return fmt.Errorf("it has no %s", r.Pattern)
	}
	options := &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
	in := &openapi3filter.RequestValidationInput{
		Request: e.request(r), PathParams: pathParams(r, route), Options: options,
		Route: &routers.Route{Spec: doc, Path: route, PathItem: item, Method: method, Operation: item.GetOperation(method)},
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: e.status, Header: e.Header(), Options: options}
	if err := openapi3filter.ValidateResponse(context.Background(), out.SetBodyBytes(e.got.Bytes())); err != nil {
		return fmt.Errorf("the answer %s: %w", e.got.Bytes(), err)
	}
	if e.status >= 300 || e.lenient(r, in.Route.Operation) {
		return nil
	}
	if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
		return fmt.Errorf("the accepted request %s: %w", e.sent.Bytes(), err)
	}
	return nil
}

// request is r with the body that was read. What has no content type is JSON.
func (e *exchange) request(r *http.Request) *http.Request {
	again := r.Clone(context.Background())
	again.Body = io.NopCloser(bytes.NewReader(e.sent.Bytes()))
	if again.Header.Get("Content-Type") == "" {
		again.Header.Set("Content-Type", "application/json")
	}
	return again
}

// lenient reports whether the server took something that it need not: null for
// a member that is absent, a packed body, a type that is another's alias. Of a
// batch some items may be wrong.
func (e *exchange) lenient(r *http.Request, op *openapi3.Operation) bool {
	if r.Header.Get("Expect") != "" {
		return true // its body was not seen
	}
	if op.RequestBody == nil || e.sent.Len() == 0 {
		return false
	}
	kind, _, _ := strings.Cut(e.request(r).Header.Get("Content-Type"), ";")
	return bytes.Contains(e.sent.Bytes(), []byte("null")) || r.Header.Get("Content-Encoding") != "" ||
		op.RequestBody.Value.Content[kind] == nil && op.RequestBody.Value.Content["*/*"] == nil ||
		bytes.Contains(e.got.Bytes(), []byte(`"error":`))
}

func pathParams(r *http.Request, route string) map[string]string {
	params := map[string]string{}
	for part := range strings.SplitSeq(route, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			name = strings.TrimSuffix(name, "}")
			params[name] = r.PathValue(name)
		}
	}
	return params
}

func TestTheDocumentIsOpenAPI31AndItsExamplesFitTheirSchemas(t *testing.T) {
	doc := loadContract(t)
	if !doc.IsOpenAPI31OrLater() {
		t.Errorf("it says that it is %s", doc.OpenAPI)
	}
	if err := doc.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		t.Error(err)
	}
}

func TestTheDocumentHasEveryRouteAndTheServerEveryOperation(t *testing.T) {
	whole := startWhole(t)
	documented := map[string]bool{}
	for path, item := range loadContract(t).Paths.Map() {
		for method := range item.Operations() {
			documented[method+" "+path] = true
		}
	}
	for _, pattern := range whole.patterns {
		if !documented[pattern] {
			t.Errorf("the document has no %s", pattern)
		}
		delete(documented, pattern)
	}
	for pattern := range documented {
		t.Errorf("the server has no %s", pattern)
	}
}

func TestTheDocumentNamesTheScopeThatEachCallTakes(t *testing.T) {
	whole := startWhole(t)
	scopes := []string{"send", "read", "admin", "feedback"}
	for path, item := range loadContract(t).Paths.Map() {
		for method, op := range item.Operations() {
			needs := scopeOf(op)
			if needs == "" {
				if r := whole.bare(method, sample(path, item, op)); r.status == 401 && op.OperationID != "reportMailByProvider" {
					t.Errorf("%s %s needs a key, and the document says that it does not", method, path)
				}
				continue
			}
			for _, has := range scopes {
				r := whole.bare(method, sample(path, item, op), "Authorization", "Bearer "+scopeKey(has))
				if (r.status == 403) == (has == needs) {
					t.Errorf("%s %s with the scope %s: %d, and the document says that it takes %s", method, path, has, r.status, needs)
				}
			}
		}
	}
}

// scopeOf is the scope that an operation's key needs; empty when it needs none.
func scopeOf(op *openapi3.Operation) string {
	if op.Security == nil || len(*op.Security) == 0 {
		return ""
	}
	return (*op.Security)[0]["key"][0]
}

// sample is a path with the examples of its parameters.
func sample(path string, item *openapi3.PathItem, op *openapi3.Operation) string {
	for _, p := range slices.Concat(item.Parameters, op.Parameters) {
		if p.Value.In == "path" {
			value := "x"
			if p.Value.Example != nil {
				value = fmt.Sprint(p.Value.Example)
			}
			path = strings.ReplaceAll(path, "{"+p.Value.Name+"}", value)
		}
	}
	return path
}
