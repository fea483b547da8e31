package media

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sipward/sipward/media/srtp"
)

// backends are what serves sockets: the system's own way, the same where it does
// not allow many datagrams in one call, and package net.
var backends = map[string]Options{
	"system":   {},
	"no ring":  {NoRing: true},
	"portable": {Listen: listenUDP},
}

var loopback = netip.MustParseAddr("127.0.0.1")

func eachBackend(t *testing.T, f func(t *testing.T, e *Engine)) {
	for name, options := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, newTestEngine(t, options))
		})
	}
}

func newTestEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	e, err := NewEngine(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func openSession(t testing.TB, e *Engine) *Session {
	t.Helper()
	s, err := e.Open(loopback, loopback)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// peer is a phone or a far end with real sockets.
type peer struct {
	t         testing.TB
	rtp, rtcp *net.UDPConn
	buf       [2048]byte
}

func newPeer(t testing.TB, addr netip.Addr) *peer {
	t.Helper()
	p := &peer{t: t}
	for _, c := range []**net.UDPConn{&p.rtp, &p.rtcp} {
		conn, err := listenUDP(netip.AddrPortFrom(addr, 0))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		*c = conn.(*net.UDPConn)
	}
	return p
}

func localOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func (p *peer) remote() Remote { return Remote{RTP: localOf(p.rtp), RTCP: localOf(p.rtcp)} }

func (p *peer) send(c *net.UDPConn, pkt []byte, to netip.AddrPort) {
	p.t.Helper()
	if _, err := c.WriteToUDPAddrPort(pkt, to); err != nil {
		p.t.Error(err)
	}
}

// read gives the next datagram.
func (p *peer) read(c *net.UDPConn) []byte {
	p.t.Helper()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _, err := c.ReadFromUDPAddrPort(p.buf[:])
	if err != nil {
		p.t.Fatal(err)
	}
	return bytes.Clone(p.buf[:n])
}

// joined is a call through two sessions: phone 1, plain, session 1, protected,
// session 2, plain, phone 2.
type joined struct {
	phones   [2]*peer
	sessions [2]*Session
}

// join opens both sessions; session i talks to its phone at end A.
func join(t testing.TB, e *Engine) *joined {
	t.Helper()
	var j joined
	for i := range 2 {
		j.phones[i] = newPeer(t, loopback)
		j.sessions[i] = openSession(t, e)
		j.sessions[i].SetRemote(A, j.phones[i].remote())
		j.sessions[i].SetMode(A, Plain)
	}
	for i, s := range j.sessions {
		rtp, rtcp := j.sessions[1-i].Local(B)
		s.SetRemote(B, Remote{RTP: rtp, RTCP: rtcp})
		s.SetMode(B, Waiting)
	}
	return &j
}

// protect keys both sessions, the second first: it is the responder, which
// must hear the new keys before the initiator sends under them.
func (j *joined) protect(t testing.TB, suite srtp.Suite, responder, initiator ProtectOptions) {
	t.Helper()
	one, other := newKeys(suite)
	if err := j.sessions[1].Protect(B, other, responder); err != nil {
		t.Error(err)
	}
	if err := j.sessions[0].Protect(B, one, initiator); err != nil {
		t.Error(err)
	}
}

// phonePort is where phone i sends RTP.
func (j *joined) phonePort(i int) netip.AddrPort {
	rtp, _ := j.sessions[i].Local(A)
	return rtp
}

// firstStream is the own SSRC of end B and the number it sent last.
func firstStream(s *Session) (own uint32, last int64) {
	s.do(func(time.Duration) {
		stream := &s.ends[B].numbering.streams[0]
		own, last = stream.own, stream.last
	})
	return own, last
}
