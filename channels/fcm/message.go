package fcm

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"firebase.google.com/go/v4/messaging"
	"github.com/carillonhq/carillon/channels"
	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxPayload = 4096                   // bytes of title, body and data ("About FCM messages")
	maxToken   = 4096                   // bytes; Google promises no length
	maxTTL     = 4 * 7 * 24 * time.Hour // "Setting the lifespan of a message"
)

// newMessage makes the message, or says why it can never be sent.
//
// FCM's data is a map of strings: a string goes as it is, everything else as
// its JSON. A message that shows something carries the collapse key (the
// delivery's id where the sender gave none) and the same tag, so that a second
// copy after a lost answer replaces the first instead of standing beside it.
func newMessage(m channels.Message, now time.Time) (*messaging.Message, error) {
	c := m.Content.Push
	if c == nil {
		return nil, errors.New("the message has no push content")
	}
	msg := &messaging.Message{Android: android(m, now)}
	if err := address(msg, m.Address.To); err != nil {
		return nil, err
	}
	data, err := stringData(c.Data)
	if err != nil {
		return nil, err
	}
	title := strings.ToValidUTF8(c.Title, "\ufffd")
	body, err := fit(title, strings.ToValidUTF8(c.Body, "\ufffd"), data)
	if err != nil {
		return nil, err
	}
	msg.Data = data
	if title != "" || body != "" {
		msg.Notification = &messaging.Notification{Title: title, Body: body}
		if msg.Android.CollapseKey == "" {
			msg.Android.CollapseKey = m.ID
		}
		msg.Android.Notification = &messaging.AndroidNotification{Tag: msg.Android.CollapseKey}
	}
	var options *notice.FCMOptions
	if c.Options != nil {
		options = c.Options.FCM
	}
	return msg, apply(msg, options)
}

func android(m channels.Message, now time.Time) *messaging.AndroidConfig {
	a := &messaging.AndroidConfig{CollapseKey: m.CollapseKey, Priority: "high"}
	if m.Lane == notice.LaneBulk {
		a.Priority = "normal"
	}
	if !m.ExpiresAt.IsZero() {
		ttl := min(max(m.ExpiresAt.Sub(now), 0), maxTTL)
		a.TTL = &ttl
	}
	return a
}

// isToken reports whether s can be a registration token: printable ASCII.
func isToken(s string) bool {
	if s == "" || len(s) > maxToken {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// fit shortens the body to what the title and the data leave of the payload.
func fit(title, body string, data map[string]string) (string, error) {
	rest := len(title)
	for k, v := range data {
		rest += len(k) + len(v)
	}
	short := channels.Shorten(body, maxPayload-rest, utf8.RuneLen)
	if rest > maxPayload || short == "" && body != "" { // a push without its text is another push
		return "", fmt.Errorf("%w: the title and data take %d bytes, and with the body %d at most: shorten them", errTooLarge, rest, maxPayload)
	}
	return short, nil
}

var errTooLarge = errors.New("the payload is too large")

// stringData reads the members of the data.
func stringData(v jsontext.Value) (map[string]string, error) {
	if len(v) == 0 || v.Kind() == 'n' {
		return nil, nil
	}
	if v.Kind() != '{' {
		return nil, fmt.Errorf("data is %v and must be an object", v.Kind())
	}
	d := jsontext.NewDecoder(bytes.NewReader(v), jsontext.AllowInvalidUTF8(true))
	data := map[string]string{}
	d.ReadToken() // the brace, as Kind saw
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, errUnreadable
		}
		key := name.String()
		if reserved(key) {
			return nil, fmt.Errorf("data.%s: FCM keeps this name to itself (from, message_type, google.*, gcm.*): choose another", key)
		}
		if data[key], err = stringValue(d); err != nil {
			return nil, errUnreadable
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, errUnreadable
	}
	return data, nil
}

var errUnreadable = errors.New("data is not a JSON object that can be read (a name may stand in it twice)")

// stringValue is the next value: a string itself, anything else as JSON.
func stringValue(d *jsontext.Decoder) (string, error) {
	if d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return "", err
		}
		return t.String(), nil
	}
	v, err := d.ReadValue()
	if err != nil {
		return "", err
	}
	v = v.Clone()
	if err := v.Compact(); err != nil {
		return "", err
	}
	return string(v), nil
}

// reserved reports whether FCM refuses a data key ("REST Resource:
// projects.messages", Message.data).
func reserved(key string) bool {
	return key == "from" || key == "message_type" || strings.HasPrefix(key, "google.") || strings.HasPrefix(key, "gcm.")
}
