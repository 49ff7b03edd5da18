// Package optout makes and reads the links by which a person leaves a category
// of mail (RFC 8058). A link's token says by itself who leaves what, so that
// nothing is stored for a mail that was sent; it is sealed, so that nobody can
// make one up, and nobody who sees a link, in a proxy's log or a forwarded
// mail, learns an address from it.
package optout

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"
	"time"
)

// Lifetime is how long a link works after its notification was accepted.
// Mails are read late; the CAN-SPAM Act (15 U.S.C. 7704(a)(3)) asks for 30
// days.
const Lifetime = 2 * 365 * 24 * time.Hour

// MaxToken bounds a token's length in bytes, as it stands in a URL.
const MaxToken = 1024

// ErrToken is a token that was not made here, or with a key that is no longer
// known, or that was cut short.
var ErrToken = errors.New("the link is not valid")

// ErrExpired is a token of ours that is older than Lifetime.
var ErrExpired = errors.New("the link has expired")

// Wish is what a link stands for: that somebody wants no more mails of a
// category. It is User's wish where there is a user, and else the wish of
// whoever reads Address.
type Wish struct {
	Tenant   string
	User     string // empty: the notification named an address alone
	Address  string // empty beside a user
	Category string
}

// version begins every token; a token of another version is not valid.
const version = 1

const (
	nonceSize  = 12 // of AES-GCM
	keySize    = 32
	dayLength  = 24 * time.Hour
	macContext = "carillon optout v1 nonce"
	encContext = "carillon optout v1 seal"
)

// sealer holds one key's parts. The nonce is a MAC of what is sealed, so that
// the same wish has the same token on every attempt, and no nonce is used for
// two texts.
type sealer struct {
	aead cipher.AEAD
	macs sync.Pool // of hash.Hash: setting an HMAC up costs as much as the rest
}

func newSealer(secret []byte) (*sealer, error) {
	macKey, err := hkdf.Key(sha256.New, secret, nil, macContext, keySize)
	if err != nil {
		return nil, err
	}
	encKey, err := hkdf.Key(sha256.New, secret, nil, encContext, keySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(encKey)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead: aead, macs: sync.Pool{New: func() any { return hmac.New(sha256.New, macKey) }}}, nil
}

func (s *sealer) nonce(text []byte) []byte {
	mac := s.macs.Get().(hash.Hash)
	defer s.macs.Put(mac)
	mac.Reset()
	mac.Write(text)
	return mac.Sum(nil)[:nonceSize]
}

func (s *sealer) seal(text []byte) []byte {
	out := make([]byte, 1, 1+nonceSize+len(text)+s.aead.Overhead())
	out[0] = version
	nonce := s.nonce(text)
	out = append(out, nonce...)
	return s.aead.Seal(out, nonce, text, out[:1])
}

func (s *sealer) open(token []byte) ([]byte, error) {
	return s.aead.Open(nil, token[1:1+nonceSize], token[1+nonceSize:], token[:1])
}

// Keys seal and open tokens. They are safe for concurrent use.
type Keys struct{ sealers []*sealer }

// NewKeys makes keys of secrets: the first seals, and each opens, so that
// links outlive a change of secret. Without any it is an error.
func NewKeys(secrets ...[]byte) (*Keys, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no key to seal unsubscribe links with")
	}
	k := &Keys{}
	for _, secret := range secrets {
		s, err := newSealer(secret)
		if err != nil {
			return nil, fmt.Errorf("making the key of unsubscribe links: %w", err)
		}
		k.sealers = append(k.sealers, s)
	}
	return k, nil
}

// Token is w's token for a notification that was accepted at a time: 1 to
// MaxToken characters that may stand in a URL's path. It is empty when w names
// nobody, or is too long to be one.
func (k *Keys) Token(w Wish, at time.Time) string {
	if w.Category == "" || w.User == "" && w.Address == "" {
		return ""
	}
	text := binary.AppendUvarint(nil, uint64(max(at.Add(Lifetime).Unix(), 0))/uint64(dayLength/time.Second))
	for _, s := range [...]string{w.Tenant, w.User, w.Address, w.Category} {
		text = binary.AppendUvarint(text, uint64(len(s)))
		text = append(text, s...)
	}
	token := base64.RawURLEncoding.EncodeToString(k.sealers[0].seal(text))
	if len(token) > MaxToken {
		return ""
	}
	return token
}

// Open reads a token at a time. Its error is ErrToken or ErrExpired.
func (k *Keys) Open(token string, now time.Time) (Wish, error) {
	if len(token) > MaxToken {
		return Wish{}, ErrToken
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(sealed) <= 1+nonceSize || sealed[0] != version {
		return Wish{}, ErrToken
	}
	for _, s := range k.sealers {
		if text, err := s.open(sealed); err == nil {
			return read(text, now)
		}
	}
	return Wish{}, ErrToken
}

// read takes what was sealed apart.
func read(text []byte, now time.Time) (w Wish, err error) {
	day, n := binary.Uvarint(text)
	if n <= 0 {
		return Wish{}, ErrToken
	}
	text = text[n:]
	for _, to := range [...]*string{&w.Tenant, &w.User, &w.Address, &w.Category} {
		size, n := binary.Uvarint(text)
		if n <= 0 || size > uint64(len(text)-n) {
			return Wish{}, ErrToken
		}
		*to, text = string(text[n:n+int(size)]), text[n+int(size):]
	}
	if uint64(max(now.Unix(), 0))/uint64(dayLength/time.Second) > day {
		return w, ErrExpired
	}
	return w, nil
}

// Links makes whole links.
type Links struct {
	keys  *Keys
	base  string
	never map[string]bool
}

// NewLinks makes links under base, the address that ingest's /u has outside.
// There are none for the mandatory categories.
func NewLinks(base string, keys *Keys, mandatory []string) *Links {
	l := &Links{keys: keys, base: strings.TrimRight(base, "/"), never: map[string]bool{}}
	for _, category := range mandatory {
		l.never[category] = true
	}
	return l
}

// For is the link by which w is expressed; empty when there is none. A nil
// Links has none for anybody.
func (l *Links) For(w Wish, at time.Time) string {
	if l == nil || l.never[w.Category] {
		return ""
	}
	token := l.keys.Token(w, at)
	if token == "" {
		return ""
	}
	return l.base + "/" + token
}
