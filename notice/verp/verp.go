// Package verp makes envelope senders that say which delivery a mail is of, so
// that a bounce tells what it is about (variable envelope return paths,
// https://cr.yp.to/proto/verp.txt), and reads them when they come back.
//
// A token holds the delivery's id and two tags. The first tells at RCPT that
// the token was made here. The second is over the tenant and the recipient's
// address too, which stand in no token: whoever reports a bounce has to name
// the address, and it counts only when it is the one that the mail went to.
// So who has got one mail can report that mail and nobody else's, although
// anybody may send a report.
package verp

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/carillonhq/carillon/notice"
)

// Placeholder stands for the token in a return path.
const Placeholder = "{verp}"

// MaxLocal is the longest local part of an address (RFC 5321 §4.5.3.1.1).
const MaxLocal = 64

// The tags' lengths in characters of five bits: enough to make guessing the
// first pointless at the pace that a listener allows, and the second at any.
const (
	outerTag = 7
	innerTag = 16
	keySize  = 32
	context  = "carillon verp v1"
)

// ErrToken is a token that was not made here, or with a key that is no longer
// known.
var ErrToken = errors.New("the address is none of this gateway's return paths")

// letters are those of ids: a mail server that changes case does no harm.
var letters = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// Keys make and read tokens. They are safe for concurrent use.
type Keys struct{ keys [][]byte }

// NewKeys makes keys of secrets: the first makes tokens, and each reads, so
// that bounces of mails from before a change of secret are understood.
func NewKeys(secrets ...[]byte) (*Keys, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no key to authenticate return paths with")
	}
	k := &Keys{}
	for _, secret := range secrets {
		key, err := hkdf.Key(sha256.New, secret, nil, context, keySize)
		if err != nil {
			return nil, fmt.Errorf("making the key of return paths: %w", err)
		}
		k.keys = append(k.keys, key)
	}
	return k, nil
}

// Mail is what a token stands for.
type Mail struct {
	Tenant   string
	Delivery string // its id
	Address  string // whom it is for
}

// Token is m's token.
func (k *Keys) Token(m Mail) string {
	key := k.keys[0]
	return m.Delivery + "-" + tag(key, outerTag, m.Delivery) + tag(key, innerTag, m.Delivery, m.Tenant, canonical(m.Address))
}

// Claim is a token that was made here. It names a delivery; whom that was for
// is for Confirms to tell.
type Claim struct {
	Delivery string
	key      []byte
	inner    string
}

// Open reads a token. Its error is ErrToken.
func (k *Keys) Open(token string) (Claim, error) {
	token = strings.ToLower(token)
	at := len(token) - outerTag - innerTag
	if at < 2 || token[at-1] != '-' {
		return Claim{}, ErrToken
	}
	delivery, outer, inner := token[:at-1], token[at:at+outerTag], token[at+outerTag:]
	if _, _, ordinal, err := notice.SplitID(delivery); err != nil || ordinal < 0 {
		return Claim{}, ErrToken
	}
	for _, key := range k.keys {
		if hmac.Equal([]byte(outer), []byte(tag(key, outerTag, delivery))) {
			return Claim{Delivery: delivery, key: key, inner: inner}, nil
		}
	}
	return Claim{}, ErrToken
}

// Confirms reports whether the mail was one of a tenant to an address.
func (c Claim) Confirms(tenant, address string) bool {
	return c.key != nil && hmac.Equal([]byte(c.inner), []byte(tag(c.key, innerTag, c.Delivery, tenant, canonical(address))))
}

// tag is a MAC of parts in so many letters.
func tag(key []byte, length int, parts ...string) string {
	text := make([]byte, 0, 128)
	for _, p := range parts {
		text = append(append(strconv.AppendInt(text, int64(len(p)), 10), ':'), p...)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(text)
	return letters.EncodeToString(mac.Sum(nil))[:length]
}

// canonical is an address as it is compared: servers on the way change case,
// and write domains in either alphabet.
func canonical(address string) string {
	address = strings.ToLower(strings.Trim(strings.TrimSpace(address), "<>"))
	at := strings.LastIndexByte(address, '@')
	if domain, err := idna.Lookup.ToASCII(address[at+1:]); err == nil {
		return address[:at+1] + domain
	}
	return address
}

// Path is a return path with a Placeholder, as bounce+{verp}@acme.example.
type Path struct{ before, after string }

// NewPath reads a return path; ok is false when it has no Placeholder.
func NewPath(pattern string) (p Path, ok bool) {
	p.before, p.after, ok = strings.Cut(pattern, Placeholder)
	return p, ok
}

// Address is the return path with a token.
func (p Path) Address(token string) string { return p.before + token + p.after }

// Find is the token in an address; ok is false when the address is of another
// shape.
func (p Path) Find(address string) (token string, ok bool) {
	address = strings.Trim(strings.TrimSpace(address), "<>")
	size := len(address) - len(p.before) - len(p.after)
	if size <= 0 || !strings.EqualFold(address[:len(p.before)], p.before) || !strings.EqualFold(address[len(address)-len(p.after):], p.after) {
		return "", false
	}
	return address[len(p.before) : len(p.before)+size], true
}
