package sip

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

// Whole calls through a network that loses, doubles and reorders: both users
// see a call that begins, changes and ends, or a failure that the RFC allows,
// and nothing is left over.
func TestCallsThroughABadNetwork(t *testing.T) {
	t.Parallel()
	var stood, changed, refused int
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			w := &world{T: t, net: memnet.New(memnet.Options{Seed: seed, Loss: 0.25, Duplicate: 0.1, Reorder: 0.2, Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond}), start: time.Now()}
			callee, caller := newUser(), newUser()
			w.stack(bobAddr, callee.taking(func() {
				callee.dialog.Provision(180, "", "", nil)
				time.AfterFunc(2*time.Second, func() {
					callee.queue.Post(func() { callee.dialog.Answer("", []byte("answer")) })
				})
			}))
			s, l := w.stack(aliceAddr, nil)
			defer func() {
				for _, s := range w.stacks {
					s.Close()
				}
				w.net.Close()
			}()
			caller.dial(t, s, l, bobAddr)
			time.Sleep(100 * time.Second)
			begun := slices.Contains(caller.events(), "answer")
			if begun {
				caller.do(func() {
					caller.dialog.Do("INVITE", "", []byte("hold"), func(res *Message, err error) {
						switch {
						case err != nil:
							caller.note("hold: %v", err)
						case res.Status >= 200:
							caller.note("hold %d", res.Status)
							if res.Status < 300 {
								caller.dialog.Ack(res, "", nil)
							}
						}
					})
				})
				time.Sleep(100 * time.Second)
				caller.do(func() { caller.dialog.Bye(func() { caller.note("gone") }) })
			}
			time.Sleep(100 * time.Second)
			w.wantDialogs(min(1, leftOver(callee)))
			synctest.Wait()
			got := strings.Join(slices.DeleteFunc(caller.events(), func(e string) bool { return e == "answer again" || e == "180" }), ",")
			heard := strings.Join(callee.events(), ",")
			switch got {
			case "answer,hold 200,gone":
				stood++
				changed++
				if heard != "INVITE,ACK,INVITE,ACK,BYE" && heard != "INVITE,ACK,INVITE,ACK" && heard != "INVITE,ACK,INVITE,no ACK,BYE" {
					t.Errorf("seed %d: the callee heard %s", seed, heard)
				}
			case "refused: " + ErrTimeout.Error():
				refused++
			default:
				if !strings.HasPrefix(got, "answer,hold: ") {
					t.Errorf("seed %d: the caller heard %s, the callee %s", seed, got, heard)
				}
				stood++
			}
			if n := strings.Count(heard, "BYE"); n > 1 {
				t.Errorf("seed %d: %d BYEs", seed, n)
			}
		})
	}
	if changed < 50 || stood+refused != 60 {
		t.Errorf("%d calls stood, %d were changed, %d had no answer", stood, changed, refused)
	}
}

// leftOver counts the calls of a callee that never heard of their end: it is
// the user's to end them.
func leftOver(u *user) int {
	e := u.events()
	if len(e) == 0 || slices.Contains(e, "BYE") || slices.Contains(e, "cancelled") {
		return 0
	}
	return 1
}

// The stack's own goroutines end with it, in the middle of everything.
func TestCloseInTheMiddleOfACall(t *testing.T) {
	for _, moment := range []time.Duration{0, 10 * time.Millisecond, 25 * time.Millisecond, 40 * time.Millisecond, time.Second} {
		t.Run(moment.String(), func(t *testing.T) {
			inWorld(t, memnet.Options{Delay: 10 * time.Millisecond}, func(w *world) {
				callee, caller := newUser(), newUser()
				w.stack(bobAddr, callee.taking(func() { callee.dialog.Answer("", nil) }))
				s, l := w.stack(aliceAddr, nil)
				w.net.SetRule(lose(1000, "ACK"))
				caller.dial(t, s, l, bobAddr)
				time.Sleep(moment)
				for _, s := range w.stacks {
					s.Close()
				}
				synctest.Wait()
				w.wantDialogs(0)
				were := len(w.wires(aliceAddr, "")) + len(w.wires(bobAddr, ""))
				time.Sleep(5 * time.Minute) // no timer is left that would send
				if now := len(w.wires(aliceAddr, "")) + len(w.wires(bobAddr, "")); now != were {
					t.Errorf("%d messages behind the end", now-were)
				}
				// What the users do now does no harm.
				caller.do(func() {
					caller.dialog.Cancel()
					caller.dialog.Bye(nil)
					caller.dialog.Do("INFO", "", nil, func(*Message, error) {})
					if _, err := s.Dial(Dial{Flow: l.Flow(bobAddr), Queue: caller.queue, User: caller}); err == nil {
						t.Error("a closed stack dials")
					}
				})
			})
		})
	}
}
