package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
)

// secretPrefix marks a Standard Webhooks symmetric secret; what follows is
// base64.
const secretPrefix = "whsec_"

// sign makes the webhook-signature header: "v1," and the base64 HMAC-SHA256 of
// "id.timestamp.body", once for each secret, separated by spaces, so that a
// receiver may hold either secret while they are rotated. Without a secret the
// signature is empty and the webhook goes unsigned: its receiver asked for none.
func sign(secrets, id, timestamp string, body []byte) (string, error) {
	var b strings.Builder
	for secret := range strings.FieldsSeq(secrets) {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
		if err != nil || len(key) == 0 {
			// Not err itself: it may quote the secret.
			return "", errors.New("the webhook's secret cannot be read: want whsec_ and base64")
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("v1,")
		b.WriteString(mac(key, id, timestamp, body))
	}
	return b.String(), nil
}

func mac(key []byte, id, timestamp string, body []byte) string {
	h := hmac.New(sha256.New, key)
	head := make([]byte, 0, 96)
	head = append(head, id...)
	head = append(head, '.')
	head = append(head, timestamp...)
	head = append(head, '.')
	h.Write(head)
	h.Write(body)
	var sum [sha256.Size]byte
	return base64.StdEncoding.EncodeToString(h.Sum(sum[:0]))
}
