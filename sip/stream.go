package sip

import (
	"container/list"
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
	errStreamFull  = errors.New("sip: connection's queue is full")
	errStreamLimit = errors.New("sip: too many connections")
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
	leaving chan struct{} // closed: what is queued leaves, and then the connections end
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
	dialed bool   // by this side
	out    chan outgoing
	done   chan struct{}
	once   sync.Once
	heard  atomic.Int64  // when something was read or dialled last, in nanoseconds of Unix time
	reads  atomic.Uint64 // how often something was read
	pinged atomic.Bool   // a keep-alive of ours waits for its answer
	client *x509.Certificate

	mu      sync.Mutex
	conn    net.Conn  // nil until dialled
	reason  error     // why it ended
	waiting list.List // of *awaited
}

type outgoing struct {
	b     []byte
	fail  func(error)  // it could not be written
	wait  *awaited     // a request: in place of fail
	claim *atomic.Bool // not nil: who sets it first sends the message
	anew  bool         // another connection has not taken it
}

func newStreams(l *Listener, local netip.Addr, ln net.Listener, dial func(context.Context, netip.AddrPort) (net.Conn, error)) *streams {
	if dial == nil {
		dial = func(ctx context.Context, remote netip.AddrPort) (net.Conn, error) {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: local.AsSlice()}}
			return d.DialContext(ctx, "tcp", remote.String())
		}
	}
	return &streams{l: l, ln: ln, dial: dial, conns: map[*streamConn]struct{}{}, shaking: map[*streamConn]struct{}{}, dialed: map[peerKey]*streamConn{}, leaving: make(chan struct{})}
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
// the same peer, then a new one. What is no request and was to go on one that was
// there goes over another where it ends meanwhile, once, and as [Flow.anew] says.
func (s *streams) send(f Flow, o outgoing) {
	c, there := f.conn, true
	if c == nil || c.isClosed() {
		to := peerKey{f.remote, f.name}
		if f.back.IsValid() {
			to.addr = f.back
		}
		if c, there = s.dialedTo(to); c == nil {
			o.unsent(errStreamLimit)
			return
		}
	}
	if there && !o.anew && o.wait == nil && o.claim == nil {
		o.fail = f.elsewhere(o)
	}
	c.send(o)
}

func (c *streamConn) send(o outgoing) {
	if o.wait != nil && !c.await(o.wait) {
		return
	}
	select {
	case c.out <- o:
		if c.isClosed() {
			c.drain() // it closed between the look and the send
		}
	default:
		o.unsent(errStreamFull)
	}
}

// dialedTo returns the connection that was dialled, or is being dialled, to a peer,
// and that there was one; else it dials. Nil where the limit is reached.
func (s *streams) dialedTo(to peerKey) (_ *streamConn, there bool) {
	if c := s.standing(to); c != nil {
		return c, true
	}
	s.makeRoom()
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.dialed[to]; c != nil && !c.isClosed() {
		return c, true // another dialog was faster
	}
	c := s.newConn(to.addr, nil)
	if c != nil {
		c.name, c.dialed = to.name, true
		s.dialed[to] = c
		go c.dialAndWrite()
	}
	return c, false
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
		c.settle()
		c.s.wg.Done()
		return
	}
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	if c.isClosed() {
		c.s.shut(conn)
		c.settle()
		c.s.wg.Done()
		return
	}
	c.s.wg.Add(1)
	go c.read(conn, false)
	c.write()
}

func (c *streamConn) write() {
	defer c.s.wg.Done()
	defer c.settle()
	for {
		select {
		case o := <-c.out:
			if !c.put(o) {
				return
			}
		case <-c.s.leaving:
			c.flush()
			return
		case <-c.done:
			return
		}
	}
}

// put writes one message; false where the connection has ended.
func (c *streamConn) put(o outgoing) bool {
	if o.claim != nil && !o.claim.CompareAndSwap(false, true) {
		return true // it has left by another way
	}
	if !c.leaves(o) {
		if o.fail != nil {
			o.fail(c.why())
		}
		return false
	}
	c.conn.SetWriteDeadline(time.Now().Add(streamTimeout))
	if n, err := c.conn.Write(o.b); err != nil {
		if n == 0 {
			c.stays(o)
		}
		c.end(err) // first, or it would come here again as it goes anew
		if o.fail != nil {
			o.fail(err)
		}
		return false
	}
	return true
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
		c.reads.Add(1)
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
			c.send(outgoing{b: []byte("\r\n")})
		}
		if frames.partial() && !limited {
			limited = true
			conn.SetReadDeadline(time.Now().Add(messageTimeout))
		}
	}
}
