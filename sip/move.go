package sip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// binding is a listener's socket with the addresses that belong to it.
type binding struct {
	local     netip.AddrPort
	advertise netip.AddrPort
	packet    net.PacketConn // UDP
	streams   *streams       // TCP, TLS
}

// bind reads the options of a socket that is to be the listener's. The listener
// gets its transport from the first.
func (l *Listener) bind(o ListenerOptions) (*binding, error) {
	b := &binding{packet: o.Packet}
	network := ""
	switch {
	case o.Packet != nil && o.Stream == nil && o.TLS == nil:
		ua, ok := o.Packet.LocalAddr().(*net.UDPAddr)
		if !ok {
			return nil, fmt.Errorf("not a UDP address: %v", o.Packet.LocalAddr())
		}
		network, b.local = "udp", ua.AddrPort()
		if c, ok := o.Packet.(interface{ SetReadBuffer(int) error }); ok {
			c.SetReadBuffer(packetBuffer) // as much as the system allows
		}
	case o.Stream != nil && o.Packet == nil:
		ta, ok := o.Stream.Addr().(*net.TCPAddr)
		if !ok {
			return nil, fmt.Errorf("not a TCP address: %v", o.Stream.Addr())
		}
		network, b.local = "tcp", ta.AddrPort()
		if o.TLS != nil {
			if err := o.TLS.check(); err != nil {
				return nil, err
			}
			network = "tls"
		}
	default:
		return nil, errors.New("needs either a packet or a stream socket, and TLS a stream socket")
	}
	if l.Network == "" {
		l.Network = network
	}
	b.local = netip.AddrPortFrom(b.local.Addr().Unmap(), b.local.Port())
	if b.advertise = o.Advertise; !b.advertise.IsValid() {
		b.advertise = b.local
	}
	if b.advertise.Addr().IsUnspecified() {
		return nil, fmt.Errorf("%v is no address that a peer can answer; bind one specific address", b.advertise)
	}
	if o.Stream != nil {
		b.streams = newStreams(l, b.local.Addr(), o.Stream, o.Dial)
		if o.TLS != nil {
			b.streams.secure = newSecure(o.TLS)
		}
	}
	return b, nil
}

// serve reads from a socket until it is closed. The caller holds the stack's
// lock.
func (s *Stack) serve(l *Listener, at *binding) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		if at.packet != nil {
			l.readPackets(at.packet)
		} else {
			at.streams.accept()
		}
	}()
}

func (b *binding) close() {
	if b.packet != nil {
		b.packet.Close()
	}
	if b.streams != nil {
		b.streams.close()
	}
}

// MoveOptions say where a listener is from now on.
type MoveOptions struct {
	// Listener holds the new socket, of the transport and the address family that
	// the listener has. Without one the socket stays and only Advertise changes.
	// Name and TLS stay as they are and are not read.
	Listener ListenerOptions
	// Linger is how long a UDP socket that was replaced is still read, for what
	// was sent before its sender knew; nothing leaves from it any more. 0 closes
	// it at once.
	Linger time.Duration
}

// Move gives a listener another socket, or another address that its messages
// name: the machine is on another network. Dialogs, transactions, keep-alives
// and flows go on over the new one, and everything sent from now on names the
// new address. Connections of a stream socket that was replaced are closed. The
// far ends of dialogs learn of it by the next request that has a Contact, a
// re-INVITE say (RFC 3261 section 12.2.1.1). What waits for an answer on a
// connection is sent anew; over UDP Dialog.Resend repeats it. It may be called from any goroutine, for one listener from one
// at a time. After an error the listener is where it was, and the new socket the
// caller's.
func (l *Listener) Move(o MoveOptions) error {
	old := l.bound.Load()
	lo := o.Listener
	if lo.Packet == nil && lo.Stream == nil {
		b := *old
		if b.advertise = lo.Advertise; !b.advertise.IsValid() {
			b.advertise = b.local
		}
		l.bound.Store(&b)
		return nil
	}
	if lo.TLS = nil; (lo.Packet != nil) != l.datagrams() {
		return fmt.Errorf("sip: listener %s: its transport is %s", l.Name, l.Network)
	}
	b, err := l.bind(lo)
	if err != nil {
		return fmt.Errorf("sip: listener %s: %w", l.Name, err)
	}
	if b.local.Addr().Is4() != old.local.Addr().Is4() {
		return fmt.Errorf("sip: listener %s: %v is of another address family than %v", l.Name, b.local.Addr(), old.local.Addr())
	}
	if b.streams != nil {
		b.streams.secure = old.streams.secure
	}
	s := l.stack
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	l.bound.Store(b)
	l.mapped.clear() // of the socket before
	s.serve(l, b)
	lingers := old.packet != nil && o.Linger > 0
	if lingers {
		l.replaced = append(l.replaced, old)
	}
	s.wg.Add(1)
	s.mu.Unlock()
	if old.streams != nil {
		old.streams.hangUp() // before anything else is sent, which must not go out on an old connection
	}
	go func() {
		defer s.wg.Done()
		if lingers {
			wait := time.NewTimer(o.Linger)
			defer wait.Stop()
			select {
			case <-s.done:
			case <-wait.C:
			}
			s.mu.Lock()
			l.replaced = slices.DeleteFunc(l.replaced, func(b *binding) bool { return b == old })
			s.mu.Unlock()
		}
		old.close()
	}()
	return nil
}

// Vacate frees the address of a UDP socket that was replaced and is still read, for
// somebody who listens there next. The listener's own socket stays.
func (l *Listener) Vacate(addr netip.AddrPort) {
	l.stack.mu.Lock()
	defer l.stack.mu.Unlock()
	for _, b := range l.replaced {
		if b.local == addr {
			b.close()
		}
	}
}

// Resend sends once more what waits for an answer over UDP in this dialog, after
// the dialog's listener was moved: the far end's answers would go to an address
// that is no longer there, and an INVITE that was answered 100 is not repeated by
// itself. It must be called on the queue.
func (d *Dialog) Resend() {
	for _, t := range d.clients {
		if t.pending() && !t.flow.reliable() {
			t.send()
		}
	}
}

// follow leads the responses of a transaction to where its request was repeated
// from: the client has another address now. Only who saw the request knows its
// branch.
func (t *ServerTx) follow(flow Flow, top Via) {
	t.reply = flow.respondTo(top)
}

// gone says whether the listener's socket was closed.
func (s *streams) gone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
