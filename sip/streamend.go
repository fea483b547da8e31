package sip

import (
	"container/list"
	"errors"
	"net/netip"
	"time"
)

// flushTime is what the connections of a closing stack are given for what they
// have queued.
const flushTime = time.Second

// maxAnew bounds how often one request is sent anew.
const maxAnew = 4

var (
	errStreamClosed = errors.New("sip: connection closed")
	errMoved        = errors.New("sip: this end has another address")
)

// awaited is a request on a connection: it waits to leave, and then for its
// answer. The connection's end is told to it, so that nobody waits for what can
// no longer come (RFC 3261 sections 17.1.4 and 18.4).
type awaited struct {
	ended func(*cut) // at most once, on any goroutine
	conn  *streamConn
	place *list.Element
	left  bool // conn.mu guards it
}

// cut is why a request gets no answer over its connection, or did not leave.
type cut struct {
	reason error
	left   bool // it was written, at least in part: it may have arrived
	stale  bool // the connection was in use before: a new one may fare better
}

func (e *cut) Error() string {
	switch {
	case !e.left:
		return ErrTransport.Error() + ": " + e.reason.Error()
	case e.reason == errStreamClosed:
		return "sip: the connection has ended before the answer"
	}
	return "sip: the connection has ended before the answer: " + e.reason.Error()
}

// Unwrap makes it an ErrTransport.
func (e *cut) Unwrap() []error { return []error{ErrTransport, e.reason} }

// await notes that the request waits on the connection; false where that has
// ended, which the request has been told.
func (c *streamConn) await(w *awaited) bool {
	c.mu.Lock()
	closed := c.isClosed()
	if !closed {
		w.conn, w.place = c, c.waiting.PushBack(w)
	}
	c.mu.Unlock()
	if closed {
		w.ended(&cut{reason: c.why(), stale: c.stale()})
	}
	return !closed
}

// forget: the request waits no more. Nil waits for nothing.
func (w *awaited) forget() {
	if w == nil || w.conn == nil {
		return
	}
	w.conn.mu.Lock()
	w.conn.waiting.Remove(w.place)
	w.conn.mu.Unlock()
}

// leaves notes that the message is being written; false where the connection
// has ended.
func (c *streamConn) leaves(o outgoing) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosed() {
		return false
	}
	if o.wait != nil {
		o.wait.left = true
	}
	return true
}

// stays takes it back: not an octet of the message was written.
func (c *streamConn) stays(o outgoing) {
	if o.wait == nil {
		return
	}
	c.mu.Lock()
	o.wait.left = false
	c.mu.Unlock()
}

// unsent says that the message will not leave.
func (o outgoing) unsent(err error) {
	if o.wait != nil {
		o.wait.forget()
		o.wait.ended(&cut{reason: err})
	} else if o.fail != nil {
		o.fail(err)
	}
}

// stale says whether another connection may do better than this one, which has
// ended: its peer has spoken on it, or it was this side that went. Who ends a new
// connection without a word would end the next one as well.
func (c *streamConn) stale() bool { return c.reads.Load() > 0 || c.why() == errMoved }

// anew returns the flow on which what its connection did not take, or a request that
// has no answer over it, is sent again: to where that was dialled, or, of a
// connection that the peer has opened, to where the peer says that it listens, in
// Via or Contact. False where it says so nowhere: the port that a connection comes
// from is none that takes one.
func (f Flow) anew() (Flow, bool) {
	if f.conn != nil && !f.conn.dialed {
		if !f.back.IsValid() {
			return f, false
		}
		f.remote = f.back
	}
	f.conn, f.back = nil, netip.AddrPort{}
	return f, true
}

// reconnect keeps the connection over which the far end repeats a request, the one
// before having ended. Only who saw the request knows its branch.
func (d *Dialog) reconnect(m *Message, flow Flow) {
	if p, _ := d.sender(m); p != nil && p.flow.conn != nil && p.flow.conn.isClosed() {
		p.flow = flow
	}
}

// elsewhere sends what its connection did not take, a response (RFC 3261 section
// 18.2.2) or an ACK, over another one.
func (f Flow) elsewhere(o outgoing) func(error) {
	return func(err error) {
		if to, way := f.anew(); way && err != errStreamFull {
			to.listener.bound.Load().streams.send(to, outgoing{b: o.b, fail: o.fail, anew: true})
		} else if o.fail != nil {
			o.fail(err)
		}
	}
}

// close lets what is queued on connections that stand leave, for flushTime at
// most, and ends every one. It returns when all of their goroutines have.
func (s *streams) close() {
	conns := s.shutDown()
	for _, c := range conns {
		if !c.stands() {
			c.close()
		}
	}
	if conns != nil {
		close(s.leaving) // each writer ends its connection
	}
	impatience := time.AfterFunc(flushTime, func() {
		for _, c := range conns {
			c.close()
		}
	})
	s.wg.Wait()
	impatience.Stop()
}

// stands says whether the connection is past its dial and the handshake of TLS.
func (c *streamConn) stands() bool {
	c.s.mu.Lock()
	_, shaking := c.s.shaking[c]
	c.s.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn != nil && !shaking
}

// hangUp ends every connection at once and waits for nothing: this end has moved.
func (s *streams) hangUp() {
	for _, c := range s.shutDown() {
		c.end(errMoved)
	}
}

// shutDown takes no connections any more and returns those that there are; nil
// where it was called before.
func (s *streams) shutDown() []*streamConn {
	s.ln.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	conns := make([]*streamConn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// flush writes what is queued.
func (c *streamConn) flush() {
	for {
		select {
		case o := <-c.out:
			if !c.put(o) {
				return
			}
		default:
			return
		}
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

// close ends the connection. Its writer, which alone knows what has left, tells those
// who wait.
func (c *streamConn) close() {
	c.once.Do(func() {
		close(c.done)
		c.mu.Lock()
		if c.conn != nil {
			c.s.shut(c.conn)
		}
		c.mu.Unlock()
		c.s.mu.Lock()
		delete(c.s.conns, c)
		delete(c.s.shaking, c)
		if to := (peerKey{c.remote, c.name}); c.s.dialed[to] == c {
			delete(c.s.dialed, to)
		}
		c.s.mu.Unlock()
	})
}

// settle is the writer's end: what has not left goes anew, or will not, in its order,
// and behind it the requests that waited, so that none of them overtakes an ACK.
func (c *streamConn) settle() {
	c.close()
	c.drain()
	stale, why := c.stale(), c.why()
	var over []func()
	c.mu.Lock()
	for e := c.waiting.Front(); e != nil; e = e.Next() {
		w := e.Value.(*awaited)
		end := &cut{reason: why, left: w.left, stale: stale}
		over = append(over, func() { w.ended(end) })
	}
	c.waiting.Init()
	c.mu.Unlock()
	for _, tell := range over {
		tell()
	}
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

// drain tells of what will not leave; requests know.
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
