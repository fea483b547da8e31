package memnet

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Conn is a socket of a [Network]. It is a [net.PacketConn] and has the
// AddrPort methods of [net.UDPConn] beside them. It is safe for concurrent use.
//
// It behaves as a kernel's UDP socket does: a datagram longer than the buffer
// that reads it is cut, datagrams for a full queue are dropped, writing to an
// address where nobody listens succeeds.
type Conn struct {
	network *Network
	local   netip.AddrPort
	queue   chan parcel
	closed  chan struct{}
	once    sync.Once

	read, write deadline
}

func newConn(n *Network, local netip.AddrPort, queueLen int) *Conn {
	return &Conn{
		network: n,
		local:   local,
		queue:   make(chan parcel, queueLen),
		closed:  make(chan struct{}),
		read:    deadline{changed: make(chan struct{})},
		write:   deadline{changed: make(chan struct{})},
	}
}

// ReadFrom waits for a datagram. The address is a [*net.UDPAddr]. It fails with
// [net.ErrClosed] once the socket is closed and with [os.ErrDeadlineExceeded]
// once the read deadline has passed, even where datagrams wait.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	size, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return size, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort is ReadFrom without the allocation of an address.
func (c *Conn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		select {
		case <-c.closed:
			return 0, netip.AddrPort{}, c.fail("read", net.ErrClosed)
		default:
		}
		at, changed := c.read.get()
		var expired <-chan time.Time
		var timer *time.Timer
		if !at.IsZero() {
			wait := time.Until(at)
			if wait <= 0 {
				return 0, netip.AddrPort{}, c.fail("read", os.ErrDeadlineExceeded)
			}
			timer = time.NewTimer(wait)
			expired = timer.C
		}
		var p parcel
		taken := false
		select {
		case p = <-c.queue:
			taken = true
		case <-c.closed:
		case <-changed:
		case <-expired:
		}
		if timer != nil {
			timer.Stop()
		}
		if taken {
			return copy(b, p.payload), p.from, nil
		}
	}
}

// WriteTo sends b to addr, which is a [*net.UDPAddr]. It never waits. It fails
// as a kernel does: EMSGSIZE beyond 65507 octets, EAFNOSUPPORT for an address of
// the other family, EINVAL for port 0.
func (c *Conn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*net.UDPAddr)
	if !ok || to == nil {
		return 0, c.fail("write", &net.AddrError{Err: "not a UDP address", Addr: addrString(addr)})
	}
	return c.WriteToUDPAddrPort(b, to.AddrPort())
}

// WriteToUDPAddrPort is WriteTo for an address of package netip.
func (c *Conn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-c.closed:
		return 0, c.fail("write", net.ErrClosed)
	default:
	}
	if at, _ := c.write.get(); !at.IsZero() && !at.After(time.Now()) {
		return 0, c.fail("write", os.ErrDeadlineExceeded)
	}
	if err := c.network.write(c.local, plainAddr(to), b, false); err != nil {
		return 0, c.fail("write", err)
	}
	return len(b), nil
}

// Close gives the address back and wakes readers with [net.ErrClosed]. What
// waits in the queue is gone. Closing again is an error, as with package net.
func (c *Conn) Close() error {
	err := c.fail("close", net.ErrClosed)
	c.once.Do(func() {
		err = nil
		c.network.forget(c)
		close(c.closed)
	})
	return err
}

// LocalAddr is the address that the socket listens at, a [*net.UDPAddr].
func (c *Conn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// SetDeadline sets both deadlines; the zero time removes them. A deadline set
// while a reader waits holds for that reader too.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the deadline of reads.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.read, t) }

// SetWriteDeadline sets the deadline of writes.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.write, t) }

func (c *Conn) setDeadline(d *deadline, t time.Time) error {
	select {
	case <-c.closed:
		return c.fail("set", net.ErrClosed)
	default:
	}
	d.set(t)
	return nil
}

// fail dresses err as package net does.
func (c *Conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Err: err}
}

// deadline is a time that can change while somebody waits for it.
type deadline struct {
	mu      sync.Mutex
	at      time.Time
	changed chan struct{} // closed when at changes, and replaced
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *deadline) get() (time.Time, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at, d.changed
}

func addrString(a net.Addr) string {
	if a == nil {
		return "<nil>"
	}
	if u, ok := a.(*net.UDPAddr); ok && u == nil {
		return "<nil>"
	}
	return a.String()
}
