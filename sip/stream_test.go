package sip

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// tcpStack is a stack on a real TCP socket of the loopback.
func tcpStack(t *testing.T, h Handler) (*Stack, *Listener) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewStack(Options{Handler: h, Log: quietLog})
	l, err := s.Listen(ListenerOptions{Stream: ln})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, l
}

// tcpPeer is a scripted peer's end of a connection.
type tcpPeer struct {
	t testing.TB
	net.Conn
	frames framer
}

func dialTCP(t testing.TB, to netip.AddrPort) *tcpPeer {
	t.Helper()
	conn, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &tcpPeer{t: t, Conn: conn}
}

func (p *tcpPeer) addr() netip.AddrPort { return p.LocalAddr().(*net.TCPAddr).AddrPort() }

func (p *tcpPeer) write(s string) {
	p.t.Helper()
	if _, err := p.Write([]byte(s)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *tcpPeer) next(name string) *Message {
	p.t.Helper()
	b := make([]byte, 4096)
	p.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		if m, err := p.frames.next(); err != nil {
			p.t.Fatal(err)
		} else if m != nil {
			if what(m.Bytes()) == name {
				return m
			}
			continue
		}
		n, err := p.Read(b)
		if err != nil {
			p.t.Fatalf("%s did not come: %v", name, err)
		}
		p.frames.write(b[:n])
	}
}

// wantClosed waits until the other side has closed.
func (p *tcpPeer) wantClosed() {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := io.Copy(io.Discard, p); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		p.t.Errorf("still open: %d octets, %v", n, err)
	}
}

// request is a request as a phone at that address sends it.
func (p *tcpPeer) request(method string, changes ...string) *Message {
	r := &remote{addr: p.addr()}
	m := r.request(method)
	m.Set("Via", "SIP/2.0/TCP "+p.addr().String()+";branch=z9hG4bK-"+method)
	for i := 0; i < len(changes); i += 2 {
		m.Set(changes[i], changes[i+1])
	}
	return m
}

func echoing(in *Incoming) {
	if in.Malformed() != nil {
		in.Reply(400, "")
		return
	}
	in.Reply(200, "", Field{"X-Body", itoa(len(in.Body))}, Field{"X-Subject", in.Get("Subject")})
}

func TestTCPSplitAtEveryOctet(t *testing.T) {
	t.Parallel()
	_, l := tcpStack(t, echoing)
	p := dialTCP(t, l.Local())
	m := p.request("MESSAGE", "Subject", "a\r\n b", "Content-Type", "text/plain")
	m.Body = []byte("line\r\n\r\nand more")
	wire := string(m.Bytes())
	for cut := 1; cut < len(wire); cut++ {
		p.write(wire[:cut])
		p.write(wire[cut:])
		if res := p.next("200 MESSAGE"); res.Get("X-Body") != "16" || res.Get("X-Subject") != "a b" {
			t.Fatalf("cut at %d: %s", cut, res.Bytes())
		}
	}
}

func TestTCPManyMessagesInOneSegment(t *testing.T) {
	t.Parallel()
	_, l := tcpStack(t, echoing)
	p := dialTCP(t, l.Local())
	var segment strings.Builder
	for i := range 200 {
		m := p.request("MESSAGE", "CSeq", itoa(i)+" MESSAGE")
		m.Body = make([]byte, i)
		segment.Write(m.Bytes())
	}
	p.write(segment.String())
	for i := range 200 {
		if res := p.next("200 MESSAGE"); res.Get("CSeq") != itoa(i)+" MESSAGE" || res.Get("X-Body") != itoa(i) {
			t.Fatalf("answer %d: %s", i, res.Bytes())
		}
	}
}

func TestTCPKeepAliveIsAnswered(t *testing.T) {
	t.Parallel()
	_, l := tcpStack(t, echoing)
	p := dialTCP(t, l.Local())
	pong := func() {
		t.Helper()
		b := make([]byte, 2)
		p.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(p, b); err != nil || string(b) != "\r\n" {
			t.Fatalf("pong %q, %v", b, err)
		}
	}
	p.write("\r\n\r\n")
	pong()
	p.write("\r\n")
	p.write("\r\n")
	pong()
	p.write(string(p.request("OPTIONS").Bytes()))
	p.next("200 OPTIONS")
	p.write("\r\n\r\n")
	pong()
}

func TestTCPGarbageClosesItsConnectionOnly(t *testing.T) {
	t.Parallel()
	s, l := tcpStack(t, echoing)
	good := dialTCP(t, l.Local())
	good.write(string(good.request("OPTIONS").Bytes()))
	good.next("200 OPTIONS")
	bad := []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"OPTIONS sip:a SIP/2.0\r\n\r\n",
		"OPTIONS sip:a SIP/2.0\r\nContent-Length: 70000\r\n\r\n",
		strings.Repeat("x", 2*MaxMessage),
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 200) + "\r\n\r\n",
	}
	for _, garbage := range bad {
		p := dialTCP(t, l.Local())
		p.Write([]byte(garbage)) // the stack may close before it is all written
		p.wantClosed()
	}
	good.write(string(good.request("OPTIONS", "CSeq", "2 OPTIONS").Bytes()))
	good.next("200 OPTIONS")
	// What is malformed inside a message that can be cut is answered there.
	m := good.request("OPTIONS", "CSeq", "3 INVITE")
	good.write(string(m.Bytes()))
	good.next("400 INVITE")
	good.write(strings.Replace(string(good.request("OPTIONS").Bytes()), "sip:bob@192.0.2.1", "<sip:bob>", 1))
	good.next("400 OPTIONS")
	if got := s.Malformed(); got != uint64(len(bad)+2) {
		t.Errorf("%d counted as malformed, want %d", got, len(bad)+2)
	}
}

func TestTCPDialFailure(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := ln.Addr().(*net.TCPAddr).AddrPort()
	ln.Close()
	s, l := tcpStack(t, nil)
	u := newUser()
	over := make(chan struct{})
	u.refused = func(res *Message, err error) { close(over) }
	u.dial(t, s, l, nobody)
	select {
	case <-over:
	case <-time.After(10 * time.Second):
		t.Fatal("the user was told nothing")
	}
	if got := u.events(); len(got) != 1 || !strings.HasPrefix(got[0], "refused: "+ErrTransport.Error()+": ") || !strings.Contains(got[0], "refused") {
		t.Errorf("heard %q", got)
	}
	u.do(func() {})
	if s.Dialogs() != 0 {
		t.Errorf("%d Call-IDs in use", s.Dialogs())
	}
}

// accepting is a scripted peer that is dialled.
func accepting(t *testing.T) (netip.AddrPort, func() *tcpPeer, chan net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	conns := make(chan net.Conn, 10)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	}()
	return ln.Addr().(*net.TCPAddr).AddrPort(), func() *tcpPeer {
		t.Helper()
		select {
		case conn := <-conns:
			t.Cleanup(func() { conn.Close() })
			return &tcpPeer{t: t, Conn: conn}
		case <-time.After(10 * time.Second):
			t.Fatal("nobody connected")
			return nil
		}
	}, conns
}

func TestTCPOneConnectionServesADialogThatWasDialled(t *testing.T) {
	t.Parallel()
	addr, accept, conns := accepting(t)
	s, l := tcpStack(t, nil)
	u := newUser()
	u.dial(t, s, l, addr)
	p := accept()
	inv := p.next("INVITE")
	via, err := ParseVia(inv.Get("Via"))
	if err != nil || via.Transport != "TCP" || !strings.HasSuffix(inv.Get("Contact"), ";transport=tcp>") {
		t.Errorf("INVITE %s", inv.Bytes())
	}
	res := NewResponse(inv, 200, "", "b")
	res.Add("Contact", "<sip:b@"+addr.String()+";transport=tcp>")
	p.write(string(res.Bytes()))
	p.next("ACK")
	// A request of the far end on that connection, and one of ours.
	info := p.request("INFO", "To", inv.Get("From"), "From", res.Get("To"), "Call-ID", inv.CallID())
	p.write(string(info.Bytes()))
	p.next("200 INFO")
	u.do(func() { u.dialog.Bye(nil) })
	bye := p.next("BYE")
	p.write(string(NewResponse(bye, 200, "", "").Bytes()))
	if len(conns) != 0 {
		t.Error("another connection was opened")
	}
}

func TestTCPOneConnectionServesADialogThatWasTaken(t *testing.T) {
	t.Parallel()
	u := newUser()
	acked := make(chan struct{})
	u.ack = func(*Message, *ServerTx) { close(acked) }
	_, l := tcpStack(t, u.taking(func() { u.dialog.Answer("", nil) }))
	p := dialTCP(t, l.Local())
	p.write(string(p.request("INVITE").Bytes()))
	to := p.next("200 INVITE").Get("To")
	p.write(string(p.request("ACK", "To", to).Bytes()))
	<-acked
	// The Contact names a port where nobody listens: the connection is used.
	u.do(func() { u.dialog.Do("INFO", "", nil, func(*Message, error) {}) })
	info := p.next("INFO")
	p.write(string(NewResponse(info, 200, "", "").Bytes()))
	u.do(func() { u.dialog.Bye(nil) })
	p.next("BYE")
}

// A response whose connection has ended goes to the port that Via names (RFC
// 3261 section 18.2.2).
func TestTCPResponseBehindAClosedConnection(t *testing.T) {
	t.Parallel()
	addr, accept, _ := accepting(t)
	u := newUser()
	rings := make(chan struct{})
	s, l := tcpStack(t, u.taking(func() { close(rings) }))
	p := dialTCP(t, l.Local())
	p.write(string(p.request("INVITE", "Via", "SIP/2.0/TCP "+addr.String()+";branch=z9hG4bK1;rport").Bytes()))
	<-rings
	p.next("100 INVITE")
	p.Close()
	for deadline := time.Now().Add(10 * time.Second); connections(l) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the connection's end went unnoticed")
		}
		time.Sleep(time.Millisecond) // no event says so
	}
	u.do(func() { u.dialog.Refuse(486, "") })
	accept().next("486 INVITE")
	_ = s
}

func connections(l *Listener) int {
	l.bound.Load().streams.mu.Lock()
	defer l.bound.Load().streams.mu.Unlock()
	return len(l.bound.Load().streams.conns)
}

// Requests of several dialogs to one peer share a connection, also when they
// leave at the same moment.
func TestTCPManyDialogsShareAConnection(t *testing.T) {
	t.Parallel()
	addr, accept, conns := accepting(t)
	s, l := tcpStack(t, nil)
	for range 20 {
		u := newUser()
		u.queue.Post(func() {
			uri := URI{Scheme: "sip", Host: "h"}
			if _, err := s.Dial(Dial{Flow: l.Flow(addr), URI: uri, From: Address{URI: uri}, To: Address{URI: uri}, Queue: u.queue, User: u}); err != nil {
				t.Error(err)
			}
		})
	}
	p := accept()
	for range 20 {
		p.next("INVITE")
	}
	if len(conns) != 0 {
		t.Errorf("%d more connections were opened", len(conns))
	}
}

func TestListenErrors(t *testing.T) {
	t.Parallel()
	s := NewStack(Options{Log: quietLog})
	any, err := net.ListenPacket("udp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer any.Close()
	if _, err := s.Listen(ListenerOptions{Packet: any}); err == nil {
		t.Error("an unspecified address was taken")
	}
	if _, err := s.Listen(ListenerOptions{}); err == nil {
		t.Error("no socket was taken")
	}
	l, err := s.Listen(ListenerOptions{Packet: listenUDP(t), Advertise: netip.MustParseAddrPort("203.0.113.5:5060")})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.ContactURI("a").String(); got != "sip:a@203.0.113.5:5060" {
		t.Errorf("Contact %s", got)
	}
	s.Close()
	s.Close() // again
	late := listenUDP(t)
	defer late.Close()
	if _, err := s.Listen(ListenerOptions{Packet: late}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed stack: %v", err)
	}
}

// A dial that hangs ends with the stack.
func TestTCPCloseEndsADial(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewStack(Options{Log: quietLog})
	dialing := make(chan struct{})
	l, err := s.Listen(ListenerOptions{Stream: ln, Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		close(dialing)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	u := newUser()
	u.dial(t, s, l, netip.MustParseAddrPort("127.0.0.1:9"))
	<-dialing
	start := time.Now()
	s.Close()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// A refusal over TCP: no repetition, and the ACK ends the transaction at once.
func TestTCPRefusal(t *testing.T) {
	t.Parallel()
	u := newUser()
	s, l := tcpStack(t, u.taking(func() { u.dialog.Refuse(486, "") }))
	p := dialTCP(t, l.Local())
	inv := p.request("INVITE")
	p.write(string(inv.Bytes()))
	res := p.next("486 INVITE")
	p.write(string(p.request("ACK", "Via", inv.Get("Via"), "To", res.Get("To")).Bytes()))
	p.write(string(p.request("OPTIONS", "Call-ID", "other").Bytes())) // answered behind the ACK
	p.next("481 OPTIONS")
	u.do(func() {})
	if s.Dialogs() != 0 {
		t.Errorf("%d Call-IDs in use", s.Dialogs())
	}
}
