package sip

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

// ringing makes a call from a scripted carol to alice's stack, which then does
// what then says.
func (w *world) ringing(u *user, then func()) (carol *remote, inv *Message) {
	w.Helper()
	w.stack(aliceAddr, u.taking(then))
	carol = w.remote(carolAddr)
	inv = carol.request("INVITE")
	carol.send(aliceAddr, inv)
	synctest.Wait()
	return carol, inv
}

// standing makes that call stand; to is carol's To field from now on.
func (w *world) standing(u *user) (carol *remote, to string) {
	w.Helper()
	carol, _ = w.ringing(u, func() { u.dialog.Answer("", nil) })
	to = carol.next("200 INVITE").Get("To")
	carol.send(aliceAddr, carol.request("ACK", "To", to))
	w.wantHeard(u, "INVITE", "ACK")
	return carol, to
}

// leave ends it from carol's side.
func (w *world) leave(carol *remote, to, cseq string) {
	w.Helper()
	carol.send(aliceAddr, carol.request("BYE", "To", to, "CSeq", cseq))
	carol.next("200 BYE")
	time.Sleep(64*T1 + T4)
	w.wantDialogs(0)
}

func TestCancelOfARingingCall(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, inv := w.ringing(u, func() { u.dialog.Provision(180, "", "", nil) })
		carol.next("100 INVITE")
		carol.next("180 INVITE")
		cancel := carol.request("CANCEL", "Via", inv.Get("Via"))
		carol.send(aliceAddr, carol.request("CANCEL", "Via", strings.Replace(inv.Get("Via"), "invite1", "invite2", 1)))
		carol.next("481 CANCEL") // of another branch: no such transaction
		carol.send(aliceAddr, cancel)
		ok := carol.next("200 CANCEL")
		gone := carol.next("487 INVITE")
		if ok.To().Tag() == "" || ok.To().Tag() != gone.To().Tag() {
			t.Errorf("tags differ:\n%s%s", ok.Bytes(), gone.Bytes())
		}
		carol.send(aliceAddr, cancel) // repeated
		carol.next("200 CANCEL")
		carol.send(aliceAddr, carol.request("ACK", "Via", inv.Get("Via"), "To", gone.Get("To")))
		w.wantHeard(u, "INVITE", "cancelled")
		u.do(func() { u.dialog.Answer("", nil) }) // too late
		carol.none("200 INVITE", 64*T1)
		w.wantDialogs(0)
	})
}

func TestCancelBehindTheAnswerChangesNothing(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, inv := w.ringing(u, func() { u.dialog.Answer("", nil) })
		to := carol.next("200 INVITE").Get("To")
		carol.send(aliceAddr, carol.request("CANCEL", "Via", inv.Get("Via")))
		carol.next("200 CANCEL")
		carol.send(aliceAddr, carol.request("ACK", "To", to))
		w.wantHeard(u, "INVITE", "ACK")
		w.leave(carol, to, "2 BYE")
	})
}

func TestByeBeforeTheAckWaits(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, _ := w.ringing(u, func() {
			u.dialog.Answer("", nil)
			u.dialog.Bye(func() { u.note("gone") })
		})
		to := carol.next("200 INVITE").Get("To")
		carol.none("BYE", 10*time.Second)
		carol.send(aliceAddr, carol.request("ACK", "To", to))
		bye := carol.next("BYE")
		carol.send(aliceAddr, NewResponse(bye, 200, "", ""))
		w.wantHeard(u, "INVITE", "gone")
		time.Sleep(64 * T1)
		w.wantDialogs(0)
	})
}

// Without an ACK the BYE leaves 64*T1 after the answer, however late the user
// wanted it.
func TestByeLeavesWithoutAckInTheEnd(t *testing.T) {
	for _, late := range []time.Duration{0, 20 * time.Second} {
		t.Run(late.String(), func(t *testing.T) {
			inWorld(t, memnet.Options{}, func(w *world) {
				u := newUser()
				carol, _ := w.ringing(u, func() { u.dialog.Answer("", nil) })
				time.Sleep(late)
				u.do(func() { u.dialog.Bye(func() { u.note("gone") }) })
				bye := carol.next("BYE")
				carol.send(aliceAddr, NewResponse(bye, 200, "", ""))
				w.wantTimes("BYE", w.sent(aliceAddr, "BYE"), seconds(32))
				w.wantHeard(u, "INVITE", "gone")
				time.Sleep(T4)
				w.wantDialogs(0)
			})
		})
	}
}

func TestByesCross(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, to := w.standing(u)
		u.do(func() { u.dialog.Bye(nil) })
		carol.send(aliceAddr, carol.request("BYE", "To", to, "CSeq", "2 BYE"))
		carol.next("200 BYE")
		w.wantHeard(u, "INVITE", "ACK")
		time.Sleep(64*T1 + T4 + 1)
		w.wantDialogs(0)
	})
}

func TestRequestsOutsideTheDialogsBounds(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, to := w.standing(u)
		ask := func(name, want string, m *Message) *Message {
			t.Helper()
			m.Set("Via", "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bK"+name)
			carol.send(aliceAddr, m)
			return carol.next(want)
		}
		ask("accepted", "200 INFO", carol.request("INFO", "To", to, "CSeq", "10 INFO"))
		ask("equal", "500 INFO", carol.request("INFO", "To", to, "CSeq", "10 INFO"))
		ask("lower", "500 INFO", carol.request("INFO", "To", to, "CSeq", "9 INFO"))
		ask("toTag", "481 BYE", carol.request("BYE", "To", to+"x", "CSeq", "11 BYE"))
		ask("fromTag", "481 BYE", carol.request("BYE", "To", to, "From", "<sip:carol@example.com>;tag=mallory", "CSeq", "11 BYE"))
		ask("merged", "482 INVITE", carol.request("INVITE"))
		ask("method", "481 OPTIONS", carol.request("OPTIONS")) // the handler's answer: it is no part of the dialog
		w.wantHeard(u, "INVITE", "ACK", "INFO")
		w.leave(carol, to, "12 BYE")
		ask("over", "481 INFO", carol.request("INFO", "To", to, "CSeq", "13 INFO"))
	})
}

// Both ways by which one INVITE reached us carry it at the same time.
func TestMergedInviteWhileRinging(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, inv := w.ringing(u, func() { u.dialog.Provision(180, "", "", nil) })
		carol.next("180 INVITE")
		other := inv.Clone()
		other.Set("Via", "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKother")
		carol.send(aliceAddr, other)
		carol.next("482 INVITE")
		carol.send(aliceAddr, inv) // the same way again is answered as before
		carol.next("180 INVITE")
		w.wantHeard(u, "INVITE")
		u.do(func() { u.dialog.Refuse(486, "") })
	})
}

// A caller that was refused tries again under the same Call-ID, with the next
// CSeq, as RFC 3261 section 8.1.3.5 tells it to.
func TestRefusedCallerTriesAgain(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		calls := 0
		carol, inv := w.ringing(u, func() {
			if calls++; calls == 1 {
				u.dialog.Refuse(407, "")
			} else {
				u.dialog.Answer("", nil)
			}
		})
		res := carol.next("407 INVITE")
		carol.send(aliceAddr, carol.request("ACK", "Via", inv.Get("Via"), "To", res.Get("To")))
		merged := carol.request("INVITE", "Via", "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKmerged")
		carol.send(aliceAddr, merged)
		carol.next("482 INVITE")
		carol.send(aliceAddr, carol.request("INVITE", "CSeq", "2 INVITE", "Via", "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKagain"))
		to := carol.next("200 INVITE").Get("To")
		carol.send(aliceAddr, carol.request("ACK", "To", to, "CSeq", "2 ACK"))
		w.wantHeard(u, "INVITE", "INVITE", "ACK")
		w.leave(carol, to, "3 BYE")
	})
}

func TestServerTransactionsOfADialogAreBounded(t *testing.T) {
	inWorld(t, memnet.Options{QueueLen: 4096}, func(w *world) {
		u := newUser()
		carol, to := w.standing(u)
		for i := range 500 {
			seq := itoa(i + 2)
			carol.send(aliceAddr, carol.request("INFO", "To", to, "CSeq", seq+" INFO", "Via", "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bK"+seq))
		}
		time.Sleep(time.Second)
		if ok, busy := len(w.sent(aliceAddr, "200 INFO")), len(w.sent(aliceAddr, "503 INFO")); ok != maxServers-1 || busy != 500-ok {
			t.Errorf("%d answered, %d refused", ok, busy)
		}
		w.leave(carol, to, "1000 BYE") // nobody is kept in a call by what was asked before
	})
}

func TestAPanickingUserTakesNothingElseDown(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, to := w.standing(u)
		u.request = func(tx *ServerTx) {
			if tx.Request.Method == "INFO" {
				panic("a malformed thing")
			}
			tx.Reply(200, "")
			u.dialog.Closed()
		}
		carol.send(aliceAddr, carol.request("INFO", "To", to, "CSeq", "2 INFO"))
		carol.next("500 INFO")
		w.leave(carol, to, "3 BYE")
	})
}

func TestAPanickingHandlerTakesNothingElseDown(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		w.stack(aliceAddr, func(in *Incoming) {
			if in.Method == "OPTIONS" {
				in.Reply(200, "")
				return
			}
			panic("a malformed thing")
		})
		carol := w.remote(carolAddr)
		carol.send(aliceAddr, carol.request("INVITE"))
		carol.next("500 INVITE")
		carol.send(aliceAddr, carol.request("OPTIONS"))
		carol.next("200 OPTIONS")
		w.wantDialogs(0)
	})
}

func TestAUserThatNeverAnswersLosesNoCallID(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, to := w.standing(u)
		u.request = func(tx *ServerTx) {
			if tx.Request.Method == "BYE" {
				u.dialog.Closed() // and forgets the response
			}
		}
		carol.send(aliceAddr, carol.request("INFO", "To", to, "CSeq", "2 INFO"))
		carol.send(aliceAddr, carol.request("BYE", "To", to, "CSeq", "3 BYE"))
		time.Sleep(64*T1 + T4)
		w.wantDialogs(0)
	})
}

func TestResponsesEchoTheVia(t *testing.T) {
	const other = "SIP/2.0/UDP first.example.com;branch=z9hG4bKfirst"
	tests := []struct {
		name, via string
		port      int // where the response goes
		want      []string
	}{
		{"rport", "SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bK1;rport", 5060,
			[]string{"SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bK1;rport=5060;received=192.0.2.3"}},
		{"rport, name in sent-by, another hop", "SIP/2.0/UDP carol.example.com;rport ;branch=z9hG4bK1, " + other, 5060,
			[]string{"SIP/2.0/UDP carol.example.com;rport=5060;branch=z9hG4bK1;received=192.0.2.3", other}},
		{"no rport: the port of sent-by", "SIP/2.0/UDP 192.0.2.3:5080;branch=z9hG4bK1", 5080,
			[]string{"SIP/2.0/UDP 192.0.2.3:5080;branch=z9hG4bK1"}},
		{"no rport, no port: 5060", "SIP/2.0/UDP 10.1.1.1;branch=z9hG4bK1", 5060,
			[]string{"SIP/2.0/UDP 10.1.1.1;branch=z9hG4bK1;received=192.0.2.3"}},
		{"a forged received goes", "SIP/2.0/UDP 192.0.2.3:5080;received=198.51.100.6;branch=z9hG4bK1", 5080,
			[]string{"SIP/2.0/UDP 192.0.2.3:5080;branch=z9hG4bK1"}},
		{"a forged rport goes", "SIP/2.0/UDP 192.0.2.3:5080;rport=9;branch=z9hG4bK1", 5060,
			[]string{"SIP/2.0/UDP 192.0.2.3:5080;rport=5060;branch=z9hG4bK1;received=192.0.2.3"}},
		{"quoted parameters are none of these", `SIP/2.0/UDP 192.0.2.3:5080;x=";rport;branch=y";branch=z9hG4bK1`, 5080,
			[]string{`SIP/2.0/UDP 192.0.2.3:5080;x=";rport;branch=y";branch=z9hG4bK1`}},
		{"an empty value in front", "  , SIP/2.0/UDP 192.0.2.3:5080;branch=z9hG4bK1", 5080,
			[]string{"SIP/2.0/UDP 192.0.2.3:5080;branch=z9hG4bK1"}},
		{"white space", "SIP / 2.0 / UDP  10.0.0.1 : 5062 ;branch = z9hG4bK1 ; rport", 5060,
			[]string{"SIP / 2.0 / UDP  10.0.0.1 : 5062 ;branch = z9hG4bK1 ;rport=5060;received=192.0.2.3"}},
	}
	for _, tt := range tests {
		for _, stateful := range []bool{false, true} {
			t.Run(strings.Join([]string{tt.name, map[bool]string{false: "stateless", true: "stateful"}[stateful]}, "/"), func(t *testing.T) {
				inWorld(t, memnet.Options{}, func(w *world) {
					u := newUser()
					w.stack(aliceAddr, func(in *Incoming) {
						if stateful {
							u.taking(func() { u.dialog.Refuse(403, "") })(in)
						} else {
							in.Reply(403, "")
						}
					})
					carol := w.remote(carolAddr)
					carol.send(aliceAddr, carol.request("INVITE", "Via", tt.via))
					time.Sleep(100 * time.Millisecond)
					got := w.wires(aliceAddr, "403 INVITE")
					if len(got) != 1 || got[0].to.Addr() != carolAddr.Addr() || int(got[0].to.Port()) != tt.port {
						t.Fatalf("sent %v, want one to port %d", got, tt.port)
					}
					m, err := Parse([]byte(got[0].wire))
					if err != nil || !slices.Equal(m.Values("Via"), tt.want) {
						t.Errorf("Via %q, want %q (%v)", m.Values("Via"), tt.want, err)
					}
				})
			})
		}
	}
}

// A call that is held for hours keeps nothing of what set it up: no message to
// repeat, no timer.
func TestHeldCallKeepsNothingToRepeat(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, to := w.standing(u)
		u.do(func() {
			switch initial := u.dialog.initial; {
			case initial == nil || initial.linger == nil:
				t.Error("the transaction is not kept while repetitions may come: the test sees nothing")
			case initial.last != nil || initial.resend != nil || initial.timeout != nil || len(initial.Request.Body) > 0:
				t.Error("behind the ACK the answer or the INVITE is still kept")
			}
		})
		time.Sleep(64*T1 + T4 + 1)
		u.do(func() {
			if u.dialog.initial != nil || u.dialog.beginning != nil || len(u.dialog.servers) != 0 {
				t.Error("its INVITE is still kept")
			}
		})
		w.leave(carol, to, "2 BYE")
	})
}
