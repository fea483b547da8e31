package memnet

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Streams joins TCP listeners in memory, as [Network] does sockets of UDP. The zero
// value is ready. It is safe for concurrent use, and belongs to a bubble of
// testing/synctest where it is made in one.
type Streams struct {
	// Rule, where it is set, judges what is written, one Write at a time. Of its
	// verdicts those to drop it and to put something else in its place are taken.
	// Whoever sends SIP writes a message at a time. It must be set before anybody
	// dials.
	Rule Rule
	// Tap, where it is set, sees what has arrived, as it was written and before the
	// rule. It must be set before anybody dials.
	Tap func(Datagram)
	// Delay is how long what is written takes; the writer waits for it.
	Delay time.Duration

	mu        sync.Mutex
	listeners map[netip.AddrPort]*StreamListener
	open      []*streamEnd
	ports     atomic.Uint32
}

// Listen returns a listener at an address.
func (n *Streams) Listen(at netip.AddrPort) *StreamListener {
	l := &StreamListener{net: n, at: at, incoming: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = map[netip.AddrPort]*StreamListener{}
	}
	n.listeners[at] = l
	return l
}

// From returns how a host dials. Where nobody listens the error is
// ECONNREFUSED.
func (n *Streams) From(host netip.Addr) func(context.Context, netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		n.mu.Lock()
		l := n.listeners[to]
		n.mu.Unlock()
		if l == nil {
			return nil, syscall.ECONNREFUSED
		}
		a, b := net.Pipe()
		source := netip.AddrPortFrom(host, uint16(30000+n.ports.Add(1)))
		near, far := &streamEnd{a, n, source, to}, &streamEnd{b, n, to, source}
		select {
		case l.incoming <- far:
			l.mu.Lock()
			l.conns = append(l.conns, far)
			l.mu.Unlock()
			n.mu.Lock()
			n.open = append(n.open, near, far)
			n.mu.Unlock()
			return near, nil
		case <-l.closed:
			return nil, syscall.ECONNREFUSED
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Inject writes into the newest connection between two hosts as if one of them had,
// somebody on the wire with a forged address. The rule does not judge it. It fails
// where there is no connection.
func (n *Streams) Inject(from, to netip.Addr, b []byte) error {
	n.mu.Lock()
	var end *streamEnd
	for _, e := range n.open {
		if e.local.Addr() == from && e.remote.Addr() == to {
			end = e
		}
	}
	n.mu.Unlock()
	if end == nil {
		return errors.New("memnet: no connection between these hosts")
	}
	time.Sleep(n.Delay)
	_, err := end.Conn.Write(b)
	return err
}

// Cut ends the connections between two hosts and says how many.
func (n *Streams) Cut(a, b netip.Addr) int {
	n.mu.Lock()
	var ends []*streamEnd
	for _, e := range n.open {
		if f, t := e.local.Addr(), e.remote.Addr(); f == a && t == b || f == b && t == a {
			ends = append(ends, e)
		}
	}
	n.mu.Unlock()
	for _, e := range ends {
		e.Close()
	}
	return len(ends) / 2
}

// streamEnd is one end of a connection.
type streamEnd struct {
	net.Conn
	net           *Streams
	local, remote netip.AddrPort
}

func (e *streamEnd) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(e.local) }
func (e *streamEnd) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(e.remote) }

func (e *streamEnd) Write(b []byte) (int, error) {
	time.Sleep(e.net.Delay)
	out := b
	if e.net.Rule != nil {
		switch v := e.net.Rule(e.local, e.remote, b); {
		case v.Drop:
			return len(b), nil
		case v.Payload != nil:
			out = v.Payload
		}
	}
	if _, err := e.Conn.Write(out); err != nil {
		return 0, err
	}
	if e.net.Tap != nil {
		e.net.Tap(Datagram{Time: time.Now(), From: e.local, To: e.remote, Payload: bytes.Clone(b), Copies: 1})
	}
	return len(b), nil
}

func (e *streamEnd) Close() error {
	e.net.mu.Lock()
	for i, o := range e.net.open {
		if o == e {
			e.net.open = append(e.net.open[:i], e.net.open[i+1:]...)
			break
		}
	}
	e.net.mu.Unlock()
	return e.Conn.Close()
}

// StreamListener is a [net.Listener] of [Streams].
type StreamListener struct {
	net      *Streams
	at       netip.AddrPort
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once

	mu    sync.Mutex
	conns []net.Conn
}

// Accept implements [net.Listener].
func (l *StreamListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Addr implements [net.Listener].
func (l *StreamListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

// Close implements [net.Listener].
func (l *StreamListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.net.mu.Lock()
		delete(l.net.listeners, l.at)
		l.net.mu.Unlock()
	})
	return nil
}

// Cut ends the connections that were taken so far and says how many.
func (l *StreamListener) Cut() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Close()
	}
	n, l.conns = len(l.conns), nil
	return n
}
