package media

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// portable serves sockets of package net, or whatever Options.Listen opens,
// with one reading goroutine each.
type portable struct {
	worker *worker
	listen func(netip.AddrPort) (net.PacketConn, error)
	out    [bufferLen]byte
}

func newPortable(w *worker, listen func(netip.AddrPort) (net.PacketConn, error)) *portable {
	return &portable{worker: w, listen: listen}
}

// listenUDP opens a UDP socket of the address's own family.
func listenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	network := "udp4"
	if addr.Addr().Is6() {
		network = "udp6"
	}
	return net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
}

func (t *portable) open(addr netip.AddrPort, p *port) (socket, error) {
	conn, err := t.listen(addr)
	if err != nil {
		return nil, err
	}
	s := &portableSocket{conn: conn, done: make(chan struct{})}
	s.udp, _ = conn.(*net.UDPConn)
	go s.read(t.worker, p)
	return s, nil
}

// buffer lends the same one every time, as send does not keep it.
func (t *portable) buffer() []byte { return t.out[:0] }

func (t *portable) flush() {}

func (t *portable) close() error { return nil }

// portableSocket is one net.PacketConn.
type portableSocket struct {
	conn   net.PacketConn
	udp    *net.UDPConn // conn where it is UDP: no allocation per packet
	closed bool         // guarded by the worker's lock
	done   chan struct{}

	to     netip.AddrPort // where addr points: the last destination
	toAddr *net.UDPAddr
}

// read hands every datagram to the session under the worker's lock.
func (s *portableSocket) read(w *worker, p *port) {
	defer close(s.done)
	buf := make([]byte, readLen)
	for faults := 0; ; {
		n, src, err := s.readFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Some systems report another host's ICMP here. Should it be
			// something lasting, it must not take the CPU.
			if faults++; faults > 16 {
				time.Sleep(10 * time.Millisecond)
			}
		} else {
			faults = 0
		}
		w.lock()
		closed := s.closed
		if !closed && err == nil {
			p.receive(src, buf[:n], w.now())
		}
		w.unlock()
		if closed {
			return
		}
	}
}

func (s *portableSocket) readFrom(buf []byte) (int, netip.AddrPort, error) {
	if s.udp != nil {
		n, src, err := s.udp.ReadFromUDPAddrPort(buf)
		return n, unmap(src), err
	}
	n, addr, err := s.conn.ReadFrom(buf)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	if udp, ok := addr.(*net.UDPAddr); ok {
		return n, unmap(udp.AddrPort()), nil
	}
	src, err := netip.ParseAddrPort(addr.String())
	return n, unmap(src), err
}

func (s *portableSocket) send(pkt []byte, to netip.AddrPort) {
	if s.udp != nil {
		s.udp.WriteToUDPAddrPort(pkt, to)
		return
	}
	if s.toAddr == nil || s.to != to {
		s.to, s.toAddr = to, net.UDPAddrFromAddrPort(to)
	}
	s.conn.WriteTo(pkt, s.toAddr)
}

func (s *portableSocket) close() {
	s.closed = true
	s.conn.Close()
}

func (s *portableSocket) wait() { <-s.done }

// unmap writes an IPv4 address that came in an IPv6 one as IPv4.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
