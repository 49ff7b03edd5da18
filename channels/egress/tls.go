package egress

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// sessions is how many hosts' TLS sessions are kept for resumption, which
// saves a round trip and a signature check when a host is called again.
const sessions = 256

// NewTLS makes the TLS settings of o: version 1.2 or later, the authorities of
// CAFile, and the client certificate. The rest of o is not looked at.
func NewTLS(o Options) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
	}
	if o.CAFile != "" {
		pool, err := readPool(o.CAFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool
	}
	if o.ClientCert == "" && o.ClientKey == "" {
		return c, nil
	}
	if o.ClientCert == "" || o.ClientKey == "" {
		return nil, errors.New("client_cert and client_key: give both or neither")
	}
	pair, err := tls.LoadX509KeyPair(o.ClientCert, o.ClientKey)
	if err != nil {
		return nil, fmt.Errorf("client_cert %s with client_key %s: %w", o.ClientCert, o.ClientKey, err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

func readPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s holds no PEM certificate", file)
	}
	return pool, nil
}
