package calls

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
)

// The workstation is a third house, between carol's phone and house A, which
// is her office.
var (
	seatPhone = netip.MustParseAddrPort("10.9.0.2:5060")
	insideW   = netip.MustParseAddrPort("10.9.0.1:5062")
	outsideW  = netip.MustParseAddrPort("10.1.0.9:5060")
)

// three is a world with the workstation in it.
type three struct {
	*world
	w     *house
	carol *phone
}

// inThree runs a story on three houses in a row: carol's workstation, her
// office A, and the office B with bob's phone. modeW is the workstation's
// policy, and that of A and B stands in the options.
func inThree(t *testing.T, o worldOptions, modeW policy.Mode, story func(t *testing.T, w *three)) {
	t.Helper()
	o.routesA = append(o.routesA, "carol", "sip:carol@"+outsideW.String(), "inside")
	inBubble(t, o, func(t *testing.T, w *world) {
		x := w.workstation(modeW)
		defer x.closeSeat()
		story(t, x)
	})
}

// workstation puts carol's sipward and her phone into a world.
func (w *world) workstation(mode policy.Mode, change ...func(*b2bua.Options)) *three {
	x := &three{world: w}
	x.w = w.house("w", insideW, outsideW, mode, worldOptions{optionsW: all(change...)}, []string{
		"*@b.example", "sip:" + insideA.String(), "outside",
		"carol", "sip:carol@" + seatPhone.String(), "inside"})
	x.carol = w.phone("carol", seatPhone, insideW)
	return x
}

func (w *three) closeSeat() {
	w.w.close()
	w.carol.close()
}

// views are the calls at the workstation, its office and the other office.
func (w *three) views() (ws, office, far b2bua.View) {
	w.t.Helper()
	c := w.w.proxy.Calls()
	if len(c) != 1 {
		w.t.Fatalf("%d calls at the workstation", len(c))
	}
	office, far = w.world.views()
	return c[0], office, far
}

// chat lets carol and bob say n packets at once.
func (w *three) chat(n int) (bobHeard, carolHeard int) {
	b, c := len(w.bob.heard), len(w.carol.heard)
	done := make(chan bool)
	go func() { w.carol.say(n, w.seq, 0xA1); done <- true }()
	w.bob.say(n, w.seq+500, 0xB2)
	<-done
	w.seq += uint16(n)
	time.Sleep(500 * time.Millisecond)
	synctest.Wait()
	return len(w.bob.heard) - b, len(w.carol.heard) - c
}

// tapBeyond counts the datagrams that a phone's speech could be read in, or the
// mark of it, on every wire but those between a phone and its own sipward.
func (w *three) tapBeyond() *int {
	n := new(int)
	own := map[netip.Addr]bool{seatPhone.Addr(): true, bobPhone.Addr(): true, davePhone.Addr(): true}
	w.net.Tap(func(d memnet.Datagram) {
		if own[d.From.Addr()] || own[d.To.Addr()] || isSIP(d.Payload) || len(d.Payload) < 172 {
			return
		}
		for _, mark := range []byte{0xA1, 0xB2} {
			for i := range 256 {
				same := true
				for j, c := range d.Payload[12:28] {
					same = same && c == mark^byte(i*7+j*13)
				}
				if same {
					*n++
				}
			}
		}
	})
	return n
}

// wires counts the octet strings of media on both sides of the middle: what
// enters one side and what leaves the other.
func (w *three) wires() (inner, outer map[string]int) {
	inner, outer = map[string]int{}, map[string]int{}
	w.net.Tap(func(d memnet.Datagram) {
		if isSIP(d.Payload) || len(d.Payload) == 0 {
			return
		}
		switch {
		case d.From.Addr() == outsideW.Addr() || d.To.Addr() == outsideW.Addr():
			inner[string(d.Payload)]++
		case between(d.From, d.To):
			outer[string(d.Payload)]++
		}
	})
	return inner, outer
}

func (w *three) passedThrough(t *testing.T) {
	t.Helper()
	ws, office, far := w.views()
	for _, v := range []b2bua.View{ws, far} {
		if v.Protection != "srtp" || v.Trust != "encrypted" {
			t.Errorf("an end has %s, %s: %s", v.Protection, v.Trust, v.Reason)
		}
	}
	if ws.SASWords == "" || ws.SASWords != far.SASWords || ws.SASCode != far.SASCode {
		t.Errorf("SAS %q and %q", ws.SASWords, far.SASWords)
	}
	if office.Protection != "passed-through" || office.SASWords != "" || office.Trust != "none" || !strings.HasPrefix(office.Reason, "passed through") {
		t.Errorf("the middle shows %+v", office)
	}
}

// prefers is a middle whose policy allows what it cannot check, and an end that
// requires protection.
var prefers = worldOptions{modeA: policy.Prefer, modeB: policy.Require, net: memnet.Options{Delay: 10 * time.Millisecond}}

// An exchange begun at the workstation goes on outside as it is, and one from
// outside goes on to the workstation: the SAS is that of the two ends.
func TestExchangePassesThrough(t *testing.T) {
	t.Parallel()
	for name, delayed := range map[string]bool{"offer in INVITE": false, "offer in 200": true} {
		for _, fromCarol := range []bool{true, false} {
			for _, mode := range []policy.Mode{policy.Require, policy.Prefer} {
				t.Run(name+", "+map[bool]string{true: "outwards", false: "inwards"}[fromCarol]+", ends "+string(mode), func(t *testing.T) {
					t.Parallel()
					o := prefers
					o.modeB = mode
					inThree(t, o, mode, func(t *testing.T, w *three) {
						readable := w.tapBeyond()
						inner, outer := w.wires()
						caller, callee := w.carol, w.bob
						to := "sip:bob@b.example"
						if !fromCarol {
							caller, callee, to = w.bob, w.carol, "sip:carol@a.example"
						}
						caller.delayed = delayed
						caller.call(to)
						caller.await("answered")
						callee.await("acked")
						synctest.Wait()
						if b, c := w.chat(50); b != 50 || c != 50 {
							t.Errorf("bob heard %d, carol %d of 50", b, c)
						}
						w.passedThrough(t)
						if *readable != 0 {
							t.Errorf("%d packets readable beyond the phones' own legs", *readable)
						}
						if len(inner) < 100 {
							t.Errorf("only %d different datagrams of media seen", len(inner))
						}
						for pkt := range inner {
							if outer[pkt] == 0 {
								t.Fatalf("changed on the way: %x", pkt)
							}
						}
						if len(inner) != len(outer) {
							t.Errorf("%d datagrams inside, %d outside", len(inner), len(outer))
						}
						caller.hangup()
						caller.await("bye answered")
						callee.await("bye")
						w.none()
					})
				})
			}
		}
	}
}

// Loss, doubling and disorder of datagrams on every wire.
func TestExchangePassesThroughLoss(t *testing.T) {
	t.Parallel()
	o := prefers
	o.net = memnet.Options{Delay: 15 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05, Duplicate: 0.05, Reorder: 0.05, Seed: 7}
	inThree(t, o, policy.Require, func(t *testing.T, w *three) {
		w.carol.call("sip:bob@b.example")
		w.carol.await("answered")
		w.bob.await("acked")
		if b, c := w.chat(200); b < 150 || c < 150 {
			t.Errorf("bob heard %d, carol %d of 200", b, c)
		}
		w.passedThrough(t)
	})
}

// The office's address outside changes, and then the workstation's: the call
// goes on, and what tells of the move holds nothing of the exchange.
func TestPassingFollowsMoves(t *testing.T) {
	t.Parallel()
	inThree(t, prefers, policy.Require, func(t *testing.T, w *three) {
		readable := w.tapBeyond()
		w.carol.call("sip:bob@b.example")
		w.carol.await("answered")
		w.bob.await("acked")
		w.chat(10)
		var told []string
		w.net.Tap(func(d memnet.Datagram) {
			if isSIP(d.Payload) && strings.Contains(string(d.Payload), "a=dh-") {
				told = append(told, string(d.Payload))
			}
		})
		sas, _, _ := w.views()
		w.moves(w.a, outsideA, awayA, 0)
		time.Sleep(5 * time.Second)
		if b, c := w.chat(20); b != 20 || c != 20 {
			t.Errorf("the office moved: bob heard %d, carol %d of 20", b, c)
		}
		w.moves(w.w, outsideW, netip.MustParseAddrPort("10.1.0.10:5060"), 0)
		time.Sleep(5 * time.Second)
		if b, c := w.chat(20); b != 20 || c != 20 {
			t.Errorf("the workstation moved: bob heard %d, carol %d of 20", b, c)
		}
		w.passedThrough(t)
		if now, _, _ := w.views(); now.SASWords != sas.SASWords || len(told) != 0 || *readable != 0 {
			t.Errorf("SAS %q and %q, %d packets readable, told: %v", sas.SASWords, now.SASWords, *readable, told)
		}
	})
}
