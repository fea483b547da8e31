package calls

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/sip"
)

// The target's phone is being asked for something else when the party that is
// transferred has made its offer: the transferor hears that it may ask again (491),
// and not that somebody is gone, and both calls go on. Asked again, it is joined.
func TestAttendedTransferMeetsARefresh(t *testing.T) {
	t.Parallel()
	o := withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}, optionsA: func(o *b2bua.Options) { o.Timers.Session = 90 * time.Second }})
	inBubble(t, o, func(t *testing.T, w *world) {
		carol := w.phone("carol", carolPhone, insideA)
		defer carol.close()
		clear := w.tapClear()
		w.alice.refers()
		w.up()
		d := w.alice.second("sip:carol@a.example")
		carol.await("acked")
		var newest *sipDialog
		w.alice.do(func(d *sipDialog) { newest = d })
		late := func(p *phone, wait time.Duration) {
			p.within = func(tx *sip.ServerTx) bool {
				if tx.Request.Method != "INVITE" {
					return false
				}
				p.within = nil
				p.event("asked")
				time.AfterFunc(wait, func() {
					p.do(func(d *sipDialog) { d.AnswerTo(tx, "application/sdp", p.body()) })
				})
				return true
			}
		}
		late(carol, 15*time.Second)
		time.Sleep(44 * time.Second) // her session is refreshed at 45 s
		late(w.bob, 3*time.Second)
		if got := w.alice.referOn(d, "sip:carol@a.example"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		w.bob.await("asked")
		carol.await("asked")
		w.alice.await("told SIP/2.0 491")
		carol.await("acked")
		time.Sleep(time.Second)
		synctest.Wait()
		time.Sleep(5 * time.Minute)
		if n := len(w.a.proxy.Calls()); n != 2 {
			t.Fatalf("%d calls at house A", n)
		}
		w.alice.do(func(*sipDialog) { w.alice.dialog = newest })
		if got := w.alice.referOn(d, "sip:carol@a.example"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		w.alice.await("told SIP/2.0 200")
		w.hear(w.bob, carol)
		w.bob.hangup()
		carol.await("bye")
		time.Sleep(5 * time.Second) // alice leaves, or is sent away
		w.none()
		if *clear != 0 {
			t.Errorf("%d packets in clear", *clear)
		}
	})
}
