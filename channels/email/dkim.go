package email

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"time"

	"github.com/carillonhq/carillon/config"
	gomail "github.com/wneessen/go-mail"
)

// leastRSA is the shortest RSA key that may sign (RFC 8301 §3.2); shorter ones
// are ignored by receivers.
const leastRSA = 1024

// signedHeaders are the headers under the signature. RFC 8058 §4 wants both
// List-Unsubscribe headers there; a header that a mail lacks is listed all the
// same, so that nobody can add it on the way (RFC 6376 §5.4.2).
func signedHeaders() []string {
	return []string{
		"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type",
		"Auto-Submitted", "List-Unsubscribe", "List-Unsubscribe-Post",
	}
}

func newSigner(cfg config.DKIM, now func() time.Time) (*gomail.DKIMSigner, error) {
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
	signer := gomail.NewDKIMSigner(cfg.Domain, cfg.Selector, key)
	signer.SignHeaders(signedHeaders()...)
	signer.NowFunc = now
	// The signer settles its algorithm in the first signature; made here, later
	// ones may be made at the same time. It proves the key as well.
	if _, err := signer.Sign([]byte("From: a@b.example\r\n"), nil); err != nil {
		return nil, errors.New("dkim.key: the key cannot sign")
	}
	return signer, nil
}
