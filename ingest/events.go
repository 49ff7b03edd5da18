package ingest

import (
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

// eventAnswer says what became of an event.
type eventAnswer struct {
	Status string `json:"status"` // accepted, or ignored when no route takes the event
	// ID and Duplicate are set for the usual event, which makes one
	// notification; Notifications has all of them.
	ID            string          `json:"id,omitzero"`
	Duplicate     *bool           `json:"duplicate,omitzero"`
	Notifications []eventAdmitted `json:"notifications,omitempty"`
}

type eventAdmitted struct {
	ID        string `json:"id"`
	Duplicate bool   `json:"duplicate"`
}

// eventItem is one event's place in the answer to a batch.
type eventItem struct {
	Index int `json:"index"`
	eventAnswerOrError
}

type eventAnswerOrError struct {
	Status        string          `json:"status,omitzero"`
	Notifications []eventAdmitted `json:"notifications,omitempty"`
	Error         *Problem        `json:"error,omitzero"`
}

// eventsAnswer is the answer to a batch of events.
type eventsAnswer struct {
	Accepted int         `json:"accepted"`
	Ignored  int         `json:"ignored"`
	Rejected int         `json:"rejected"`
	Results  []eventItem `json:"results"`
}

type eventsProblem struct {
	Problem
	eventsAnswer
}

// postEvents takes integration events in any of CloudEvents' three modes.
func (s *server) postEvents(w http.ResponseWriter, r *http.Request, who *caller) error {
	start := s.Clock()
	defer func() { s.metrics.took(start, s.Clock()) }()
	body, err := s.bodies.read(w, r)
	if err != nil {
		return err
	}
	defer s.bodies.release(body)
	if mediaType(r) == cloudEventBatchJSON {
		return s.eventBatch(w, r, *body, who, start)
	}
	event, err := decodeEvent(r, *body)
	if err != nil {
		s.metrics.failed(err)
		return err
	}
	answer, err := s.takeEvent(r, &event, who, start)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, answer)
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

// takeEvent routes one event and admits what it gives rise to: all of it, or,
// when any of it has faults, none.
func (s *server) takeEvent(r *http.Request, e *notice.CloudEvent, who *caller, now time.Time) (eventAnswer, error) {
	admissions, err := s.routeEvent(e, who, now)
	if err != nil {
		s.metrics.failed(err)
		return eventAnswer{}, err
	}
	if len(admissions) == 0 {
		s.metrics.results[resultIgnored].Inc()
		return eventAnswer{Status: "ignored"}, nil
	}
	answer := eventAnswer{Status: "accepted"}
	var errs []error
	for _, a := range s.Queue.AdmitAll(r.Context(), admissions) {
		if a.Err != nil {
			s.metrics.failed(a.Err)
			errs = append(errs, a.Err)
			continue
		}
		s.metrics.accepted(a.Duplicate)
		answer.Notifications = append(answer.Notifications, eventAdmitted{a.ID, a.Duplicate})
	}
	if len(answer.Notifications) == 1 {
		answer.ID, answer.Duplicate = answer.Notifications[0].ID, &answer.Notifications[0].Duplicate
	}
	// Sent again after an error, what was admitted already is a duplicate.
	return answer, errors.Join(errs...)
}

// routeEvent turns an event into admissions under keys of the event's own.
func (s *server) routeEvent(e *notice.CloudEvent, who *caller, now time.Time) ([]queue.Admission, error) {
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
		if err := s.accept(n, now); err != nil {
			return nil, routed(i, err)
		}
		if err := s.room(n.Priority); err != nil {
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

// eventBatch takes events in batched mode, each on its own.
func (s *server) eventBatch(w http.ResponseWriter, r *http.Request, body []byte, who *caller, now time.Time) error {
	items, err := notice.Split(body, s.Ingest.MaxBatch)
	items, err = checkCount(items, s.Ingest.MaxBatch, err)
	if err != nil {
		return err
	}
	answer := eventsAnswer{Results: make([]eventItem, len(items))}
	var worst *Problem
	for i, item := range items {
		answer.Results[i] = s.eventOfBatch(r, i, item, who, now)
		if p := answer.Results[i].Error; p != nil && p.retryAfter > 0 {
			worst = p
		}
	}
	answer.count()
	if answer.Rejected < len(items) {
		return writeJSON(w, http.StatusAccepted, answer)
	}
	if worst == nil {
		worst = kindNoneAccepted.problem("results has the problem of each event")
	}
	writeProblemHeader(w, worst)
	return json.MarshalWrite(w, eventsProblem{*worst, answer})
}

func (s *server) eventOfBatch(r *http.Request, i int, raw []byte, who *caller, now time.Time) eventItem {
	event, err := notice.DecodeCloudEvent(raw)
	if err != nil {
		s.metrics.failed(err)
		return eventItem{i, eventAnswerOrError{Error: problemOf(err)}}
	}
	answer, err := s.takeEvent(r, &event, who, now)
	if err != nil {
		return eventItem{i, eventAnswerOrError{Error: problemOf(err)}}
	}
	return eventItem{i, eventAnswerOrError{Status: answer.Status, Notifications: answer.Notifications}}
}

// count sums the results up.
func (a *eventsAnswer) count() {
	for _, item := range a.Results {
		switch {
		case item.Error != nil:
			a.Rejected++
		case item.Status == "ignored":
			a.Ignored++
		default:
			a.Accepted++
		}
	}
}
