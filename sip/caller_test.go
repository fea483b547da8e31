package sip

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

func TestLostAckIsRepeatedOctetForOctet(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		callee := newUser()
		w.stack(bobAddr, callee.taking(func() { callee.dialog.Answer("", nil) }))
		s, l := w.stack(aliceAddr, nil)
		u := newUser()
		u.answer = func(res *Message) { u.dialog.Ack(res, "text/plain", []byte("the last share"), Field{"X-Mark", "1"}) }
		w.net.SetRule(lose(2, "ACK"))
		u.dial(t, s, l, bobAddr)
		time.Sleep(5 * time.Second)
		w.wantHeard(u, "answer", "answer again", "answer again")
		w.wantHeard(callee, "INVITE", "ACK")
		acks := w.wires(aliceAddr, "ACK")
		if len(acks) != 3 || acks[0].wire != acks[1].wire || acks[1].wire != acks[2].wire {
			t.Errorf("ACKs: %v", acks)
		}
		if !strings.HasSuffix(acks[0].wire, "\r\n\r\nthe last share") || !strings.Contains(acks[0].wire, "X-Mark: 1") {
			t.Errorf("ACK %q", acks[0].wire)
		}
	})
}

func TestLostAnswerIsRepeated(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		callee := newUser()
		w.stack(bobAddr, callee.taking(func() { callee.dialog.Answer("", nil) }))
		s, l := w.stack(aliceAddr, nil)
		u := newUser()
		w.net.SetRule(lose(3, "200 INVITE"))
		u.dial(t, s, l, bobAddr)
		time.Sleep(5 * time.Second)
		w.wantHeard(u, "answer")
		w.wantHeard(callee, "INVITE", "ACK")
		w.wantTimes("200", w.sent(bobAddr, "200 INVITE"), seconds(0, 0.5, 1.5, 3.5))
	})
}

// A 2xx that is repeated before the user has an ACK for it is not a second
// answer, neither to the first INVITE nor to another one.
func TestAnswerRepeatedBeforeTheAckExists(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		bob := w.remote(bobAddr)
		u := newUser()
		var answer *Message
		u.answer = func(res *Message) { answer = res }
		u.dial(t, s, l, bobAddr)
		inv := bob.next("INVITE")
		for range 3 {
			bob.respond(aliceAddr, inv, 200, "b")
		}
		w.wantHeard(u, "answer")
		u.do(func() { u.dialog.Ack(answer, "", nil) })
		bob.next("ACK")

		var second *Message
		u.do(func() {
			u.dialog.Do("INVITE", "", nil, func(res *Message, err error) {
				u.note("re-INVITE %d", res.Status)
				second = res
			})
		})
		again := bob.next("INVITE")
		for range 3 {
			bob.respond(aliceAddr, again, 200, "b")
		}
		w.wantHeard(u, "answer", "re-INVITE 200")
		u.do(func() { u.dialog.Ack(second, "", nil) })
		ack := bob.next("ACK")
		bob.respond(aliceAddr, again, 200, "b")
		w.wantHeard(u, "answer", "re-INVITE 200")
		if repeated := bob.next("ACK"); !bytes.Equal(repeated.Bytes(), ack.Bytes()) || ack.Get("CSeq") != "2 ACK" {
			t.Errorf("ACKs differ:\n%s%s", ack.Bytes(), repeated.Bytes())
		}
		w.hangup(u, bob)
	})
}

func TestCancelWaitsForAProvisional(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		bob := w.remote(bobAddr)
		u := newUser()
		u.dial(t, s, l, bobAddr)
		inv := bob.next("INVITE")
		u.do(func() { u.dialog.Cancel() })
		bob.none("CANCEL", 3*time.Second)
		bob.respond(aliceAddr, inv, 100, "")
		cancel := bob.next("CANCEL")
		if cancel.Get("Via") != inv.Get("Via") || cancel.Get("CSeq") != "1 CANCEL" || cancel.Get("To") != inv.Get("To") || cancel.URI != inv.URI {
			t.Errorf("CANCEL %s", cancel.Bytes())
		}
		bob.respond(aliceAddr, cancel, 200, "b")
		w.wantHeard(u)
		bob.respond(aliceAddr, inv, 487, "b")
		bob.next("ACK")
		w.wantHeard(u, "refused: "+ErrCancelled.Error())
		time.Sleep(64*T1 + 1)
		w.wantDialogs(0)
	})
}

func TestCancelWithoutAnyResponse(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		u := newUser()
		u.dial(t, s, l, bobAddr)
		u.do(func() { u.dialog.Cancel() })
		time.Sleep(64 * T1)
		w.wantHeard(u, "refused: "+ErrCancelled.Error())
		if n := len(w.sent(aliceAddr, "CANCEL")); n != 0 {
			t.Errorf("%d CANCELs", n)
		}
	})
}

// The CANCEL takes the INVITE's way, whatever route the 180 recorded.
func TestCancelGoesWhereTheInviteWent(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		bob, carol := w.remote(bobAddr), w.remote(carolAddr)
		u := newUser()
		u.dial(t, s, l, bobAddr)
		inv := bob.next("INVITE")
		bob.respond(aliceAddr, inv, 180, "b", Field{"Record-Route", "<sip:" + carolAddr.String() + ";lr>"}, Field{"Contact", "<sip:" + carolAddr.String() + ">"})
		synctest.Wait()
		u.do(func() { u.dialog.Cancel() })
		cancel := bob.next("CANCEL")
		bob.respond(aliceAddr, cancel, 200, "b")
		bob.respond(aliceAddr, inv, 487, "b")
		bob.next("ACK")
		w.wantHeard(u, "180", "refused: "+ErrCancelled.Error())
		carol.none("CANCEL", time.Minute)
		if n := len(w.sent(aliceAddr, "CANCEL")); n != 1 {
			t.Errorf("%d CANCELs, want 1", n)
		}
	})
}

func TestCancelCrossesTheAnswer(t *testing.T) {
	inWorld(t, memnet.Options{Delay: 50 * time.Millisecond}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		bob := w.remote(bobAddr)
		u := newUser()
		u.dial(t, s, l, bobAddr)
		inv := bob.next("INVITE")
		bob.respond(aliceAddr, inv, 180, "b")
		time.Sleep(100 * time.Millisecond)
		bob.respond(aliceAddr, inv, 200, "b")
		u.do(func() { u.dialog.Cancel() })
		cancel := bob.next("CANCEL")
		bob.respond(aliceAddr, cancel, 200, "b")
		ack := bob.next("ACK")
		bye := bob.next("BYE")
		if ack.To().Tag() != "b" || bye.To().Tag() != "b" || bye.Get("CSeq") != "2 BYE" {
			t.Errorf("%s%s", ack.Bytes(), bye.Bytes())
		}
		bob.respond(aliceAddr, inv, 200, "b") // the ACK was lost
		if again := bob.next("ACK"); !bytes.Equal(again.Bytes(), ack.Bytes()) {
			t.Errorf("another ACK: %s", again.Bytes())
		}
		bob.respond(aliceAddr, bye, 200, "b")
		w.wantHeard(u, "180", "refused: "+ErrCancelled.Error())
		time.Sleep(64*T1 + time.Second)
		w.wantDialogs(0)
		if n := len(w.sent(aliceAddr, "BYE")); n != 1 {
			t.Errorf("%d BYEs, want 1", n)
		}
	})
}

// A callee that answers the CANCEL but never the INVITE, and keeps ringing,
// does not hold the call.
func TestCancelIsBoundedWhereTheRingingGoesOn(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		bob := w.remote(bobAddr)
		u := newUser()
		u.dial(t, s, l, bobAddr)
		inv := bob.next("INVITE")
		bob.respond(aliceAddr, inv, 180, "b")
		synctest.Wait()
		u.do(func() { u.dialog.Cancel() })
		bob.respond(aliceAddr, bob.next("CANCEL"), 200, "b")
		for range 40 {
			time.Sleep(time.Second)
			bob.respond(aliceAddr, inv, 180, "b")
		}
		w.wantHeard(u, "180", "refused: "+ErrCancelled.Error())
		// What comes now is late, and released.
		bob.respond(aliceAddr, inv, 200, "b")
		bob.next("ACK")
		bob.respond(aliceAddr, bob.next("BYE"), 200, "b")
		w.wantHeard(u, "180", "refused: "+ErrCancelled.Error())
		time.Sleep(64 * T1)
		w.wantDialogs(0)
	})
}

func TestSecondForkIsAcknowledgedAndReleased(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		proxy := w.remote(bobAddr)
		carol := w.remote(carolAddr)
		u := newUser()
		u.dial(t, s, l, bobAddr)
		inv := proxy.next("INVITE")
		proxy.respond(aliceAddr, inv, 200, "first")
		first := proxy.next("ACK")
		fork := NewResponse(inv, 200, "", "second")
		fork.Add("Contact", "<sip:c@"+carolAddr.String()+">")
		fork.Add("Record-Route", "<sip:"+bobAddr.String()+";lr>, <sip:carol-proxy.example.com;lr>")
		for range 3 {
			proxy.send(aliceAddr, fork)
		}
		second := proxy.next("ACK")
		bye := proxy.next("BYE")
		if second.To().Tag() != "second" || second.URI.Host != carolAddr.Addr().String() || first.To().Tag() != "first" {
			t.Errorf("ACKs\n%s%s", first.Bytes(), second.Bytes())
		}
		if got, want := bye.Values("Route"), []string{"<sip:carol-proxy.example.com;lr>", "<sip:" + bobAddr.String() + ";lr>"}; !slices.Equal(got, want) {
			t.Errorf("Route %q, want %q", got, want)
		}
		if bye.To().Tag() != "second" {
			t.Errorf("BYE %s", bye.Bytes())
		}
		proxy.respond(aliceAddr, bye, 200, "second")
		w.wantHeard(u, "answer")
		proxy.respond(aliceAddr, inv, 200, "first") // the first call still stands
		if again := proxy.next("ACK"); again.To().Tag() != "second" {
			t.Errorf("ACK %s", again.Bytes())
		}
		w.wantHeard(u, "answer", "answer again")
		w.hangup(u, proxy)
		carol.none("ACK", time.Second)
		var byes []string
		for _, b := range w.wires(aliceAddr, "BYE") {
			m, _ := Parse([]byte(b.wire))
			byes = append(byes, m.To().Tag()+" "+m.Get("CSeq"))
		}
		if want := []string{"second 2 BYE", "first 3 BYE"}; !slices.Equal(byes, want) {
			t.Errorf("BYEs %q, want %q", byes, want)
		}
	})
}

func TestLateAnswersAreReleased(t *testing.T) {
	tests := []struct {
		name string
		end  func(w *world, u *user, bob *remote, inv *Message)
		want string
	}{
		{"behind a refusal", func(_ *world, _ *user, bob *remote, inv *Message) {
			bob.respond(aliceAddr, inv, 486, "busy")
			bob.next("ACK")
		}, "refused 486"},
		{"behind timer B", func(*world, *user, *remote, *Message) { time.Sleep(64 * T1) }, "refused: " + ErrTimeout.Error()},
		{"behind the end of the first call", func(w *world, u *user, bob *remote, inv *Message) {
			bob.respond(aliceAddr, inv, 200, "first")
			bob.next("ACK")
			u.do(func() { u.dialog.Bye(nil) })
			bob.respond(aliceAddr, bob.next("BYE"), 200, "first")
		}, "answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, memnet.Options{}, func(w *world) {
				s, l := w.stack(aliceAddr, nil)
				bob := w.remote(bobAddr)
				u := newUser()
				u.dial(t, s, l, bobAddr)
				inv := bob.next("INVITE")
				tt.end(w, u, bob, inv)
				time.Sleep(10 * time.Second)
				bob.respond(aliceAddr, inv, 200, "late")
				if ack := bob.next("ACK"); ack.To().Tag() != "late" {
					t.Errorf("ACK %s", ack.Bytes())
				}
				bye := bob.next("BYE")
				if bye.To().Tag() != "late" {
					t.Errorf("BYE %s", bye.Bytes())
				}
				bob.respond(aliceAddr, bye, 200, "late")
				w.wantHeard(u, tt.want)
				time.Sleep(64 * T1)
				w.wantDialogs(0)
			})
		})
	}
}

// A peer that answers with ever new tags gets a bounded number of ACKs and BYEs.
func TestForksAreBounded(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		bob := w.remote(bobAddr)
		u := newUser()
		u.dial(t, s, l, bobAddr)
		inv := bob.next("INVITE")
		for i := range 100 {
			bob.respond(aliceAddr, inv, 200, fmt.Sprint("fork", i))
		}
		time.Sleep(64*T1 + time.Second)
		if n := len(w.wires(aliceAddr, "ACK")); n != maxForks {
			t.Errorf("%d ACKs, want %d", n, maxForks)
		}
		w.hangup(u, bob)
	})
}

// A BYE of this side before the user has acknowledged the answer still needs
// the ACK in front.
func TestByeBeforeTheAckSendsOne(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		bob := w.remote(bobAddr)
		u := newUser()
		u.answer = func(*Message) { u.dialog.Bye(nil) }
		u.dial(t, s, l, bobAddr)
		inv := bob.next("INVITE")
		bob.respond(aliceAddr, inv, 200, "b")
		ack := bob.next("ACK")
		bye := bob.next("BYE")
		bob.respond(aliceAddr, bye, 200, "b")
		bob.respond(aliceAddr, inv, 200, "b")
		if again := bob.next("ACK"); !bytes.Equal(ack.Bytes(), again.Bytes()) {
			t.Errorf("ACKs differ: %s%s", ack.Bytes(), again.Bytes())
		}
		time.Sleep(64*T1 + 1)
		w.wantDialogs(0)
	})
}

// In-dialog requests go to the route or the Contact where these are
// addresses, else to where the INVITE went.
func TestNextHopWithinTheDialog(t *testing.T) {
	tests := []struct {
		name, contact, route string
		want                 netip.AddrPort
		uri                  string
	}{
		{"contact", "<sip:bob@192.0.2.3:5060>", "", carolAddr, "sip:bob@192.0.2.3:5060"},
		{"contact without port", "<sip:bob@192.0.2.3>", "", carolAddr, "sip:bob@192.0.2.3"},
		{"contact with a name", "<sip:bob@pbx.example.com>", "", bobAddr, "sip:bob@pbx.example.com"},
		{"contact of the other family", "<sip:bob@[2001:db8::1]>", "", bobAddr, "sip:bob@[2001:db8::1]"},
		{"route", "<sip:bob@198.51.100.1>", "<sip:192.0.2.3;lr>", carolAddr, "sip:bob@198.51.100.1"},
		{"no contact", "", "", bobAddr, "sip:bob@192.0.2.2:5060"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, memnet.Options{}, func(w *world) {
				s, l := w.stack(aliceAddr, nil)
				bob, carol := w.remote(bobAddr), w.remote(carolAddr)
				u := newUser()
				u.dial(t, s, l, bobAddr)
				inv := bob.next("INVITE")
				res := NewResponse(inv, 200, "", "b")
				if tt.contact != "" {
					res.Add("Contact", tt.contact)
				}
				if tt.route != "" {
					res.Add("Record-Route", tt.route)
				}
				bob.send(aliceAddr, res)
				peer := bob
				if tt.want == carolAddr {
					peer = carol
				}
				if ack := peer.next("ACK"); ack.URI.String() != tt.uri || ack.Get("Route") != tt.route {
					t.Errorf("ACK %s", ack.Bytes())
				}
				w.hangup(u, peer)
			})
		})
	}
}
