package sandbox

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
)

const (
	webPushMaxBody = 4096           // what RFC 8030 §7.2 lets a service refuse beyond
	vapidMaxAge    = 24 * time.Hour // RFC 8292 §2
)

// webPushHandler stands in for a browser's push service, and for the browser
// behind it, which decrypts what it gets.
func (s *Sandbox) webPushHandler() http.Handler {
	return s.serve(stand{
		channel: notice.ChannelWebPush, limit: webPushMaxBody, receive: s.receiveWebPush, fail: failWebPush,
	})
}

// webPushPayload is what the page shows of a payload.
type webPushPayload struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Body  string `json:"body"`
}

// receiveWebPush checks a request as a push service would and reads the
// message as the browser would.
func (s *Sandbox) receiveWebPush(r *http.Request, body []byte) answer {
	id, _ := strings.CutPrefix(r.URL.Path, "/push/")
	sub, err := s.subscription(id)
	if err != nil {
		return failWebPush(http.StatusNotFound, err.Error(), s.clock()).refusing(err.Error(), id)
	}
	if status, wrong := s.checkWebPush(r, body); wrong != "" {
		return failWebPush(status, wrong, s.clock()).refusing(wrong, id)
	}
	plain, err := sub.decrypt(body)
	if err != nil {
		return failWebPush(http.StatusBadRequest, err.Error(), s.clock()).refusing(err.Error(), id)
	}
	m := webPushMessage(r, id, plain)
	return answer{
		status: http.StatusCreated, message: m,
		header: map[string]string{"Location": s.WebPushURL + "/message/" + id, "TTL": r.Header.Get("TTL")},
	}
}

// webPushMessage is a decrypted push.
func webPushMessage(r *http.Request, id string, plain []byte) *Message {
	m := &Message{
		Channel: notice.ChannelWebPush, To: id, Headers: headers(r), Raw: string(plain), Verified: Verified,
	}
	var p webPushPayload
	if json.Unmarshal(plain, &p) == nil {
		m.JSON, m.Title, m.Text = jsontext.Value(plain), p.Title, p.Body
	} else {
		m.Text = string(plain)
	}
	m.ID = firstOf(p.ID, r.Header.Get("Topic"))
	return m
}

// checkWebPush is the first thing wrong with a request.
func (s *Sandbox) checkWebPush(r *http.Request, body []byte) (status int, wrong string) {
	ttl, err := strconv.ParseUint(r.Header.Get("TTL"), 10, 31)
	switch {
	case r.Method != http.MethodPost:
		return http.StatusMethodNotAllowed, "a push is sent by POST"
	case len(body) > webPushMaxBody:
		return http.StatusRequestEntityTooLarge, "the body is larger than 4096 bytes"
	case err != nil:
		return http.StatusBadRequest, "the TTL header is missing or no number (RFC 8030 §5.2)"
	case ttl > uint64((28*24*time.Hour)/time.Second):
		return http.StatusBadRequest, "the TTL is longer than four weeks"
	case r.Header.Get("Content-Encoding") != "aes128gcm":
		return http.StatusBadRequest, "the Content-Encoding is not aes128gcm (RFC 8291)"
	case !validTopic(r.Header.Get("Topic")):
		return http.StatusBadRequest, "the Topic is not at most 32 characters of base64url (RFC 8030 §5.4)"
	}
	if err := s.checkVAPID(r.Header.Get("Authorization")); err != nil {
		return http.StatusForbidden, err.Error()
	}
	return 0, ""
}

func validTopic(topic string) bool {
	return len(topic) <= 32 && strings.Trim(topic, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// checkVAPID verifies "vapid t=TOKEN, k=KEY", RFC 8292 §3.
func (s *Sandbox) checkVAPID(authorization string) error {
	token, key, ok := vapidParameters(authorization)
	if !ok {
		return errors.New("the Authorization is not vapid t=…, k=… (RFC 8292 §3)")
	}
	if !s.isVAPIDKey(key) {
		return errors.New("the VAPID key is not the one that the subscription was made for")
	}
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return s.keys.vapid, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithTimeFunc(s.clock),
		jwt.WithExpirationRequired(), jwt.WithAudience(s.WebPushURL))
	if err != nil {
		return errors.New("the VAPID token is expired, for another audience, or not signed by its key")
	}
	if claims.ExpiresAt.Sub(s.clock()) > vapidMaxAge {
		return errors.New("the VAPID token expires in more than 24 hours (RFC 8292 §2)")
	}
	if !strings.HasPrefix(claims.Subject, "mailto:") && !strings.HasPrefix(claims.Subject, "https:") {
		return errors.New("the VAPID token's sub is no mailto: or https: address (RFC 8292 §2.1)")
	}
	return nil
}

// vapidParameters takes the two parameters out of the header, in any order.
func vapidParameters(authorization string) (token, key string, ok bool) {
	scheme, rest, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "vapid") {
		return "", "", false
	}
	for parameter := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		switch name {
		case "t":
			token = value
		case "k":
			key = value
		}
	}
	return token, key, token != "" && key != ""
}

func (s *Sandbox) isVAPIDKey(encoded string) bool {
	given, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(encoded, "="))
	return err == nil && bytes.Equal(given, publicBytes(s.keys.vapid))
}

// publicBytes is key as an uncompressed point.
func publicBytes(key *ecdsa.PublicKey) []byte {
	point, err := key.ECDH()
	if err != nil {
		return nil // never: the key is of P-256
	}
	return point.Bytes()
}

func failWebPush(status int, reason string, now time.Time) answer {
	return failWebhook(status, reason, now)
}
