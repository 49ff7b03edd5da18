// Package openapi describes the HTTP API for programs (OpenAPI 3.1) and for
// people, from one document that is written by hand, openapi.yaml. The tests
// of package ingest hold the server against it, both ways.
package openapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the document
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var source []byte

// YAML is the document as it was written. It must not be changed.
func YAML() []byte { return source }

// JSON is the document as JSON, members in the order in which they were
// written. An error is a fault of the document.
func JSON() ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(source, &root); err != nil {
		return nil, fmt.Errorf("reading openapi.yaml: %w", err)
	}
	return toJSON(&root)
}

// The paths that a Site answers.
const (
	PathJSON = "/openapi.json"
	PathYAML = "/openapi.yaml"
	PathDocs = "/docs"
)

// Site serves the document and the page that is made of it. What it serves is
// made at the first request for it and kept: about 400 KB in all.
type Site struct {
	pages map[string]func() (page, error) // by path
}

// NewSite makes a site. It costs nothing until it is asked for something.
func NewSite() *Site {
	return &Site{pages: map[string]func() (page, error){
		PathYAML: sync.OnceValues(func() (page, error) { return newPage("application/yaml", "", source), nil }),
		PathJSON: sync.OnceValues(jsonPage),
		PathDocs: sync.OnceValues(docsPage),
	}}
}

// ServeHTTP answers GET and HEAD of the three paths. An error of it would be a
// fault of the document, which a test excludes.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	make, ok := s.pages[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	p, err := make()
	if err != nil {
		panic(err) // the API answers with a problem and logs it
	}
	p.serve(w, r)
}

// page is something that never changes while the process lives.
type page struct {
	contentType string
	policy      string // Content-Security-Policy; empty: none
	tag         string // ETag
	body        []byte
}

func newPage(contentType, policy string, body []byte) page {
	sum := sha256.Sum256(body)
	return page{contentType, policy, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`, body}
}

func jsonPage() (page, error) {
	body, err := JSON()
	return newPage("application/json", "", body), err
}

func docsPage() (page, error) {
	var body bytes.Buffer
	policy, err := writeDocs(&body)
	return newPage("text/html; charset=utf-8", policy, body.Bytes()), err
}

// serve answers with the page, or with 304 for who has it already. Clients ask
// each time, since the next release may say something else.
func (p page) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("ETag", p.tag)
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	if matches(r.Header.Get("If-None-Match"), p.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", p.contentType)
	if p.policy != "" {
		h.Set("Content-Security-Policy", p.policy)
		h.Set("Referrer-Policy", "no-referrer")
	}
	w.Write(p.body) // net/http drops it for HEAD
}

// matches reports whether an If-None-Match names tag (RFC 9110 §13.1.2).
func matches(header, tag string) bool {
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == tag || candidate == "*" {
			return true
		}
	}
	return false
}
