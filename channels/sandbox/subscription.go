package sandbox

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// A subscription's keys are derived from the sandbox's seed and the
// subscription's id, so that any number of them needs no memory. The id ends
// in a MAC: one that was never given out is unknown, as it should be.
const (
	subscriptionNonce = 12
	subscriptionMAC   = 12
)

// subscription is the browser's side of one Web Push subscription.
type subscription struct {
	id      string
	private *ecdh.PrivateKey
	auth    []byte // 16 bytes
}

// NewSubscription is a fresh Web Push subscription of an imaginary browser,
// as the JSON that PushSubscription.toJSON gives: the token of a web device.
func (s *Sandbox) NewSubscription() (string, error) {
	var nonce [subscriptionNonce]byte
	rand.Read(nonce[:]) // never fails: crypto/rand ends the program instead
	id := base64.RawURLEncoding.EncodeToString(append(nonce[:], s.subscriptionMAC(nonce[:])...))
	sub, err := s.subscription(id)
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	out, err := json.Marshal(map[string]any{
		"endpoint": s.WebPushURL + "/push/" + id,
		"keys":     map[string]string{"p256dh": encode(sub.private.PublicKey().Bytes()), "auth": encode(sub.auth)},
	}, json.Deterministic(true))
	return string(out), err
}

func (s *Sandbox) subscriptionMAC(nonce []byte) []byte {
	mac := hmac.New(sha256.New, s.keys.seed[:])
	mac.Write(nonce)
	return mac.Sum(nil)[:subscriptionMAC]
}

var errNoSubscription = errors.New("no such subscription")

// subscription derives the keys of an id that NewSubscription gave out.
func (s *Sandbox) subscription(id string) (subscription, error) {
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(raw) != subscriptionNonce+subscriptionMAC ||
		!hmac.Equal(raw[subscriptionNonce:], s.subscriptionMAC(raw[:subscriptionNonce])) {
		return subscription{}, errNoSubscription
	}
	auth, err := hkdf.Key(sha256.New, s.keys.seed[:], raw, "auth", 16)
	if err != nil {
		return subscription{}, fmt.Errorf("deriving a subscription's keys: %w", err)
	}
	private, err := s.derivePrivate(raw)
	return subscription{id: id, private: private, auth: auth}, err
}

// derivePrivate takes the first candidate that is a private key of P-256: all
// but one in 2^32 are.
func (s *Sandbox) derivePrivate(salt []byte) (*ecdh.PrivateKey, error) {
	var err error
	for _, info := range []string{"key 1", "key 2", "key 3"} {
		var raw []byte
		if raw, err = hkdf.Key(sha256.New, s.keys.seed[:], salt, info, 32); err != nil {
			break
		}
		var key *ecdh.PrivateKey
		if key, err = ecdh.P256().NewPrivateKey(raw); err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("deriving a subscription's keys: %w", err)
}

// The layout of an aes128gcm body, RFC 8188 §2.1: salt, record size, length of
// the key id, key id (the sender's public key, RFC 8291 §4), records.
const (
	saltLen   = 16
	headerLen = saltLen + 4 + 1
	publicLen = 65 // an uncompressed point of P-256
)

var errNotEncrypted = errors.New("the body is no aes128gcm message for this subscription")

// decrypt reads a body of one aes128gcm record, which is all that a push
// message may have (RFC 8291 §4).
func (sub subscription) decrypt(body []byte) ([]byte, error) {
	if len(body) < headerLen+publicLen || int(body[headerLen-1]) != publicLen {
		return nil, errNotEncrypted
	}
	salt, public, record := body[:saltLen], body[headerLen:headerLen+publicLen], body[headerLen+publicLen:]
	if size := binary.BigEndian.Uint32(body[saltLen:]); uint64(len(record)) > uint64(size) {
		return nil, errNotEncrypted
	}
	key, nonce, err := sub.recordKeys(salt, public)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, nonce, record, nil)
	if err != nil {
		return nil, errNotEncrypted
	}
	return unpad(plain)
}

// recordKeys derives the key and nonce of the first record, RFC 8291 §3.4.
func (sub subscription) recordKeys(salt, public []byte) (key, nonce []byte, err error) {
	sender, err := ecdh.P256().NewPublicKey(public)
	if err != nil {
		return nil, nil, errNotEncrypted
	}
	shared, err := sub.private.ECDH(sender)
	if err != nil {
		return nil, nil, errNotEncrypted
	}
	info := "WebPush: info\x00" + string(sub.private.PublicKey().Bytes()) + string(public)
	ikm, err := hkdf.Key(sha256.New, shared, sub.auth, info, 32)
	if err != nil {
		return nil, nil, err
	}
	if key, err = hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", 16); err != nil {
		return nil, nil, err
	}
	nonce, err = hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", 12)
	return key, nonce, err
}

// unpad takes the delimiter 2 of a last record and the zeros after it off,
// RFC 8188 §2.
func unpad(plain []byte) ([]byte, error) {
	content, ok := bytes.CutSuffix(bytes.TrimRight(plain, "\x00"), []byte{2})
	if !ok {
		return nil, errNotEncrypted
	}
	return content, nil
}
