package sip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

var errRefused = errors.New("connection refused")

// both is a stack with a UDP listener and a TCP listener of one address.
func (w *world) both(dial func(context.Context) (net.Conn, error)) (*Stack, *Listener) {
	w.Helper()
	s, l := w.stack(aliceAddr, nil)
	tcp, err := s.Listen(ListenerOptions{Name: "tcp", Stream: newPipes(), Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		if to != bobAddr {
			w.Errorf("dialled %v", to)
		}
		return dial(ctx)
	}})
	if err != nil {
		w.Fatal(err)
	}
	if err := l.SetLargeVia(tcp); err != nil {
		w.Fatal(err)
	}
	return s, l
}

func refusing(context.Context) (net.Conn, error) { return nil, errRefused }

func hanging(ctx context.Context) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// taking connections, the newest on the channel.
func taking(t testing.TB) (func(context.Context) (net.Conn, error), chan *tcpPeer) {
	peers := make(chan *tcpPeer, 10)
	return func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		peers <- &tcpPeer{t: t, Conn: far}
		return near, nil
	}, peers
}

// dialLarge is dial with a body of so many octets.
func (u *user) dialLarge(t testing.TB, s *Stack, l *Listener, body int) {
	t.Helper()
	u.do(func() {
		uri := URI{Scheme: "sip", User: "bob", Host: bobAddr.Addr().String()}
		d, err := s.Dial(Dial{Flow: l.Flow(bobAddr), URI: uri, From: Address{URI: uri}, To: Address{URI: uri}, ContentType: "application/sdp",
			Body: make([]byte, body), Queue: u.queue, User: u})
		if err != nil {
			t.Error(err)
		}
		u.dialog = d
	})
}

// A large INVITE, its CANCEL and the ACK of its refusal share the connection.
func TestALargeInviteLeavesOverTCP(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		dial, peers := taking(t)
		s, l := w.both(dial)
		bob := w.remote(bobAddr)
		u := newUser()
		u.dialLarge(t, s, l, 1500)
		p := <-peers
		inv := p.next("INVITE")
		if !strings.HasPrefix(inv.Get("Via"), "SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK") || inv.Get("Contact") != "<sip:192.0.2.1:5060>" || len(inv.Body) != 1500 {
			t.Errorf("INVITE %s", inv.Bytes()[:600])
		}
		p.write(string(NewResponse(inv, 180, "", "b").Bytes()))
		synctest.Wait()
		u.do(func() { u.dialog.Cancel() })
		cancel := p.next("CANCEL")
		if cancel.Get("Via") != inv.Get("Via") {
			t.Errorf("Via of CANCEL %s", cancel.Get("Via"))
		}
		p.write(string(NewResponse(cancel, 200, "", "b").Bytes()))
		p.write(string(NewResponse(inv, 487, "", "b").Bytes()))
		if ack := p.next("ACK"); ack.Get("Via") != inv.Get("Via") {
			t.Errorf("Via of ACK %s", ack.Get("Via"))
		}
		w.wantHeard(u, "180", "refused: "+ErrCancelled.Error())
		time.Sleep(64 * T1)
		w.wantDialogs(0)
		if got := w.names(aliceAddr); len(got) != 0 {
			t.Errorf("over UDP: %q", got)
		}
		_ = bob
	})
}

// A connection that ends before the answer gives the request back to UDP.
func TestALargeInviteWhoseConnectionEnds(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		dial, peers := taking(t)
		s, l := w.both(dial)
		bob := w.remote(bobAddr)
		u := newUser()
		u.dialLarge(t, s, l, 1500)
		p := <-peers
		inv := p.next("INVITE")
		p.write(string(NewResponse(inv, 180, "", "b").Bytes()))
		synctest.Wait()
		p.Close()
		small := bob.next("INVITE")
		bob.respond(aliceAddr, small, 486, "b")
		bob.next("ACK")
		w.wantHeard(u, "180", "refused 486")
		w.wantTimes("INVITE", w.sent(aliceAddr, "INVITE"), seconds(0))
	})
}

// What is not large goes over UDP; so do the small requests behind a large one.
func TestOnlyLargeRequestsLeaveOverTCP(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		dial, peers := taking(t)
		s, l := w.both(dial)
		bob := w.remote(bobAddr)
		first := newUser()
		first.dialLarge(t, s, l, 1)
		size := len(bob.next("INVITE").Bytes()) - 1
		for _, tt := range []struct {
			octets int
			tcp    bool
		}{{1300, false}, {1301, true}} {
			u := newUser()
			u.dialLarge(t, s, l, tt.octets-size-2) // Content-Length grows by two digits
			if !tt.tcp {
				if n := len(bob.next("INVITE").Bytes()); n != tt.octets || len(peers) != 0 {
					t.Errorf("%d octets, %d connections", n, len(peers))
				}
				continue
			}
			p := <-peers
			inv := p.next("INVITE")
			if n := len(inv.Bytes()); n != tt.octets {
				t.Errorf("%d octets", n)
			}
			u.answer = func(res *Message) { u.dialog.Ack(res, "application/dh-sdpfrag", make([]byte, 1500)) }
			res := NewResponse(inv, 200, "", "b")
			res.Add("Contact", "<sip:bob@"+bobAddr.String()+">")
			p.write(string(res.Bytes()))
			ack := p.next("ACK")
			if !strings.HasPrefix(ack.Get("Via"), "SIP/2.0/TCP ") || len(ack.Body) != 1500 {
				t.Errorf("ACK %s", ack.Bytes()[:300])
			}
			p.write(string(res.Bytes()))
			if again := p.next("ACK"); string(again.Bytes()) != string(ack.Bytes()) {
				t.Errorf("ACK again %s", again.Bytes()[:300])
			}
			u.do(func() { u.dialog.Bye(nil) })
			bob.respond(aliceAddr, bob.next("BYE"), 200, "b")
		}
	})
}

// Where there is no connection the request goes over UDP, as one transaction.
func TestALargeInviteComesBackToUDP(t *testing.T) {
	for _, tt := range []struct {
		name string
		dial func(context.Context) (net.Conn, error)
		want []time.Duration
	}{
		{"refused", refusing, seconds(0, 0.5, 1.5, 3.5)},
		{"nothing heard", hanging, seconds(2, 2.5, 3.5)},
		{"connected too late", func(ctx context.Context) (net.Conn, error) {
			time.Sleep(3 * time.Second)
			near, far := net.Pipe()
			go func() {
				b := make([]byte, 4096)
				if n, err := far.Read(b); err == nil {
					t.Errorf("%s left over TCP as well", what(b[:n]))
				}
			}()
			return near, nil
		}, seconds(2, 2.5, 3.5)},
		{"connected and closed", func(context.Context) (net.Conn, error) {
			near, far := net.Pipe()
			far.Close()
			return near, nil
		}, seconds(0, 0.5, 1.5, 3.5)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, memnet.Options{}, func(w *world) {
				s, l := w.both(tt.dial)
				bob := w.remote(bobAddr)
				u := newUser()
				u.dialLarge(t, s, l, 1500)
				time.Sleep(5 * time.Second)
				w.wantTimes("INVITE", w.sent(aliceAddr, "INVITE"), tt.want)
				inv := bob.next("INVITE")
				if !strings.HasPrefix(inv.Get("Via"), "SIP/2.0/UDP 192.0.2.1:5060;branch=") {
					t.Errorf("Via %s", inv.Get("Via"))
				}
				// The ACK of the answer is large as well.
				u.answer = func(res *Message) { u.dialog.Ack(res, "application/dh-sdpfrag", make([]byte, 1500)) }
				bob.respond(aliceAddr, inv, 200, "b")
				ack := bob.next("ACK")
				if !strings.HasPrefix(ack.Get("Via"), "SIP/2.0/UDP ") || len(ack.Body) != 1500 {
					t.Errorf("ACK %s", ack.Bytes()[:300])
				}
				bob.respond(aliceAddr, inv, 200, "b")
				if again := bob.next("ACK"); string(again.Bytes()) != string(ack.Bytes()) {
					t.Errorf("ACK again %s", again.Bytes()[:300])
				}
				time.Sleep(time.Minute)
				w.wantHeard(u, "answer", "answer again")
				u.do(func() { u.dialog.Bye(nil) })
				bob.respond(aliceAddr, bob.next("BYE"), 200, "b")
				time.Sleep(64 * T1)
				w.wantDialogs(0)
			})
		})
	}
}

// Timer B counts from the beginning.
func TestALargeInviteWithoutAnswer(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.both(hanging)
		w.remote(bobAddr)
		u := newUser()
		var after time.Duration
		u.refused = func(*Message, error) { after = time.Since(w.start) }
		u.dialLarge(t, s, l, 1500)
		time.Sleep(time.Minute)
		w.wantHeard(u, "refused: "+ErrTimeout.Error())
		if after != 64*T1 {
			t.Errorf("after %v", after)
		}
		time.Sleep(64 * T1)
		w.wantDialogs(0)
	})
}

// Who lets nobody connect costs each call two seconds only once in a while.
func TestAPeerWithoutTCPIsRemembered(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		var dials atomic.Int32
		s, l := w.both(func(ctx context.Context) (net.Conn, error) {
			dials.Add(1)
			return hanging(ctx)
		})
		bob := w.remote(bobAddr)
		for i, tt := range []struct {
			wait  time.Duration // before the call
			takes time.Duration
			dials int32
		}{{0, largeWait, 1}, {time.Minute, 0, 1}, {shunTime, largeWait, 2}, {0, 0, 2}} {
			time.Sleep(tt.wait)
			u := newUser()
			at := time.Now()
			u.dialLarge(t, s, l, 1500)
			inv := bob.next("INVITE")
			if got := time.Since(at); got != tt.takes || dials.Load() != tt.dials {
				t.Errorf("call %d left after %v with %d dials, want %v with %d", i, got, dials.Load(), tt.takes, tt.dials)
			}
			bob.respond(aliceAddr, inv, 486, "b")
			bob.next("ACK")
		}
	})
}

func TestShunnedIsBounded(t *testing.T) {
	t.Parallel()
	var s shunned
	for i := range 2 * maxShunned {
		a := netip.AddrPortFrom(bobAddr.Addr(), uint16(i+1))
		if s.add(a); !s.has(a) {
			t.Fatalf("%v is forgotten at once", a)
		}
	}
	if len(s.until) != maxShunned {
		t.Errorf("%d entries", len(s.until))
	}
}

// Requests outside dialogs, and the end of the stack while one waits.
func TestALargeRequestOutsideDialogs(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		dial, peers := taking(t)
		s, l := w.both(dial)
		a := &asker{newUser(), s, l}
		m := register("CSeq", "1 MESSAGE")
		m.Method, m.Body = "MESSAGE", make([]byte, 1500)
		a.ask(t, bobAddr, m)
		p := <-peers
		req := p.next("MESSAGE")
		if vias := req.Values("Via"); len(vias) != 2 || !strings.HasPrefix(vias[0], "SIP/2.0/TCP ") || vias[1] != carolsVia {
			t.Errorf("Via %q", vias)
		}
		p.write(string(NewResponse(req, 202, "", "b").Bytes()))
		w.wantHeard(a.user, "202 "+carolsVia)
	})
	t.Run("end", func(t *testing.T) {
		inWorld(t, memnet.Options{}, func(w *world) {
			s, l := w.both(hanging)
			u := newUser()
			u.dialLarge(t, s, l, 1500)
			time.Sleep(time.Second)
			s.Close()
			time.Sleep(time.Minute)
			if got := w.names(aliceAddr); len(got) != 0 {
				t.Errorf("sent behind the end: %q", got)
			}
		})
	})
}

func TestSetLargeViaErrors(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.both(refusing)
		tcp := l.largeVia.Load()
		other, _ := w.stack(carolAddr, nil)
		foreign, err := other.Listen(ListenerOptions{Stream: newPipes()})
		if err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"UDP": l.SetLargeVia(l), "of TCP": tcp.SetLargeVia(tcp), "another stack's": l.SetLargeVia(foreign),
		} {
			if err == nil {
				t.Errorf("%s was taken", what)
			}
		}
		if err := l.SetLargeVia(nil); err != nil {
			t.Error(err)
		}
		w.remote(bobAddr)
		newUser().dialLarge(t, s, l, 1500)
		if got := w.names(aliceAddr); !slices.Equal(got, []string{"INVITE"}) {
			t.Errorf("sent %q", got)
		}
	})
}
