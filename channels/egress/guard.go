package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"code.dny.dev/ssrf"
)

// errNumber is a host that is a number without being an address as people
// write it.
var errNumber = errors.New("the host is an address in disguise: write it as four decimal numbers, or as a name")

// Refused reports whether err is a connection that is not made, because the
// address is not on the public internet and no allowed network holds it.
// Nothing was sent, and another attempt is refused as well.
func Refused(err error) bool {
	return errors.Is(err, ssrf.ErrProhibitedIP) ||
		errors.Is(err, ssrf.ErrProhibitedNetwork) ||
		errors.Is(err, ssrf.ErrInvalidHostPort) ||
		errors.Is(err, errNumber)
}

// CheckHost refuses a host that some resolvers take for an IPv4 address and
// others for a name: 2130706433, 0x7f.1, 127.1, 0177.0.0.1. A name does not
// end in a number (RFC 3696 §2), and an address is written as four decimal
// numbers or in IPv6's colons.
func CheckHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" || isNumber(last) {
		return errNumber
	}
	return nil
}

// isNumber reports whether inet_aton(3) reads s as a number: decimal, octal
// with 0 before it, or hexadecimal with 0x.
func isNumber(s string) bool {
	digits, base := s, 10
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		if digits, base = hex, 16; hex == "" {
			return true
		}
	}
	for _, r := range digits {
		if _, err := strconv.ParseUint(string(r), base, 8); err != nil {
			return false
		}
	}
	return true
}

// guard decides whether an address may be connected to.
type guard struct {
	addresses *ssrf.Guardian
	v6        []netip.Prefix // the allowed ones
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
	return &guard{v6: v6, addresses: ssrf.New(
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
	for _, v4 := range g.embedded(at.Addr()) {
		if err := g.addresses.SafeAddr(v4); err != nil {
			return err
		}
	}
	return nil
}

// embedded are the IPv4 addresses that a gateway makes of an IPv6 address:
// NAT64 (RFC 6052 §2.2, RFC 8215), 6to4 (RFC 3056 §2), Teredo (RFC 4380 §4).
// None of these is reached unless an operator allows its prefix; where one
// does, the gateway must not become a way around the check.
func (g *guard) embedded(ip netip.Addr) []netip.Addr {
	raw := ip.As16()
	switch {
	case ssrf.IPv6NAT64Prefix.Contains(ip):
		return []netip.Addr{netip.AddrFrom4([4]byte(raw[12:]))}
	case raw[0] == 0 && raw[1] == 0x64 && raw[2] == 0xff && raw[3] == 0x9b && raw[4] == 0 && raw[5] == 1:
		return g.translations(ip)
	case raw[0] == 0x20 && raw[1] == 0x02:
		return []netip.Addr{netip.AddrFrom4([4]byte(raw[2:6]))}
	case raw[0] == 0x20 && raw[1] == 0x01 && raw[2] == 0 && raw[3] == 0:
		client := netip.AddrFrom4([4]byte{^raw[12], ^raw[13], ^raw[14], ^raw[15]})
		return []netip.Addr{netip.AddrFrom4([4]byte(raw[4:8])), client}
	}
	return nil
}

// translations are what an address under 64:ff9b:1::/48 stands for. Where the
// IPv4 address is in it follows from how long the gateway's own prefix is,
// which is what the operator allowed; when that is none of RFC 6052 §2.2, each
// place counts, and one that is refused is enough.
func (g *guard) translations(ip netip.Addr) (all []netip.Addr) {
	raw := ip.As16()
	places := map[int][4]int{48: {6, 7, 9, 10}, 56: {7, 9, 10, 11}, 64: {9, 10, 11, 12}, 96: {12, 13, 14, 15}}
	for _, prefix := range g.v6 {
		if at, ok := places[prefix.Bits()]; ok && prefix.Contains(ip) {
			places = map[int][4]int{prefix.Bits(): at}
		}
	}
	for _, at := range places {
		all = append(all, netip.AddrFrom4([4]byte{raw[at[0]], raw[at[1]], raw[at[2]], raw[at[3]]}))
	}
	return all
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
