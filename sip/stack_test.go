package sip

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

// Strangers cannot fill the log: what they send leaves no line above debug.
func TestGarbageIsNotLogged(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		var log bytes.Buffer
		s, _ := w.stack(aliceAddr, func(in *Incoming) { in.Reply(403, "") })
		s.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))
		carol := w.remote(carolAddr)
		for _, b := range seeds(t) {
			if len(b) < 65507 {
				carol.write(aliceAddr, string(b))
			}
		}
		synctest.Wait()
		if s.Malformed() == 0 || log.Len() != 0 {
			t.Errorf("%d malformed messages, log %q", s.Malformed(), log.String())
		}
	})
}

// A panic is logged once, and the queue runs what comes behind it.
func TestAQueueOutlivesAPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		q := Queue{Log: slog.New(slog.NewTextHandler(&log, nil))}
		var ran []int
		gate := make(chan struct{})
		q.Post(func() { <-gate })
		for i := range 5 {
			q.Post(func() {
				if i == 2 {
					panic("oops")
				}
				ran = append(ran, i)
				q.Post(func() { ran = append(ran, 10+i) }) // behind what waits already
			})
		}
		close(gate)
		synctest.Wait()
		if want := []int{0, 1, 3, 4, 10, 11, 13, 14}; !slices.Equal(ran, want) {
			t.Errorf("ran %v, want %v", ran, want)
		}
		if strings.Count(log.String(), "oops") == 0 || strings.Count(log.String(), "level=ERROR") != 1 {
			t.Errorf("log %q", log.String())
		}
	})
}

// A flood for one call that its user is too slow for is lost, not kept.
func TestWhatWaitsForADialogIsBounded(t *testing.T) {
	inWorld(t, memnet.Options{QueueLen: 1 << 14}, func(w *world) {
		u := newUser()
		carol, to := w.standing(u)
		release := make(chan struct{})
		u.queue.Post(func() { <-release })
		synctest.Wait()
		for i := range 5000 {
			carol.send(aliceAddr, carol.request("INFO", "To", to, "CSeq", itoa(i+2)+" INFO", "Via", "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bK"+itoa(i)))
		}
		synctest.Wait()
		if n := u.queue.depth(); n != maxQueued {
			t.Errorf("%d messages wait, want %d", n, maxQueued)
		}
		close(release)
		time.Sleep(64*T1 + T4)
		w.leave(carol, to, "9000 BYE")
	})
}

// One INVITE that comes in over two listeners at once makes one dialog.
func TestOneCallIDIsOneDialog(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		first, second := newUser(), newUser()
		var waiting []*Incoming
		w.stack(aliceAddr, func(in *Incoming) { waiting = append(waiting, in) })
		carol := w.remote(carolAddr)
		carol.send(aliceAddr, carol.request("INVITE"))
		carol.send(aliceAddr, carol.request("INVITE", "Via", "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKother"))
		synctest.Wait()
		if len(waiting) != 2 {
			t.Fatalf("%d requests", len(waiting))
		}
		if waiting[0].Accept(first.queue, first, "") == nil || waiting[1].Accept(second.queue, second, "") != nil {
			t.Error("not exactly one was accepted")
		}
		w.wantDialogs(1)
		carol.send(aliceAddr, carol.request("INVITE", "Via", "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKother"))
		carol.next("482 INVITE")
	})
}

// The new INVITE of a caller that was refused, and what follows at its heels,
// reach the new dialog in order.
func TestWhatFollowsARepeatedCall(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		calls := 0
		carol, inv := w.ringing(u, func() {
			if calls++; calls == 1 {
				u.dialog.Refuse(491, "")
			} else {
				u.dialog.Provision(180, "", "", nil)
			}
		})
		res := carol.next("491 INVITE")
		// The queue is busy while all of it arrives.
		release := make(chan struct{})
		u.queue.Post(func() { <-release })
		synctest.Wait()
		via := "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKagain"
		carol.send(aliceAddr, carol.request("ACK", "Via", inv.Get("Via"), "To", res.Get("To")))
		carol.send(aliceAddr, carol.request("INVITE", "CSeq", "2 INVITE", "Via", via))
		carol.send(aliceAddr, carol.request("CANCEL", "CSeq", "2 CANCEL", "Via", via))
		synctest.Wait()
		close(release)
		carol.next("200 CANCEL")
		carol.next("487 INVITE")
		w.wantHeard(u, "INVITE", "INVITE", "cancelled")
		time.Sleep(64*T1 + 1)
		w.wantDialogs(0)
	})
}

// RFC 3261 section 12.2.1.2: a far end that has lost the dialog gets a BYE.
func TestALostDialogIsEnded(t *testing.T) {
	for _, status := range []int{481, 408} {
		t.Run(itoa(status), func(t *testing.T) {
			inWorld(t, memnet.Options{}, func(w *world) {
				u, bob, _ := w.answered()
				u.do(func() {
					u.dialog.Do("INFO", "", nil, func(res *Message, _ error) { u.note("%d", res.Status) })
				})
				bob.respond(aliceAddr, bob.next("INFO"), status, "b")
				bob.respond(aliceAddr, bob.next("BYE"), 481, "b")
				w.wantHeard(u, "answer", itoa(status))
				u.do(func() {
					if !u.dialog.Ended() {
						t.Error("the dialog goes on")
					}
					u.dialog.Do("INFO", "", nil, func(_ *Message, err error) { u.note("%v", err) })
				})
				w.wantHeard(u, "answer", itoa(status), ErrTransport.Error())
				time.Sleep(64 * T1)
				w.wantDialogs(0)
			})
		})
	}
}

// Responses that belong to nothing, or are malformed, do nothing.
func TestStrayResponses(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		bob := w.remote(bobAddr)
		u := newUser()
		u.dial(t, s, l, bobAddr)
		inv := bob.next("INVITE")
		for _, change := range [][2]string{
			{"Via", strings.Replace(inv.Get("Via"), "z9hG4bK", "z9hG4bKx", 1)}, // another branch
			{"Via", inv.Get("Via") + ", SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK2"},
			{"CSeq", "1 BYE"},
			{"CSeq", "one INVITE"},
			{"Call-ID", "another"},
			{"From", ""},
		} {
			res := NewResponse(inv, 200, "", "b")
			if change[1] == "" {
				res.Remove(change[0])
			} else {
				res.Set(change[0], change[1])
			}
			bob.send(aliceAddr, res)
		}
		w.wantHeard(u)
		bob.respond(aliceAddr, inv, 404, "b")
		w.wantHeard(u, "refused 404")
	})
}

// A request of a dialog that says what the dialog knows of itself.
func TestWhatADialogSaysOfItself(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		u := newUser()
		carol, to := w.standing(u)
		u.do(func() {
			d := u.dialog
			if d.CallID() != "call-1" || d.Flow().Remote() != carolAddr || d.Flow().Network() != "udp" || !d.Confirmed() || d.Ended() {
				t.Errorf("%s %v %v %v", d.CallID(), d.Flow().Remote(), d.Confirmed(), d.Ended())
			}
			if d.Flow().Listener().Advertised() != aliceAddr {
				t.Error("listener")
			}
			d.Provision(180, "", "", nil) // nothing of this is heard any more
			d.Refuse(486, "")
			d.Cancel()
		})
		w.wantTimes("180", w.sent(aliceAddr, "180 INVITE"), nil)
		w.leave(carol, to, "2 BYE")
		u.do(func() {
			if !u.dialog.Ended() {
				t.Error("goes on behind BYE")
			}
		})
	})
}
