package egress

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Dialer connects to public addresses and to the allowed networks only.
type Dialer struct {
	guard    *guard
	resolver *net.Resolver
}

// NewDialer makes the dialer of o. The name is resolved by the dialer itself,
// and each address that came of it is checked as its socket is connected.
func NewDialer(o Options) (*Dialer, error) {
	guard, err := newGuard(o.AllowNetworks)
	if err != nil {
		return nil, err
	}
	return &Dialer{guard: guard, resolver: o.Resolver}, nil
}

// DialContext connects to a "host:port" within 10 s, or less when ctx ends
// sooner. Refused recognises the error of a host that may not be connected to.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	if err := CheckHost(host); err != nil {
		return nil, err
	}
	var passed atomic.Bool // several addresses may be tried at once
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Resolver: d.resolver,
		Control: func(network, address string, raw syscall.RawConn) error {
			if err := d.guard.control(network, address, raw); err != nil {
				return err
			}
			passed.Store(true)
			return nil
		}}
	conn, err := dialer.DialContext(ctx, network, address)
	if Refused(err) && passed.Load() {
		// One of the host's addresses may be connected to and did not answer:
		// another attempt may reach it.
		return nil, &net.OpError{Op: "dial", Net: network, Err: errNoAnswer}
	}
	return conn, err
}

var errNoAnswer = fmt.Errorf("no address of the host that may be connected to answered")
