package ingest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// postNotification accepts one notification.
func (s *API) postNotification(w http.ResponseWriter, r *http.Request, who *caller) error {
	start := s.Clock()
	admitted, err := s.admitOne(w, r, who, start)
	s.metrics.took(start, s.Clock())
	if err != nil {
		s.metrics.failed(err)
		return err
	}
	s.metrics.accepted(admitted.Duplicate)
	writeAdmitted(w, admitted)
	return nil
}

// admitOne takes one notification from the request's body to the queue.
func (s *API) admitOne(w http.ResponseWriter, r *http.Request, who *caller, now time.Time) (queue.Admitted, error) {
	if t := mediaType(r); !isJSONType(t) || strings.HasPrefix(t, cloudEventType) {
		return queue.Admitted{}, wantType(t, "application/json")
	}
	key, err := idempotencyKey(r.Header)
	if err != nil {
		return queue.Admitted{}, err
	}
	body, err := s.bodies.read(w, r)
	if err != nil {
		return queue.Admitted{}, err
	}
	defer s.bodies.release(body)
	a, err := s.admission(*body, who, now)
	if err != nil {
		return queue.Admitted{}, err
	}
	a.setKey(key, *body)
	return s.Queue.Admit(r.Context(), a.Admission)
}

// admission is an Admission on its way to the queue.
type admission struct{ queue.Admission }

// setKey makes the admission idempotent. The digest costs a pass over the
// body, so it is made only for a key.
func (a *admission) setKey(key string, body []byte) {
	if key == "" {
		return
	}
	a.Key = key
	a.Digest = notice.CanonicalDigest(body)
}

// admission decodes, checks and completes one notification, and asks whether
// its lane has room.
func (s *API) admission(body []byte, who *caller, now time.Time) (admission, error) {
	n, err := notice.DecodeNotification(body)
	if err != nil {
		return admission{}, misdirected(body, err)
	}
	if err := s.door.Accept(&n, now); err != nil {
		return admission{}, err
	}
	if err := s.room(who.tenant, &n); err != nil {
		return admission{}, err
	}
	return admission{queue.Admission{Tenant: who.tenant, Notification: n}}, nil
}

// misdirected recognises an event that was sent where notifications belong.
func misdirected(body []byte, err error) error {
	if !notice.LooksLikeCloudEvent(body) {
		return err
	}
	return kindAnEvent.problem("this is a CloudEvent: POST it to /v1/events, where a route decides whether it notifies anybody")
}

// room refuses what there is no room for in the queue.
func (s *API) room(tenant string, n *notice.Notification) error {
	refusal, full := s.Queue.Pressure(tenant, n)
	if !full {
		return nil
	}
	return kindBacklog.problem(refusal.Why + ": wait as Retry-After says").after(max(refusal.RetryAfter, time.Second))
}

// maxKey is the longest Idempotency-Key in bytes.
const maxKey = 255

// idempotencyKey reads the Idempotency-Key header, with or without the quotes
// of https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/.
func idempotencyKey(h http.Header) (string, error) {
	values := h["Idempotency-Key"]
	if len(values) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(values[0])
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(key[1 : len(key)-1])
	}
	switch {
	case len(values) > 1:
		return "", kindBadRequest.problem("Idempotency-Key stands more than once: send one")
	case key == "":
		return "", kindBadRequest.problem("Idempotency-Key is empty: send a key, or leave the header out")
	case len(key) > maxKey:
		return "", kindBadRequest.problem(fmt.Sprintf("Idempotency-Key is %d bytes: at most %d", len(key), maxKey))
	}
	return key, nil
}

// writeAdmitted answers 202. It is written by hand since every notification
// passes here.
func writeAdmitted(w http.ResponseWriter, a queue.Admitted) {
	body := make([]byte, 0, 96)
	body = append(body, `{"id":"`...)
	body = append(body, a.ID...) // base32hex, digits and "-": nothing to escape
	body = append(body, `","status":"accepted","duplicate":`...)
	body = strconv.AppendBool(body, a.Duplicate)
	body = append(body, '}', '\n')
	w.Header()["Content-Type"] = jsonType()
	w.WriteHeader(http.StatusAccepted)
	w.Write(body)
}

func jsonType() []string { return []string{"application/json"} }
