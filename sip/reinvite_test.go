package sip

import (
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

func TestReinviteGlare(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, to := w.standing(u)
		u.do(func() {
			u.dialog.Do("INVITE", "", nil, func(res *Message, err error) {
				u.note("own re-INVITE %d", res.Status)
				u.dialog.Ack(res, "", nil)
			})
		})
		own := carol.next("INVITE")
		theirs := carol.request("INVITE", "To", to, "CSeq", "2 INVITE", "Via", "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKglare")
		carol.send(aliceAddr, theirs)
		carol.next("491 INVITE")
		carol.respond(aliceAddr, own, 200, "")
		carol.next("ACK")
		w.wantHeard(u, "INVITE", "ACK", "own re-INVITE 200")
		// Free again.
		theirs.Set("CSeq", "3 INVITE")
		theirs.Set("Via", "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKglare2")
		carol.send(aliceAddr, theirs)
		carol.next("200 INVITE")
		carol.send(aliceAddr, carol.request("ACK", "To", to, "CSeq", "3 ACK"))
		w.wantHeard(u, "INVITE", "ACK", "own re-INVITE 200", "INVITE", "ACK")
		w.leave(carol, to, "4 BYE")
	})
}

func TestSecondInviteWhileOneIsPending(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, to := w.standing(u)
		var pending *ServerTx
		u.request = func(tx *ServerTx) {
			if tx.Request.Method == "INVITE" {
				pending = tx
				return
			}
			tx.Reply(200, "")
			u.dialog.Closed()
		}
		first := carol.request("INVITE", "To", to, "CSeq", "2 INVITE", "Via", "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKone")
		carol.send(aliceAddr, first)
		carol.next("100 INVITE")
		second := carol.request("INVITE", "To", to, "CSeq", "3 INVITE", "Via", "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKtwo")
		carol.send(aliceAddr, second)
		if res := carol.next("500 INVITE"); res.Get("Retry-After") == "" {
			t.Errorf("no Retry-After: %s", res.Bytes())
		}
		var own error
		u.do(func() { u.dialog.Do("INVITE", "", nil, func(_ *Message, err error) { own = err }) })
		if own != ErrPending {
			t.Errorf("own INVITE: %v, want %v", own, ErrPending)
		}
		u.do(func() { u.dialog.AnswerTo(pending, "", nil) })
		carol.next("200 INVITE")
		// Before its ACK the next one still has to wait, in either direction.
		carol.send(aliceAddr, second)
		carol.next("500 INVITE")
		own = nil
		u.do(func() { u.dialog.Do("INVITE", "", nil, func(_ *Message, err error) { own = err }) })
		if own != ErrPending {
			t.Errorf("own INVITE before the ACK: %v, want %v", own, ErrPending)
		}
		carol.send(aliceAddr, carol.request("ACK", "To", to, "CSeq", "2 ACK"))
		w.wantHeard(u, "INVITE", "ACK", "INVITE", "ACK")
		w.leave(carol, to, "4 BYE")
	})
}

func TestByeCrossesAReinvite(t *testing.T) {
	t.Run("theirs is answered 487", func(t *testing.T) {
		inWorld(t, memnet.Options{}, func(w *world) {
			u := newUser()
			carol, to := w.standing(u)
			u.request = func(tx *ServerTx) {
				if tx.Request.Method == "BYE" {
					tx.Reply(200, "")
					u.dialog.Closed()
				}
			}
			carol.send(aliceAddr, carol.request("INVITE", "To", to, "CSeq", "2 INVITE", "Via", "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKone"))
			carol.next("100 INVITE")
			carol.send(aliceAddr, carol.request("BYE", "To", to, "CSeq", "3 BYE"))
			carol.next("200 BYE")
			carol.next("487 INVITE")
			w.wantHeard(u, "INVITE", "ACK", "INVITE", "BYE")
			time.Sleep(64*T1 + T4)
			w.wantDialogs(0)
		})
	})
	t.Run("ours ends although nobody answers it", func(t *testing.T) {
		inWorld(t, memnet.Options{}, func(w *world) {
			u := newUser()
			carol, to := w.standing(u)
			u.do(func() { u.dialog.Do("INVITE", "", nil, func(_ *Message, err error) { u.note("re-INVITE: %v", err) }) })
			carol.respond(aliceAddr, carol.next("INVITE"), 180, "")
			carol.send(aliceAddr, carol.request("BYE", "To", to, "CSeq", "3 BYE"))
			carol.next("200 BYE")
			time.Sleep(64 * T1)
			w.wantHeard(u, "INVITE", "ACK", "re-INVITE: <nil>", "BYE", "re-INVITE: "+ErrTimeout.Error())
			time.Sleep(64 * T1)
			w.wantDialogs(0)
		})
	})
	for name, ends := range map[string]func(w *world, u *user, carol *remote, to string){
		"theirs, and ours is heard of behind it": func(_ *world, _ *user, carol *remote, to string) {
			carol.send(aliceAddr, carol.request("BYE", "To", to, "CSeq", "3 BYE"))
			carol.next("200 BYE")
		},
		"ours, and the re-INVITE is heard of behind it": func(_ *world, u *user, carol *remote, _ string) {
			u.do(func() { u.dialog.Bye(nil) })
			carol.respond(aliceAddr, carol.next("BYE"), 200, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, memnet.Options{}, func(w *world) {
				u := newUser()
				carol, to := w.standing(u)
				u.do(func() { u.dialog.Do("INVITE", "", nil, func(_ *Message, err error) { u.note("re-INVITE: %v", err) }) })
				inv := carol.next("INVITE")
				ends(w, u, carol, to)
				// It lifts timer B, and the 200 behind it is lost: who has heard BYE
				// does not say it again.
				carol.respond(aliceAddr, inv, 100, "")
				time.Sleep(64*T1 + T4)
				if heard := u.events(); heard[len(heard)-1] != "re-INVITE: "+ErrTimeout.Error() {
					t.Errorf("the user heard %q", heard)
				}
				time.Sleep(64 * T1)
				w.wantDialogs(0)
			})
		})
	}
	t.Run("ours is answered late", func(t *testing.T) {
		inWorld(t, memnet.Options{}, func(w *world) {
			u := newUser()
			carol, _ := w.standing(u)
			u.do(func() {
				u.dialog.Do("INVITE", "", nil, func(res *Message, err error) {
					u.note("re-INVITE")
					if res != nil && res.Status == 200 {
						u.dialog.Ack(res, "", nil)
					}
				})
				u.dialog.Bye(nil)
			})
			inv := carol.next("INVITE")
			bye := carol.next("BYE")
			carol.respond(aliceAddr, bye, 200, "")
			carol.respond(aliceAddr, inv, 200, "")
			carol.next("ACK")
			time.Sleep(64*T1 + T4)
			w.wantDialogs(0)
		})
	})
}

// The far end has answered nothing at all and is left with BYE (RFC 3261 section
// 12.2.1.2), and a late 2xx to the re-INVITE is acknowledged although the user was told of the failure.
func TestReinviteAnsweredBehindTimerB(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, to := w.standing(u)
		u.do(func() { u.dialog.Do("INVITE", "", nil, func(_ *Message, err error) { u.note("re-INVITE: %v", err) }) })
		inv := carol.next("INVITE")
		time.Sleep(64*T1 + 1)
		carol.respond(aliceAddr, carol.next("BYE"), 200, "")
		carol.respond(aliceAddr, inv, 200, "")
		ack := carol.next("ACK")
		carol.respond(aliceAddr, inv, 200, "")
		if again := carol.next("ACK"); string(again.Bytes()) != string(ack.Bytes()) {
			t.Errorf("ACKs differ")
		}
		w.wantHeard(u, "INVITE", "ACK", "re-INVITE: "+ErrTimeout.Error())
		w.leave(carol, to, "2 BYE")
	})
}

// Every 2xx to an INVITE of ours is acknowledged (RFC 3261 sections 13.2.2.4 and
// 14.1), also where the call is over and the user asks for nothing more: else the
// far end repeats it for 32 s and says BYE to a call that it has ended.
func TestReinviteAcceptedBehindTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		ours  bool // the BYE
		first bool // the 200, before the user has acknowledged it
		acks  bool // the user does
	}{
		"their BYE, then the 200":      {false, false, false},
		"our BYE, then the 200":        {true, false, false},
		"the 200, then their BYE":      {false, true, false},
		"the 200, then our BYE":        {true, true, false},
		"the user acknowledges it":     {false, false, true},
		"the user does so behind it":   {false, true, true},
		"the user does so behind ours": {true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, memnet.Options{}, func(w *world) {
				u := newUser()
				carol, to := w.standing(u)
				var accepted *Message
				u.do(func() {
					u.dialog.Do("INVITE", "", nil, func(res *Message, err error) {
						if accepted = res; c.acks && !c.first {
							u.dialog.Ack(res, "", nil)
						}
					})
				})
				inv := carol.next("INVITE")
				if c.first {
					carol.respond(aliceAddr, inv, 200, "")
					carol.none("ACK", T1)
				}
				var ack *Message
				if c.ours {
					u.do(func() { u.dialog.Bye(nil) })
					if c.first {
						ack = carol.next("ACK") // before the BYE
					}
					carol.respond(aliceAddr, carol.next("BYE"), 200, "")
				} else {
					carol.send(aliceAddr, carol.request("BYE", "To", to, "CSeq", "3 BYE"))
					carol.next("200 BYE")
				}
				if !c.first {
					carol.respond(aliceAddr, inv, 200, "")
				}
				if ack == nil {
					ack = carol.next("ACK")
				}
				if want := strings.Replace(inv.Get("CSeq"), "INVITE", "ACK", 1); ack.Get("CSeq") != want || ack.CallID() != inv.CallID() {
					t.Errorf("ACK:\n%s", ack.Bytes())
				}
				if c.acks && c.first {
					u.do(func() { u.dialog.Ack(accepted, "", nil) })
					if again := carol.next("ACK"); string(again.Bytes()) != string(ack.Bytes()) {
						t.Errorf("ACKs differ")
					}
				}
				carol.none("ACK", 5*time.Second)
				carol.respond(aliceAddr, inv, 200, "")
				if again := carol.next("ACK"); string(again.Bytes()) != string(ack.Bytes()) {
					t.Errorf("ACKs differ")
				}
				time.Sleep(64*T1 + T4)
				w.wantDialogs(0)
			})
		})
	}
}
