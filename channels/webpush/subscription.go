package webpush

import (
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
)

const (
	maxSubscription = 8 << 10 // bytes of JSON
	authBytes       = 16      // RFC 8291 §3.2
)

// subscription is where one browser is reached. The endpoint is a capability:
// whoever knows it may send to it, so no error repeats any of it.
type subscription struct {
	endpoint *url.URL
	key      *ecdh.PublicKey // p256dh
	auth     []byte
}

// parseSubscription reads what PushSubscription.toJSON gives.
func parseSubscription(text string) (*subscription, error) {
	if len(text) > maxSubscription {
		return nil, fmt.Errorf("the subscription has %d bytes, and %d at most are read", len(text), maxSubscription)
	}
	var raw struct {
		Endpoint string `json:"endpoint"`
		Keys     struct {
			P256dh string `json:"p256dh"`
			Auth   string `json:"auth"`
		} `json:"keys"`
	}
	if json.Unmarshal([]byte(text), &raw) != nil {
		return nil, errors.New(`the subscription is not the JSON that PushSubscription.toJSON gives: want {"endpoint","keys":{"p256dh","auth"}}`)
	}
	endpoint, err := parseEndpoint(raw.Endpoint)
	if err != nil {
		return nil, err
	}
	point, err := decode(raw.Keys.P256dh)
	if err != nil {
		return nil, errors.New("the subscription's keys.p256dh is not base64url")
	}
	key, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return nil, errors.New("the subscription's keys.p256dh is not a point of the curve P-256, uncompressed")
	}
	auth, err := decode(raw.Keys.Auth)
	if err != nil || len(auth) != authBytes {
		return nil, fmt.Errorf("the subscription's keys.auth is not base64url of %d bytes", authBytes)
	}
	return &subscription{endpoint, key, auth}, nil
}

// parseEndpoint takes https alone (RFC 8030 §8).
func parseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return nil, errors.New("the subscription has no endpoint")
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("the subscription's endpoint is not a URL")
	case u.Scheme != "https":
		return nil, errors.New("the subscription's endpoint is not an https URL")
	case u.User != nil:
		return nil, errors.New("the subscription's endpoint holds a user or password, which no push service's does")
	}
	return u, nil
}

// audience is the endpoint's origin (RFC 8292 §2).
func (s *subscription) audience() string {
	return "https://" + strings.ToLower(strings.TrimSuffix(s.endpoint.Host, ":443"))
}

// decode reads base64 in either alphabet, padded or not: libraries differ.
func decode(s string) ([]byte, error) {
	s = strings.TrimRight(s, "=")
	s = strings.NewReplacer("+", "-", "/", "_").Replace(s)
	return base64.RawURLEncoding.DecodeString(s)
}
