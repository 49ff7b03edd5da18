package email

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/carillonhq/carillon/config"
	gomail "github.com/wneessen/go-mail"
)

// leastRSA is the shortest RSA key that may sign (RFC 8301 §3.2); shorter ones
// are ignored by receivers.
const leastRSA = 1024

// signer signs mails (RFC 6376), once with each key. It is safe for concurrent
// use.
type signer struct {
	keys  []dkimKey
	names []string // of the headers that are signed
	now   func() time.Time
}

// dkimKey is one key, and what its signatures say whatever the mail.
type dkimKey struct {
	key  crypto.Signer
	hash crypto.Hash // what the key is told that it signs
	head string      // of the header field, up to the time of signing
	tail string      // of the header field, from behind the body's hash up to the signature
}

// signedHeaders are the headers under the signature. Each stands once more
// than a mail has it, so that nobody can add a second one on the way (RFC 6376
// §8.15), or one that the mail lacks (§5.4.2). RFC 8058 §4 wants both
// List-Unsubscribe headers there.
func signedHeaders() []string {
	names := []string{
		"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
		"Auto-Submitted", "Feedback-ID", "List-Unsubscribe", "List-Unsubscribe-Post",
	}
	return append(append(names, names...), "Cc", "Reply-To", "Reply-To", "Sender")
}

// newSigner reads the keys of cfg; nil when there are none.
func newSigner(cfg config.Email, now func() time.Time) (*signer, error) {
	s := &signer{names: signedHeaders(), now: now}
	for _, k := range [...]struct {
		key string
		cfg *config.DKIM
	}{{"dkim", cfg.DKIM}, {"dkim_second", cfg.DKIMSecond}} {
		if k.cfg == nil {
			continue
		}
		key, err := newDKIMKey(*k.cfg)
		if err != nil {
			return nil, fmt.Errorf("%s%w", k.key, err)
		}
		s.keys = append(s.keys, key)
	}
	if len(s.keys) == 0 {
		return nil, nil
	}
	return s, nil
}

func newDKIMKey(cfg config.DKIM) (k dkimKey, err error) {
	if !isDomainName(cfg.Domain) || !isDomainName(cfg.Selector) {
		return k, fmt.Errorf(": domain %q with selector %q: both are needed, as acme.example and s1, an international domain as xn--…", cfg.Domain, cfg.Selector)
	}
	k.key, err = gomail.PrivKeyFromPEM([]byte(cfg.Key.Reveal()))
	if err != nil {
		return k, errors.New(".key: no private key could be read: want PEM, RSA or Ed25519")
	}
	var algorithm string
	switch key := k.key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < leastRSA {
			return k, fmt.Errorf(".key: an RSA key of %d bits is not accepted by receivers: use 2048, or Ed25519", key.N.BitLen())
		}
		algorithm, k.hash = "rsa-sha256", crypto.SHA256
	case ed25519.PrivateKey:
		// RFC 8463 §3: the key signs the SHA-256 as if it were the message.
		algorithm, k.hash = "ed25519-sha256", crypto.Hash(0)
	default:
		return k, errors.New(".key: want an RSA or an Ed25519 key")
	}
	k.head = fmt.Sprintf("DKIM-Signature: v=1; a=%s; c=relaxed/relaxed;\r\n\td=%s; s=%s; t=", algorithm, cfg.Domain, cfg.Selector)
	k.tail = ";\r\n\th=" + foldNames(signedHeaders()) + ";\r\n\tb="
	if _, err := k.appendSignature(nil, nil, nil, 0); err != nil {
		return k, errors.New(".key: the key cannot sign")
	}
	return k, nil
}

// foldNames is a list of header names over lines of a readable length (RFC
// 6376 §3.5: white space may stand around each colon).
func foldNames(names []string) string {
	var b strings.Builder
	line := 0
	for i, name := range names {
		if i > 0 {
			b.WriteByte(':')
		}
		if line += len(name) + 1; line > 70 {
			b.WriteString("\r\n\t")
			line = len(name) + 1
		}
		b.WriteString(name)
	}
	return b.String()
}

// isDomainName reports whether s can stand in the tags d= and s= (RFC 6376
// §3.5), where a semicolon or a space would begin another tag.
func isDomainName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	})
}
