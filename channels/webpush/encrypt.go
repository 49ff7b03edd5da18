package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

const (
	saltBytes  = 16
	pointBytes = 65
	tagBytes   = 16
	headBytes  = saltBytes + 4 + 1 + pointBytes
	recordSize = 4096 // bytes of body that every push service takes (RFC 8030 §7.2)
	// padTo is the step in which payloads are padded, so that a push service
	// learns only roughly how long a message is (RFC 8188 §4.8).
	padTo = 128
	// maxPlain is what fits into one record, its end mark aside.
	maxPlain = recordSize - headBytes - tagBytes - 1
)

// encrypt writes a payload of at most maxPlain bytes for one subscription, in
// the coding aes128gcm (RFC 8188) under the keys of RFC 8291.
func encrypt(s *subscription, payload []byte) ([]byte, error) {
	own, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	var salt [saltBytes]byte
	rand.Read(salt[:]) // never fails: crypto/rand ends the program instead
	return seal(s, own, salt, pad(payload))
}

// pad ends the record (the delimiter 2 of a last record) and fills it up to
// the next step.
func pad(payload []byte) []byte {
	size := min((len(payload)+padTo)/padTo*padTo, maxPlain+1)
	plain := make([]byte, max(size, len(payload)+1))
	copy(plain, payload)
	plain[len(payload)] = 2
	return plain
}

// seal encrypts one record that is padded already.
func seal(s *subscription, own *ecdh.PrivateKey, salt [saltBytes]byte, plain []byte) ([]byte, error) {
	key, nonce, err := deriveKeys(s, own, salt)
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
	body := make([]byte, 0, headBytes+len(plain)+tagBytes)
	body = append(body, salt[:]...)
	body = binary.BigEndian.AppendUint32(body, recordSize)
	body = append(body, pointBytes)
	body = append(body, own.PublicKey().Bytes()...)
	return gcm.Seal(body, nonce, plain, nil), nil
}

// deriveKeys is RFC 8291 §3.4.
func deriveKeys(s *subscription, own *ecdh.PrivateKey, salt [saltBytes]byte) (key, nonce []byte, err error) {
	shared, err := own.ECDH(s.key)
	if err != nil {
		return nil, nil, err
	}
	info := "WebPush: info\x00" + string(s.key.Bytes()) + string(own.PublicKey().Bytes())
	secret, err := hkdf.Key(sha256.New, shared, s.auth, info, sha256.Size)
	if err != nil {
		return nil, nil, err
	}
	prk, err := hkdf.Extract(sha256.New, secret, salt[:])
	if err != nil {
		return nil, nil, err
	}
	if key, err = hkdf.Expand(sha256.New, prk, "Content-Encoding: aes128gcm\x00", 16); err != nil {
		return nil, nil, err
	}
	nonce, err = hkdf.Expand(sha256.New, prk, "Content-Encoding: nonce\x00", 12)
	return key, nonce, err
}
