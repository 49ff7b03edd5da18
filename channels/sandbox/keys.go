package sandbox

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// keys is every secret of one sandbox, made at its start.
type keys struct {
	caPEM         []byte
	server        tls.Certificate // for the host and localhost, signed by the authority
	apns          *ecdsa.PublicKey
	apnsPEM       string
	vapid         *ecdsa.PublicKey
	vapidPEM      string
	webhookSecret string
	seed          [32]byte // what the subscriptions' keys are derived from
}

func newKeys(host string) (keys, error) {
	var k keys
	var err error
	if k.caPEM, k.server, err = newCertificates(host); err != nil {
		return keys{}, err
	}
	if k.apns, k.apnsPEM, err = newSigner(); err != nil {
		return keys{}, err
	}
	if k.vapid, k.vapidPEM, err = newSigner(); err != nil {
		return keys{}, err
	}
	var secret [32]byte
	rand.Read(secret[:]) // never fails: crypto/rand ends the program instead
	rand.Read(k.seed[:])
	k.webhookSecret = "whsec_" + base64.StdEncoding.EncodeToString(secret[:])
	return k, nil
}

// newSigner makes an ES256 key: what checks its signatures, and the private
// key as PKCS #8 PEM, the form of Apple's .p8 files.
func newSigner() (*ecdsa.PublicKey, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", err
	}
	return &key.PublicKey, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// newCertificates makes an authority and the certificate that it signs for
// every TLS stand-in. Both are valid at any time a sender's clock may show:
// their keys do not outlive the sandbox.
func newCertificates(host string) (ca []byte, server tls.Certificate, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, server, err
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Carillon sandbox authority"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, server, fmt.Errorf("signing the authority: %w", err)
	}
	server, err = newServerCertificate(authority, caKey, host)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), server, err
}

func newServerCertificate(authority *x509.Certificate, caKey *ecdsa.PrivateKey, host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Carillon sandbox"},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if ip := net.ParseIP(host); ip != nil {
		leaf.IPAddresses = append(leaf.IPAddresses, ip)
	} else {
		leaf.DNSNames = append(leaf.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, authority, &key.PublicKey, caKey)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("signing the certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
