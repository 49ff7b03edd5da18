package channelstest

import (
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels"
)

// standIn is a provider on loopback whose behaviour is set test by test.
type standIn struct {
	target Target
	server *httptest.Server
	ended  chan struct{} // closed when the test is over: nothing waits longer

	talked atomic.Int64 // bytes of endless bodies that were taken from us

	mu     sync.Mutex
	script []http.HandlerFunc // one for each request; the last for every further one
	ids    []string           // of the requests, as they came
}

func startStandIn(t *testing.T, h Harness, timeout time.Duration) *standIn {
	t.Helper()
	s := &standIn{ended: make(chan struct{}), script: []http.HandlerFunc{h.Accept}}
	s.server = httptest.NewUnstartedServer(s.handler(h))
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0) // the faults are on purpose
	s.server.EnableHTTP2 = h.HTTP2
	if h.TLS {
		s.server.StartTLS()
		s.target.CAFile = writeCA(t, s.server)
	} else {
		s.server.Start()
	}
	s.target.URL = s.server.URL
	s.target.Timeout = timeout
	t.Cleanup(func() {
		close(s.ended)
		s.server.CloseClientConnections()
		s.server.Close()
	})
	return s
}

// does sets what the stand-in does with each coming request; the last is what
// it does with all that follow.
func (s *standIn) does(script ...http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = script
}

// seen are the ids of the requests so far.
func (s *standIn) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.ids...)
}

func (s *standIn) handler(h Harness) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the sender went away
		}
		id := ""
		if h.ID != nil {
			id = h.ID(r, body)
		}
		s.next(id)(w, r)
	})
}

func (s *standIn) next(id string) http.HandlerFunc {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids = append(s.ids, id)
	f := s.script[0]
	if len(s.script) > 1 {
		s.script = s.script[1:]
	}
	return f
}

func writeCA(t *testing.T, server *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// cut ends the connection, or over HTTP/2 the stream, without a word.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// silent never answers.
func (s *standIn) silent(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.ended:
	}
}

// endless accepts, and goes on talking until the sender hangs up.
func (s *standIn) endless(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	chunk := []byte(strings.Repeat("x", 64<<10))
	for r.Context().Err() == nil {
		n, err := w.Write(chunk)
		s.talked.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// dripping accepts, sends the headers, and then not one byte of the body.
func (s *standIn) dripping(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	s.silent(w, r)
}

// spoken is every word of a result that reaches a log or a record.
func spoken(r channels.Result) []string {
	words := []string{r.Code, r.ProviderID}
	for err := r.Err; err != nil; err = errors.Unwrap(err) {
		words = append(words, err.Error())
	}
	return words
}

func containsFold(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}
