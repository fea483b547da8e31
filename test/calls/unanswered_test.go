package calls

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/sip"
)

// refusesChanges lets carol keep her call as it is.
func refusesChanges(_ *world, carol *phone) {
	carol.within = func(tx *sip.ServerTx) bool {
		if tx.Request.Method == "INVITE" {
			tx.Reply(488, "")
		}
		return tx.Request.Method == "INVITE"
	}
}

// An offer in a 2xx is answered in its ACK (RFC 3261 section 13.2.1), or the dialog
// ends with BYE: nobody is left with an offer that nobody has answered.
func TestOffersInAnswersAreAnswered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do    func(w *world, carol *phone)
		while bool // bob is asked for an offer; else before
		ends  bool
	}{
		"the target hangs up before the offer is there": {do: func(w *world, carol *phone) {
			carol.hangup()
		}, while: true},
		"the target's answer cannot be read": {do: func(w *world, carol *phone) {
			carol.body = func() []byte { return []byte("v=0\r\n") }
		}},
		"the target's answer has a line too many": {do: func(w *world, carol *phone) {
			carol.body = func() []byte { return []byte(phoneSDP(carolPhone.Addr(), 4000) + "m=video 6000 RTP/AVP 96\r\n") }
		}},
		"the target refuses": {do: refusesChanges},
		"the target refuses, and the transferor has hung up": {do: func(w *world, carol *phone) {
			refusesChanges(w, carol)
			w.alice.do(func(d *sipDialog) { d.Bye(nil) })
		}, while: true, ends: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, withColleagues(worldOptions{net: memnet.Options{Delay: 20 * time.Millisecond}}), func(t *testing.T, w *world) {
				carol := w.phone("carol", carolPhone, insideA)
				defer carol.close()
				w.alice.refers()
				w.up()
				time.Sleep(time.Second)
				media := w.alice.media.Load()
				d := w.alice.second("sip:carol@a.example")
				carol.await("acked")
				w.bob.within = func(tx *sip.ServerTx) bool {
					if tx.Request.Method != "INVITE" || !c.while {
						return false
					}
					c.while = false
					go c.do(w, carol)
					time.AfterFunc(100*time.Millisecond, func() {
						w.bob.do(func(b *sipDialog) { b.AnswerTo(tx, "application/sdp", w.bob.body()) })
					})
					return true
				}
				if !c.while {
					c.do(w, carol)
				}
				if got := w.alice.referOn(d, "sip:carol@a.example"); got != "202" {
					t.Fatalf("REFER: %s", got)
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if c.ends {
					w.bob.await("bye")
					synctest.Wait()
					if n := len(w.b.proxy.Calls()); n != 0 {
						t.Errorf("%d calls left at bob's house", n)
					}
					return
				}
				w.alice.media.Store(media)
				w.hear(w.bob, w.alice)
				if got := w.bob.reinvite(string(w.bob.body())); got != "200" {
					t.Errorf("re-INVITE: %s", got)
				}
			})
		})
	}
}
