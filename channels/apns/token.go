package apns

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/sideshow/apns2/token"
)

// Apple refuses a provider token that is older than an hour, and answers
// TooManyProviderTokenUpdates to one that changes more often than every 20
// minutes ("Establishing a token-based connection to APNs").
const (
	tokenPeriod = 30 * time.Minute
	tokenLeast  = 20 * time.Minute
)

// provider mints the provider tokens of one key. Every consumer of a key must
// present one token, without asking the others: a token is issued at the last
// half hour by the clock and signed deterministically (RFC 6979), so all
// consumers mint the same bytes and change them at the same moment.
type provider struct {
	key    *ecdsa.PrivateKey
	keyID  string
	teamID string
	now    func() time.Time

	mu      sync.Mutex
	current string
	until   time.Time // when current is to be replaced
	forced  time.Time // when Apple last had us mint out of turn
}

func newProvider(pem, keyID, teamID string, now func() time.Time) (*provider, error) {
	key, err := token.AuthKeyFromBytes([]byte(pem))
	if err != nil {
		return nil, errors.New("apns.key: not a .p8 signing key: give the file that Apple's developer site gave, a PEM block PRIVATE KEY")
	}
	if key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("apns.key: a key of curve %s: Apple's keys are of curve P-256", key.Curve.Params().Name)
	}
	p := &provider{key: key, keyID: keyID, teamID: teamID, now: now}
	if _, err := p.bearer(); err != nil {
		return nil, err
	}
	return p, nil
}

// bearer is the token to send with.
func (p *provider) bearer() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.current != "" && now.Before(p.until) {
		return p.current, nil
	}
	issued := now.Truncate(tokenPeriod)
	return p.mint(issued, issued.Add(tokenPeriod))
}

// renew is the token to send with after Apple called old expired, which it
// does when this machine's clock is slow. ok is false when a new one would not
// help: it was renewed so already, a short time ago.
func (p *provider) renew(old string) (bearer string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != old {
		return p.current, true
	}
	now := p.now()
	if !p.forced.IsZero() && now.Sub(p.forced) < tokenLeast {
		return "", false
	}
	p.forced = now
	until := now.Truncate(tokenPeriod).Add(tokenPeriod)
	if until.Sub(now) < tokenLeast {
		until = until.Add(tokenPeriod)
	}
	bearer, err := p.mint(now, until)
	return bearer, err == nil
}

// mint makes the token current. The caller holds mu.
func (p *provider) mint(issued, until time.Time) (string, error) {
	signed, err := p.sign(issued)
	if err != nil {
		return "", fmt.Errorf("signing the provider token: %w", err)
	}
	p.current, p.until = signed, until
	return signed, nil
}

// sign writes a JWT of algorithm ES256 (RFC 7515, RFC 7518 §3.4).
func (p *provider) sign(issued time.Time) (string, error) {
	header, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
	}{"ES256", p.keyID})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(struct {
		Iss string `json:"iss"`
		Iat int64  `json:"iat"`
	}{p.teamID, issued.Unix()})
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding
	text := b64.EncodeToString(header) + "." + b64.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	der, err := p.key.Sign(nil, sum[:], crypto.SHA256) // no randomness: RFC 6979
	if err != nil {
		return "", err
	}
	raw, err := rawSignature(der)
	if err != nil {
		return "", err
	}
	return text + "." + b64.EncodeToString(raw), nil
}

// rawSignature turns the ASN.1 signature into the two 32-byte numbers that a
// JWT carries.
func rawSignature(der []byte) ([]byte, error) {
	var s struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &s); err != nil {
		return nil, err
	}
	raw := make([]byte, 64)
	s.R.FillBytes(raw[:32])
	s.S.FillBytes(raw[32:])
	return raw, nil
}
