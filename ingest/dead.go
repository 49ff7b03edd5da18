package ingest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// The pages of GET /v1/dead.
const (
	defaultPage = 100
	largestPage = 1000
)

type deadPage struct {
	Dead []deadAnswer `json:"dead"`
	Next string       `json:"next,omitzero"` // ?after= of the next page; absent on the last
}

type deadAnswer struct {
	ID      string         `json:"id"`
	Channel notice.Channel `json:"channel"`
	Reason  string         `json:"reason"`
	Detail  string         `json:"detail,omitzero"`
	At      time.Time      `json:"at"`
	// Payload is the delivery as JSON, or the inbox entry as a string; secrets
	// are left out.
	Payload jsontext.Value `json:"payload,omitzero"`
}

// getDead lists dead letters.
func (s *API) getDead(w http.ResponseWriter, r *http.Request, who *caller) error {
	filter, err := deadFilter(r.URL.Query(), who.tenant, "channel", "reason", "after", "limit")
	if err != nil {
		return err
	}
	dead, next, err := s.DeadLetters.DeadList(r.Context(), filter)
	if err != nil {
		return err
	}
	page := deadPage{Dead: make([]deadAnswer, 0, len(dead)), Next: next}
	for _, d := range dead {
		page.Dead = append(page.Dead, deadAnswer{
			ID: d.ID, Channel: d.Channel, Reason: d.Reason, Detail: d.Detail, At: inUTC(d.At), Payload: payload(d.Shown()),
		})
	}
	return writeJSON(w, http.StatusOK, page)
}

// payload shows what died as JSON when it is, and as a string otherwise.
func payload(s string) jsontext.Value {
	if s == "" {
		return nil
	}
	if v := jsontext.Value(s); v.IsValid() {
		return v
	}
	quoted, _ := jsontext.AppendQuote(nil, s) // an error says that bytes were replaced: still a string
	return quoted
}

type redriveAnswer struct {
	Redriven int `json:"redriven"`
}

// postRedrive sends one dead letter again.
func (s *API) postRedrive(w http.ResponseWriter, r *http.Request, who *caller) error {
	n, err := s.DeadLetters.Redrive(r.Context(), who.tenant, r.PathValue("delivery"))
	if err != nil {
		return err
	}
	if n == 0 {
		return kindNotFound.problem("there is no such dead letter: GET /v1/dead lists them")
	}
	return writeJSON(w, http.StatusAccepted, redriveAnswer{n})
}

// postRedriveAll sends every dead letter that the query selects again.
func (s *API) postRedriveAll(w http.ResponseWriter, r *http.Request, who *caller) error {
	filter, err := deadFilter(r.URL.Query(), who.tenant, "channel", "reason")
	if err != nil {
		return err
	}
	n, err := s.DeadLetters.RedriveAll(r.Context(), filter)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, redriveAnswer{n})
}

// deadFilter reads a filter of dead letters from a query that may have the
// known parameters alone: a misspelt filter would select everything.
func deadFilter(q url.Values, tenant string, known ...string) (queue.DeadFilter, error) {
	f := queue.DeadFilter{Tenant: tenant, Limit: defaultPage}
	if err := onlyKnown(q, known); err != nil {
		return f, err
	}
	f.Reason, f.After = q.Get("reason"), q.Get("after")
	f.Channel = notice.Channel(q.Get("channel"))
	if f.Channel != "" && !f.Channel.Valid() && f.Channel != notice.ChannelInbox {
		return f, kindBadRequest.problem(fmt.Sprintf("channel: %q is no channel: want one of %s, inbox", clip(string(f.Channel)), join(notice.Channels())))
	}
	if limit := q.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > largestPage {
			return f, kindBadRequest.problem(fmt.Sprintf("limit: %q is no page size: want 1 to %d", clip(limit), largestPage))
		}
		f.Limit = n
	}
	return f, nil
}

// onlyKnown refuses parameters that a call does not have.
func onlyKnown(q url.Values, known []string) error {
	for name, values := range q {
		if len(values) > 1 {
			return kindBadRequest.problem(fmt.Sprintf("the parameter %q stands more than once: send one", clip(name)))
		}
		if notice.Nearest(name, known) != name {
			return kindBadRequest.problem(fmt.Sprintf("unknown parameter %q: known are %s", clip(name), join(known)))
		}
	}
	return nil
}
