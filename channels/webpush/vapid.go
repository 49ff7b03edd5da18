package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// tokenLife is within the 24 hours that RFC 8292 §2 allows, with room for
	// a clock that is wrong.
	tokenLife = 12 * time.Hour
	// maxAudiences bounds the kept tokens. Browsers use a handful of push
	// services; a subscription may name any host.
	maxAudiences = 1024
)

// vapid identifies this sender to push services (RFC 8292). A token is signed
// once an audience and used for half its life: signing costs more than
// encrypting.
type vapid struct {
	key     *ecdsa.PrivateKey
	public  string // the key's point, base64url: what k= and applicationServerKey are
	subject string
	now     func() time.Time

	mu     sync.Mutex
	tokens map[string]signed // by audience
}

type signed struct {
	header string
	until  time.Time
}

func newVAPID(private, subject string, now func() time.Time) (*vapid, error) {
	if !strings.HasPrefix(subject, "mailto:") && !strings.HasPrefix(subject, "https:") {
		return nil, errors.New("webpush.subject: want whom push services may write to, as mailto:ops@acme.example or an https URL")
	}
	key, err := parseKey(private)
	if err != nil {
		return nil, err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, errBadKey
	}
	return &vapid{
		key: key, public: base64.RawURLEncoding.EncodeToString(point), subject: subject,
		now: now, tokens: map[string]signed{},
	}, nil
}

var errBadKey = errors.New("webpush.private_key: not a key of curve P-256: give PEM (openssl ecparam -name prime256v1 -genkey -noout), or base64url of its 32 bytes")

// parseKey reads the first private key of a PEM text (openssl writes the
// curve's parameters before it), or the bare number.
func parseKey(s string) (*ecdsa.PrivateKey, error) {
	block, rest := pem.Decode([]byte(s))
	if block == nil {
		raw, err := decode(strings.TrimSpace(s))
		if err != nil {
			return nil, errBadKey
		}
		return checked(ecdsa.ParseRawPrivateKey(elliptic.P256(), raw))
	}
	for block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, errBadKey
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return checked(key, nil)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, _ := parsed.(*ecdsa.PrivateKey)
	return checked(key, err)
}

func checked(key *ecdsa.PrivateKey, err error) (*ecdsa.PrivateKey, error) {
	if err != nil || key == nil || key.Curve != elliptic.P256() {
		return nil, errBadKey
	}
	return key, nil
}

// authorization is the header for an audience.
func (v *vapid) authorization(audience string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	if t, ok := v.tokens[audience]; ok && now.Before(t.until) {
		return t.header, nil
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"aud": audience, "exp": now.Add(tokenLife).Unix(), "sub": v.subject,
	}).SignedString(v.key)
	if err != nil {
		return "", errors.New("signing the VAPID token failed")
	}
	if len(v.tokens) >= maxAudiences {
		clear(v.tokens)
	}
	header := "vapid t=" + token + ", k=" + v.public
	v.tokens[audience] = signed{header, now.Add(tokenLife / 2)}
	return header, nil
}
