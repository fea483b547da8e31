package sip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// ListenerOptions say where a listener is. Exactly one of Packet and Stream is
// set; the listener owns it from then on.
type ListenerOptions struct {
	Name      string         // for logs and for the handler
	Packet    net.PacketConn // UDP
	Stream    net.Listener   // TCP, or what carries TLS
	TLS       *TLSOptions    // not nil: Stream is served with TLS
	Advertise netip.AddrPort // what Via and Contact name; zero: the socket's own address
	// Dial opens a TCP connection to a peer, below TLS where that is spoken; nil
	// dials from the listener's address and any port. It must return when ctx ends.
	Dial func(ctx context.Context, remote netip.AddrPort) (net.Conn, error)
}

// Listener is one address and transport on which messages come and from which
// they leave.
type Listener struct {
	Name    string
	Network string // "udp", "tcp" or "tls"

	stack    *Stack
	bound    atomic.Pointer[binding]  // the socket, which Move exchanges
	largeVia atomic.Pointer[Listener] // UDP: for what outgrows a datagram
	shunned  shunned                  // TCP: who lets nobody connect
	mapped   mappings                 // where peers see it
	replaced []*binding               // UDP sockets of before that are still read; the stack's lock guards it
}

// Local returns the socket's own address.
func (l *Listener) Local() netip.AddrPort { return l.bound.Load().local }

// Advertised returns the address that Via and Contact name.
func (l *Listener) Advertised() netip.AddrPort { return l.bound.Load().advertise }

// datagrams says whether the listener's transport is UDP.
func (l *Listener) datagrams() bool { return l.Network == "udp" }

// ContactURI returns the URI under which a dialog on this listener is reached by
// those who see it under its own address; see [Flow.ContactURI].
func (l *Listener) ContactURI(user string) URI {
	at := l.Advertised()
	u := URI{Scheme: "sip", User: user, Host: at.Addr().String(), Port: int(at.Port())}
	if !l.datagrams() {
		u.Params = ";transport=" + l.Network
	}
	return u
}

// via is the value of the Via field of a request that leaves from here (RFC
// 3581: with rport).
func (l *Listener) via(branch string) string {
	return "SIP/2.0/" + strings.ToUpper(l.Network) + " " + l.Advertised().String() + ";branch=" + branch + ";rport"
}

func (l *Listener) defaultPort() uint16 {
	if l.Network == "tls" {
		return 5061
	}
	return 5060
}

// Flow returns the path to a peer from this listener. It opens nothing yet.
// Over TLS the peer's certificate must name its address; see FlowTo.
func (l *Listener) Flow(remote netip.AddrPort) Flow {
	return Flow{listener: l, remote: netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())}
}

// FlowTo returns the path to a peer that was called by name, the domain of a
// URI and not what DNS made of it. Over TLS the peer's certificate must be for
// that name, or for the address where name is empty (RFC 3261 section 26.3.2,
// RFC 5922); elsewhere the name means nothing. Port 0 is the transport's own:
// 5060, over TLS 5061.
func (l *Listener) FlowTo(remote netip.AddrPort, name string) Flow {
	if remote.Port() == 0 {
		remote = netip.AddrPortFrom(remote.Addr(), l.defaultPort())
	}
	f := l.Flow(remote)
	if l.Network == "tls" {
		f.name = peerName(name)
	}
	return f
}

// readPackets serves a UDP socket until it is closed.
func (l *Listener) readPackets(packet net.PacketConn) {
	buf := make([]byte, MaxMessage+1)
	for {
		n, from, err := packet.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || l.stack.closing() {
				return
			}
			// An ICMP error of an earlier datagram surfaces here on some
			// systems; it says nothing about the socket. An error that stays
			// must not take a processor.
			time.Sleep(time.Millisecond)
			continue
		}
		ua, ok := from.(*net.UDPAddr)
		if !ok || n == 0 {
			continue
		}
		if keepalive(buf[:n]) {
			continue
		}
		flow := l.Flow(ua.AddrPort())
		m, err := Parse(buf[:n])
		l.stack.receive(flow, m, err)
	}
}

// keepalive recognises RFC 5626 pings: nothing but line ends or zero octets.
func keepalive(b []byte) bool {
	if len(b) > 8 {
		return false
	}
	for _, c := range b {
		if c != '\r' && c != '\n' && c != 0 {
			return false
		}
	}
	return true
}

// Flow is the path between a listener and one peer: for UDP a pair of
// addresses, for TCP and TLS a connection. It is a value; two flows of the same
// path are equal.
type Flow struct {
	listener *Listener
	remote   netip.AddrPort
	name     string      // TLS: whom the peer must prove to be; "": its address
	conn     *streamConn // TCP, TLS: the connection that a message came in on

	// TCP, TLS: where a connection is opened to when conn has ended, for a response
	// (RFC 3261 section 18.2.2) or a request within a dialog; the port of remote may
	// be none that is listened at.
	back netip.AddrPort
}

// Listener returns the own end.
func (f Flow) Listener() *Listener { return f.listener }

// Remote returns the peer's address.
func (f Flow) Remote() netip.AddrPort { return f.remote }

// Network returns "udp", "tcp" or "tls".
func (f Flow) Network() string {
	if f.listener == nil {
		return ""
	}
	return f.listener.Network
}

// Name returns whom the peer must prove to be over TLS; "" stands for its
// address.
func (f Flow) Name() string { return f.name }

// Toward returns the path of a request within a dialog whose far end was last
// heard from on this flow: to the first route or the remote target where that
// is an address that is reached from there, else on this flow, and always on it
// while its connection stands. Over TLS the peer must prove to be name.
func (f Flow) Toward(target URI, routes []string, name string) Flow {
	if len(routes) > 0 {
		if a, err := ParseAddress(routes[0]); err == nil {
			target = a.URI
		}
	}
	addr, ok := target.Addr()
	if !ok || addr.Is4() != f.listener.Local().Addr().Is4() || unreachable(addr, f.remote.Addr()) {
		return f
	}
	to := f.listener.FlowTo(netip.AddrPortFrom(addr, uint16(target.Port)), name)
	if f.conn != nil && !f.conn.isClosed() {
		to.back, to.remote, to.conn = to.remote, f.remote, f.conn
	}
	return to
}

// reliable says whether the transport repeats by itself what was lost.
func (f Flow) reliable() bool { return f.listener != nil && !f.listener.datagrams() }

func (f Flow) secure() bool { return f.Network() == "tls" }

// ask sends a request. ended is called, on any goroutine and at most once, when
// it could not be sent or its connection has ended, unless what is returned was
// told to forget it. That is nil over UDP, which has no end.
func (f Flow) ask(b []byte, ended func(*cut)) *awaited {
	at := f.listener.bound.Load()
	if at.packet != nil {
		f.send(b, func(err error) { ended(&cut{reason: err}) })
		return nil
	}
	w := &awaited{ended: ended}
	at.streams.send(f, outgoing{b: b, wait: w})
	return w
}

// send writes one message that is no request. fail is called, on any goroutine and at most once,
// when it could not be sent.
func (f Flow) send(b []byte, fail func(error)) {
	at := f.listener.bound.Load()
	if at.packet != nil {
		if _, err := at.packet.WriteTo(b, net.UDPAddrFromAddrPort(f.remote)); err != nil && fail != nil {
			fail(err)
		}
		return
	}
	at.streams.send(f, outgoing{b: b, fail: fail})
}

// respondTo returns the flow on which a response to a request that came over
// this one goes back (RFC 3261 section 18.2.2, RFC 3581 section 4).
func (f Flow) respondTo(top Via) Flow {
	port := uint16(top.Port)
	if port == 0 {
		port = f.listener.defaultPort()
	}
	sentBy := netip.AddrPortFrom(f.remote.Addr(), port)
	if f.reliable() {
		f.back = sentBy
		if f.name == "" {
			f.name = f.ProvedName("")
		}
		return f
	}
	if _, ok := param(top.Params, "rport"); !ok {
		f.remote = sentBy
	}
	return f
}
