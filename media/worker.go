package media

import (
	"net/netip"
	"sync"
	"time"

	"github.com/sipward/sipward/media/srtp"
)

const (
	// maxPacket is the longest datagram relayed, in octets: more than an
	// Ethernet frame carries, so that only abuse is longer.
	maxPacket = 2000
	// bufferLen holds a packet and what protection adds to it.
	bufferLen = maxPacket + srtp.MaxOverhead
	// readLen is one octet more than a packet may have, which shows the longer.
	readLen = maxPacket + 1
)

// worker is the home of some sessions. Its lock guards all their state.
type worker struct {
	mu    sync.Mutex
	net   transport
	start time.Time

	sessions int // guarded by the engine's lock
}

// transport opens and serves a worker's sockets. All methods but close are
// called under the worker's lock; reads call Session.receive under it.
type transport interface {
	// open binds a socket whose packets belong to p.
	open(addr netip.AddrPort, p *port) (socket, error)
	// buffer lends an empty buffer of capacity bufferLen until the next call
	// of buffer, or, once sent, until flush.
	buffer() []byte
	// flush sends what was queued.
	flush()
	// close ends reading. Sessions are closed before.
	close() error
}

// socket is one bound UDP port.
type socket interface {
	// send sends or queues pkt, which is a buffer lent by the transport.
	send(pkt []byte, to netip.AddrPort)
	// close stops reading and gives the port back, under the worker's lock.
	close()
	// wait returns when no read of this socket is under way any more; it is
	// called without the lock.
	wait()
}

// port is one socket and its place in a session.
type port struct {
	session *Session
	end     End
	socket  socket
	sent    uint32 // RTP and RTCP packets, for the keep-alives
	rtcp    bool   // the port after the RTP port
	local   netip.AddrPort
}

// receive takes a datagram that came to the port. A port has one session; where
// calls share a port, this is where address and SSRC find theirs.
func (p *port) receive(src netip.AddrPort, pkt []byte, now time.Duration) {
	p.session.receive(p, src, pkt, now)
}

// now is the time on the worker's clock, which starts with the engine.
func (w *worker) now() time.Duration { return time.Since(w.start) }

func (w *worker) lock() { w.mu.Lock() }

// unlock sends what was queued under the lock and frees it.
func (w *worker) unlock() {
	w.net.flush()
	w.mu.Unlock()
}
