package sip

import (
	"crypto/tls"
	"net/netip"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

// typicalInvite is an INVITE as a desk phone sends it through one proxy.
const typicalInvite = "INVITE sip:+493012345@pbx.example.com;user=phone SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-524287-1---6e3d1f2a7c;rport\r\n" +
	"Via: SIP/2.0/UDP 192.0.2.55:5062;branch=z9hG4bK-13f2;received=192.0.2.55;rport=5062\r\n" +
	"Max-Forwards: 69\r\n" +
	"Record-Route: <sip:192.0.2.10;lr>\r\n" +
	"Contact: <sip:201@192.0.2.55:5062;transport=udp>\r\n" +
	"To: <sip:+493012345@pbx.example.com;user=phone>\r\n" +
	"From: \"Anna Example\" <sip:201@pbx.example.com>;tag=8d2c5b11\r\n" +
	"Call-ID: 97214OGE1ZTM0MjU2ZmE5ZjA1ZjQ\r\n" +
	"CSeq: 2 INVITE\r\n" +
	"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, MESSAGE, NOTIFY, REFER\r\n" +
	"Content-Type: application/sdp\r\n" +
	"Supported: replaces, timer, 100rel\r\n" +
	"User-Agent: Desk Phone 3.2.1\r\n" +
	"Content-Length: 249\r\n\r\n" +
	"v=0\r\no=- 13374 1 IN IP4 192.0.2.55\r\ns=call\r\nc=IN IP4 192.0.2.55\r\nt=0 0\r\nm=audio 16384 RTP/AVP 9 8 0 101\r\n" +
	"a=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n\r\n"

func BenchmarkParseAndWrite(b *testing.B) {
	in := []byte(typicalInvite)
	m, err := Parse(in)
	if err != nil || len(m.Body) != 249 {
		b.Fatal(len(m.Body), err)
	}
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := Parse(in)
		if err != nil || validate(m) != nil {
			b.Fatal(err)
		}
		m.Bytes()
	}
}

// BenchmarkCall is a whole call: INVITE, 100, 200, ACK, BYE, 200, both sides
// in this process.
func BenchmarkCall(b *testing.B) {
	network := memnet.New(memnet.Options{})
	defer network.Close()
	listen := func(at netip.AddrPort, h Handler) (*Stack, *Listener) {
		conn, err := network.ListenPacket(at)
		if err != nil {
			b.Fatal(err)
		}
		s := NewStack(Options{Handler: h, Log: quietLog})
		l, err := s.Listen(ListenerOptions{Packet: conn})
		if err != nil {
			b.Fatal(err)
		}
		return s, l
	}
	callee, _ := listen(bobAddr, func(in *Incoming) {
		u := newUser()
		u.taking(func() { u.dialog.Answer("application/sdp", []byte("v=0\r\n")) })(in)
	})
	defer callee.Close()
	caller, l := listen(aliceAddr, nil)
	defer caller.Close()
	uri := URI{Scheme: "sip", User: "bob", Host: bobAddr.Addr().String(), Port: 5060}
	b.ReportAllocs()
	for b.Loop() {
		u := newUser()
		over := make(chan struct{})
		u.answer = func(res *Message) {
			u.dialog.Ack(res, "", nil)
			u.dialog.Bye(func() { close(over) })
		}
		u.queue.Post(func() {
			d, err := caller.Dial(Dial{Flow: l.Flow(bobAddr), URI: uri, From: Address{URI: uri}, To: Address{URI: uri}, ContactUser: "a",
				ContentType: "application/sdp", Body: []byte("v=0\r\n"), Queue: u.queue, User: u})
			if err != nil {
				b.Error(err)
				close(over)
			}
			u.dialog = d
		})
		<-over
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// BenchmarkRelayed is a request outside dialogs with its answer, a client
// transaction and a server transaction in this process.
func BenchmarkRelayed(b *testing.B) {
	network := memnet.New(memnet.Options{})
	defer network.Close()
	far := &Queue{Log: quietLog}
	var stacks [2]*Stack
	var listeners [2]*Listener
	for i, at := range []netip.AddrPort{aliceAddr, bobAddr} {
		conn, err := network.ListenPacket(at)
		if err != nil {
			b.Fatal(err)
		}
		stacks[i] = NewStack(Options{Log: quietLog, Handler: func(in *Incoming) {
			if tx := in.Serve(far); tx != nil {
				far.Post(func() { tx.Reply(200, "") })
			} else {
				in.Reply(503, "")
			}
		}})
		defer stacks[i].Close()
		if listeners[i], err = stacks[i].Listen(ListenerOptions{Packet: conn}); err != nil {
			b.Fatal(err)
		}
	}
	q := &Queue{Log: quietLog}
	m := register()
	over := make(chan struct{})
	b.ReportAllocs()
	for b.Loop() {
		o := RequestOptions{Flow: listeners[0].Flow(bobAddr), Message: m, Queue: q, Handle: func(*Message, error) { over <- struct{}{} }}
		for stacks[0].Request(o) != nil { // the limit: until timer K
			time.Sleep(time.Millisecond)
		}
		<-over
	}
}

// BenchmarkTLSConnection is a connection with its handshake, a request and its
// answer, both sides in this process.
func BenchmarkTLSConnection(b *testing.B) {
	ca := newAuthority(b, "test authority")
	_, l, _ := tlsStack(b, echoing, ca.with(ca.issue(b, named("bob.example"))))
	cfg := &tls.Config{RootCAs: ca.pool, ServerName: "bob.example"}
	b.ReportAllocs()
	for b.Loop() {
		conn, err := tls.Dial("tcp", l.Local().String(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		p := &tcpPeer{t: b, Conn: conn}
		p.write(tcpOptions)
		p.next("200 OPTIONS")
		conn.Close()
	}
}
