package apns

import (
	"errors"
	"strconv"

	"github.com/carillonhq/carillon/notice"
)

// Encoded is a push as Apple's service would get it.
type Encoded struct {
	Payload  []byte          // the request's body
	Most     int             // bytes that a payload of its type may have
	Type     notice.PushType // apns-push-type
	Priority string          // apns-priority
}

// Encode writes the payload of c as Send does, and sends nothing. An error says
// why it can never be sent.
func Encode(c *notice.PushContent, lane notice.Lane) (Encoded, error) {
	if c == nil {
		return Encoded{}, errors.New("the message has no push content")
	}
	p, err := newPayload(c)
	if err != nil {
		return Encoded{}, err
	}
	k := kindOf(p.kind)
	raw, err := p.encode()
	return Encoded{Payload: raw, Most: k.payload, Type: p.kind, Priority: strconv.Itoa(priority(k, p, lane))}, err
}
