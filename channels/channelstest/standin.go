package channelstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
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
	"go.uber.org/goleak"
)

// standIn is a provider on loopback whose behaviour is set test by test.
type standIn struct {
	target Target
	server *httptest.Server
	ended  chan struct{} // closed when the test is over: nothing waits longer

	open   atomic.Int64 // connections
	talked atomic.Int64 // bytes of endless bodies that were taken from us

	mu     sync.Mutex
	script []http.HandlerFunc // one for each request; the last for every further one
	ids    []string           // of the requests, as they came
	meets  func(net.Conn)     // what is done with a new connection
}

func startStandIn(t *testing.T, h Harness, timeout time.Duration) *standIn {
	t.Helper()
	verifyNoLeak(t, h)
	s := &standIn{ended: make(chan struct{}), script: []http.HandlerFunc{h.Accept}}
	s.server = httptest.NewUnstartedServer(s.handler(h))
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0) // the faults are on purpose
	s.server.Config.ConnState = s.count
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

// verifyNoLeak fails the test when a goroutine is left at its end.
func verifyNoLeak(t *testing.T, h Harness) {
	options := []goleak.Option{goleak.IgnoreCurrent()}
	for _, f := range h.Background {
		options = append(options, goleak.IgnoreAnyFunction(f))
	}
	t.Cleanup(func() { goleak.VerifyNone(t, options...) })
}

// count follows a connection. One that was hijacked is its handler's to close.
func (s *standIn) count(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.open.Add(1)
		s.mu.Lock()
		meet := s.meets
		s.mu.Unlock()
		if meet != nil {
			meet(conn)
		}
	case http.StateClosed, http.StateHijacked:
		s.open.Add(-1)
	}
}

// connections is how many are open.
func (s *standIn) connections() int64 { return s.open.Load() }

// onConnect sets what is done with each new connection.
func (s *standIn) onConnect(meet func(net.Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meets = meet
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
	return writePEM(t, server.Certificate().Raw)
}

func writePEM(t *testing.T, certificate []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: certificate}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// cut ends the connection, or over HTTP/2 the stream, without a word.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// cutBody accepts, and hangs up in the middle of what it says.
func cutBody(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "100")
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, "{")
	_ = http.NewResponseController(w).Flush()
	cut(w, r)
}

// writeStrangersCA writes an authority that signed nothing here.
func writeStrangersCA(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a stranger"}, IsCA: true,
		BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, der)
}

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
