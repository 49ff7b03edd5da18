package email

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/carillonhq/carillon/config"
	"github.com/emersion/go-msgauth/dkim"
	gomail "github.com/wneessen/go-mail"
)

// leastRSA is the shortest RSA key that may sign (RFC 8301 §3.2); shorter ones
// are ignored by receivers.
const leastRSA = 1024

// signer signs mails (RFC 6376), once with each key. The signature is
// go-msgauth's and not go-mail's own, which (v0.8.1) folds a header list of this
// length after signing it unfolded, so that no receiver can verify it.
type signer struct{ keys []dkim.SignOptions }

// signedHeaders are the headers under the signature. Each stands once more
// than a mail has it, so that nobody can add a second one on the way (RFC 6376
// §8.15), or one that the mail lacks (§5.4.2). RFC 8058 §4 wants both
// List-Unsubscribe headers there.
func signedHeaders() []string {
	names := []string{
		"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
		"Auto-Submitted", "Feedback-ID", "List-Unsubscribe", "List-Unsubscribe-Post",
	}
	return append(append(names, names...), "Cc", "Reply-To", "Sender")
}

// newSigner reads the keys of cfg; nil when there are none.
func newSigner(cfg config.Email) (*signer, error) {
	s := &signer{}
	for _, k := range [...]struct {
		key string
		cfg *config.DKIM
	}{{"dkim", cfg.DKIM}, {"dkim_second", cfg.DKIMSecond}} {
		if k.cfg == nil {
			continue
		}
		options, err := signOptions(*k.cfg)
		if err != nil {
			return nil, fmt.Errorf("%s%w", k.key, err)
		}
		s.keys = append(s.keys, options)
	}
	if len(s.keys) == 0 {
		return nil, nil
	}
	return s, nil
}

func signOptions(cfg config.DKIM) (o dkim.SignOptions, err error) {
	if cfg.Domain == "" || cfg.Selector == "" || !isPrintable(cfg.Domain+cfg.Selector) {
		return o, fmt.Errorf(": domain %q with selector %q: both are needed, as acme.example and s1", cfg.Domain, cfg.Selector)
	}
	key, err := gomail.PrivKeyFromPEM([]byte(cfg.Key.Reveal()))
	if err != nil {
		return o, errors.New(".key: no private key could be read: want PEM, RSA or Ed25519")
	}
	if k, ok := key.(*rsa.PrivateKey); ok && k.N.BitLen() < leastRSA {
		return o, fmt.Errorf(".key: an RSA key of %d bits is not accepted by receivers: use 2048, or Ed25519", k.N.BitLen())
	}
	o = dkim.SignOptions{
		Domain:   cfg.Domain,
		Selector: cfg.Selector,
		Signer:   key,
		// Relays may fold headers anew and trim spaces; relaxed outlives both.
		HeaderCanonicalization: dkim.CanonicalizationRelaxed,
		BodyCanonicalization:   dkim.CanonicalizationRelaxed,
		HeaderKeys:             signedHeaders(),
	}
	if _, err := signature([]byte("From: a@b.example\r\n\r\n"), &o); err != nil {
		return o, errors.New(".key: the key cannot sign")
	}
	return o, nil
}

// sign returns raw with its signatures before it.
func (s *signer) sign(raw []byte) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(raw) + 1024*len(s.keys))
	for i := range s.keys {
		header, err := signature(raw, &s.keys[i])
		if err != nil {
			return nil, err
		}
		b.WriteString(header)
	}
	b.Write(raw)
	return b.Bytes(), nil
}

// signature is the header that signs raw.
func signature(raw []byte, o *dkim.SignOptions) (string, error) {
	s, err := dkim.NewSigner(o)
	if err != nil {
		return "", err
	}
	_, err = s.Write(raw)
	if err := errors.Join(err, s.Close()); err != nil {
		return "", err
	}
	return s.Signature(), nil
}
