package sip

import (
	"errors"
	"net"
	"sync"
	"time"
)

// pongTimeout is how long an answer to a keep-alive may take (RFC 5626 section
// 4.4.1).
const pongTimeout = 10 * time.Second

// ErrNoPong: a connection's peer has not answered a keep-alive within 10 s.
var ErrNoPong = errors.New("sip: the peer did not answer a keep-alive")

var keepAlive = []byte("\r\n\r\n")

// KeepAlive sends two line ends to a peer at each interval (RFC 5626 section
// 3.5.1), at least a second: over UDP so that what stands between keeps the way
// open, over TCP and TLS on the connection that the flow names, or on the one
// that was dialled to its peer when there is one; it opens none. A connection
// on which nothing at all came within 10 s of a keep-alive is closed.
//
// lost, where given, is told of each kept connection that has ended, with
// ErrNoPong where that was why, also before the first keep-alive; it runs on a goroutine of its own. After stop
// it is not called any more, and nothing is sent.
func (s *Stack) KeepAlive(flow Flow, interval time.Duration, lost func(error)) (stop func()) {
	k := &keeper{flow: flow, interval: max(interval, time.Second), lost: lost, stopped: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			k.run(s.done)
		}()
	}
	var once sync.Once
	return func() { once.Do(func() { close(k.stopped) }) }
}

// keeper keeps one flow alive.
type keeper struct {
	flow     Flow
	interval time.Duration
	lost     func(error)
	stopped  chan struct{}
}

func (k *keeper) run(done <-chan struct{}) {
	tick := time.NewTicker(k.interval)
	defer tick.Stop()
	var (
		conn  *streamConn     // that was kept last
		ended <-chan struct{} // its end
		pong  <-chan time.Time
		reads uint64 // before the keep-alive that waits for its pong
	)
	if k.flow.reliable() {
		if c := k.standing(); c != nil {
			conn, ended = c, c.done
		}
	}
	for {
		select {
		case <-done:
			return
		case <-k.stopped:
			return
		case <-tick.C:
			c, before := k.ping()
			if c != conn && c != nil {
				conn, ended, pong = c, c.done, nil
			}
			if c != nil && pong == nil {
				pong, reads = time.After(pongTimeout), before
			}
		case <-pong:
			if pong = nil; conn.reads.Load() == reads {
				conn.end(ErrNoPong)
			}
			conn.pinged.Store(false) // what lives without pongs may send pings
		case <-ended:
			err := conn.why()
			conn, ended, pong = nil, nil, nil
			if k.lost != nil && !closed(k.stopped) && !closed(done) {
				go k.lost(err)
			}
		}
	}
}

// ping sends a keep-alive and returns the connection that takes it, with the
// reads that it had before.
func (k *keeper) ping() (c *streamConn, reads uint64) {
	l := k.flow.listener
	if l.packet != nil {
		l.packet.WriteTo(keepAlive, net.UDPAddrFromAddrPort(k.flow.remote))
		return nil, 0
	}
	if c = k.standing(); c != nil {
		reads = c.reads.Load()
		c.pinged.Store(true)
		c.send(outgoing{b: keepAlive})
	}
	return c, reads
}

// standing returns the connection that the flow has now, or nil.
func (k *keeper) standing() *streamConn {
	if c := k.flow.conn; c != nil && !c.isClosed() {
		return c
	}
	return k.flow.listener.streams.standing(peerKey{k.flow.remote, k.flow.name})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
