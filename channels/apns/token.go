package apns

import (
	"context"
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
	tokenPeriod = 30 * time.Minute // of tokens that are issued by this machine's clock
	tokenMost   = 55 * time.Minute
	askAgain    = 10 * time.Second // while the issuer does not answer
	askFor      = time.Second      // what an answer of it may take
)

// What an Issuer is to be made with.
const (
	// RenewAfter is the age at which consumers agree on a new token.
	RenewAfter = 40 * time.Minute
	// RenewLeast is the age under which no token is replaced.
	RenewLeast = 20 * time.Minute
)

// Issuer agrees with every consumer of a key on when its provider token was
// issued. A token follows from its key and that moment, since it is signed
// deterministically (RFC 6979): so all present the same token, and none of it
// is ever stored.
type Issuer interface {
	// Issued returns when the token of a key was issued, in whole seconds, and
	// how old that is, by a clock that all consumers share. A key without a
	// token gets the one that was issued at proposed, where that is younger than
	// RenewAfter. One whose token is older than RenewAfter, or than RenewLeast
	// where it is the one that Apple refused, gets a new one. The zero time is
	// none.
	Issued(ctx context.Context, key string, proposed, refused time.Time) (at time.Time, age time.Duration, err error)
}

// provider mints the provider tokens of one key. Every consumer of a key must
// present one token: the issuer says which. Without its answer a token is
// issued at the last half hour by this machine's clock, so that consumers whose
// clocks agree still mint the same bytes and change them at the same moment.
type provider struct {
	key    *ecdsa.PrivateKey
	keyID  string
	teamID string
	now    func() time.Time
	issuer Issuer // nil: none

	mu      sync.Mutex
	current string
	issued  time.Time // of current
	until   time.Time // when current is to be looked at again
	dies    time.Time // when current is not to be used any more
	forced  time.Time // when Apple last had us mint out of turn
}

func newProvider(pem, keyID, teamID string, now func() time.Time) (*provider, error) {
	key, err := token.AuthKeyFromBytes([]byte(pem))
	if err != nil {
		return nil, errors.New("key: not a .p8 signing key: give the file that Apple's developer site gave, a PEM block PRIVATE KEY")
	}
	if key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("key: a key of curve %s: Apple's keys are of curve P-256", key.Curve.Params().Name)
	}
	p := &provider{key: key, keyID: keyID, teamID: teamID, now: now}
	if _, err := p.sign(now()); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return p, nil
}

// bearer is the token to send with.
func (p *provider) bearer(ctx context.Context) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.current != "" && now.Before(p.until) {
		return p.current, nil
	}
	if p.issuer != nil {
		if bearer, err := p.agree(ctx, now, time.Time{}); err == nil {
			return bearer, nil
		}
		if p.current != "" && now.Before(p.dies) {
			p.until = now.Add(askAgain)
			return p.current, nil
		}
	}
	return p.alone(now)
}

// alone mints the token of the last half hour. The caller holds mu.
func (p *provider) alone(now time.Time) (string, error) {
	issued := now.Truncate(tokenPeriod)
	bearer, err := p.mint(issued, issued.Add(tokenPeriod))
	if p.issuer != nil {
		p.until = minTime(p.until, now.Add(askAgain))
	}
	return bearer, err
}

// agree asks the issuer. The caller holds mu: the others wait for the answer
// that all need.
func (p *provider) agree(ctx context.Context, now, refused time.Time) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	at, age, err := p.issuer.Issued(ctx, p.teamID+"/"+p.keyID, p.issued, refused)
	if err != nil {
		return "", err
	}
	age = min(max(age, 0), RenewAfter)
	if p.current != "" && at.Equal(p.issued) {
		p.until, p.dies = now.Add(max(RenewAfter-age, askAgain)), now.Add(tokenMost-age)
		return p.current, nil
	}
	bearer, err := p.mint(at, now.Add(max(RenewAfter-age, askAgain)))
	p.dies = now.Add(tokenMost - age)
	return bearer, err
}

// renew is the token to send with after Apple called old expired, which it
// does when a clock of ours is slow. ok is false when a new one would not
// help: it was renewed so already, a short time ago.
func (p *provider) renew(ctx context.Context, old string) (bearer string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != old {
		return p.current, true
	}
	now := p.now()
	if p.issuer != nil {
		if bearer, err := p.agree(ctx, now, p.issued); err == nil {
			return bearer, bearer != old
		}
	}
	if !p.forced.IsZero() && now.Sub(p.forced) < RenewLeast {
		return "", false
	}
	p.forced = now
	until := now.Truncate(tokenPeriod).Add(tokenPeriod)
	if until.Sub(now) < RenewLeast {
		until = until.Add(tokenPeriod)
	}
	bearer, err := p.mint(now, until)
	return bearer, err == nil
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// mint makes the token current. The caller holds mu.
func (p *provider) mint(issued, until time.Time) (string, error) {
	signed, err := p.sign(issued)
	if err != nil {
		return "", fmt.Errorf("signing the provider token: %w", err)
	}
	p.current, p.issued, p.until, p.dies = signed, issued, until, until
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
