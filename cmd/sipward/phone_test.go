package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sipward/sipward/sip"
)

// patience bounds every wait of these tests; nothing takes it when all is well.
const patience = 20 * time.Second

// phone is a SIP user agent for one call: it takes the first that comes, or
// makes one.
type phone struct {
	stack    *sip.Stack
	listener *sip.Listener
	queue    sip.Queue
	dialog   *sip.Dialog // on the queue
	deaf     bool        // leaves BYE without an answer

	confirmed chan struct{}  // closed when the call stands
	refused   chan error     // why it did not come about
	bye       chan time.Time // when each BYE came
	once      sync.Once
}

// newPhone starts a phone on a free port of loopback.
func newPhone(t testing.TB, deaf bool) *phone {
	t.Helper()
	p, err := openPhone(deaf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stack.Close)
	return p
}

func openPhone(deaf bool) (*phone, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	p := &phone{deaf: deaf, confirmed: make(chan struct{}), refused: make(chan error, 1), bye: make(chan time.Time, 16)}
	p.stack = sip.NewStack(sip.Options{Handler: p.ring, UserAgent: "phone"})
	p.listener, err = p.stack.Listen(sip.ListenerOptions{Name: "phone", Packet: conn})
	return p, err
}

// Addr is where the phone takes calls.
func (p *phone) Addr() netip.AddrPort { return p.listener.Local() }

// ring answers every INVITE at once.
func (p *phone) ring(in *sip.Incoming) {
	if in.Method != "INVITE" {
		in.Reply(405, "")
		return
	}
	d := in.Accept(&p.queue, p, "phone")
	if d == nil {
		return
	}
	p.queue.Post(func() {
		p.dialog = d
		d.Answer("application/sdp", p.session())
	})
}

// call calls a URI through an outbound proxy, and waits until the call stands.
func (p *phone) call(proxy netip.AddrPort, uri string) error {
	to, err := sip.ParseURI(uri)
	if err != nil {
		return err
	}
	from := sip.URI{Scheme: "sip", User: "alice", Host: "a.example"}
	failed := make(chan error, 1)
	p.queue.Post(func() {
		d, err := p.stack.Dial(sip.Dial{Flow: p.listener.Flow(proxy), URI: to, From: sip.Address{URI: from}, To: sip.Address{URI: to},
			ContactUser: "alice", MaxForwards: 70, ContentType: "application/sdp", Body: p.session(), Queue: &p.queue, User: p})
		p.dialog = d
		failed <- err
	})
	if err := <-failed; err != nil {
		return err
	}
	return p.stands()
}

// session offers or answers one m-line of audio.
func (p *phone) session() []byte {
	return []byte("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n")
}

// stands waits until the call stands.
func (p *phone) stands() error {
	select {
	case <-p.confirmed:
		return nil
	case err := <-p.refused:
		return err
	case <-time.After(patience):
		return errors.New("the call does not come about")
	}
}

// ended waits for the first BYE and returns when it came.
func (p *phone) ended() (time.Time, error) {
	select {
	case at := <-p.bye:
		return at, nil
	case <-time.After(patience):
		return time.Time{}, errors.New("no BYE came")
	}
}

func (p *phone) OnAnswer(res *sip.Message) {
	p.dialog.Ack(res, "", nil)
	p.once.Do(func() { close(p.confirmed) })
}

func (p *phone) OnAck(*sip.Message, *sip.ServerTx) { p.once.Do(func() { close(p.confirmed) }) }

func (p *phone) OnRequest(tx *sip.ServerTx) {
	if tx.Request.Method != "BYE" {
		tx.Reply(405, "")
		return
	}
	select {
	case p.bye <- time.Now():
	default:
	}
	if !p.deaf {
		tx.Reply(200, "")
		p.dialog.Closed()
	}
}

func (p *phone) OnRefused(res *sip.Message, err error) {
	if res != nil {
		err = fmt.Errorf("refused: %d %s %s", res.Status, res.Reason, res.Get("Warning"))
	}
	p.refused <- err
}

func (p *phone) OnProvisional(*sip.Message)    {}
func (p *phone) OnAnswerRepeated(*sip.Message) {}
func (p *phone) OnCancel()                     {}
func (p *phone) OnAckTimeout()                 {}
