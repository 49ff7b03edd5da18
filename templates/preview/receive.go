package preview

import (
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/carillonhq/carillon/notice"
)

// receiveWebhook is an endpoint for the command line that the page gives: it
// verifies what it gets with the example's secret, keeps nothing, and says
// what it found.
func (s *server) receiveWebhook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxBody))
		return
	}
	if why := s.verify(r.Header, body); why != "" {
		fail(w, http.StatusUnauthorized, why)
		return
	}
	answer(w, struct {
		Received  bool   `json:"received"`
		Signature string `json:"signature"`
	}{true, "verified"})
}

// verify says what is wrong with a call; nothing when it is the example's own.
func (s *server) verify(h http.Header, body []byte) string {
	id, stamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	switch {
	case s.Wire == nil:
		return "this preview signs nothing"
	case !jsontext.Value(body).IsValid():
		return "the body is no JSON"
	case id == "" || err != nil:
		return "webhook-id or webhook-timestamp is missing, or is no number of seconds"
	}
	want, err := s.Wire.Webhook(Specimen{ID: id, Content: notice.Content{Webhook: body}}, time.Unix(seconds, 0))
	if err != nil {
		return "the call cannot be signed"
	}
	for _, field := range want.Headers {
		if strings.EqualFold(field.Name, "webhook-signature") && subtle.ConstantTimeCompare([]byte(field.Value), []byte(h.Get(field.Name))) == 1 {
			return ""
		}
	}
	return "webhook-signature does not match the body, the id and the time"
}
