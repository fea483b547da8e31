package demo

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// prober is a caller that says what a test wants it to say.
type prober struct {
	t         *testing.T
	n         Network
	to        sip.URI
	stack     *sip.Stack
	listener  *sip.Listener
	queue     sip.Queue
	dialog    *sip.Dialog
	responses chan *sip.Message
	ended     chan struct{} // closed at the echo's BYE
	rtp, rtcp net.PacketConn
	ack       []byte // body of the ACK
}

var proberAddr = netip.MustParseAddr("192.0.2.7")

func newProber(t *testing.T, n Network, e *machine) *prober {
	t.Helper()
	p := &prober{t: t, n: n, responses: make(chan *sip.Message, 16), ended: make(chan struct{})}
	p.stack = sip.NewStack(sip.Options{})
	p.rtp, p.rtcp = p.socket(netip.AddrPortFrom(proberAddr, 4000)), p.socket(netip.AddrPortFrom(proberAddr, 4001))
	lo, err := sipListener(n, "prober", "udp", proberAddr)
	if err != nil {
		t.Fatal(err)
	}
	if p.listener, err = p.stack.Listen(lo); err != nil {
		t.Fatal(err)
	}
	p.to, err = sip.ParseURI(e.URI())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *prober) socket(a netip.AddrPort) net.PacketConn {
	p.t.Helper()
	c, err := p.n.ListenPacket(a)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// dial sends an INVITE and gives the final response.
func (p *prober) dial(kind, body string, fields ...sip.Field) *sip.Message {
	p.t.Helper()
	addr, _ := p.to.Addr()
	p.queue.Post(func() {
		var err error
		p.dialog, err = p.stack.Dial(sip.Dial{Flow: p.listener.Flow(netip.AddrPortFrom(addr, uint16(p.to.Port))), URI: p.to,
			From: sip.Address{URI: sip.URI{Scheme: "sip", User: "p", Host: "p.example"}}, To: sip.Address{URI: p.to},
			Fields: fields, ContentType: kind, Body: []byte(body), Queue: &p.queue, User: p})
		if err != nil {
			p.t.Error(err)
		}
	})
	return await(p.t, p.responses)
}

// do sends a request within the call and gives the final response.
func (p *prober) do(method, kind, body string) *sip.Message {
	p.t.Helper()
	p.queue.Post(func() {
		p.dialog.Do(method, kind, []byte(body), func(res *sip.Message, err error) {
			switch {
			case err != nil:
				p.t.Error(err)
			case res.Status >= 200:
				if method == "INVITE" && res.Status < 300 {
					p.dialog.Ack(res, sdpType, p.ack)
				}
				p.responses <- res
			}
		})
	})
	return await(p.t, p.responses)
}

func (p *prober) OnProvisional(*sip.Message) {}

func (p *prober) OnAnswer(res *sip.Message) {
	p.dialog.Ack(res, sdpType, p.ack)
	p.responses <- res
}

func (p *prober) OnAnswerRepeated(*sip.Message) {}

func (p *prober) OnRefused(res *sip.Message, err error) {
	if err != nil {
		p.t.Error(err)
	}
	p.responses <- res
}

func (p *prober) OnRequest(tx *sip.ServerTx) {
	tx.Reply(200, "")
	if tx.Request.Method == "BYE" {
		p.dialog.Closed()
		close(p.ended)
	}
}

func (p *prober) OnAck(*sip.Message, *sip.ServerTx) {}
func (p *prober) OnCancel()                         {}
func (p *prober) OnAckTimeout()                     {}

func (p *prober) close() {
	p.stack.Close()
	p.rtp.Close()
	p.rtcp.Close()
}

// say sends a datagram to the RTP port that a description names.
func (p *prober) say(from net.PacketConn, answer sdp.Media, b []byte) {
	p.t.Helper()
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(addrOf(answer.Addr), uint16(answer.Port)))
	if _, err := from.WriteTo(b, to); err != nil {
		p.t.Error(err)
	}
}

// hear gives the next datagram, or nil where none comes within that time.
func (p *prober) hear(c net.PacketConn, within time.Duration) []byte {
	p.t.Helper()
	buf := make([]byte, maxDatagram)
	_ = c.SetReadDeadline(time.Now().Add(within))
	n, _, err := c.ReadFrom(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// offerAt is a description with the lines of m and nothing strange.
func offerAt(addr string, m ...string) string {
	return "v=0\r\no=p 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 " + addr + "\r\nt=0 0\r\n" + strings.Join(m, "\r\n") + "\r\n"
}

func mediaOf(t *testing.T, res *sip.Message) []sdp.Media {
	t.Helper()
	s, err := sdp.Parse(res.Body)
	if err != nil || res.Status != 200 {
		t.Fatalf("%d %s, %v", res.Status, res.Reason, err)
	}
	return s.Media()
}
