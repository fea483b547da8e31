package calls

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// streamNet joins TCP listeners within a bubble.
type streamNet struct {
	mu        sync.Mutex
	listeners map[netip.AddrPort]*streamListener
	ports     atomic.Uint32
}

var errRefused = errors.New("connection refused")

// listen returns a listener at an address.
func (n *streamNet) listen(at netip.AddrPort) *streamListener {
	l := &streamListener{net: n, at: at, incoming: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = map[netip.AddrPort]*streamListener{}
	}
	n.listeners[at] = l
	return l
}

// from returns how a host dials.
func (n *streamNet) from(host netip.Addr) func(context.Context, netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		n.mu.Lock()
		l := n.listeners[to]
		n.mu.Unlock()
		if l == nil {
			return nil, errRefused
		}
		near, far := net.Pipe()
		source := netip.AddrPortFrom(host, uint16(30000+n.ports.Add(1)))
		select {
		case l.incoming <- &streamEnd{far, net.TCPAddrFromAddrPort(source)}:
			l.mu.Lock()
			l.conns = append(l.conns, far)
			l.mu.Unlock()
			return &streamEnd{near, net.TCPAddrFromAddrPort(to)}, nil
		case <-l.closed:
			return nil, errRefused
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

type streamEnd struct {
	net.Conn
	remote net.Addr
}

func (e *streamEnd) RemoteAddr() net.Addr { return e.remote }

type streamListener struct {
	net      *streamNet
	at       netip.AddrPort
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once

	mu    sync.Mutex
	conns []net.Conn
}

func (l *streamListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *streamListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

func (l *streamListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.net.mu.Lock()
		delete(l.net.listeners, l.at)
		l.net.mu.Unlock()
	})
	return nil
}

// cut ends the connections that were taken so far.
func (l *streamListener) cut() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Close()
	}
	n, l.conns = len(l.conns), nil
	return n
}
