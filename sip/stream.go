package sip

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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
	l      *Listener
	ln     net.Listener
	secure *secure // nil: no TLS
	dial   func(context.Context, netip.AddrPort) (net.Conn, error)

	mu      sync.Mutex
	conns   map[*streamConn]struct{}
	shaking map[*streamConn]struct{} // of conns: inbound, in the handshake of TLS
	dialed  map[peerKey]*streamConn  // outbound
	closed  bool
	wg      sync.WaitGroup
}

// peerKey is who was dialled: over TLS one address may have several names, and
// a connection proves one of them.
type peerKey struct {
	addr netip.AddrPort
	name string
}

// streamConn is one TCP connection. Messages leave through out, so that a
// slow peer holds up nobody else.
type streamConn struct {
	s      *streams
	remote netip.AddrPort
	name   string // TLS: whom the peer has to prove to be
	out    chan outgoing
	done   chan struct{}
	once   sync.Once
	heard  atomic.Int64  // when something was read or dialled last, in nanoseconds of Unix time
	reads  atomic.Uint64 // how often something was read
	pinged atomic.Bool   // a keep-alive of ours waits for its answer
	client *x509.Certificate

	mu      sync.Mutex
	conn    net.Conn      // nil until dialled
	reason  error         // why it ended
	unheard []func(error) // TLS, dialled: of what left before the peer said anything
	spoken  bool          // the peer has said something
}

type outgoing struct {
	b     []byte
	fail  func(error)
	claim *atomic.Bool // not nil: who sets it first sends the message
}

func newStreams(l *Listener, local netip.Addr, ln net.Listener, dial func(context.Context, netip.AddrPort) (net.Conn, error)) *streams {
	if dial == nil {
		dial = func(ctx context.Context, remote netip.AddrPort) (net.Conn, error) {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: local.AsSlice()}}
			return d.DialContext(ctx, "tcp", remote.String())
		}
	}
	return &streams{l: l, ln: ln, dial: dial, conns: map[*streamConn]struct{}{}, shaking: map[*streamConn]struct{}{}, dialed: map[peerKey]*streamConn{}}
}

func (s *streams) accept() {
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || s.gone() || s.l.stack.closing() {
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
		if s.secure != nil {
			conn = s.secure.server(conn)
		}
		c := s.add(netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), conn)
		switch {
		case c == nil:
			conn.Close()
		case s.secure != nil:
			go c.shakeHands(conn.(*tls.Conn))
		default:
			go c.write()
			go c.read(conn, true)
		}
	}
}

// add registers a connection that was accepted; nil where the limit is reached.
func (s *streams) add(remote netip.AddrPort, conn net.Conn) *streamConn {
	s.makeRoom()
	s.limitHandshakes()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.newConn(remote, conn)
	if c != nil {
		s.wg.Add(1) // for the reader
		if s.secure != nil {
			s.shaking[c] = struct{}{}
		}
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
// the same peer, then a new one.
func (s *streams) send(f Flow, o outgoing) {
	c := f.conn
	if c == nil || c.isClosed() {
		to := peerKey{f.remote, f.name}
		if f.back.IsValid() {
			to.addr = f.back
		}
		if c = s.dialedTo(to); c == nil {
			if o.fail != nil {
				o.fail(errStreamLimit)
			}
			return
		}
	}
	c.send(o)
}

func (c *streamConn) send(o outgoing) {
	select {
	case c.out <- o:
		if c.isClosed() {
			c.drain() // it closed between the look and the send
		}
	default:
		if o.fail != nil {
			o.fail(errStreamFull)
		}
	}
}

// dialedTo returns the connection that was dialled to a peer, or dials; nil
// where the limit is reached.
func (s *streams) dialedTo(to peerKey) *streamConn {
	if c := s.standing(to); c != nil {
		return c
	}
	s.makeRoom()
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.dialed[to]; c != nil && !c.isClosed() {
		return c // another dialog was faster
	}
	c := s.newConn(to.addr, nil)
	if c != nil {
		c.name = to.name
		s.dialed[to] = c
		go c.dialAndWrite()
	}
	return c
}

// standing returns the connection that was dialled to a peer, or nil.
func (s *streams) standing(to peerKey) *streamConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.dialed[to]; c != nil && !c.isClosed() {
		return c
	}
	return nil
}

func (s *streams) close() {
	s.hangUp()
	s.wg.Wait()
}

// hangUp closes everything and waits for nothing.
func (s *streams) hangUp() {
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
			c.s.shut(c.conn)
		}
		unheard := c.unheard
		c.unheard = nil
		c.mu.Unlock()
		c.s.mu.Lock()
		delete(c.s.conns, c)
		delete(c.s.shaking, c)
		if to := (peerKey{c.remote, c.name}); c.s.dialed[to] == c {
			delete(c.s.dialed, to)
		}
		c.s.mu.Unlock()
		for _, fail := range unheard {
			fail(c.why())
		}
		c.drain()
	})
}

// end is close with a reason for those who wait.
func (c *streamConn) end(reason error) {
	c.mu.Lock()
	if c.reason == nil {
		c.reason = reason
	}
	c.mu.Unlock()
	c.close()
}

func (c *streamConn) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason == nil {
		return errStreamClosed
	}
	return c.reason
}

// drain tells those who wait that their message will not leave.
func (c *streamConn) drain() {
	for {
		select {
		case o := <-c.out:
			if o.fail != nil {
				o.fail(c.why())
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
	if err == nil && c.s.secure != nil {
		conn, err = c.s.secure.call(ctx, conn, c.name, c.remote)
	}
	cancel()
	if err != nil {
		c.s.l.stack.log.Debug("cannot connect", "peer", c.remote, "name", c.name, "error", err)
		c.end(err)
		c.s.wg.Done()
		return
	}
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	if c.isClosed() {
		c.s.shut(conn)
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
			if o.claim != nil && !o.claim.CompareAndSwap(false, true) {
				continue // it has left by another way
			}
			c.conn.SetWriteDeadline(time.Now().Add(streamTimeout))
			if _, err := c.conn.Write(o.b); err != nil {
				if o.fail != nil {
					o.fail(err)
				}
				return
			}
			c.left(o)
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
	flow := Flow{listener: c.s.l, remote: c.remote, name: c.name, conn: c}
	frames := framer{awaited: &c.pinged}
	buf := make([]byte, 16<<10)
	limited := inbound // a deadline is set; what trickles in does not move it
	if inbound {
		conn.SetReadDeadline(time.Now().Add(messageTimeout))
	}
	for {
		n, err := conn.Read(buf)
		if err != nil {
			c.lost(err)
			return
		}
		c.heard.Store(time.Now().UnixNano())
		if c.reads.Add(1) == 1 {
			c.speaks()
		}
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
