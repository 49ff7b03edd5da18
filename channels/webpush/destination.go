package webpush

import (
	"strings"

	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json"
)

// Destination is the origin of a subscription's push service: one service's
// trouble is not another's. It is empty for a subscription that has none.
func (a *Adapter) Destination(to notice.Address) string {
	if origin, ok := plainOrigin(to.To); ok {
		return origin
	}
	var raw struct {
		Endpoint string `json:"endpoint"`
	}
	if json.Unmarshal([]byte(to.To), &raw) != nil {
		return ""
	}
	u, err := parseEndpoint(raw.Endpoint)
	if err != nil {
		return ""
	}
	return (&subscription{endpoint: u}).audience()
}

// Places leaves it to the channel's concurrency.
func (a *Adapter) Places(string) int { return 0 }

// plainOrigin finds the origin as the browsers write subscriptions. It is asked
// for every delivery, and reading the JSON would cost more than everything else
// that is decided before a push is sent.
func plainOrigin(text string) (origin string, ok bool) {
	const before, scheme = `{"endpoint":"`, "https://"
	rest, ok := strings.CutPrefix(text, before)
	if !ok || !strings.HasPrefix(rest, scheme) {
		return "", false
	}
	end := strings.IndexByte(rest[len(scheme):], '/')
	if end <= 0 {
		return "", false
	}
	origin = rest[:len(scheme)+end]
	for _, c := range []byte(origin[len(scheme):]) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return "", false
		}
	}
	return origin, true
}
