// Package egress makes the HTTP transport for addresses that users chose:
// webhook endpoints and Web Push subscriptions. Such an address may point into
// the operator's own network (server-side request forgery), so the transport
// checks every address it is about to connect to, after the name was resolved:
// a name that changes its answer between a check and the connection gains
// nothing.
package egress

import (
	"net"
	"net/http"
	"time"
)

// The bounds of every client for addresses that users chose.
const (
	// HandshakeTimeout is the longest that a TLS handshake may take.
	HandshakeTimeout = 10 * time.Second
	// IdleTimeout is under the 60 s at which common load balancers close an
	// idle connection: a request that meets a closing connection may or may
	// not have arrived.
	IdleTimeout = 55 * time.Second
	// MaxIdle bounds the kept connections over all hosts together.
	MaxIdle = 1024
	// MaxHeaderBytes bounds what an answer's headers may cost in memory.
	MaxHeaderBytes = 64 << 10

	dialTimeout = 10 * time.Second
	// defaultIdlePerHost is what IdlePerHost is when it is 0.
	defaultIdlePerHost = 64
)

// Options say where a transport may connect to, and how.
type Options struct {
	// AllowNetworks are CIDRs that may be reached beyond the public internet:
	// "10.20.0.0/16", "fd00:1::/48". A bare address means that address alone.
	AllowNetworks []string
	// CAFile is a PEM file of the authorities to trust in place of the
	// system's; empty: the system's.
	CAFile string
	// ClientCert and ClientKey are PEM files of a certificate to show to
	// servers that ask for one; both or neither.
	ClientCert, ClientKey string
	// ConnsPerHost is the most connections open to one host; 0: no bound.
	ConnsPerHost int
	// IdlePerHost is the most connections kept for one host; 0: 64.
	IdlePerHost int
	// Resolver answers for names; nil: the system's.
	Resolver *net.Resolver
}

// NewTransport makes a transport that connects to public addresses and to
// AllowNetworks only. It takes no proxy from the environment, since a proxy
// would resolve the name itself, beyond the check; it asks for no compression,
// so that an answer is never larger than its bytes; and it follows no redirect,
// since no transport does: call RoundTrip, or a client whose CheckRedirect
// refuses.
func NewTransport(o Options) (*http.Transport, error) {
	dialer, err := NewDialer(o)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := NewTLS(o)
	if err != nil {
		return nil, err
	}
	idle := o.IdlePerHost
	if idle == 0 {
		idle = defaultIdlePerHost
	}
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    HandshakeTimeout,
		ForceAttemptHTTP2:      true, // own dialer and TLS settings turn it off otherwise
		DisableCompression:     true,
		MaxIdleConns:           MaxIdle,
		MaxIdleConnsPerHost:    idle,
		MaxConnsPerHost:        o.ConnsPerHost,
		IdleConnTimeout:        IdleTimeout,
		MaxResponseHeaderBytes: MaxHeaderBytes,
	}, nil
}
