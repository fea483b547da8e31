package sip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxStreams     = 1024             // connections of one listener, in and out
	maxOutgoing    = 256              // messages waiting for one connection
	messageTimeout = 32 * time.Second // for the first message of an inbound connection, and for the rest of one that began
	streamTimeout  = 10 * time.Second // for a dial and for a write
	quietTime      = 60 * time.Second // a connection that was quiet so long makes room for another one
)

var (
	errStreamFull   = errors.New("sip: connection's queue is full")
	errStreamLimit  = errors.New("sip: too many connections")
	errStreamClosed = errors.New("sip: connection closed")
)

// streams holds the TCP connections of one listener.
type streams struct {
	l    *Listener
	ln   net.Listener
	dial func(context.Context, netip.AddrPort) (net.Conn, error)

	mu     sync.Mutex
	conns  map[*streamConn]struct{}
	dialed map[netip.AddrPort]*streamConn // outbound, by the peer's address
	closed bool
	wg     sync.WaitGroup
}

// streamConn is one TCP connection. Messages leave through out, so that a
// slow peer holds up nobody else.
type streamConn struct {
	s      *streams
	remote netip.AddrPort
	out    chan outgoing
	done   chan struct{}
	once   sync.Once
	heard  atomic.Int64 // when something was read or dialled last, in nanoseconds of Unix time
	mu     sync.Mutex
	conn   net.Conn // nil until dialled
}

type outgoing struct {
	b    []byte
	fail func(error)
}

func newStreams(l *Listener, ln net.Listener, dial func(context.Context, netip.AddrPort) (net.Conn, error)) *streams {
	if dial == nil {
		local := l.local.Addr()
		dial = func(ctx context.Context, remote netip.AddrPort) (net.Conn, error) {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: local.AsSlice()}}
			return d.DialContext(ctx, "tcp", remote.String())
		}
	}
	return &streams{l: l, ln: ln, dial: dial, conns: map[*streamConn]struct{}{}, dialed: map[netip.AddrPort]*streamConn{}}
}

func (s *streams) accept() {
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || s.l.stack.closing() {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors: do not spin
			continue
		}
		ta, ok := conn.RemoteAddr().(*net.TCPAddr)
		if !ok {
			conn.Close()
			continue
		}
		ap := ta.AddrPort()
		c := s.add(netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), conn)
		if c == nil {
			conn.Close()
			continue
		}
		go c.write()
		go c.read(conn, true)
	}
}

// add registers a connection that was accepted; nil where the limit is reached.
func (s *streams) add(remote netip.AddrPort, conn net.Conn) *streamConn {
	s.makeRoom()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.newConn(remote, conn)
	if c != nil {
		s.wg.Add(1) // for the reader
	}
	return c
}

// newConn registers a connection and counts its writer. The caller holds mu.
func (s *streams) newConn(remote netip.AddrPort, conn net.Conn) *streamConn {
	if s.closed || len(s.conns) >= maxStreams {
		return nil
	}
	c := &streamConn{s: s, remote: remote, conn: conn, out: make(chan outgoing, maxOutgoing), done: make(chan struct{})}
	c.heard.Store(time.Now().UnixNano())
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	return c
}

// makeRoom closes the connection that was quiet longest where the limit is
// reached, so that idle connections of strangers lock nobody out.
func (s *streams) makeRoom() {
	s.mu.Lock()
	if len(s.conns) < maxStreams {
		s.mu.Unlock()
		return
	}
	var quietest *streamConn
	oldest := time.Now().Add(-quietTime).UnixNano()
	for c := range s.conns {
		if at := c.heard.Load(); at < oldest {
			quietest, oldest = c, at
		}
	}
	s.mu.Unlock()
	if quietest != nil {
		quietest.close()
	}
}

// send uses the connection that the flow names, then one that was dialled to
// the same address, then a new one.
func (s *streams) send(f Flow, b []byte, fail func(error)) {
	c := f.conn
	if c == nil || c.isClosed() {
		to := f.remote
		if f.back.IsValid() {
			to = f.back
		}
		if c = s.dialedTo(to); c == nil {
			if fail != nil {
				fail(errStreamLimit)
			}
			return
		}
	}
	select {
	case c.out <- outgoing{b, fail}:
		if c.isClosed() {
			c.drain() // it closed between the look and the send
		}
	default:
		if fail != nil {
			fail(errStreamFull)
		}
	}
}

// dialedTo returns the connection that was dialled to an address, or dials;
// nil where the limit is reached.
func (s *streams) dialedTo(remote netip.AddrPort) *streamConn {
	s.mu.Lock()
	c := s.dialed[remote]
	s.mu.Unlock()
	if c != nil && !c.isClosed() {
		return c
	}
	s.makeRoom()
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.dialed[remote]; c != nil && !c.isClosed() {
		return c // another dialog was faster
	}
	c = s.newConn(remote, nil)
	if c != nil {
		s.dialed[remote] = c
		go c.dialAndWrite()
	}
	return c
}

func (s *streams) close() {
	s.ln.Close()
	s.mu.Lock()
	s.closed = true
	conns := make([]*streamConn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.close()
	}
	s.wg.Wait()
}

func (c *streamConn) isClosed() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *streamConn) close() {
	c.once.Do(func() {
		close(c.done)
		c.mu.Lock()
		if c.conn != nil {
			c.conn.Close()
		}
		c.mu.Unlock()
		c.s.mu.Lock()
		delete(c.s.conns, c)
		if c.s.dialed[c.remote] == c {
			delete(c.s.dialed, c.remote)
		}
		c.s.mu.Unlock()
		c.drain()
	})
}

// drain tells those who wait that their message will not leave.
func (c *streamConn) drain() {
	for {
		select {
		case o := <-c.out:
			if o.fail != nil {
				o.fail(errStreamClosed)
			}
		default:
			return
		}
	}
}

func (c *streamConn) dialAndWrite() {
	ctx, cancel := context.WithTimeout(context.Background(), streamTimeout)
	go func() { // a close of the stack ends the dial at once
		select {
		case <-c.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	conn, err := c.s.dial(ctx, c.remote)
	cancel()
	if err != nil {
		c.s.l.stack.log.Debug("cannot connect", "peer", c.remote, "error", err)
		c.close()
		c.s.wg.Done()
		return
	}
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	if c.isClosed() {
		conn.Close()
		c.s.wg.Done()
		return
	}
	c.s.wg.Add(1)
	go c.read(conn, false)
	c.write()
}

func (c *streamConn) write() {
	defer c.s.wg.Done()
	defer c.close()
	for {
		select {
		case o := <-c.out:
			c.conn.SetWriteDeadline(time.Now().Add(streamTimeout))
			if _, err := c.conn.Write(o.b); err != nil {
				if o.fail != nil {
					o.fail(err)
				}
				return
			}
		case <-c.done:
			return
		}
	}
}

// read frames the stream (RFC 3261 section 18.3) until it ends or cannot be
// framed any more.
func (c *streamConn) read(conn net.Conn, inbound bool) {
	defer c.s.wg.Done()
	defer c.close()
	flow := Flow{listener: c.s.l, remote: c.remote, conn: c}
	var frames framer
	buf := make([]byte, 16<<10)
	limited := inbound // a deadline is set; what trickles in does not move it
	if inbound {
		conn.SetReadDeadline(time.Now().Add(messageTimeout))
	}
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		c.heard.Store(time.Now().UnixNano())
		frames.write(buf[:n])
		for {
			m, err := frames.next()
			if m == nil && err == nil {
				break
			}
			c.s.l.stack.receive(flow, m, err)
			if m == nil {
				return
			}
			limited = false
			conn.SetReadDeadline(time.Time{})
		}
		if frames.ping() {
			flow.send([]byte("\r\n"), nil)
		}
		if frames.partial() && !limited {
			limited = true
			conn.SetReadDeadline(time.Now().Add(messageTimeout))
		}
	}
}
