package sandbox

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

const (
	fcmMaxPayload = 4096     // bytes of notification and data together
	fcmMaxBody    = 64 << 10 // bytes of the whole request
)

// fcmHandler stands in for FCM's HTTP v1 API. It asks for no credentials.
func (s *Sandbox) fcmHandler() http.Handler {
	return s.serve(stand{channel: notice.ChannelFCM, limit: fcmMaxBody, receive: s.receiveFCM, fail: failFCM})
}

// fcmRequest is what is checked and shown of a request.
type fcmRequest struct {
	Message struct {
		Token        string            `json:"token"`
		Topic        string            `json:"topic"`
		Condition    string            `json:"condition"`
		Notification fcmWords          `json:"notification"`
		Data         map[string]string `json:"data"`
		Android      struct {
			CollapseKey  string   `json:"collapse_key"`
			Notification fcmWords `json:"notification"`
		} `json:"android"`
	} `json:"message"`
	ValidateOnly bool `json:"validate_only"`
}

type fcmWords struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

// target is what the message is sent to, and how many such fields were set.
func (q *fcmRequest) target() (to string, fields int) {
	for _, field := range []string{q.Message.Token, q.Message.Topic, q.Message.Condition} {
		if field != "" {
			to = field
			fields++
		}
	}
	return to, fields
}

// size is how much of the payload's bound is used.
func (q *fcmRequest) size() int {
	n := len(q.Message.Notification.Title) + len(q.Message.Notification.Body)
	for key, value := range q.Message.Data {
		n += len(key) + len(value)
	}
	return n
}

// receiveFCM checks a request as Google would.
func (s *Sandbox) receiveFCM(r *http.Request, body []byte) answer {
	project, ok := fcmProjectOf(r.URL.Path)
	if !ok || r.Method != http.MethodPost {
		return failFCM(http.StatusNotFound, "NOT_FOUND", s.clock()).refusing("no such method: want POST /v1/projects/{project}/messages:send", "")
	}
	q, err := readFCM(body)
	to, _ := q.target()
	if err != nil {
		return googleError(http.StatusBadRequest, "INVALID_ARGUMENT", "", err.Error()).refusing(err.Error(), to)
	}
	name := "projects/" + project + "/messages/0:" + uuid.NewString()
	m := &Message{
		Channel: notice.ChannelFCM, ID: firstOf(q.Message.Data["id"], q.Message.Android.CollapseKey, name), To: to,
		Title:   firstOf(q.Message.Android.Notification.Title, q.Message.Notification.Title),
		Text:    firstOf(q.Message.Android.Notification.Body, q.Message.Notification.Body),
		Headers: headers(r), JSON: jsontext.Value(body), Raw: string(body),
	}
	quoted, _ := json.Marshal(name) // a string always encodes
	a := jsonAnswer(http.StatusOK, `{"name":%s}`, quoted)
	a.message = m
	return a
}

// fcmProjectOf takes the project out of /v1/projects/{project}/messages:send.
func fcmProjectOf(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, "/v1/projects/")
	project, found := strings.CutSuffix(rest, "/messages:send")
	return project, ok && found && project != "" && !strings.Contains(project, "/")
}

// readFCM reads a request, with Google's words for what is wrong with it.
func readFCM(body []byte) (q fcmRequest, err error) {
	if len(body) > fcmMaxBody {
		return q, fmt.Errorf("the request is larger than %d bytes", fcmMaxBody)
	}
	if err := json.Unmarshal(body, &q); err != nil {
		return q, fmt.Errorf("invalid JSON payload: %w", err)
	}
	if _, fields := q.target(); fields != 1 {
		return q, errors.New("exactly one of token, topic or condition is required")
	}
	if q.size() > fcmMaxPayload {
		return q, fmt.Errorf("the Android message is too big: %d bytes, at most %d", q.size(), fcmMaxPayload)
	}
	return q, nil
}

// firstOf is the first that is not empty.
func firstOf(words ...string) string {
	for _, word := range words {
		if word != "" {
			return word
		}
	}
	return ""
}

// failFCM answers with Google's error model; reason is the error code of
// FCM's own detail.
func failFCM(status int, reason string, _ time.Time) answer {
	word, code := usualFCM(status)
	if reason != "" {
		code = reason
	}
	return googleError(status, word, code, "The sandbox was told to answer this.")
}

// googleError is an error as Google's APIs answer it (google.rpc.Status).
func googleError(status int, word, code, message string) answer {
	details := ""
	if code != "" {
		quoted, _ := json.Marshal(code) // a string always encodes
		details = fmt.Sprintf(`,"details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":%s}]`, quoted)
	}
	quoted, _ := json.Marshal(message, jsontext.AllowInvalidUTF8(true))
	return jsonAnswer(status, `{"error":{"code":%d,"message":%s,"status":%q%s}}`, status, quoted, word, details)
}

// usualFCM is the canonical status and FCM's error code that go with an HTTP
// status.
func usualFCM(status int) (word, code string) {
	switch status {
	case http.StatusBadRequest:
		return "INVALID_ARGUMENT", "INVALID_ARGUMENT"
	case http.StatusUnauthorized:
		return "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"
	case http.StatusForbidden:
		return "PERMISSION_DENIED", "SENDER_ID_MISMATCH"
	case http.StatusNotFound:
		return "NOT_FOUND", "UNREGISTERED"
	case http.StatusTooManyRequests:
		return "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"
	case http.StatusServiceUnavailable:
		return "UNAVAILABLE", "UNAVAILABLE"
	}
	return "INTERNAL", "INTERNAL"
}
