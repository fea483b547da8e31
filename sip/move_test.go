package sip

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

var aliceElsewhere = netip.MustParseAddrPort("198.51.100.7:5060")

// packet opens a socket on the test's network.
func (w *world) packet(at netip.AddrPort) net.PacketConn {
	w.Helper()
	c, err := w.net.ListenPacket(at)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// relocate takes alice to another network.
func (w *world) relocate(l *Listener) {
	w.Helper()
	w.net.TakeAway(aliceAddr.Addr())
	if err := l.Move(MoveOptions{Listener: ListenerOptions{Packet: w.packet(aliceElsewhere)}}); err != nil {
		w.Fatal(err)
	}
}

func TestDialogGoesOnAtTheNewAddress(t *testing.T) {
	inWorld(t, memnet.Options{Delay: 5 * time.Millisecond}, func(w *world) {
		callee := newUser()
		w.stack(bobAddr, callee.taking(func() { callee.dialog.Answer("", nil) }))
		s, l := w.stack(aliceAddr, nil)
		u := newUser()
		u.dial(t, s, l, bobAddr)
		time.Sleep(time.Second)
		w.relocate(l)
		if l.Local() != aliceElsewhere || l.Advertised() != aliceElsewhere {
			t.Errorf("at %v, known as %v", l.Local(), l.Advertised())
		}
		u.do(func() {
			u.dialog.Do("INVITE", "", nil, func(res *Message, err error) {
				if err != nil {
					u.note("%v", err)
					return
				}
				u.note("re-INVITE %d", res.Status)
				if res.Status >= 200 {
					u.dialog.Ack(res, "", nil)
				}
			})
		})
		time.Sleep(time.Second)
		w.wantHeard(u, "answer", "re-INVITE 100", "re-INVITE 200")
		if got := w.wires(aliceElsewhere, "INVITE"); len(got) != 1 || !strings.Contains(got[0].wire, "Contact: <sip:alice@198.51.100.7:5060>") {
			t.Errorf("re-INVITE %v", got)
		}
		callee.do(func() { callee.dialog.Bye(nil) })
		w.wantHeard(callee, "INVITE", "ACK", "INVITE", "ACK")
		time.Sleep(time.Second)
		w.wantHeard(u, "answer", "re-INVITE 100", "re-INVITE 200", "BYE")
		time.Sleep(time.Minute)
		w.wantDialogs(0)
	})
}

// What rang before the move is answered behind it, without ringing anew.
func TestResendLeadsTheAnswerToTheNewAddress(t *testing.T) {
	inWorld(t, memnet.Options{Delay: 5 * time.Millisecond}, func(w *world) {
		callee := newUser()
		w.stack(bobAddr, callee.taking(func() { callee.dialog.Provision(180, "", "", nil) }))
		s, l := w.stack(aliceAddr, nil)
		u := newUser()
		u.dial(t, s, l, bobAddr)
		time.Sleep(time.Second)
		w.relocate(l)
		u.do(func() { u.dialog.Resend() })
		time.Sleep(time.Second)
		callee.do(func() { callee.dialog.Answer("", nil) })
		time.Sleep(time.Second)
		w.wantHeard(u, "180", "180", "answer")
		w.wantHeard(callee, "INVITE", "ACK")
	})
}

func TestReplacedSocketIsReadForAWhile(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		heard := 0
		_, l := w.stack(aliceAddr, func(in *Incoming) { heard++; in.Reply(200, "") })
		bob := w.remote(bobAddr)
		ask := func(to netip.AddrPort, branch string) {
			m := "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP " + bobAddr.String() + ";branch=z9hG4bK" + branch + ";rport\r\nFrom: <sip:b@b>;tag=1\r\nTo: <sip:a@a>\r\nCall-ID: " + branch + "\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
			bob.conn.WriteTo([]byte(m), net.UDPAddrFromAddrPort(to))
			synctest.Wait()
		}
		if err := l.Move(MoveOptions{Listener: ListenerOptions{Packet: w.packet(aliceElsewhere)}, Linger: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		ask(aliceAddr, "one")
		ask(aliceElsewhere, "two")
		if got := w.names(aliceAddr); heard != 2 || len(got) != 0 || len(w.names(aliceElsewhere)) != 2 {
			t.Errorf("heard %d; the old socket sent %q, the new one %q", heard, got, w.names(aliceElsewhere))
		}
		time.Sleep(11 * time.Second)
		if ask(aliceAddr, "three"); heard != 2 {
			t.Error("the old socket is still read")
		}
		w.packet(aliceAddr).Close() // and its address is free
	})
}

// Who comes back where it was finds the address free on demand.
func TestReplacedSocketMakesRoom(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		_, l := w.stack(aliceAddr, nil)
		for _, to := range []netip.AddrPort{aliceElsewhere, aliceAddr, aliceElsewhere} {
			l.Vacate(to)
			if err := l.Move(MoveOptions{Listener: ListenerOptions{Packet: w.packet(to)}, Linger: 10 * time.Second}); err != nil || l.Local() != to {
				t.Fatalf("%v, at %v", err, l.Local())
			}
			l.Vacate(to) // is the listener's own
		}
		time.Sleep(11 * time.Second)
		l.stack.mu.Lock()
		defer l.stack.mu.Unlock()
		if len(l.replaced) != 0 {
			t.Errorf("%d sockets are still known", len(l.replaced))
		}
	})
}

func TestMoveOfTheAdvertisedAddressAlone(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		_, l := w.stack(aliceAddr, nil)
		shown := netip.MustParseAddrPort("203.0.113.9:5090")
		if err := l.Move(MoveOptions{Listener: ListenerOptions{Advertise: shown}}); err != nil {
			t.Fatal(err)
		}
		if l.Local() != aliceAddr || l.Advertised() != shown || l.ContactURI("x").Host != "203.0.113.9" {
			t.Errorf("at %v, known as %v", l.Local(), l.Advertised())
		}
	})
}

func TestMoveThatCannotBe(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		six := w.packet(netip.MustParseAddrPort("[2001:db8::1]:5060"))
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer tcp.Close()
		for name, o := range map[string]ListenerOptions{"another family": {Packet: six}, "another transport": {Stream: tcp}, "two sockets": {Packet: six, Stream: tcp}} {
			if err := l.Move(MoveOptions{Listener: o}); err == nil || l.Local() != aliceAddr {
				t.Errorf("%s: %v, at %v", name, err, l.Local())
			}
		}
		s.Close()
		if err := l.Move(MoveOptions{Listener: ListenerOptions{Packet: w.packet(aliceElsewhere)}}); err == nil {
			t.Error("moved behind Close")
		}
	})
}

// A stream listener's connections end with its socket, and requests go over new
// ones.
func TestMoveOfAStreamListener(t *testing.T) {
	t.Parallel()
	open := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	from := make(chan netip.AddrPort, 10)
	far := NewStack(Options{Log: quietLog, Handler: func(in *Incoming) { from <- in.Flow.Remote(); in.Reply(200, "") }})
	defer far.Close()
	fl, err := far.Listen(ListenerOptions{Name: "far", Stream: open()})
	if err != nil {
		t.Fatal(err)
	}
	near := NewStack(Options{Log: quietLog})
	defer near.Close()
	l, err := near.Listen(ListenerOptions{Name: "near", Stream: open()})
	if err != nil {
		t.Fatal(err)
	}
	queue := &Queue{Log: quietLog}
	answered := make(chan error, 10)
	ask := func(id string) {
		m := &Message{Method: "OPTIONS", URI: URI{Scheme: "sip", Host: "far"}}
		m.Fields = []Field{{"From", "<sip:a@a>;tag=1"}, {"To", "<sip:b@b>"}, {"Call-ID", id}, {"CSeq", "1 OPTIONS"}, {"Max-Forwards", "70"}}
		if err := near.Request(RequestOptions{Flow: l.Flow(fl.Local()), Message: m, Queue: queue, Handle: func(_ *Message, err error) { answered <- err }}); err != nil {
			t.Fatal(err)
		}
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
	}
	ask("one")
	ask("two")
	first, again := <-from, <-from
	if err := l.Move(MoveOptions{Listener: ListenerOptions{Stream: open()}}); err != nil {
		t.Fatal(err)
	}
	ask("three")
	if third := <-from; first != again || third == first {
		t.Errorf("connections %v, %v and %v: want the same twice, then another", first, again, third)
	}
}
