package webhook

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
)

// The prefixes of Standard Webhooks keys; what follows is base64.
const (
	secretPrefix  = "whsec_" // a symmetric secret: HMAC-SHA256, signature v1
	privatePrefix = "whsk_"  // a private key: ed25519, signature v1a
)

// errSecret does not wrap what the decoder said, which may quote the secret.
var errSecret = errors.New("the webhook's secret cannot be read: want whsec_ and base64, or whsk_ and the base64 of an ed25519 private key")

// sign makes the webhook-signature header over "id.timestamp.body": for each
// secret "v1," and the base64 HMAC-SHA256, or "v1a," and the base64 ed25519
// signature, separated by spaces, so that a receiver may hold either secret
// while they are rotated. Without a secret the signature is empty and the
// webhook goes unsigned: its receiver asked for none.
func sign(secrets, id, timestamp string, body []byte) (string, error) {
	var out, signed []byte
	for secret := range strings.FieldsSeq(secrets) {
		if signed == nil {
			signed = signedContent(id, timestamp, body)
			out = make([]byte, 0, 128)
		} else {
			out = append(out, ' ')
		}
		var err error
		if out, err = appendSignature(out, secret, signed); err != nil {
			return "", err
		}
	}
	return string(out), nil
}

func signedContent(id, timestamp string, body []byte) []byte {
	b := make([]byte, 0, len(id)+len(timestamp)+len(body)+2)
	b = append(b, id...)
	b = append(b, '.')
	b = append(b, timestamp...)
	b = append(b, '.')
	return append(b, body...)
}

func appendSignature(out []byte, secret string, signed []byte) ([]byte, error) {
	if encoded, ok := strings.CutPrefix(secret, privatePrefix); ok {
		key, err := privateKey(encoded)
		if err != nil {
			return nil, err
		}
		return base64.StdEncoding.AppendEncode(append(out, "v1a,"...), ed25519.Sign(key, signed)), nil
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil || len(key) == 0 {
		return nil, errSecret
	}
	h := hmac.New(sha256.New, key)
	h.Write(signed)
	var sum [sha256.Size]byte
	return base64.StdEncoding.AppendEncode(append(out, "v1,"...), h.Sum(sum[:0])), nil
}

// privateKey reads an ed25519 key as RFC 8032 has it, 32 bytes, or with its
// public half behind it, 64 bytes, which then has to belong to it.
func privateKey(encoded string) (ed25519.PrivateKey, error) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(raw) != ed25519.SeedSize && len(raw) != ed25519.PrivateKeySize {
		return nil, errSecret
	}
	key := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
	if len(raw) == ed25519.PrivateKeySize && !bytes.Equal(key, raw) {
		return nil, errSecret
	}
	return key, nil
}
