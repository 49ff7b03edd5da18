package provider

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" // of SNS's SignatureVersion 1
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// snsEnvelope is what SNS posts:
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html.
type snsEnvelope struct {
	Type             string `json:"Type"`
	MessageID        string `json:"MessageId"`
	Topic            string `json:"TopicArn"`
	Subject          string `json:"Subject"`
	Message          string `json:"Message"`
	Timestamp        string `json:"Timestamp"`
	SignatureVersion string `json:"SignatureVersion"`
	Signature        string `json:"Signature"`
	CertURL          string `json:"SigningCertURL"`
	SubscribeURL     string `json:"SubscribeURL"`
	Token            string `json:"Token"`
}

// The types of envelopes.
const (
	snsNotification = "Notification"
	snsSubscribe    = "SubscriptionConfirmation"
	snsUnsubscribe  = "UnsubscribeConfirmation"
)

// snsWindow is how far back a notification may have been published: SNS tries
// an endpoint that fails for up to an hour.
const snsWindow = time.Hour + window

// snsCertificate matches the path of a signing certificate.
var snsCertificate = regexp.MustCompile(`^/SimpleNotificationService-[A-Za-z0-9]{1,64}\.pem$`)

// signedText is what SNS signs:
// https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html.
func (e *snsEnvelope) signedText() []byte {
	fields := []string{"Message", e.Message, "MessageId", e.MessageID}
	if e.Type == snsNotification {
		if e.Subject != "" {
			fields = append(fields, "Subject", e.Subject)
		}
	} else {
		fields = append(fields, "SubscribeURL", e.SubscribeURL)
	}
	fields = append(fields, "Timestamp", e.Timestamp)
	if e.Type != snsNotification {
		fields = append(fields, "Token", e.Token)
	}
	fields = append(fields, "TopicArn", e.Topic, "Type", e.Type)
	return []byte(strings.Join(fields, "\n") + "\n")
}

// verify checks an envelope's signature with a key.
func (e *snsEnvelope) verify(key *rsa.PublicKey) error {
	signature, err := base64.StdEncoding.DecodeString(e.Signature)
	if err != nil {
		return ErrForged
	}
	text := e.signedText()
	switch e.SignatureVersion {
	case "1":
		sum := sha1.Sum(text)
		err = rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], signature)
	case "2":
		sum := sha256.Sum256(text)
		err = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature)
	default:
		return ErrForged
	}
	if err != nil {
		return ErrForged
	}
	return nil
}

// snsURL reads a URL that an envelope gives, which must be SNS's own in the
// region of a topic: whoever writes an envelope chooses the URL, and names under
// amazonaws.com are to be had for everybody, as those of buckets.
func snsURL(given, topic string) (*url.URL, error) {
	u, err := url.Parse(given)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Fragment != "" || u.Host != snsHost(topic) {
		return nil, fmt.Errorf("%w: it gives a URL that is not SNS's", ErrForged)
	}
	return u, nil
}

// snsHost is where SNS keeps certificates and takes confirmations for a
// configured topic, arn:<partition>:sns:<region>:<account>:<name>.
func snsHost(topic string) string {
	parts := strings.Split(topic, ":")
	host := "sns." + parts[3] + ".amazonaws"
	switch parts[1] {
	case "aws-cn":
		return host + ".com.cn"
	case "aws-eusc":
		return host + ".eu"
	}
	return host + ".com"
}

// certificates are SNS's signing keys, by the URL of their certificate.
type certificates struct {
	fetch Fetch
	now   func() time.Time
	fixed *x509.Certificate // in place of all others; nil: fetched

	mu   sync.Mutex
	kept map[string]*x509.Certificate
}

// mostCertificates bounds what is kept. SNS has one for each region.
const mostCertificates = 64

// key is the key of the certificate at a URL, for a configured topic.
func (c *certificates) key(ctx context.Context, given, topic string) (*rsa.PublicKey, error) {
	cert := c.fixed
	if cert == nil {
		u, err := snsURL(given, topic)
		if err != nil {
			return nil, err
		}
		if !snsCertificate.MatchString(u.Path) || u.RawQuery != "" {
			return nil, fmt.Errorf("%w: it gives a URL that is no signing certificate's", ErrForged)
		}
		if cert, err = c.get(ctx, u.String()); err != nil {
			return nil, err
		}
	}
	if now := c.now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return nil, fmt.Errorf("%w: the signing certificate is not valid at this time", ErrForged)
	}
	return cert.PublicKey.(*rsa.PublicKey), nil
}

func (c *certificates) get(ctx context.Context, at string) (*x509.Certificate, error) {
	c.mu.Lock()
	cert := c.kept[at]
	c.mu.Unlock()
	if cert != nil {
		return cert, nil
	}
	text, err := c.fetch(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("fetch SNS's signing certificate: %w", err)
	}
	if cert, err = parseCertificate(text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= mostCertificates {
		clear(c.kept)
	}
	c.kept[at] = cert
	return cert, nil
}

// parseCertificate reads a PEM certificate with an RSA key.
func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the signing certificate is no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the signing certificate cannot be read: %w", err)
	}
	if _, ok := cert.PublicKey.(*rsa.PublicKey); !ok {
		return nil, errors.New("the signing certificate has no RSA key")
	}
	return cert, nil
}
