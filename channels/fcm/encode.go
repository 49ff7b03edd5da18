package fcm

import (
	"encoding/json" // of the client library's own types
	"fmt"
	"time"

	"github.com/carillonhq/carillon/channels"
)

// MaxPayload is how many bytes title, body and data may have together.
const MaxPayload = maxPayload

// Encode writes the message of m as Send hands it to FCM, and sends nothing.
// Size is what counts against MaxPayload: title, body and data. An error says
// why it can never be sent.
func Encode(m channels.Message, now time.Time) (message []byte, size int, err error) {
	msg, err := newMessage(m, now)
	if err != nil {
		return nil, 0, err
	}
	if msg.Notification != nil {
		size = len(msg.Notification.Title) + len(msg.Notification.Body)
	}
	for name, value := range msg.Data {
		size += len(name) + len(value)
	}
	if message, err = json.Marshal(msg); err != nil {
		return nil, 0, fmt.Errorf("write the message: %w", err)
	}
	return message, size, nil
}
