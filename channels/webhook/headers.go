package webhook

import (
	"strconv"
	"time"
)

// Header is one field of a request.
type Header struct{ Name, Value string }

// Headers are the fields that Send puts on a body besides those of the
// connection, in order. Without secrets there is no webhook-signature.
func Headers(secrets, id string, at time.Time, body []byte) ([]Header, error) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	signature, err := sign(secrets, id, stamp, body)
	if err != nil {
		return nil, err
	}
	headers := []Header{{"Content-Type", "application/json"}, {"webhook-id", id}, {"webhook-timestamp", stamp}}
	if signature != "" {
		headers = append(headers, Header{"webhook-signature", signature})
	}
	return headers, nil
}
