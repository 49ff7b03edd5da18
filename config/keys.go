package config

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"

	"github.com/go-json-experiment/json"
)

// checkKey checks that a secret is the kind of key it has to be, so that a
// wrong file is found at start and not at the first message. A missing one is
// another rule's fault.
func checkKey(r *rules, key string, secret Secret, is func(string) bool, wrong string) {
	if text := secret.Reveal(); text != "" && !is(text) {
		r.fault(key, "", wrong)
	}
}

// parsePKCS8 is the private key in a PKCS #8 PEM; nil when it is none.
func parsePKCS8(text string) any {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil
	}
	return key
}

// isP256PKCS8 is for APNs: the curve of ES256, RFC 7518 §3.4.
func isP256PKCS8(text string) bool {
	key, ok := parsePKCS8(text).(*ecdsa.PrivateKey)
	return ok && key.Curve == elliptic.P256()
}

// isDKIMKey is for the algorithms of RFC 6376 and RFC 8463.
func isDKIMKey(text string) bool {
	switch parsePKCS8(text).(type) {
	case *rsa.PrivateKey, ed25519.PrivateKey:
		return true
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return false
	}
	_, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	return err == nil
}

// isVAPIDKey is for RFC 8292: P-256, in PEM or as the number itself.
func isVAPIDKey(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(text), "="))
		if err != nil {
			return false
		}
		_, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
		return err == nil
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	return err == nil && key.Curve == elliptic.P256() || isP256PKCS8(text)
}

// isServiceAccount is for Google's credentials, of which there are several
// types: each is a JSON object that says which.
func isServiceAccount(text string) bool {
	var account struct {
		Type string `json:"type"`
	}
	return json.Unmarshal([]byte(text), &account) == nil && account.Type != ""
}
