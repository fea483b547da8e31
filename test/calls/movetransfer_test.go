package calls

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/sip"
)

// The house's address changes while it transfers a call: who stays is told, however
// long the target rings, and so once he sits in the call with it.
func TestMoveDuringATransfer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attended bool
		rings    time.Duration // from the move on
		answers  time.Duration // how long who stays takes; the move comes half-way
	}{
		"the target rings for long":      {rings: 50 * time.Second},
		"the target answers at once":     {rings: time.Millisecond},
		"blind, who stays answers late":  {answers: 4 * time.Second},
		"attended, who stays gives late": {attended: true, answers: 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}}), func(t *testing.T, w *world) {
				carol := w.phone("carol", carolPhone, insideA, func(p *phone) { p.manual = c.rings > 0 })
				defer carol.close()
				clear := w.tapClear()
				w.alice.refers()
				w.up()
				time.Sleep(time.Second)
				asks := func() string { return w.alice.refer("<sip:carol@a.example>") }
				if c.attended {
					d := w.alice.second("sip:carol@a.example")
					carol.await("acked")
					asks = func() string { return w.alice.referOn(d, "sip:carol@a.example") }
				}
				if c.answers > 0 {
					w.bob.do(func(*sipDialog) {
						w.bob.within = func(tx *sip.ServerTx) bool {
							if tx.Request.Method != "INVITE" {
								return false
							}
							w.bob.within = nil
							w.bob.event("asked")
							w.bob.learn(tx.Request)
							time.AfterFunc(c.answers, func() {
								w.bob.do(func(d *sipDialog) { d.AnswerTo(tx, "application/sdp", w.bob.body()) })
							})
							return true
						}
					})
				}
				if got := asks(); got != "202" {
					t.Fatalf("REFER: %s", got)
				}
				if c.answers > 0 {
					w.bob.await("asked")
					time.Sleep(c.answers / 2)
				} else {
					carol.await("invited")
				}
				w.moves(w.a, outsideA, awayA, 0)
				if c.rings > 0 {
					time.Sleep(c.rings)
					carol.do(func(d *sipDialog) { d.Answer("application/sdp", carol.body()) })
				}
				w.alice.await("told SIP/2.0 200")
				time.Sleep(10 * time.Second)
				synctest.Wait()
				va, vb := w.views()
				if va.Protection != "srtp" || va.SASWords != vb.SASWords {
					t.Errorf("%+v\n%+v", va, vb)
				}
				w.hear(w.bob, carol)
				time.Sleep(time.Minute)
				w.hear(w.bob, carol)
				w.bob.hangup() // to the new address
				carol.await("bye")
				w.none()
				if *clear != 0 {
					t.Errorf("%d packets in clear", *clear)
				}
			})
		})
	}
}

// Who stays, or who asked, has gone while the target rings, and so has the house's
// address: without the one the target rings no more, without the other it goes on.
func TestMoveDuringATransferOfWhoHasGone(t *testing.T) {
	t.Parallel()
	for _, gone := range []string{"stays", "transferor"} {
		t.Run(gone, func(t *testing.T) {
			t.Parallel()
			inBubble(t, withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}}), func(t *testing.T, w *world) {
				carol := w.phone("carol", carolPhone, insideA, func(p *phone) { p.manual = true })
				defer carol.close()
				w.alice.refers()
				w.up()
				time.Sleep(time.Second)
				if got := w.alice.refer("<sip:carol@a.example>"); got != "202" {
					t.Fatalf("REFER: %s", got)
				}
				carol.await("invited")
				if gone == "transferor" {
					w.alice.hangup()
					w.alice.await("bye answered")
					w.moves(w.a, outsideA, awayA, 0)
					time.Sleep(50 * time.Second)
					carol.do(func(d *sipDialog) { d.Answer("application/sdp", carol.body()) })
					carol.await("acked")
					w.hear(w.bob, carol)
					w.bob.hangup()
					carol.await("bye")
				} else {
					w.tamper(func(m string) string { return strings.Replace(m, "SIP/2.0 200 OK", "SIP/2.0 481 No Such Call", 1) })
					w.moves(w.a, outsideA, awayA, 0)
					carol.await("cancelled")
					w.alice.await("bye")
					w.net.SetRule(nil)
					time.Sleep(5 * time.Minute)
					if n := len(w.a.proxy.Calls()); n != 0 {
						t.Errorf("%d calls at house A", n)
					}
				}
			})
		})
	}
}
