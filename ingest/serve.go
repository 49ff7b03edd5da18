package ingest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"
)

// requestIDHeader names a request, in the answer and in the log.
const requestIDHeader = "X-Request-Id"

// ServeHTTP answers a call. A panic ends the call alone, as a problem that
// tells nothing of the gateway's inside; the log has the rest.
func (s *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{ResponseWriter: w, request: r}
	a.id = s.names.of(r.Header)
	w.Header()[requestIDHeader] = []string{a.id}
	if !s.hand.take(requestCost) {
		s.outage.Do(func() {
			s.Logger.Warn("too much is under way; refusing with 503 (ingest.max_in_hand)", "bytes", s.hand.used.Load())
		})
		w.Header().Set("Connection", "close")
		writeProblem(w, busy())
		return
	}
	a.hand, a.charged = &s.hand, requestCost
	defer a.settle()
	s.bound(w, r)
	if s.Ingest.AccessLog {
		defer s.logAccess(a, time.Now())
	}
	defer s.survive(a)
	s.mux.ServeHTTP(a, r)
}

// bound limits how long the client may take, so that one that neither sends nor
// reads holds no goroutine and no page of dead letters for ever. The deadline
// for the body holds also where a call refuses it unread, since the server then
// reads on to keep the connection. Neither is supported without a connection.
func (s *API) bound(w http.ResponseWriter, r *http.Request) {
	conn, now := http.NewResponseController(w), time.Now()
	if r.Body != http.NoBody {
		conn.SetReadDeadline(now.Add(s.BodyTimeout))
	}
	conn.SetWriteDeadline(now.Add(s.AnswerTimeout))
}

// survive turns a panic into an answer.
func (s *API) survive(a *answer) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p)
	default:
		s.Logger.Error("a handler panicked", "request", a.id, "pattern", a.request.Pattern, "panic", p, "stack", string(debug.Stack()))
		if a.status == 0 {
			writeProblem(a, kindInternal.problem(""))
		}
	}
}

// logAccess writes one line for a call. The pattern stands for the path, which
// may hold a user, an address or a token.
func (s *API) logAccess(a *answer, start time.Time) {
	s.Logger.LogAttrs(context.Background(), slog.LevelInfo, "call",
		slog.String("request", a.id), slog.String("method", knownMethod(a.request.Method)), slog.String("pattern", a.request.Pattern),
		slog.String("tenant", a.tenant), slog.Int("status", a.status), slog.Int64("bytes", a.written),
		slog.Duration("took", time.Since(start)))
}

// knownMethod is a method that means something; a client may write any word.
func knownMethod(m string) string {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE":
		return m
	}
	return "other"
}

// fail writes err as a problem, and logs what is our own fault. While the
// store is away every call fails alike, so one line a second says it.
func (s *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	log := func() {
		s.Logger.Error("a call failed", "request", w.Header().Get(requestIDHeader), "pattern", r.Pattern, "status", p.Status, "error", err)
	}
	switch {
	case p.Status == http.StatusServiceUnavailable:
		s.outage.Do(log)
	case p.Status >= 500:
		log()
	}
	writeProblem(w, p)
}

// answer is a response that knows whether it was begun, and that turns what
// the mux says in plain text of unknown paths and methods into problems.
type answer struct {
	http.ResponseWriter
	request  *http.Request
	id       string
	tenant   string // empty: the call needed no key, or none was good
	status   int
	hand     *inHand // what it is charged to
	charged  int64
	written  int64
	replaced bool // the body is ours already: the mux's is dropped
}

// settle gives back what the request was charged.
func (a *answer) settle() { a.hand.give(a.charged) }

// noteTenant tells the log who makes a call.
func noteTenant(w http.ResponseWriter, tenant string) {
	if a, ok := w.(*answer); ok {
		a.tenant = tenant
	}
}

// WriteHeader begins the answer.
func (a *answer) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	a.status = status
	if a.unmatched(status) {
		a.replaced = true
		a.status = writeUnmatched(a.ResponseWriter, a.request, status)
		return
	}
	a.ResponseWriter.WriteHeader(status)
}

// unmatched reports whether it is the mux that answers: no call redirects.
func (a *answer) unmatched(status int) bool {
	return redirects(status) || a.request.Pattern == "" && (status == http.StatusNotFound || status == http.StatusMethodNotAllowed)
}

// redirects reports whether a status is the mux's for a path that is not
// clean. A redirected POST would come back as a GET.
func redirects(status int) bool {
	return status == http.StatusMovedPermanently || status == http.StatusTemporaryRedirect || status == http.StatusPermanentRedirect
}

// Write writes part of the body.
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.replaced {
		return len(b), nil
	}
	n, err := a.ResponseWriter.Write(b)
	a.written += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// requestNames gives requests names that no other has: a word that is this
// process's own, and a number.
type requestNames struct {
	prefix string
	count  atomic.Uint64
}

func newRequestNames() *requestNames { return &requestNames{prefix: rand.Text()[:12] + "-"} }

// of is the name that a request came with, or a new one.
func (n *requestNames) of(h http.Header) string {
	if values := h[requestIDHeader]; len(values) == 1 && nameable(values[0]) {
		return values[0]
	}
	return n.prefix + strconv.FormatUint(n.count.Add(1), 36)
}

// maxRequestID is the longest X-Request-Id that is taken, in bytes.
const maxRequestID = 128

// nameable reports whether an X-Request-Id may be repeated: nothing in it may
// break a line of a log, or hold a mail address.
func nameable(id string) bool {
	for i := range len(id) {
		c := id[i]
		alphanumeric := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !alphanumeric && c != '.' && c != '_' && c != '~' && c != '+' && c != '/' && c != '=' && c != ':' && c != '-' {
			return false
		}
	}
	return id != "" && len(id) <= maxRequestID
}
