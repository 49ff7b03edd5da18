package sandbox

import (
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// What APNs takes, from "Sending notification requests to APNs" in Apple's
// documentation.
const (
	apnsMaxPayload  = 4096
	apnsMaxVoIP     = 5120
	apnsMaxCollapse = 64
	apnsTokenAge    = time.Hour
)

// apnsServer speaks HTTP/2 alone, as Apple does.
func (s *Sandbox) apnsServer(streams uint32) *http.Server {
	server := s.tlsServer(s.serve(stand{
		channel: notice.ChannelAPNs, limit: apnsMaxVoIP, receive: s.receiveAPNs, fail: failAPNs,
	}))
	server.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: int(streams)}
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP2(true)
	return server
}

// tlsServer serves h with the sandbox's certificate.
func (s *Sandbox) tlsServer(h http.Handler) *http.Server {
	server := plainServer(h)
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{s.keys.server}, MinVersion: tls.VersionTLS12}
	return server
}

// apnsPayload is what the page shows of a payload.
type apnsPayload struct {
	APS struct {
		Alert jsontext.Value `json:"alert"` // a string or an apnsAlert
	} `json:"aps"`
}

type apnsAlert struct {
	Title    string `json:"title"`
	Subtitle string `json:"subtitle"`
	Body     string `json:"body"`
}

// receiveAPNs checks a request as Apple would.
func (s *Sandbox) receiveAPNs(r *http.Request, body []byte) answer {
	id := r.Header.Get("Apns-Id")
	if id == "" {
		id = uuid.NewString()
	}
	token, reason := s.checkAPNs(r, body)
	if reason.word != "" {
		a := failAPNs(reason.status, reason.word, s.clock())
		a.header["Apns-Id"] = id
		a.id = id
		return a.refusing(reason.word, token)
	}
	m := &Message{
		Channel: notice.ChannelAPNs, ID: id, To: token, Headers: headers(r), Verified: Verified,
		JSON: jsontext.Value(body), Raw: string(body),
	}
	m.Title, m.Text = apnsWords(body)
	return answer{status: http.StatusOK, header: map[string]string{"Apns-Id": id}, message: m}
}

// apnsWords is the title and body that the phone would show.
func apnsWords(body []byte) (title, text string) {
	var p apnsPayload
	if json.Unmarshal(body, &p) != nil {
		return "", ""
	}
	if json.Unmarshal(p.APS.Alert, &text) == nil {
		return "", text
	}
	var alert apnsAlert
	if json.Unmarshal(p.APS.Alert, &alert) != nil {
		return "", ""
	}
	return alert.Title, strings.TrimPrefix(alert.Subtitle+"\n"+alert.Body, "\n")
}

// apnsReason is one of Apple's reasons and the status that goes with it.
type apnsReason struct {
	status int
	word   string
}

// checkAPNs is the first thing wrong with a request, and the device token.
func (s *Sandbox) checkAPNs(r *http.Request, body []byte) (token string, wrong apnsReason) {
	if r.Method != http.MethodPost {
		return "", apnsReason{http.StatusMethodNotAllowed, "MethodNotAllowed"}
	}
	token, ok := strings.CutPrefix(r.URL.Path, "/3/device/")
	if !ok {
		return "", apnsReason{http.StatusNotFound, "BadPath"}
	}
	if word := s.checkProviderToken(r.Header.Get("Authorization")); word != "" {
		return token, apnsReason{http.StatusForbidden, word}
	}
	if len(body) > apnsLimit(r) {
		return token, apnsReason{http.StatusRequestEntityTooLarge, "PayloadTooLarge"}
	}
	return token, apnsReason{http.StatusBadRequest, checkAPNsFields(r, token, body)}
}

func apnsLimit(r *http.Request) int {
	if r.Header.Get("Apns-Push-Type") == "voip" {
		return apnsMaxVoIP
	}
	return apnsMaxPayload
}

// checkAPNsFields is Apple's reason for a 400; empty when all is well.
func checkAPNsFields(r *http.Request, token string, body []byte) string {
	h := r.Header
	pushTypes := []string{"alert", "background", "controls", "location", "voip", "complication", "fileprovider", "mdm", "liveactivity", "pushtotalk", "widgets"}
	for _, rule := range []struct {
		broken bool
		reason string
	}{
		{token == "", "MissingDeviceToken"},
		{!isHex(token), "BadDeviceToken"},
		{h.Get("Apns-Topic") == "", "MissingTopic"},
		{strings.ContainsAny(h.Get("Apns-Topic"), " /"), "BadTopic"},
		{h.Get("Apns-Id") != "" && uuid.Validate(h.Get("Apns-Id")) != nil, "BadMessageId"},
		{!slices.Contains(pushTypes, h.Get("Apns-Push-Type")), "InvalidPushType"},
		{!slices.Contains([]string{"", "1", "5", "10"}, h.Get("Apns-Priority")), "BadPriority"},
		{!isNumber(h.Get("Apns-Expiration")), "BadExpirationDate"},
		{len(h.Get("Apns-Collapse-Id")) > apnsMaxCollapse, "BadCollapseId"},
		{len(body) == 0, "PayloadEmpty"},
		{jsontext.Value(body).Kind() != '{' || !jsontext.Value(body).IsValid(), "BadPayload"},
	} {
		if rule.broken {
			return rule.reason
		}
	}
	return ""
}

func isHex(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) <= 200
}

// isNumber takes an absent field too.
func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 63)
	return s == "" || err == nil
}

// checkProviderToken is Apple's reason for a 403; empty for a token that our
// key signed within the last hour.
func (s *Sandbox) checkProviderToken(authorization string) string {
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return "MissingProviderToken"
	}
	claims, err := s.verifyJWT(token, &jwt.RegisteredClaims{})
	if err != nil || claims.Issuer != apnsTeamID || claims.IssuedAt == nil {
		return "InvalidProviderToken"
	}
	// A minute of grace for a clock that is ahead of ours.
	if age := s.clock().Sub(claims.IssuedAt.Time); age > apnsTokenAge || age < -time.Minute {
		return "ExpiredProviderToken"
	}
	return ""
}

func (s *Sandbox) verifyJWT(token string, claims *jwt.RegisteredClaims) (*jwt.RegisteredClaims, error) {
	_, err := jwt.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		if t.Header["kid"] != apnsKeyID {
			return nil, fmt.Errorf("unknown key %q", t.Header["kid"])
		}
		return s.keys.apns, nil
	}, jwt.WithValidMethods([]string{"ES256"}), jwt.WithTimeFunc(s.clock), jwt.WithoutClaimsValidation())
	return claims, err
}

// failAPNs answers {"reason": …} as Apple does, with the timestamp that goes
// with a 410.
func failAPNs(status int, reason string, now time.Time) answer {
	if reason == "" {
		reason = usualAPNs(status)
	}
	quoted, _ := json.Marshal(reason) // a string always encodes
	if status == http.StatusGone {
		return jsonAnswer(status, `{"reason":%s,"timestamp":%d}`, quoted, now.UnixMilli())
	}
	return jsonAnswer(status, `{"reason":%s}`, quoted)
}

func usualAPNs(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "BadDeviceToken"
	case http.StatusForbidden:
		return "InvalidProviderToken"
	case http.StatusGone:
		return "Unregistered"
	case http.StatusRequestEntityTooLarge:
		return "PayloadTooLarge"
	case http.StatusTooManyRequests:
		return "TooManyRequests"
	case http.StatusServiceUnavailable:
		return "ServiceUnavailable"
	}
	return "InternalServerError"
}
