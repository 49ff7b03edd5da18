package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// ndjsonType is one JSON value a line (https://github.com/ndjson/ndjson-spec).
const ndjsonType = "application/x-ndjson"

// batchAnswer says what became of each item of a batch, in order.
type batchAnswer struct {
	Accepted int         `json:"accepted"`
	Rejected int         `json:"rejected"`
	Results  []batchItem `json:"results"`
}

// batchItem is either an id or an error.
type batchItem struct {
	Index     int      `json:"index"`
	ID        string   `json:"id,omitzero"`
	Duplicate *bool    `json:"duplicate,omitzero"`
	Error     *Problem `json:"error,omitzero"`
}

// batchProblem is the answer when nothing of a batch was accepted: a problem
// with the batch's results as an extension.
type batchProblem struct {
	Problem
	batchAnswer
}

// postBatch accepts many notifications. A bad one never holds up the rest.
func (s *API) postBatch(w http.ResponseWriter, r *http.Request, who *caller) error {
	start := s.Clock()
	b, err := s.takeBatch(w, r, who, start)
	s.metrics.took(start, s.Clock())
	if err != nil {
		s.metrics.failed(err)
		return err
	}
	return b.write(w, s.metrics)
}

// takeBatch takes a batch from the request's body to the queue.
func (s *API) takeBatch(w http.ResponseWriter, r *http.Request, who *caller, now time.Time) (*batch, error) {
	key, err := idempotencyKey(r.Header)
	if err != nil {
		return nil, err
	}
	body, err := s.bodies.read(w, r)
	if err != nil {
		return nil, err
	}
	defer s.bodies.release(body)
	items, err := s.split(mediaType(r), *body)
	if err != nil {
		return nil, err
	}
	paid, unpaid := s.payForRest(w, r, who, len(items))
	b := s.newBatch(items[:paid], len(items), who, key, now)
	for i := paid; i < len(items); i++ {
		b.reject(i, unpaid)
	}
	if len(b.admissions) > 0 {
		b.admit(s.Queue.AdmitAll(r.Context(), b.admissions))
	}
	return b, nil
}

// split takes a batch's body apart.
func (s *API) split(contentType string, body []byte) ([]jsontext.Value, error) {
	most := s.Ingest.MaxBatch
	if contentType == ndjsonType || contentType == "application/ndjson" || contentType == "application/jsonl" {
		return checkCount(lines(body), most, nil)
	}
	if !isJSONType(contentType) {
		return nil, wantType(contentType, "application/json", ndjsonType)
	}
	items, err := notice.Split(body, most)
	return checkCount(items, most, err)
}

func checkCount(items []jsontext.Value, most int, err error) ([]jsontext.Value, error) {
	switch {
	case errors.Is(err, notice.ErrTooMany) || len(items) > most:
		return nil, kindBatchSize.problem(fmt.Sprintf("the batch has more than %d items (ingest.max_batch): send several batches", most))
	case err != nil:
		return nil, err
	case len(items) == 0:
		return nil, kindInvalid.problem("the batch is empty: send at least one notification")
	}
	return items, nil
}

// lines are the lines of an NDJSON body that are not blank.
func lines(body []byte) []jsontext.Value {
	var out []jsontext.Value
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			out = append(out, jsontext.Value(line))
		}
	}
	return out
}

// batch is a batch on its way in.
type batch struct {
	admissions []queue.Admission
	places     []int // of each admission among the items
	answer     batchAnswer
	worst      *Problem // a refusal that trying again may mend
}

// payForRest takes what a batch costs from its caller's rates beyond the one
// that every call costs, and returns how many of its items are paid for, the
// first ones, and why the others are not.
func (s *API) payForRest(w http.ResponseWriter, r *http.Request, who *caller, items int) (paid int, unpaid error) {
	granted, err := who.sends.spend(r.Context(), s.Rates, w.Header(), items-1)
	return 1 + granted, err
}

// newBatch checks every item, of a batch of that size. The i-th is admitted under the batch's
// idempotency key, if it has one, and its place.
func (s *API) newBatch(items []jsontext.Value, size int, who *caller, key string, now time.Time) *batch {
	b := &batch{answer: batchAnswer{Results: make([]batchItem, size)}}
	for i, item := range items {
		a, err := s.admission(item, who, now)
		if err != nil {
			b.reject(i, err)
			continue
		}
		if key != "" {
			a.setKey(key+"#"+strconv.Itoa(i), item)
		}
		b.admissions = append(b.admissions, a.Admission)
		b.places = append(b.places, i)
	}
	return b
}

// admit records what the queue said of the admissions.
func (b *batch) admit(results []queue.Admitted) {
	for i, res := range results {
		if res.Err != nil {
			b.reject(b.places[i], res.Err)
			continue
		}
		b.answer.Accepted++
		b.answer.Results[b.places[i]] = batchItem{Index: b.places[i], ID: res.ID, Duplicate: &res.Duplicate}
	}
}

func (b *batch) reject(i int, err error) {
	p := problemOf(err)
	b.answer.Rejected++
	b.answer.Results[i] = batchItem{Index: i, Error: p}
	b.worst = worse(b.worst, p)
}

// worse is the refusal with the higher status of those that trying again may
// mend; nil for none. a was chosen before.
func worse(a, b *Problem) *Problem {
	if b.retryAfter > 0 && (a == nil || b.Status > a.Status) {
		return b
	}
	return a
}

// write answers 202 when anything was accepted; otherwise 422, or the 429 or
// 503 that an item met, since sending the batch again may then help.
func (b *batch) write(w http.ResponseWriter, m *metrics) error {
	for _, item := range b.answer.Results {
		if item.Error != nil {
			m.failed(item.Error)
		} else {
			m.accepted(*item.Duplicate)
		}
	}
	if b.answer.Accepted > 0 {
		return writeJSON(w, http.StatusAccepted, b.answer)
	}
	p := kindNoneAccepted.problem("results has the problem of each item")
	if b.worst != nil {
		p = b.worst
	}
	writeProblemHeader(w, p)
	return json.MarshalWrite(w, batchProblem{*p, b.answer})
}

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	w.Header()["Content-Type"] = jsonType()
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
	return nil
}
