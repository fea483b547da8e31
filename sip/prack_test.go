package sip

import (
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

// invited makes a call from a scripted carol who takes reliable responses, to a
// user that says 183 reliably.
func (w *world) invited(u *user, body []byte) (carol *remote, inv *Message) {
	w.Helper()
	w.stack(aliceAddr, u.taking(func() { u.dialog.ProvisionReliably(183, "", "application/sdp", body, u.pracked) }))
	carol = w.remote(carolAddr)
	inv = carol.request("INVITE", "Supported", "timer, 100rel")
	carol.send(aliceAddr, inv)
	synctest.Wait()
	return carol, inv
}

// pracked is what the users here give as the end of a reliable response.
func (u *user) pracked(tx *ServerTx) {
	if tx == nil {
		u.note("no PRACK")
		u.dialog.Refuse(504, "")
		return
	}
	u.note("PRACK")
	tx.Reply(200, "")
}

// prack is carol's PRACK for a response; n is its CSeq and names its branch.
func (r *remote) prack(res *Message, n int) *Message {
	return r.request("PRACK", "To", res.Get("To"), "CSeq", itoa(n)+" PRACK", "RAck", res.Get("RSeq")+" "+res.Get("CSeq"),
		"Via", "SIP/2.0/UDP "+r.addr.String()+";branch=z9hG4bK-prack"+itoa(n)+";rport")
}

func TestReliableResponseIsRepeatedUntilPrack(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, _ := w.invited(u, nil)
		res := carol.next("183 INVITE")
		if n, err := strconv.Atoi(res.Get("RSeq")); err != nil || n < 1 || !res.HasToken("Require", "100rel") {
			t.Errorf("Require %q, RSeq %q", res.Get("Require"), res.Get("RSeq"))
		}
		time.Sleep(4 * time.Second)
		wrong := carol.prack(res, 2)
		wrong.Set("RAck", "1 "+res.Get("CSeq")+"X")
		carol.send(aliceAddr, wrong)
		carol.next("481 PRACK")
		prack := carol.prack(res, 3)
		carol.send(aliceAddr, prack)
		carol.next("200 PRACK")
		carol.send(aliceAddr, prack)
		carol.next("200 PRACK")
		carol.send(aliceAddr, carol.prack(res, 4))
		carol.next("481 PRACK") // it is acknowledged
		time.Sleep(time.Minute)
		w.wantTimes("183", w.sent(aliceAddr, "183 INVITE"), seconds(0, 0.5, 1.5, 3.5))
		w.wantHeard(u, "INVITE", "PRACK")
	})
}

func TestReliableResponseWithoutPrack(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, inv := w.invited(u, nil)
		res := carol.next("183 INVITE")
		gone := carol.next("504 INVITE")
		w.wantTimes("183", w.sent(aliceAddr, "183 INVITE"), seconds(0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5))
		w.wantTimes("504", w.sent(aliceAddr, "504 INVITE")[:1], seconds(32))
		carol.send(aliceAddr, carol.request("ACK", "Via", inv.Get("Via"), "To", gone.Get("To")))
		carol.send(aliceAddr, carol.prack(res, 2)) // too late, and of a dialog that still is known
		carol.next("200 PRACK")
		w.wantHeard(u, "INVITE", "no PRACK")
		time.Sleep(64 * T1)
		w.wantDialogs(0)
	})
}

// RFC 3262 section 3: one at a time, and a 2xx waits for the PRACK of a
// description.
func TestReliableResponsesWaitForEachOther(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, _ := w.invited(u, []byte("v=0\r\n"))
		res := carol.next("183 INVITE")
		u.do(func() { u.dialog.ProvisionReliably(182, "", "", nil, u.pracked) })
		carol.none("182 INVITE", 300*time.Millisecond)
		carol.send(aliceAddr, carol.prack(res, 2))
		second := carol.next("182 INVITE")
		was, _ := strconv.Atoi(res.Get("RSeq"))
		if second.Get("RSeq") != itoa(was+1) {
			t.Errorf("RSeq %s behind %d", second.Get("RSeq"), was)
		}
		carol.send(aliceAddr, carol.prack(second, 3))
		carol.next("200 PRACK")
		u.do(func() {
			u.dialog.ProvisionReliably(180, "", "", nil, u.pracked)
			u.dialog.ProvisionReliably(183, "", "application/sdp", []byte("v=0\r\n"), u.pracked)
			u.dialog.Answer("", nil)
			if u.dialog.ProvisionReliably(182, "", "", nil, u.pracked) {
				t.Error("a provisional response behind the answer")
			}
		})
		third := carol.next("180 INVITE")
		carol.none("183 INVITE", 5*time.Second)
		carol.send(aliceAddr, carol.prack(third, 4))
		fourth := carol.next("183 INVITE")
		carol.none("200 INVITE", 5*time.Second)
		carol.send(aliceAddr, carol.prack(fourth, 5))
		to := carol.next("200 INVITE").Get("To")
		carol.send(aliceAddr, carol.request("ACK", "To", to))
		w.wantHeard(u, "INVITE", "PRACK", "PRACK", "PRACK", "PRACK", "ACK")
		w.leave(carol, to, "6 BYE")
	})
}

func TestCancelEndsTheReliableResponse(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, inv := w.invited(u, []byte("v=0\r\n"))
		carol.next("183 INVITE")
		u.do(func() { u.dialog.Answer("", nil) }) // waits
		carol.send(aliceAddr, carol.request("CANCEL", "Via", inv.Get("Via")))
		gone := carol.next("487 INVITE")
		carol.send(aliceAddr, carol.request("ACK", "Via", inv.Get("Via"), "To", gone.Get("To")))
		time.Sleep(time.Minute)
		w.wantTimes("183", w.sent(aliceAddr, "183 INVITE"), seconds(0))
		if len(w.sent(aliceAddr, "200 INVITE")) != 0 {
			t.Error("answered behind the CANCEL")
		}
		w.wantHeard(u, "INVITE", "cancelled")
		w.wantDialogs(0)
	})
}

// dialReliably sends alice's INVITE to a scripted bob.
func (w *world) dialReliably(u *user, fields ...Field) (bob *remote, inv *Message) {
	w.Helper()
	s, l := w.stack(aliceAddr, nil)
	bob = w.remote(bobAddr)
	uri := URI{Scheme: "sip", User: "bob", Host: bobAddr.Addr().String(), Port: int(bobAddr.Port())}
	u.do(func() {
		d, err := s.Dial(Dial{Flow: l.Flow(bobAddr), URI: uri, From: Address{URI: URI{Scheme: "sip", User: "alice", Host: "example.com"}},
			To: Address{URI: uri}, ContactUser: "alice", Fields: fields, Queue: u.queue, User: u})
		if err != nil {
			w.Error(err)
		}
		u.dialog = d
	})
	return bob, bob.next("INVITE")
}

func reliably(rseq int) []Field { return []Field{{"Require", "100rel"}, {"RSeq", itoa(rseq)}} }

func TestPrackFollowsEachReliableResponseInOrder(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		p := &prackUser{user: newUser()}
		u := p.user
		s, l := w.stack(aliceAddr, nil)
		bob := w.remote(bobAddr)
		uri := URI{Scheme: "sip", User: "bob", Host: bobAddr.Addr().String(), Port: int(bobAddr.Port())}
		u.do(func() {
			d, err := s.Dial(Dial{Flow: l.Flow(bobAddr), URI: uri, From: Address{URI: URI{Scheme: "sip", User: "alice", Host: "example.com"}},
				To: Address{URI: uri}, ContactUser: "alice", Fields: []Field{{"Supported", "100rel"}}, Queue: u.queue, User: p})
			if err != nil {
				t.Error(err)
			}
			u.dialog = d
		})
		inv := bob.next("INVITE")
		say := func(status int, tag string, rseq int) {
			bob.respond(aliceAddr, inv, status, tag, reliably(rseq)...)
			synctest.Wait()
		}
		say(183, "one", 700)
		prack := bob.next("PRACK")
		if prack.Get("RAck") != "700 1 INVITE" || prack.To().Tag() != "one" || prack.Get("CSeq") != "2 PRACK" {
			t.Errorf("PRACK %s", prack.Bytes())
		}
		bob.respond(aliceAddr, prack, 200, "one")
		say(183, "one", 700) // repeated
		say(180, "one", 702) // 701 is on its way
		say(180, "one", 701)
		if prack = bob.next("PRACK"); prack.Get("RAck") != "701 1 INVITE" {
			t.Errorf("RAck %q", prack.Get("RAck"))
		}
		bob.respond(aliceAddr, prack, 200, "one")
		say(183, "two", 3) // another fork counts for itself
		if prack = bob.next("PRACK"); prack.Get("RAck") != "3 1 INVITE" || prack.To().Tag() != "two" {
			t.Errorf("PRACK %s", prack.Bytes())
		}
		bob.respond(aliceAddr, prack, 481, "two")
		bob.respond(aliceAddr, inv, 180, "three") // not reliable
		bob.respond(aliceAddr, inv, 183, "", reliably(9)...)
		w.wantHeard(u, "183", "PRACK 200", "180", "PRACK 200", "183", "PRACK 481", "180", "183")

		within := func(method, tag, seq string) {
			bob.send(aliceAddr, bob.request(method, "From", "<sip:bob@example.com>;tag="+tag, "To", inv.Get("From"), "Call-ID", inv.CallID(), "CSeq", seq+" "+method,
				"Via", "SIP/2.0/UDP "+bobAddr.String()+";branch=z9hG4bK-"+method+tag+seq))
		}
		within("UPDATE", "two", "90")
		bob.next("200 UPDATE")
		within("UPDATE", "one", "5")
		bob.next("200 UPDATE")
		within("UPDATE", "three", "5")
		bob.next("481 UPDATE") // its response has begun no dialog that is known here
		within("BYE", "one", "6")
		bob.next("481 BYE") // a callee does not end what it has not answered

		bob.respond(aliceAddr, inv, 200, "one")
		bob.next("ACK")
		within("UPDATE", "one", "4")
		bob.next("500 UPDATE")
		within("BYE", "one", "7")
		bob.next("200 BYE")
		time.Sleep(time.Minute)
		w.wantDialogs(0)
	})
}

// prackUser acknowledges what is reliable.
type prackUser struct{ *user }

func (p *prackUser) OnProvisional(res *Message) {
	p.user.OnProvisional(res)
	if p.dialog.Reliable(res) {
		p.dialog.Prack(res, "", nil, func(res *Message, err error) {
			if err != nil {
				p.note("PRACK %v", err)
			} else {
				p.note("PRACK %d", res.Status)
			}
		})
	}
}

// What was not asked for is no reliable response (RFC 3262 section 4).
func TestReliableUnasked(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		bob, inv := w.dialReliably(u)
		bob.respond(aliceAddr, inv, 183, "one", reliably(1)...)
		bob.respond(aliceAddr, inv, 183, "one", reliably(1)...)
		w.wantHeard(u, "183", "183")
		u.do(func() {
			if u.dialog.Reliable(&Message{Status: 183, Fields: append(reliably(1), Field{"To", "<sip:b@b>;tag=one"})}) {
				t.Error("reliable")
			}
			u.dialog.Cancel()
		})
		bob.respond(aliceAddr, inv, 487, "one")
		time.Sleep(time.Minute)
	})
}

func TestRAck(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]string{
		"776656 1 INVITE": "776656 1 INVITE true", "1  2\tINVITE": "1 2 INVITE true",
		"": "0 0  false", "1 INVITE": "0 0  false", "1 2 INVITE x": "0 0  false",
		"4294967296 1 INVITE": "4294967295 1 INVITE false", "-1 1 INVITE": "0 1 INVITE false",
	} {
		rseq, seq, method, ok := parseRAck(v)
		if got := fmt.Sprint(rseq, " ", seq, " ", method, " ", ok); got != want {
			t.Errorf("%q: %q, want %q", v, got, want)
		}
	}
}

func FuzzRAck(f *testing.F) {
	for _, v := range []string{"776656 1 INVITE", "1  2\tINVITE", "", "1 INVITE", "4294967296 1 INVITE", "-1 1 INVITE", "+1 1 INVITE", "1 1 INVITE 1"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		rseq, seq, method, ok := parseRAck(v)
		if !ok {
			return
		}
		// What is taken means the same written the plain way.
		r, s, m, again := parseRAck(fmt.Sprint(rseq, " ", seq, " ", method))
		if !again || r != rseq || s != seq || m != method {
			t.Errorf("%q: %d %d %q, and again %d %d %q %v", v, rseq, seq, method, r, s, m, again)
		}
	})
}
