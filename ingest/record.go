package ingest

import (
	"net/http"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// recordAnswer is what GET /v1/notifications/{id} shows.
type recordAnswer struct {
	ID         string           `json:"id"`
	Status     string           `json:"status"` // see overall
	Template   string           `json:"template,omitzero"`
	Category   string           `json:"category,omitzero"`
	Priority   notice.Lane      `json:"priority,omitzero"`
	To         recordTo         `json:"to"`
	AcceptedAt time.Time        `json:"accepted_at"`
	SendAt     time.Time        `json:"send_at,omitzero"`
	ExpiresAt  time.Time        `json:"expires_at,omitzero"`
	Timeline   []entryAnswer    `json:"timeline"`
	Deliveries []deliveryAnswer `json:"deliveries"`
}

type recordTo struct {
	User string `json:"user,omitzero"`
}

type deliveryAnswer struct {
	ID       string         `json:"id"`
	Channel  notice.Channel `json:"channel"`
	Address  string         `json:"address"`
	Status   notice.Status  `json:"status"`
	Attempt  int            `json:"attempt"`
	Timeline []entryAnswer  `json:"timeline"`
}

type entryAnswer struct {
	At         time.Time     `json:"at"`
	Status     notice.Status `json:"status"`
	Attempt    int           `json:"attempt,omitzero"`
	Code       string        `json:"code,omitzero"`
	Detail     string        `json:"detail,omitzero"`
	ProviderID string        `json:"provider_id,omitzero"`
	Until      time.Time     `json:"until,omitzero"`
}

// getNotification tells what became of a notification.
func (s *API) getNotification(w http.ResponseWriter, r *http.Request, who *caller) error {
	id, err := notificationID(r)
	if err != nil {
		return err
	}
	rec, err := s.Queue.Record(r.Context(), who.tenant, id)
	if err != nil {
		return err
	}
	if rec.Tenant != who.tenant { // the queue's to see to; a second lock on the same door
		return queue.ErrNotFound
	}
	return writeJSON(w, http.StatusOK, answerOf(&rec))
}

// deleteNotification cancels what has not been sent.
func (s *API) deleteNotification(w http.ResponseWriter, r *http.Request, who *caller) error {
	id, err := notificationID(r)
	if err != nil {
		return err
	}
	canceled, err := s.Queue.Cancel(r.Context(), who.tenant, id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, cancelAnswerOf(id, canceled))
}

// cancelAnswer says what will not be sent, and what it was too late for.
type cancelAnswer struct {
	ID         string             `json:"id"`
	Status     notice.Status      `json:"status"`
	Canceled   int                `json:"canceled"` // deliveries, or 1 for a notification that had none yet
	Deliveries []canceledDelivery `json:"deliveries"`
}

type canceledDelivery struct {
	ID     string `json:"id"`     // the notification's own when it had no delivery yet
	Status string `json:"status"` // canceled or too_late
}

func cancelAnswerOf(id string, c queue.Cancellation) cancelAnswer {
	a := cancelAnswer{ID: id, Status: notice.StatusCanceled, Canceled: len(c.Canceled)}
	for _, d := range c.Canceled {
		a.Deliveries = append(a.Deliveries, canceledDelivery{d, string(notice.StatusCanceled)})
	}
	for _, d := range c.TooLate {
		a.Deliveries = append(a.Deliveries, canceledDelivery{d, "too_late"})
	}
	return a
}

// notificationID is the path's id. What cannot be an id is as unknown as one
// that is nobody's.
func notificationID(r *http.Request) (string, error) {
	id := r.PathValue("id")
	_, _, ordinal, err := notice.SplitID(id)
	switch {
	case err != nil:
		return "", kindNotFound.problem(err.Error())
	case ordinal >= 0:
		return "", kindNotFound.problem("this is a delivery's id: leave out its last part")
	}
	return id, nil
}

func answerOf(rec *queue.Record) recordAnswer {
	a := recordAnswer{
		ID: rec.ID, Status: overall(rec), Template: rec.Template, Category: rec.Category, Priority: rec.Lane,
		To: recordTo{User: rec.User}, AcceptedAt: rec.AcceptedAt.UTC(), SendAt: inUTC(rec.SendAt), ExpiresAt: inUTC(rec.ExpiresAt),
		Timeline:   entries(rec.Timeline),
		Deliveries: make([]deliveryAnswer, 0, len(rec.Deliveries)),
	}
	for _, d := range rec.Deliveries {
		a.Deliveries = append(a.Deliveries, deliveryAnswer{
			ID: d.ID, Channel: d.Channel, Address: d.Address, Status: d.Status, Attempt: d.Attempt, Timeline: entries(d.Timeline),
		})
	}
	return a
}

func entries(in []queue.Entry) []entryAnswer {
	out := make([]entryAnswer, 0, len(in))
	for _, e := range in {
		e.At, e.Until = inUTC(e.At), inUTC(e.Until)
		out = append(out, entryAnswer(e))
	}
	return out
}

// inUTC leaves the zero time zero, so that it is left out of answers.
func inUTC(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// The states of a notification as a whole. A notification that ended before
// it had deliveries (canceled, expired) shows that status.
const (
	overallAccepted   = "accepted"   // not yet turned into deliveries
	overallProcessing = "processing" // a delivery is open
	overallDone       = "done"       // every delivery has ended, each in its own way
)

// overall sums a record up.
func overall(rec *queue.Record) string {
	if len(rec.Deliveries) == 0 {
		if n := len(rec.Timeline); n > 0 && rec.Timeline[n-1].Status.Final() {
			return string(rec.Timeline[n-1].Status)
		}
		return overallAccepted
	}
	if rec.Open() {
		return overallProcessing
	}
	return overallDone
}
