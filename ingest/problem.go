package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// problemBase is what the type of every problem begins with. docs/problems.md
// has a section for each.
const problemBase = "https://carillon.dev/problems/"

// kind is a kind of problem: the last part of its type URI. A kind never
// changes its name or its status, since clients branch on them.
type kind string

// The kinds.
const (
	kindMalformed    kind = "malformed-json"
	kindBadRequest   kind = "bad-request"
	kindUnauthorized kind = "unauthorized"
	kindForbidden    kind = "forbidden"
	kindSignature    kind = "bad-signature"
	kindNotFound     kind = "not-found"
	kindMethod       kind = "method-not-allowed"
	kindFinished     kind = "nothing-to-cancel"
	kindTooLarge     kind = "body-too-large"
	kindBatchSize    kind = "batch-too-large"
	kindMediaType    kind = "unsupported-media-type"
	kindInvalid      kind = "invalid"
	kindTemplate     kind = "unknown-template"
	kindData         kind = "data-mismatch"
	kindChannelOff   kind = "channel-off"
	kindNoAddress    kind = "no-address"
	kindAnEvent      kind = "not-a-notification"
	kindRouting      kind = "unroutable"
	kindKeyReused    kind = "idempotency-key-reused"
	kindNoneAccepted kind = "none-accepted"
	kindRate         kind = "rate-limited"
	kindBacklog      kind = "backlog-full"
	kindTimeout      kind = "request-timeout"
	kindInternal     kind = "internal"
	kindUnavailable  kind = "unavailable"
	kindBusy         kind = "busy"
)

// describe is the kind's status and title.
func (k kind) describe() (status int, title string) {
	switch k {
	case kindMalformed:
		return 400, "The body is not JSON"
	case kindBadRequest:
		return 400, "A header or parameter is wrong"
	case kindUnauthorized:
		return 401, "No valid API key"
	case kindForbidden:
		return 403, "The API key may not do this"
	case kindSignature:
		return 403, "The notification is not authentic"
	case kindNotFound:
		return 404, "Not found"
	case kindMethod:
		return 405, "The method is not allowed here"
	case kindTimeout:
		return 408, "The body came too slowly"
	case kindFinished:
		return 409, "Nothing is left to cancel"
	case kindTooLarge:
		return 413, "The body is too large"
	case kindBatchSize:
		return 413, "The batch is too large"
	case kindMediaType:
		return 415, "The content type is not taken here"
	case kindRate:
		return 429, "The rate is used up"
	case kindBacklog:
		return 429, "The queue is full"
	case kindUnavailable:
		return 503, "The queue's store cannot be reached"
	case kindBusy:
		return 503, "Too much is under way"
	case kindInternal:
		return 500, "Internal error"
	}
	return 422, k.title422()
}

// title422 is the title of the kinds whose status is 422.
func (k kind) title422() string {
	switch k {
	case kindTemplate:
		return "No such template"
	case kindData:
		return "The data does not fit the template"
	case kindChannelOff:
		return "A channel is off"
	case kindNoAddress:
		return "No address to send to"
	case kindAnEvent:
		return "An event is not a notification"
	case kindRouting:
		return "A route cannot be applied to the event"
	case kindKeyReused:
		return "The idempotency key stands for another body"
	case kindNoneAccepted:
		return "Nothing of the batch was accepted"
	}
	return "The body has faults"
}

// Problem is an answer that is no success (RFC 9457).
type Problem struct {
	Type   string         `json:"type"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail,omitzero"`
	Errors []notice.Fault `json:"errors,omitempty"`

	retryAfter time.Duration // written as Retry-After when positive
	cause      error         // for the log, never for the caller
}

// problem makes a problem of kind k.
func (k kind) problem(detail string, faults ...notice.Fault) *Problem {
	status, title := k.describe()
	return &Problem{Type: problemBase + string(k), Title: title, Status: status, Detail: detail, Errors: faults}
}

// Error is the problem in one line, with every fault and, for us alone, the
// cause.
func (p *Problem) Error() string {
	switch {
	case p.cause != nil:
		return p.cause.Error()
	case len(p.Errors) > 0:
		return notice.Faults(p.Errors).Error()
	case p.Detail != "":
		return p.Detail
	}
	return p.Title
}

func (p *Problem) after(d time.Duration) *Problem {
	p.retryAfter = d
	return p
}

// unavailableRetry is the Retry-After of a 503: about how long a failover of
// the store takes.
const unavailableRetry = 2 * time.Second

// fullRetry is that of a store whose memory is used up: what was accepted has
// to be worked off first.
const fullRetry = 10 * time.Second

// problemOf says what a caller is told of err.
func problemOf(err error) *Problem {
	var p *Problem
	var syntax *notice.SyntaxError
	var faults notice.Faults
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &syntax):
		return kindMalformed.problem(syntax.Error(), notice.Fault{
			Detail: fmt.Sprintf("at byte %d: %s", syntax.Offset, syntax.Detail)})
	case errors.As(err, &faults):
		return kindInvalid.problem(summary(faults), faults...)
	case errors.Is(err, queue.ErrNotFound):
		return kindNotFound.problem("there is no such id, or its record has expired")
	case errors.Is(err, notice.ErrBadID):
		return kindBadRequest.problem(err.Error())
	case errors.Is(err, queue.ErrFinished):
		return kindFinished.problem("every delivery has ended or is on its way: GET it to see how")
	case errors.Is(err, queue.ErrKeyReused):
		return kindKeyReused.problem("the Idempotency-Key was used in the last 24 hours for another body: use a new key for a new notification")
	case errors.Is(err, queue.ErrFull):
		p := kindUnavailable.problem("the store's memory is used up: nothing was stored; try again later").after(fullRetry)
		p.cause = err
		return p
	case errors.Is(err, queue.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		p := kindUnavailable.problem("whether it was done is not known: try again, with the same Idempotency-Key if there was one").after(unavailableRetry)
		p.cause = err
		return p
	}
	internal := kindInternal.problem("")
	internal.cause = err
	return internal
}

// summary is one line for people who read only the detail.
func summary(faults notice.Faults) string {
	if len(faults) == 1 {
		return faults.Error()
	}
	return strconv.Itoa(len(faults)) + " faults; errors names each with the field that it is in"
}

// writeProblem answers with p.
func writeProblem(w http.ResponseWriter, p *Problem) {
	body, err := json.Marshal(p)
	if err != nil { // cannot be: p holds strings that are valid UTF-8
		body = []byte(`{"status":500}`)
	}
	writeProblemHeader(w, p)
	w.Write(append(body, '\n'))
}

// writeProblemHeader begins the answer with p.
func writeProblemHeader(w http.ResponseWriter, p *Problem) {
	h := w.Header()
	h["Content-Type"] = []string{"application/problem+json"}
	h["Cache-Control"] = []string{"no-store"}
	if p.retryAfter > 0 {
		h.Set("Retry-After", seconds(p.retryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="carillon"`)
	}
	w.WriteHeader(p.Status)
}

// seconds is d for Retry-After: whole seconds, rounded up, at least one.
func seconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}

// writeUnmatched answers for a path that no call has or that is not clean, or
// a method that its path does not take, and returns the status that it wrote.
// The mux has set Allow.
func writeUnmatched(w http.ResponseWriter, r *http.Request, status int) int {
	h := w.Header()
	h.Del("Location")
	h.Del("X-Content-Type-Options")
	h.Del("Content-Length")
	p := kindMethod.problem("allowed here: " + h.Get("Allow"))
	switch {
	case redirects(status):
		p = kindNotFound.problem("the path has an empty or a dotted segment: leave it out, or percent-encode what belongs to a name")
	case status == http.StatusNotFound:
		p = kindNotFound.problem("the API has no such path: GET /docs lists them")
	case r.Method == http.MethodOptions:
		h.Del("Content-Type")
		w.WriteHeader(http.StatusNoContent)
		return http.StatusNoContent
	}
	writeProblem(w, p)
	return p.Status
}
