// Package egress makes the HTTP transport for addresses that users chose:
// webhook endpoints and Web Push subscriptions. Such an address may point into
// the operator's own network (server-side request forgery), so the transport
// checks every address it is about to connect to, after the name was resolved:
// a name that changes its answer between a check and the connection gains
// nothing.
package egress

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	// idleTimeout is under the 60 s at which common load balancers close an
	// idle connection: a request that meets a closing connection may or may
	// not have arrived.
	idleTimeout = 55 * time.Second
	// maxIdle bounds the kept connections over all hosts together.
	maxIdle = 1024
	// defaultIdlePerHost is what IdlePerHost is when it is 0.
	defaultIdlePerHost = 64
	// maxHeaderBytes bounds what an answer's headers may cost in memory.
	maxHeaderBytes = 64 << 10
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
}

// NewTransport makes a transport that connects to public addresses and to
// AllowNetworks only. It takes no proxy from the environment, since a proxy
// would resolve the name itself, beyond the check; it asks for no compression,
// so that an answer is never larger than its bytes; and it follows no redirect,
// since no transport does: call RoundTrip, or a client whose CheckRedirect
// refuses.
func NewTransport(o Options) (*http.Transport, error) {
	guard, err := newGuard(o.AllowNetworks)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := newTLS(o)
	if err != nil {
		return nil, err
	}
	idle := o.IdlePerHost
	if idle == 0 {
		idle = defaultIdlePerHost
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Control: guard.control}
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    handshakeTimeout,
		ForceAttemptHTTP2:      true, // own dialer and TLS settings turn it off otherwise
		DisableCompression:     true,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    idle,
		MaxConnsPerHost:        o.ConnsPerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}, nil
}

// Refused reports whether err is a connection that the transport would not
// make, because the address is not on the public internet and no allowed
// network holds it. Nothing was sent, and another attempt is refused as well.
func Refused(err error) bool {
	return errors.Is(err, ssrf.ErrProhibitedIP) ||
		errors.Is(err, ssrf.ErrProhibitedNetwork) ||
		errors.Is(err, ssrf.ErrInvalidHostPort)
}

// guard decides whether an address may be connected to.
type guard struct {
	addresses *ssrf.Guardian
}

func newGuard(networks []string) (*guard, error) {
	var v4, v6 []netip.Prefix
	for _, n := range networks {
		prefix, err := parseNetwork(n)
		if err != nil {
			return nil, err
		}
		if prefix.Addr().Is4() {
			v4 = append(v4, prefix)
		} else {
			v6 = append(v6, prefix)
		}
	}
	return &guard{ssrf.New(
		ssrf.WithAnyPort(),
		ssrf.WithAllowedV4Prefixes(v4...),
		ssrf.WithAllowedV6Prefixes(v6...),
	)}, nil
}

// control is a net.Dialer.Control: it is handed the resolved address that the
// socket is about to be connected to.
func (g *guard) control(network, address string, _ syscall.RawConn) error {
	if err := g.addresses.Safe(network, address, nil); err != nil {
		return err
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ssrf.ErrInvalidHostPort, address)
	}
	if v4, ok := translated(at.Addr()); ok {
		return g.addresses.SafeAddr(v4)
	}
	return nil
}

// translated is the IPv4 address that a NAT64 gateway makes of an address
// under 64:ff9b::/96 (RFC 6052 §2.1). Where an operator allows that prefix,
// the gateway must not become a way around the check.
func translated(ip netip.Addr) (netip.Addr, bool) {
	if !ssrf.IPv6NAT64Prefix.Contains(ip) {
		return netip.Addr{}, false
	}
	raw := ip.As16()
	return netip.AddrFrom4([4]byte(raw[12:])), true
}

func parseNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("allow_networks: %q is no network: write it as 10.20.0.0/16 or fd00:1::/48", s)
	}
	if prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("allow_networks: %q is an IPv4 network in IPv6 dress: write it as IPv4", s)
	}
	return prefix.Masked(), nil
}
