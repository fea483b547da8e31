package configs

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sipward/sipward/route"
)

// Advertise is the address that a listener's messages name as its own, where it
// differs from that of its socket: behind a router with NAT. The zero value is the
// socket's.
type Advertise struct {
	IP   netip.Addr // valid unless Name is set or this is the zero value
	Name string     // looked up at the start and now and then
	Port uint16     // 0: the socket's
}

// Auto says whether the socket's own address is named.
func (a Advertise) Auto() bool { return a == Advertise{} }

// String is the address as it may stand in the file.
func (a Advertise) String() string {
	host := a.Name
	switch {
	case a.Auto():
		return "auto"
	case a.IP.IsValid() && a.Port != 0:
		return netip.AddrPortFrom(a.IP, a.Port).String()
	case a.IP.IsValid():
		host = a.IP.String()
	}
	if a.Port != 0 {
		host += ":" + strconv.Itoa(int(a.Port))
	}
	return host
}

const advertiseForms = "auto, 203.0.113.5, 203.0.113.5:5060 or sip.example.com"

// parseAdvertise reads what is to be named; the error says what would be right.
func parseAdvertise(s string) (Advertise, error) {
	wrong := fmt.Errorf("%s is not an address that can be named to others; write one such as %s", show(s), advertiseForms)
	if s == "auto" {
		return Advertise{}, nil
	}
	if addr, err := netip.ParseAddr(s); err == nil && addr.Is6() {
		s = "[" + s + "]" // without a port nothing is ambiguous
	}
	u, err := route.ParseURI("sip:" + s)
	if err != nil || strings.ContainsAny(s, "@;?/") || u.Host == "auto" {
		return Advertise{}, wrong
	}
	a := Advertise{Port: uint16(u.Port)}
	if a.IP, err = netip.ParseAddr(u.Host); err != nil {
		if last := u.Host[strings.LastIndexByte(u.Host, '.')+1:]; strings.Trim(last, "0123456789") == "" {
			return Advertise{}, wrong // 192.0.2
		}
		a.IP, a.Name = netip.Addr{}, u.Host
		return a, nil
	}
	a.IP = a.IP.Unmap()
	if a.IP.IsUnspecified() || a.IP.IsMulticast() || a.IP == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return Advertise{}, fmt.Errorf("%s is not the address of one machine", a.IP)
	}
	return a, nil
}

// AddressLookup finds the addresses of a name; [*net.Resolver] satisfies it.
type AddressLookup interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// ResolveAdvertise returns what the messages of a socket name. A name is looked up
// for an address of the socket's kind, IPv4 or IPv6, the first of which counts.
func ResolveAdvertise(ctx context.Context, l AddressLookup, a Advertise, socket netip.AddrPort) (netip.AddrPort, error) {
	port := a.Port
	if port == 0 {
		port = socket.Port()
	}
	kind, network := "IPv4", "ip4"
	if socket.Addr().Is6() {
		kind, network = "IPv6", "ip6"
	}
	switch {
	case a.Auto():
		return socket, nil
	case a.Name == "" && a.IP.Is4() != socket.Addr().Is4():
		return netip.AddrPort{}, fmt.Errorf("%s cannot be named for the %s address %s; give IPv4 and IPv6 a listener each", a.IP, kind, socket.Addr())
	case a.Name == "":
		return netip.AddrPortFrom(a.IP, port), nil
	}
	addrs, err := l.LookupNetIP(ctx, network, a.Name)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for _, addr := range addrs {
		if addr = addr.Unmap(); addr.Is4() == socket.Addr().Is4() && !addr.IsUnspecified() && !addr.IsMulticast() {
			return netip.AddrPortFrom(addr, port), nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("%s has no %s address", a.Name, kind)
}
