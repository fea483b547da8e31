package mitm

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/media/srtp"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// Forged is an answer of his own to somebody else's INVITE, as a proxy that forks
// would bring it.
type Forged struct {
	At    netip.AddrPort // where his SIP comes in; his media comes to the ports behind
	After bool           // behind the callee's answer, else as soon as the INVITE passes
	Sign  func(t1 [32]byte) []string

	// Over TCP he speaks on the connection of the INVITE, as the callee's house, or
	// Apart: on connections of his own.
	Apart bool
	// Anew has him wait for the INVITE to come a second time, on another connection.
	Anew bool
	// Cut has him end the connections between the houses behind his answer.
	Cut bool
}

// Fork is such an answer on its way. Its methods may be called from any goroutine.
type Fork struct {
	man   *Man
	how   Forged
	tag   string // of its dialog
	sip   net.PacketConn
	own   *memnet.StreamListener // over TCP, apart
	media net.PacketConn

	mu                 sync.Mutex
	conns              []net.Conn // of his own
	x                  *keyexchange.Exchange
	resp               string
	invite             *sip.Message
	invites            int            // that have passed
	home               netip.AddrPort // where the INVITE came from
	callee             netip.AddrPort // where it went to
	theirs             netip.AddrPort // where its media is to go
	acked, opened, bye int
	overheard          int
	read               *srtp.Context
}

// Fork has him answer the next INVITE from house A beside whoever is called there.
// Close must follow.
func (m *Man) Fork(how Forged) (*Fork, error) {
	f := &Fork{man: m, how: how}
	var err error
	if f.sip, err = m.net.ListenPacket(how.At); err != nil {
		return nil, err
	}
	if f.media, err = m.net.ListenPacket(f.mediaAt()); err != nil {
		f.sip.Close()
		return nil, err
	}
	if m.streams != nil && how.Apart {
		f.own = m.streams.Listen(how.At)
		go f.accept()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f.tag = fmt.Sprintf("fork%d", len(m.forks)+1)
	m.forks = append(m.forks, f)
	go f.serve()
	go f.hear()
	return f, nil
}

// Close gives his sockets back.
func (f *Fork) Close() {
	f.sip.Close()
	f.media.Close()
	if f.own != nil {
		f.own.Close()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.Close()
	}
}

// Opened counts the ACKs with a share that came to him, and Released the BYEs.
func (f *Fork) Opened() int   { return f.count(&f.opened) }
func (f *Fork) Released() int { return f.count(&f.bye) }

// Acked counts the ACKs, with a share or without.
func (f *Fork) Acked() int { return f.count(&f.acked) }

// Overheard counts the packets of the caller's speech that he could read.
func (f *Fork) Overheard() int { return f.count(&f.overheard) }

func (f *Fork) count(n *int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *n
}

func (f *Fork) mediaAt() netip.AddrPort {
	return netip.AddrPortFrom(f.how.At.Addr(), f.how.At.Port()+2)
}

// pass sees what crosses between the houses and answers in its time.
func (f *Fork) pass(from, to netip.AddrPort, msg *sip.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case Invites(msg) && f.x == nil && from.Addr() == f.man.a:
		if f.invites++; f.how.Anew && f.invites < 2 {
			return
		}
		own, err := keyexchange.Read(keyexchange.KindInvite, found(msg))
		s, sdpErr := sdp.Parse(msg.Body)
		if err != nil || !own.Present || sdpErr != nil || len(s.Media()) == 0 {
			return
		}
		first := s.Media()[0]
		addr, err := netip.ParseAddr(first.Addr)
		if err != nil {
			return
		}
		f.invite, f.home, f.callee, f.theirs = msg, from, to, netip.AddrPortFrom(addr, uint16(first.Port))
		if f.x, f.resp, err = keyexchange.NewResponder(f.man.config(), own, nil); err != nil {
			return
		}
		if !f.how.After {
			f.answer()
		}
	case Answers(msg) && f.how.After && f.x != nil && f.resp != "" && msg.CallID() == f.invite.CallID():
		f.answer()
		f.resp = "" // once
	}
}

// answer writes a 200 with a To tag of its own. A tap must not send.
func (f *Fork) answer() {
	var sigs []string
	if f.how.Sign != nil {
		sigs = f.how.Sign(f.x.T1())
	}
	if f.x.SetSignatures(sigs) != nil {
		return
	}
	res := sip.NewResponse(f.invite, 200, "OK", f.tag)
	contact := f.how.At
	if f.man.streams != nil && !f.how.Apart {
		contact = f.callee
	}
	res.Add("Contact", "<sip:mallory@"+contact.String()+">")
	res.Add("Supported", "dh-srtp")
	at := f.mediaAt()
	body := fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\na=dh-resp:%[2]s\r\n", at.Addr(), f.resp)
	for _, v := range sigs {
		body += "a=dh-sig:" + v + "\r\n"
	}
	body += fmt.Sprintf("m=audio %d RTP/AVP 0\r\na=sendrecv\r\n", at.Port())
	res.SetBody(sdpType, []byte(body))
	via, err := sip.ParseVia(f.invite.Get("Via"))
	if err != nil {
		return
	}
	go func() { // it fails where the network is closed meanwhile
		if f.own != nil {
			f.onOwn(via, res)
		} else {
			f.onTheirs(res)
		}
		if f.how.Cut {
			f.man.Cut()
		}
	}()
}

// serve takes what the caller's house sends to his contact.
func (f *Fork) serve() {
	buf := make([]byte, 65535)
	for {
		n, from, err := f.sip.ReadFrom(buf)
		if err != nil {
			return
		}
		if msg, err := sip.Parse(append([]byte(nil), buf[:n]...)); err == nil {
			f.take(msg, func(res *sip.Message) { f.sip.WriteTo(res.Bytes(), from) })
		}
	}
}

// take takes what is for the fork's dialog.
func (f *Fork) take(msg *sip.Message, reply func(*sip.Message)) {
	if Byes(msg) { // not under the lock: what is written comes to the tap
		defer reply(sip.NewResponse(msg, 200, "OK", ""))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case Acks(msg):
		f.acked++
		own, err := keyexchange.Read(keyexchange.KindAck, found(msg))
		if err == nil && own.Present && f.opened == 0 && f.x.TakeFin(own) == nil {
			f.opened++
			f.talk()
		}
	case Byes(msg):
		f.bye++
	}
}

// talk confirms the exchange: packets under its keys.
func (f *Fork) talk() {
	k, err := f.x.Keys(0)
	if err != nil {
		return
	}
	write, err := srtp.NewContext(f.x.Suite().Name, k.Send.Key, k.Send.Salt)
	if err != nil {
		return
	}
	if f.read, err = srtp.NewContext(f.x.Suite().Name, k.Recv.Key, k.Recv.Salt); err != nil {
		return
	}
	go func() {
		for i := range 100 {
			b := make([]byte, rtpHeader+160)
			b[0], b[3], b[11] = 0x80, byte(i), 0x66
			out, err := write.Protect(nil, b)
			if err != nil {
				return
			}
			if _, err := f.media.WriteTo(out, net.UDPAddrFromAddrPort(f.theirs)); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

// hear listens to the caller.
func (f *Fork) hear() {
	buf := make([]byte, 2048)
	for {
		n, _, err := f.media.ReadFrom(buf)
		if err != nil {
			return
		}
		f.mu.Lock()
		if f.read != nil && n >= rtpHeader && !isRTCP(buf[:n]) {
			if _, err := f.read.Unprotect(nil, buf[:n]); err == nil {
				f.overheard++
			}
		}
		f.mu.Unlock()
	}
}
