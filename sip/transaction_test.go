package sip

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

func TestInviteIsRepeatedUntilTimerB(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		u := newUser()
		u.dial(t, s, l, bobAddr)
		time.Sleep(32*time.Second - 1)
		w.wantHeard(u)
		time.Sleep(1 * time.Nanosecond)
		w.wantHeard(u, "refused: "+ErrTimeout.Error())
		w.wantTimes("INVITE", w.sent(aliceAddr, "INVITE"), seconds(0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5))
		time.Sleep(64 * T1)
		w.wantDialogs(0)
	})
}

func TestProvisionalEndsTheRepetition(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		bob := w.remote(bobAddr)
		u := newUser()
		u.dial(t, s, l, bobAddr)
		inv := bob.next("INVITE")
		bob.next("INVITE")
		bob.respond(aliceAddr, inv, 180, "b")
		time.Sleep(10 * time.Minute) // somebody may ring as long as the user likes
		w.wantHeard(u, "180")
		w.wantTimes("INVITE", w.sent(aliceAddr, "INVITE"), seconds(0, 0.5))
		bob.respond(aliceAddr, inv, 486, "b")
		bob.next("ACK")
		w.wantHeard(u, "180", "refused 486")
		// A repeated refusal is acknowledged again, and nobody told again.
		bob.respond(aliceAddr, inv, 486, "b")
		bob.next("ACK")
		w.wantHeard(u, "180", "refused 486")
		acks := w.wires(aliceAddr, "ACK")
		if acks[0].wire != acks[1].wire {
			t.Errorf("the second ACK differs:\n%s%s", acks[0].wire, acks[1].wire)
		}
		time.Sleep(64*T1 + 1)
		w.wantDialogs(0)
	})
}

func TestNonInviteTimersEandF(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u, bob, _ := w.answered()
		w.net.SetRule(lose(1000, "INFO"))
		start := time.Since(w.start)
		u.do(func() { u.dialog.Do("INFO", "", nil, func(_ *Message, err error) { u.note("INFO: %v", err) }) })
		time.Sleep(64*T1 - 1)
		w.wantHeard(u, "answer")
		time.Sleep(1 * time.Nanosecond)
		w.wantHeard(u, "answer", "INFO: "+ErrTimeout.Error())
		var at []time.Duration
		for _, s := range w.sent(aliceAddr, "INFO") {
			at = append(at, s-start)
		}
		w.wantTimes("INFO", at, seconds(0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5))
		w.hangup(u, bob)
	})
}

// Timer E goes on after a provisional response, at T2 (RFC 3261 section
// 17.1.2.2).
func TestNonInviteGoesOnBehindAProvisional(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u, bob, _ := w.answered()
		start := time.Since(w.start)
		u.do(func() { u.dialog.Do("INFO", "", nil, func(*Message, error) {}) })
		info := bob.next("INFO")
		bob.respond(aliceAddr, info, 100, "")
		time.Sleep(9 * time.Second)
		var at []time.Duration
		for _, s := range w.sent(aliceAddr, "INFO") {
			at = append(at, s-start)
		}
		w.wantTimes("INFO", at, seconds(0, 0.5, 4.5, 8.5))
		bob.respond(aliceAddr, info, 200, "b")
		time.Sleep(time.Minute)
		if n := len(w.sent(aliceAddr, "INFO")); n != 4 {
			t.Errorf("INFO was sent %d times, want 4", n)
		}
		w.hangup(u, bob)
	})
}

// Timer K: a repeated final response does nothing, and after T4 the Call-ID
// is free.
func TestNonInviteTimerK(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u, bob, _ := w.answered()
		time.Sleep(time.Minute) // the INVITE's transactions have ended
		u.do(func() { u.dialog.Bye(func() { u.note("gone") }) })
		bye := bob.next("BYE")
		bob.respond(aliceAddr, bye, 200, "b")
		time.Sleep(T4 - 1)
		bob.respond(aliceAddr, bye, 200, "b")
		w.wantDialogs(1)
		time.Sleep(2 * time.Nanosecond)
		w.wantDialogs(0)
		w.wantHeard(u, "answer", "gone")
	})
}

func TestAnswerIsRepeatedUntilItsAck(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		w.stack(aliceAddr, u.taking(func() { u.dialog.Answer("", nil) }))
		carol := w.remote(carolAddr)
		inv := carol.request("INVITE")
		carol.send(aliceAddr, inv)
		time.Sleep(64*T1 - 1)
		carol.send(aliceAddr, inv) // absorbed: the 2xx has its own clock (RFC 6026)
		w.wantTimes("200", w.sent(aliceAddr, "200 INVITE"), seconds(0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5))
		w.wantHeard(u, "INVITE")
		time.Sleep(1 * time.Nanosecond)
		w.wantHeard(u, "INVITE", "no ACK")
		u.do(func() { u.dialog.Bye(nil) })
		bye := carol.next("BYE")
		if got := time.Since(w.start); got != 64*T1 {
			t.Errorf("BYE after %v, want 32s", got)
		}
		ok := NewResponse(bye, 200, "", "")
		carol.send(aliceAddr, ok)
		time.Sleep(64*T1 + T4)
		w.wantDialogs(0)
		if n := len(w.sent(aliceAddr, "200 INVITE")); n != 11 {
			t.Errorf("the 200 was sent %d times in the end", n)
		}
	})
}

func TestAckEndsTheRepetition(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		w.stack(aliceAddr, u.taking(func() { u.dialog.Answer("", nil) }))
		carol := w.remote(carolAddr)
		carol.send(aliceAddr, carol.request("INVITE"))
		to := carol.next("200 INVITE").Get("To")
		carol.next("200 INVITE")
		for _, wrong := range [][]string{ // none of these acknowledges it
			{"To", to + "x"},
			{"To", to, "From", "<sip:carol@example.com>;tag=mallory"},
			{"To", to, "CSeq", "2 ACK"},
		} {
			carol.send(aliceAddr, carol.request("ACK", wrong...))
		}
		w.wantHeard(u, "INVITE")
		for range 3 {
			carol.send(aliceAddr, carol.request("ACK", "To", to))
		}
		w.wantHeard(u, "INVITE", "ACK")
		time.Sleep(time.Minute)
		w.wantHeard(u, "INVITE", "ACK")
		w.wantTimes("200", w.sent(aliceAddr, "200 INVITE"), seconds(0, 0.5))
		carol.send(aliceAddr, carol.request("BYE", "To", to, "CSeq", "2 BYE"))
		carol.next("200 BYE")
		time.Sleep(64*T1 + 1)
		w.wantDialogs(0)
	})
}

func TestRefusalIsRepeatedUntilItsAck(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		w.stack(aliceAddr, u.taking(func() { u.dialog.Refuse(486, "") }))
		carol := w.remote(carolAddr)
		inv := carol.request("INVITE")
		carol.send(aliceAddr, inv)
		res := carol.next("486 INVITE")
		time.Sleep(2 * time.Second)
		carol.send(aliceAddr, inv) // answered again
		w.wantDialogs(1)
		w.wantTimes("486", w.sent(aliceAddr, "486 INVITE"), seconds(0, 0.5, 1.5, 2))
		ack := carol.request("ACK", "Via", inv.Get("Via"), "To", res.Get("To"))
		carol.send(aliceAddr, ack)
		time.Sleep(T4 - 1)
		carol.send(aliceAddr, inv) // timer I: confirmed, absorbed
		w.wantDialogs(1)
		time.Sleep(2 * time.Nanosecond)
		w.wantDialogs(0)
		w.wantTimes("486", w.sent(aliceAddr, "486 INVITE"), seconds(0, 0.5, 1.5, 2))
		w.wantHeard(u, "INVITE")
	})
}

// Timer H: a caller that never acknowledges a refusal is given up.
func TestRefusalWithoutAckIsGivenUp(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		w.stack(aliceAddr, u.taking(func() { u.dialog.Refuse(603, "") }))
		carol := w.remote(carolAddr)
		carol.send(aliceAddr, carol.request("INVITE"))
		time.Sleep(64*T1 - 1)
		w.wantDialogs(1)
		time.Sleep(1 * time.Nanosecond)
		w.wantDialogs(0)
		w.wantTimes("603", w.sent(aliceAddr, "603 INVITE"), seconds(0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5))
	})
}

func TestRequestsOverTheMTUAreSent(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		long := make([]byte, 20_000)
		for i := range long {
			long[i] = 'x'
		}
		callee := newUser()
		w.stack(bobAddr, callee.taking(func() { callee.dialog.Answer("text/plain", long) }))
		s, l := w.stack(aliceAddr, nil)
		u := newUser()
		var got int
		u.answer = func(res *Message) { got = len(res.Body); u.dialog.Ack(res, "text/plain", long) }
		callee.ack = func(ack *Message, _ *ServerTx) { callee.note("%d", len(ack.Body)) }
		u.do(func() {
			d, err := s.Dial(Dial{Flow: l.Flow(bobAddr), URI: URI{Scheme: "sip", Host: "b"}, ContentType: "text/plain", Body: long, Queue: u.queue, User: u,
				From: Address{URI: URI{Scheme: "sip", Host: "a"}}, To: Address{URI: URI{Scheme: "sip", Host: "b"}}})
			if err != nil {
				t.Error(err)
			}
			u.dialog = d
		})
		w.wantHeard(u, "answer")
		w.wantHeard(callee, "INVITE", "ACK", "20000")
		if got != len(long) {
			t.Errorf("the answer's body has %d octets, want %d", got, len(long))
		}
	})
}

// What no datagram can carry is a failure at once, not after 32 s.
func TestTooLongForADatagram(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		u := newUser()
		u.do(func() {
			d, err := s.Dial(Dial{Flow: l.Flow(bobAddr), URI: URI{Scheme: "sip", Host: "b"}, ContentType: "text/plain", Body: make([]byte, 70_000),
				Queue: u.queue, User: u, From: Address{URI: URI{Scheme: "sip", Host: "a"}}, To: Address{URI: URI{Scheme: "sip", Host: "b"}}})
			if err != nil {
				t.Error(err)
			}
			u.dialog = d
		})
		w.wantHeard(u, "refused: "+ErrTransport.Error()+": write udp 192.0.2.1:5060: sendto: message too long")
		w.wantDialogs(0)
	})
}

// answered makes a call from alice's stack to a scripted bob that stands.
func (w *world) answered() (*user, *remote, *Message) {
	w.Helper()
	s, l := w.stack(aliceAddr, nil)
	bob := w.remote(bobAddr)
	u := newUser()
	u.dial(w, s, l, bobAddr)
	inv := bob.next("INVITE")
	bob.respond(aliceAddr, inv, 200, "b")
	bob.next("ACK")
	synctest.Wait()
	return u, bob, inv
}

// hangup ends it and checks that the Call-ID comes back.
func (w *world) hangup(u *user, bob *remote) {
	w.Helper()
	u.do(func() { u.dialog.Bye(nil) })
	bye := bob.next("BYE")
	bob.respond(aliceAddr, bye, 200, "b")
	time.Sleep(64*T1 + 1)
	w.wantDialogs(0)
}
