package sip

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	sipgo "github.com/emiago/sipgo/sip"
)

const (
	maxStreams    = 1024             // connections of one listener, in and out
	maxOutgoing   = 256              // messages waiting for one connection
	firstMessage  = 32 * time.Second // an inbound connection that says nothing is closed after it
	streamTimeout = 10 * time.Second // for a dial and for a write
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

// add registers a connection; nil where the limit is reached.
func (s *streams) add(remote netip.AddrPort, conn net.Conn) *streamConn {
	c := &streamConn{s: s, remote: remote, conn: conn, out: make(chan outgoing, maxOutgoing), done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= maxStreams {
		return nil
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1) // for the writer
	if conn != nil {
		s.wg.Add(1) // and the reader
	}
	return c
}

// send uses the connection that the flow names, then one that was dialled to
// the same address, then a new one.
func (s *streams) send(f Flow, b []byte, fail func(error)) {
	c := f.conn
	if c == nil || c.isClosed() {
		s.mu.Lock()
		c = s.dialed[f.remote]
		s.mu.Unlock()
	}
	if c == nil || c.isClosed() {
		if c = s.add(f.remote, nil); c == nil {
			if fail != nil {
				fail(errStreamLimit)
			}
			return
		}
		s.mu.Lock()
		s.dialed[f.remote] = c
		s.mu.Unlock()
		go c.dialAndWrite()
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
	frames := parser.NewSIPStream()
	defer frames.Close()
	flow := Flow{listener: c.s.l, remote: c.remote, conn: c}
	buf := make([]byte, 16<<10)
	if inbound {
		conn.SetReadDeadline(time.Now().Add(firstMessage))
	}
	empty := true // nothing of a message is buffered
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		b := buf[:n]
		if empty {
			if ping := bytes.HasPrefix(b, []byte("\r\n\r\n")); ping {
				flow.send([]byte("\r\n"), nil) // RFC 5626 section 4.4.1
			}
			if b = bytes.TrimLeft(b, "\r\n"); len(b) == 0 {
				continue
			}
		}
		frames.Write(b)
		for {
			raw, _, err := frames.ParseNext()
			if err != nil {
				empty = frames.Buffer().Len() == 0 && raw == nil
				if isPartial(err) {
					break
				}
				c.s.l.stack.receive(flow, nil, ErrMalformed)
				return
			}
			conn.SetReadDeadline(time.Time{})
			m, err := convert(raw)
			c.s.l.stack.receive(flow, m, err)
			if rest := frames.Buffer(); rest.Len() > 0 {
				trimmed := bytes.TrimLeft(rest.Bytes(), "\r\n")
				rest.Next(rest.Len() - len(trimmed))
			}
			if empty = frames.Buffer().Len() == 0; empty {
				break
			}
		}
	}
}

func isPartial(err error) bool {
	return errors.Is(err, sipgo.ErrParseSipPartial) || errors.Is(err, sipgo.ErrParseEOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
