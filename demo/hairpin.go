package demo

import (
	"net"
	"net/netip"
)

// hairpin is a UDP socket whose datagrams to an address that stands for another
// one go to that: what a router does for those behind it who call each other by
// its own address.
type hairpin struct {
	net.PacketConn
	here func(netip.AddrPort) netip.AddrPort
}

// WriteTo implements net.PacketConn.
func (h hairpin) WriteTo(b []byte, to net.Addr) (int, error) {
	return h.PacketConn.WriteTo(b, net.UDPAddrFromAddrPort(h.here(localOf(to))))
}
