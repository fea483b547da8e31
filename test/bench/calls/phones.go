package calls

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/sipward/sipward/sip"
)

// phones are many user agents behind one address for signalling. They speak
// no media: their SDP names a port at which nobody listens.
type phones struct {
	stack *sip.Stack
	lis   *sip.Listener
	addr  netip.Addr // of lis, and of media
	up    chan error // an element for each call that is up at this end, or failed
}

func newPhones(at netip.Addr, log *slog.Logger) (*phones, error) {
	p := &phones{addr: at, up: make(chan error, 1<<16)}
	p.stack = sip.NewStack(sip.Options{Handler: p.incoming, Log: log})
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		return nil, err
	}
	conn.SetReadBuffer(4 << 20)
	if p.lis, err = p.stack.Listen(sip.ListenerOptions{Name: "phones", Packet: conn}); err != nil {
		conn.Close()
		return nil, err
	}
	return p, nil
}

func (p *phones) close() { p.stack.Close() }

// phone is one end of one call.
type phone struct {
	phones *phones
	queue  sip.Queue
	dialog *sip.Dialog
}

func (p *phones) sdp() []byte {
	return fmt.Appendf(nil, "v=0\r\no=- 1 1 IN IP4 %[1]v\r\ns=-\r\nc=IN IP4 %[1]v\r\nt=0 0\r\nm=audio 9000 RTP/AVP 0 8 101\r\n"+
		"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n", p.addr)
}

// dial calls the i-th callee through a house.
func (p *phones) dial(i int, house netip.AddrPort) {
	ph := &phone{phones: p}
	user := fmt.Sprintf("call%06d", i)
	to := sip.URI{Scheme: "sip", User: user, Host: "b.example"}
	ph.queue.Post(func() {
		var err error
		ph.dialog, err = p.stack.Dial(sip.Dial{Flow: p.lis.Flow(house), URI: to, ContactUser: user,
			From: sip.Address{URI: sip.URI{Scheme: "sip", User: user, Host: "a.example"}}, To: sip.Address{URI: to},
			ContentType: "application/sdp", Body: p.sdp(), Queue: &ph.queue, User: ph})
		if err != nil {
			p.up <- err
		}
	})
}

func (p *phones) incoming(in *sip.Incoming) {
	if in.Method != "INVITE" {
		in.Reply(501, "")
		return
	}
	ph := &phone{phones: p}
	if ph.dialog = in.Accept(&ph.queue, ph, in.URI.User); ph.dialog == nil {
		return
	}
	ph.queue.Post(func() { ph.dialog.Answer("application/sdp", p.sdp()) })
}

// await waits until so many more calls are up.
func (p *phones) await(calls int, limit time.Duration) error {
	timeout := time.After(limit)
	for i := range calls {
		select {
		case err := <-p.up:
			if err != nil {
				return err
			}
		case <-timeout:
			return fmt.Errorf("calls: after %v %d of %d calls are up", limit, i, calls)
		}
	}
	return nil
}

// register binds the contact of the i-th user at a house.
func (p *phones) register(i int, house netip.AddrPort) {
	user := fmt.Sprintf("user%06d", i)
	m := &sip.Message{Method: "REGISTER", URI: sip.URI{Scheme: "sip", Host: "a.example"}, Fields: []sip.Field{
		{Name: "Max-Forwards", Value: "70"},
		{Name: "From", Value: "<sip:" + user + "@a.example>;tag=1"},
		{Name: "To", Value: "<sip:" + user + "@a.example>"},
		{Name: "Call-ID", Value: user + "@bench"},
		{Name: "CSeq", Value: "1 REGISTER"},
		{Name: "Contact", Value: "<sip:" + user + "@" + p.lis.Local().String() + ">;expires=3600"},
	}}
	err := p.stack.Request(sip.RequestOptions{Flow: p.lis.Flow(house), Message: m, Queue: &sip.Queue{}, Handle: func(res *sip.Message, err error) {
		switch {
		case err == nil && res.Status < 200:
			return
		case err == nil && res.Status != 200:
			err = fmt.Errorf("calls: REGISTER is answered %d %s", res.Status, res.Reason)
		}
		p.up <- err
	}})
	if err != nil {
		p.up <- err
	}
}

// OnProvisional is of sip.User, as are the others.
func (ph *phone) OnProvisional(*sip.Message) {}

// OnAnswer ends the set-up with an ACK.
func (ph *phone) OnAnswer(res *sip.Message) {
	ph.dialog.Ack(res, "", nil)
	ph.phones.up <- nil
}

// OnAnswerRepeated needs nothing: the dialog repeats the ACK.
func (ph *phone) OnAnswerRepeated(*sip.Message) {}

// OnRefused fails the measurement.
func (ph *phone) OnRefused(res *sip.Message, err error) {
	if res != nil {
		err = fmt.Errorf("calls: a call was refused: %d %s", res.Status, res.Reason)
	}
	ph.phones.up <- err
}

// OnRequest takes the BYE at the end.
func (ph *phone) OnRequest(tx *sip.ServerTx) {
	tx.Reply(200, "")
	if tx.Request.Method == "BYE" {
		ph.dialog.Closed()
	}
}

// OnAck says that the call is up at the callee too.
func (ph *phone) OnAck(*sip.Message, *sip.ServerTx) { ph.phones.up <- nil }

// OnCancel does not happen: calls are answered at once.
func (ph *phone) OnCancel() {}

// OnAckTimeout fails the measurement.
func (ph *phone) OnAckTimeout() { ph.phones.up <- fmt.Errorf("calls: an ACK is missing") }
