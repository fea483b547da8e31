package mitm

import (
	"context"
	"net"
	"net/netip"

	"github.com/sipward/sipward/sip"
)

// claims says whether a message that crosses between the houses is for the fork's
// dialog. To is what he wrote into his answer.
func (f *Fork) claims(from netip.Addr, m *sip.Message) bool {
	return f.man.streams != nil && f.own == nil && from == f.man.a && m.IsRequest() && m.To().Tag() == f.tag
}

// onTheirs writes as the callee's house would.
func (f *Fork) onTheirs(m *sip.Message) {
	f.mu.Lock()
	from, to := f.callee, f.home
	f.mu.Unlock()
	f.man.Send(from, to, m)
}

// onOwn writes on a new connection of his own, to where the INVITE's Via says that
// its sender listens (RFC 3261 section 18.2.2).
func (f *Fork) onOwn(via sip.Via, m *sip.Message) {
	host, err := netip.ParseAddr(via.Host)
	if err != nil {
		return
	}
	f.man.mu.Lock()
	f.man.touches()
	f.man.mu.Unlock()
	conn, err := f.man.streams.From(f.how.At.Addr())(context.Background(), netip.AddrPortFrom(host, uint16(via.Port)))
	if err != nil {
		return
	}
	go f.attend(conn)
	conn.Write(m.Bytes())
}

func (f *Fork) accept() {
	for {
		conn, err := f.own.Accept()
		if err != nil {
			return
		}
		go f.attend(conn)
	}
}

// attend reads a connection of his. Who sends SIP writes a message at a time.
func (f *Fork) attend(conn net.Conn) {
	f.mu.Lock()
	f.conns = append(f.conns, conn)
	f.mu.Unlock()
	buf := make([]byte, 65535)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if msg, err := sip.Parse(append([]byte(nil), buf[:n]...)); err == nil {
			f.take(msg, func(res *sip.Message) { conn.Write(res.Bytes()) })
		}
	}
}
