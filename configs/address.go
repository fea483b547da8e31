package configs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address is where a listener listens: an IP address and port, or the port with
// the address of the default route, which only the running machine knows.
type Address struct {
	Auto bool
	IP   netip.Addr // the zero Addr where Auto is set
	Port uint16     // 0: a free one
}

// String is the address as it stands in the file: auto:5060, 192.0.2.1:5060,
// [2001:db8::1]:5060.
func (a Address) String() string {
	if a.Auto {
		return "auto:" + strconv.Itoa(int(a.Port))
	}
	return netip.AddrPortFrom(a.IP, a.Port).String()
}

const addressForms = "127.0.0.1:5062, [2001:db8::1]:5060 or auto:5060"

// parseAddress reads a listener's address; the error says what would be right.
func parseAddress(s string) (Address, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if addr, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
			return Address{}, fmt.Errorf("%s has no port; write %s", show(s), netip.AddrPortFrom(addr, 5060))
		}
		return Address{}, fmt.Errorf("%s is not an address with a port; write one such as %s", show(s), addressForms)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Address{}, fmt.Errorf("%s is not a port; write one from 1 to 65535", show(port))
	}
	if host == "auto" {
		return Address{Auto: true, Port: uint16(n)}, nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		return Address{}, fmt.Errorf("%s is not an IP address; write one such as %s", show(host), addressForms)
	}
	addr = addr.Unmap()
	if addr.IsMulticast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return Address{}, fmt.Errorf("%s is not the address of one machine", addr)
	}
	return Address{IP: addr, Port: uint16(n)}, nil
}

// parseNetwork reads a network such as 192.0.2.0/24, or one address for itself.
func parseNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is not a network; write one such as 192.168.1.0/24 or 2001:db8::/32", show(s))
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%s is not a network; write the IPv4 network itself, such as 192.168.1.0/24", show(s))
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s names one machine of a network; write %s for the network or %s for the machine", show(s), p.Masked(), p.Addr())
	}
	return p, nil
}

// ResolveAddress returns where to listen. For auto it asks the operating system
// from which address it would send to the Internet, IPv4 before IPv6; nothing is
// sent. The error of a machine without a default route says what to write instead.
func ResolveAddress(a Address) (netip.AddrPort, error) {
	return resolveAddress(a, routeProbes[:], net.Dial)
}

// CurrentAddress is ResolveAddress for an address that was resolved before: auto
// stands for what is now the default route's address of the same family.
func CurrentAddress(a Address, before netip.Addr) (netip.AddrPort, error) {
	if before.Is4() {
		return resolveAddress(a, routeProbes[:1], net.Dial)
	}
	return resolveAddress(a, routeProbes[1:], net.Dial)
}

// routeProbe is where a UDP socket is connected to, to learn from which address.
type routeProbe struct{ network, to string }

// routeProbes are addresses for documentation (RFC 5737, RFC 3849), IPv4 and IPv6:
// connecting a UDP socket to them looks up the route and no more.
var routeProbes = [...]routeProbe{{"udp4", "192.0.2.1:9"}, {"udp6", "[2001:db8::1]:9"}}

func resolveAddress(a Address, probes []routeProbe, dial func(network, to string) (net.Conn, error)) (netip.AddrPort, error) {
	if !a.Auto {
		if !a.IP.IsValid() {
			return netip.AddrPort{}, errors.New("configs: an address without IP")
		}
		return netip.AddrPortFrom(a.IP, a.Port), nil
	}
	for _, probe := range probes {
		conn, err := dial(probe.network, probe.to)
		if err != nil {
			continue
		}
		local, err := netip.ParseAddrPort(conn.LocalAddr().String())
		conn.Close()
		if err != nil || local.Addr().IsUnspecified() || local.Addr().Zone() != "" {
			continue
		}
		return netip.AddrPortFrom(local.Addr().Unmap(), a.Port), nil
	}
	return netip.AddrPort{}, fmt.Errorf("%s: this machine has no default route, so its address is not known; write the address itself, such as 192.168.1.2:%d", a, a.Port)
}
