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

// signer signs mails (RFC 6376). The signature is go-msgauth's and not go-mail's
// own, which (v0.8.1) folds a header list of this length after signing it
// unfolded, so that no receiver can verify it.
type signer struct{ options dkim.SignOptions }

// signedHeaders are the headers under the signature. RFC 8058 §4 wants both
// List-Unsubscribe headers there; a header that a mail lacks is listed all the
// same, so that nobody can add it on the way (RFC 6376 §5.4.2).
func signedHeaders() []string {
	return []string{
		"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type",
		"Auto-Submitted", "List-Unsubscribe", "List-Unsubscribe-Post",
	}
}

func newSigner(cfg config.DKIM) (*signer, error) {
	if cfg.Domain == "" || cfg.Selector == "" || !isPrintable(cfg.Domain+cfg.Selector) {
		return nil, fmt.Errorf("dkim: domain %q with selector %q: both are needed, as acme.example and s1", cfg.Domain, cfg.Selector)
	}
	key, err := gomail.PrivKeyFromPEM([]byte(cfg.Key.Reveal()))
	if err != nil {
		return nil, errors.New("dkim.key: no private key could be read: want PEM, RSA or Ed25519")
	}
	if k, ok := key.(*rsa.PrivateKey); ok && k.N.BitLen() < leastRSA {
		return nil, fmt.Errorf("dkim.key: an RSA key of %d bits is not accepted by receivers: use 2048, or Ed25519", k.N.BitLen())
	}
	s := &signer{dkim.SignOptions{
		Domain:   cfg.Domain,
		Selector: cfg.Selector,
		Signer:   key,
		// Relays may fold headers anew and trim spaces; relaxed outlives both.
		HeaderCanonicalization: dkim.CanonicalizationRelaxed,
		BodyCanonicalization:   dkim.CanonicalizationRelaxed,
		HeaderKeys:             signedHeaders(),
	}}
	if _, err := s.sign([]byte("From: a@b.example\r\n\r\n")); err != nil {
		return nil, errors.New("dkim.key: the key cannot sign")
	}
	return s, nil
}

// sign returns raw with its signature before it.
func (s *signer) sign(raw []byte) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(raw) + 1024)
	if err := dkim.Sign(&b, bytes.NewReader(raw), &s.options); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
