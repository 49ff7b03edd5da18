package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// The content types of CloudEvents' structured and batched mode.
const (
	cloudEventType      = "application/cloudevents"
	cloudEventJSON      = "application/cloudevents+json"
	cloudEventBatchJSON = "application/cloudevents-batch+json"
)

// What may become of an event that has no faults.
const (
	eventAccepted = "accepted"
	eventIgnored  = "ignored" // no route takes it
)

// eventAnswer says what became of one event. ID and Duplicate are set for the
// usual event, which makes one notification; Notifications has all of them.
type eventAnswer struct {
	Status        string          `json:"status"`
	ID            string          `json:"id,omitzero"`
	Duplicate     *bool           `json:"duplicate,omitzero"`
	Notifications []eventAdmitted `json:"notifications,omitempty"`
}

type eventAdmitted struct {
	ID        string `json:"id"`
	Duplicate bool   `json:"duplicate"`
}

// eventsAnswer says what became of each event of a batch, in order.
type eventsAnswer struct {
	Accepted int         `json:"accepted"`
	Ignored  int         `json:"ignored"`
	Rejected int         `json:"rejected"`
	Results  []eventItem `json:"results"`
}

// eventItem is either what became of an event or an error.
type eventItem struct {
	Index         int             `json:"index"`
	Status        string          `json:"status,omitzero"`
	Notifications []eventAdmitted `json:"notifications,omitempty"`
	Error         *Problem        `json:"error,omitzero"`
}

// eventsProblem is the answer when every event of a batch was refused.
type eventsProblem struct {
	Problem
	eventsAnswer
}

// postEvents takes integration events in any of CloudEvents' three modes.
func (s *API) postEvents(w http.ResponseWriter, r *http.Request, who *caller) error {
	start := s.Clock()
	defer func() { s.metrics.took(start, s.Clock()) }()
	body, err := s.bodies.read(w, r)
	if err != nil {
		s.metrics.failed(err)
		return err
	}
	defer s.bodies.release(body)
	if mediaType(r) == cloudEventBatchJSON {
		return s.postEventBatch(w, r, *body, who, start)
	}
	b := s.newEventBatch(1)
	b.add(0, who, start, func() (notice.CloudEvent, error) { return decodeEvent(r, *body) })
	result := b.admit(r.Context())[0]
	if result.err != nil {
		return result.err
	}
	return writeJSON(w, http.StatusAccepted, result.answer())
}

// postEventBatch takes events in batched mode, each on its own.
func (s *API) postEventBatch(w http.ResponseWriter, r *http.Request, body []byte, who *caller, now time.Time) error {
	items, err := notice.Split(body, s.Ingest.MaxBatch)
	items, err = checkCount(items, s.Ingest.MaxBatch, err)
	if err != nil {
		s.metrics.failed(err)
		return err
	}
	paid, unpaid := s.payForRest(w, r, who, len(items))
	b := s.newEventBatch(len(items))
	for i, item := range items {
		if i >= paid {
			b.refuse(i, unpaid)
			continue
		}
		b.add(i, who, now, func() (notice.CloudEvent, error) { return notice.DecodeCloudEvent(item) })
	}
	return writeEvents(w, b.admit(r.Context()))
}

// decodeEvent reads one event in binary or structured mode.
func decodeEvent(r *http.Request, body []byte) (notice.CloudEvent, error) {
	switch t := mediaType(r); {
	case t == cloudEventJSON:
		return notice.DecodeCloudEvent(body)
	case strings.HasPrefix(t, cloudEventType):
		return notice.CloudEvent{}, wantType(t, cloudEventJSON, cloudEventBatchJSON)
	case r.Header.Get("Ce-Specversion") != "" || r.Header.Get("Ce-Id") != "":
		return notice.DecodeBinaryCloudEvent(r.Header, body)
	case isJSONType(t) && notice.LooksLikeCloudEvent(body): // structured, by a client that does not know the type
		return notice.DecodeCloudEvent(body)
	default:
		return notice.CloudEvent{}, kindMediaType.problem(fmt.Sprintf(
			"got %q without ce- headers: send a CloudEvent as %s or %s, or its attributes as ce- headers", clip(t), cloudEventJSON, cloudEventBatchJSON))
	}
}

// eventBatch is events on their way in: what each gives rise to goes to the
// queue in one call for all.
type eventBatch struct {
	s          *API
	admissions []queue.Admission
	results    []eventResult
}

// eventResult is what became of one event.
type eventResult struct {
	first, count  int // its admissions in the batch
	notifications []eventAdmitted
	err           error
}

func (s *API) newEventBatch(n int) *eventBatch {
	return &eventBatch{s: s, results: make([]eventResult, n)}
}

// add decodes and routes the i-th event. When anything that it gives rise to
// has faults, nothing of it is admitted.
func (b *eventBatch) add(i int, who *caller, now time.Time, decode func() (notice.CloudEvent, error)) {
	var admissions []queue.Admission
	event, err := decode()
	if err == nil {
		admissions, err = b.s.routeEvent(&event, who, now)
	}
	switch {
	case err != nil:
		b.s.metrics.failed(err)
	case len(admissions) == 0:
		b.s.metrics.results[resultIgnored].Inc()
	}
	b.results[i] = eventResult{first: len(b.admissions), count: len(admissions), err: err}
	b.admissions = append(b.admissions, admissions...)
}

// refuse is what becomes of the i-th event without a look at it.
func (b *eventBatch) refuse(i int, err error) {
	b.s.metrics.failed(err)
	b.results[i] = eventResult{first: len(b.admissions), err: err}
}

// admit hands everything to the queue. An event that the queue took only in
// part is an error: sent again, what it took is a duplicate.
func (b *eventBatch) admit(ctx context.Context) []eventResult {
	if len(b.admissions) == 0 {
		return b.results
	}
	admitted := b.s.Queue.AdmitAll(ctx, b.admissions)
	for i := range b.results {
		r := &b.results[i]
		for _, a := range admitted[r.first : r.first+r.count] {
			if a.Err != nil {
				b.s.metrics.failed(a.Err)
				r.err = a.Err
				continue
			}
			b.s.metrics.accepted(a.Duplicate)
			r.notifications = append(r.notifications, eventAdmitted{a.ID, a.Duplicate})
		}
	}
	return b.results
}

// routeEvent turns an event into admissions under keys of the event's own.
func (s *API) routeEvent(e *notice.CloudEvent, who *caller, now time.Time) ([]queue.Admission, error) {
	if s.Router == nil {
		return nil, nil
	}
	notifications, err := s.Router.Route(*e)
	if err != nil {
		return nil, kindRouting.problem(err.Error())
	}
	admissions := make([]queue.Admission, 0, len(notifications))
	for i := range notifications {
		n := &notifications[i]
		if err := s.door.Accept(n, now); err != nil {
			return nil, routed(i, err)
		}
		if err := s.room(who.tenant, n); err != nil {
			return nil, err
		}
		admissions = append(admissions, queue.Admission{Tenant: who.tenant, Notification: *n, Key: e.Key(i)})
	}
	return admissions, nil
}

// routed says that a fault is of the notification that a route made, which
// the event's sender does not see.
func routed(i int, err error) error {
	var p *Problem
	if !errors.As(err, &p) {
		return err
	}
	out := *p
	out.Detail = fmt.Sprintf("notification %d that the event's routes make: %s", i, p.Detail)
	out.Errors = nil
	for _, f := range p.Errors {
		out.Errors = append(out.Errors, notice.Fault{Pointer: "/notifications/" + strconv.Itoa(i) + f.Pointer, Detail: f.Detail})
	}
	return &out
}

// answer is the result of an event that was sent alone.
func (r *eventResult) answer() eventAnswer {
	a := eventAnswer{Status: r.status(), Notifications: r.notifications}
	if len(a.Notifications) == 1 {
		a.ID, a.Duplicate = a.Notifications[0].ID, &a.Notifications[0].Duplicate
	}
	return a
}

func (r *eventResult) status() string {
	if len(r.notifications) == 0 {
		return eventIgnored
	}
	return eventAccepted
}

// writeEvents answers 202 unless every event was refused; otherwise as a batch
// of notifications does.
func writeEvents(w http.ResponseWriter, results []eventResult) error {
	var answer eventsAnswer
	var worst *Problem
	for i := range results {
		item := eventItem{Index: i, Notifications: results[i].notifications}
		switch err := results[i].err; {
		case err != nil:
			answer.Rejected++
			item.Error = problemOf(err)
			worst = worse(worst, item.Error)
		case results[i].status() == eventIgnored:
			answer.Ignored++
			item.Status = eventIgnored
		default:
			answer.Accepted++
			item.Status = eventAccepted
		}
		answer.Results = append(answer.Results, item)
	}
	if answer.Rejected < len(results) {
		return writeJSON(w, http.StatusAccepted, answer)
	}
	if worst == nil {
		worst = kindNoneAccepted.problem("results has the problem of each event")
	}
	writeProblemHeader(w, worst)
	return json.MarshalWrite(w, eventsProblem{*worst, answer})
}
