package apns

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/carillonhq/carillon/config"
	"software.sslmate.com/src/go-pkcs12"
)

// readCertificate reads a push certificate with its key: PEM, or PKCS #12 as
// Keychain and openssl write it.
func readCertificate(c config.APNsCredential, at string) (tls.Certificate, error) {
	raw, err := os.ReadFile(c.Certificate)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s.certificate: %w", at, err)
	}
	if bytes.Contains(raw, []byte("-----BEGIN ")) {
		pair, err := tls.X509KeyPair(raw, raw)
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("%s.certificate: %s: want a PEM CERTIFICATE and its PRIVATE KEY in one file: %w", at, c.Certificate, err)
		}
		return pair, nil
	}
	key, leaf, chain, err := pkcs12.DecodeChain(raw, c.CertificatePassword.Reveal())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s.certificate: %s: neither PEM nor PKCS #12 under %s.certificate_password: %w", at, c.Certificate, at, err)
	}
	pair := tls.Certificate{PrivateKey: key, Leaf: leaf, Certificate: [][]byte{leaf.Raw}}
	for _, authority := range chain {
		pair.Certificate = append(pair.Certificate, authority.Raw)
	}
	return pair, nil
}

func newTLS(caFile string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("apns.ca_file: %w", err)
	}
	conf.RootCAs = x509.NewCertPool()
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("apns.ca_file: %s holds no PEM certificate", caFile)
	}
	return conf, nil
}

// newTransport makes what connections are dialed with. No connection of its
// own pool is ever used.
func newTransport(conf *tls.Config, o options) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	return &http.Transport{
		DialContext:         o.dial,
		TLSClientConfig:     conf.Clone(),
		TLSHandshakeTimeout: 10 * time.Second,
		Protocols:           &protocols,
		DisableCompression:  true,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:  30 * time.Second, // finds out a peer that vanished
			PingTimeout:      10 * time.Second,
			WriteByteTimeout: 10 * time.Second,
		},
	}
}
