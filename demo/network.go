package demo

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
)

// Network opens UDP sockets. A *memnet.Network is one.
type Network interface {
	// ListenPacket opens a socket at an address; port 0 is any free one.
	ListenPacket(netip.AddrPort) (net.PacketConn, error)
}

// StreamNetwork opens TCP sockets as well.
type StreamNetwork interface {
	Network
	Listen(netip.AddrPort) (net.Listener, error)
	// Dial connects from any port of the local address.
	Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error)
}

// System is the machine's own network.
var System StreamNetwork = system{}

type system struct{}

func (system) ListenPacket(a netip.AddrPort) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
}

func (system) Listen(a netip.AddrPort) (net.Listener, error) {
	return net.ListenTCP("tcp", net.TCPAddrFromAddrPort(a))
}

func (system) Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: local.AsSlice()}}
	return d.DialContext(ctx, "tcp", remote.String())
}

// pair is the two sockets of one RTP stream.
type pair struct{ rtp, rtcp net.PacketConn }

// pairTries bounds the search for two free ports side by side.
const pairTries = 64

// listenPair opens an even port for RTP and the next one for RTCP (RFC 3550
// section 11).
func listenPair(n Network, addr netip.Addr) (pair, error) {
	var last error
	var misfits []net.PacketConn // kept until the end, so that the search goes on behind them
	defer func() {
		for _, c := range misfits {
			c.Close()
		}
	}()
	for range pairTries {
		first, err := n.ListenPacket(netip.AddrPortFrom(addr, 0))
		if err != nil {
			return pair{}, err
		}
		port := portOf(first)
		second, err := n.ListenPacket(netip.AddrPortFrom(addr, port^1))
		if err != nil {
			misfits, last = append(misfits, first), err
			continue
		}
		if port%2 == 0 {
			return pair{first, second}, nil
		}
		return pair{second, first}, nil
	}
	return pair{}, fmt.Errorf("demo: no two free ports side by side at %v: %w", addr, last)
}

func (p pair) close() {
	for _, c := range []net.PacketConn{p.rtp, p.rtcp} {
		if c != nil {
			c.Close()
		}
	}
}

// localOf is the address of a UDP or TCP socket.
func localOf(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func portOf(c net.PacketConn) uint16 { return localOf(c.LocalAddr()).Port() }

// loopback gives the n-th address of 127.0.0.0/8 that the demo uses, so that a
// capture tells who is who. Where the machine has 127.0.0.1 alone, as macOS
// does, everybody shares that one.
func loopback(n byte) netip.Addr {
	one := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if runtime.GOOS != "linux" {
		return one
	}
	addr := netip.AddrFrom4([4]byte{127, 0, 0, n})
	c, err := System.ListenPacket(netip.AddrPortFrom(addr, 0))
	if err != nil {
		return one
	}
	c.Close()
	return addr
}
