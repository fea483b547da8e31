package calls

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
)

// moves takes a house's outside listener to another address; the old one is gone
// unless it lingers.
func (w *world) moves(h *house, from, to netip.AddrPort, linger time.Duration) {
	w.t.Helper()
	if linger == 0 {
		w.net.TakeAway(from.Addr())
	}
	if err := h.proxy.Move("internet", "udp", b2bua.Place{Packet: w.listen(to), Linger: linger}); err != nil {
		w.t.Fatal(err)
	}
}

// packets watches the protected packets between the houses: no number of a
// source leaves twice, whatever its address, and none is skipped.
type packets struct {
	last   map[uint32]uint16
	seen   map[uint64]bool
	faults []string
	rtp    int
}

func (w *world) tapNumbers() *packets {
	p := &packets{last: map[uint32]uint16{}, seen: map[uint64]bool{}}
	w.net.Tap(func(d memnet.Datagram) {
		if !between(d.From, d.To) || isSIP(d.Payload) || len(d.Payload) < 172 || d.From.Port()%2 != 0 {
			return
		}
		ssrc, seq := binary.BigEndian.Uint32(d.Payload[8:]), binary.BigEndian.Uint16(d.Payload[2:])
		if key := uint64(ssrc)<<16 | uint64(seq); p.seen[key] {
			p.faults = append(p.faults, "a number left twice")
		} else {
			p.seen[key] = true
		}
		if last, ok := p.last[ssrc]; ok && seq != last+1 {
			p.faults = append(p.faults, "a number was skipped")
		}
		p.last[ssrc] = seq
		p.rtp++
	})
	return p
}

// heardWithin is how long it takes until both phones, which speak all the time,
// have heard each other anew.
func (w *world) heardWithin(limit time.Duration) {
	w.t.Helper()
	start := time.Now()
	b, a := len(w.bob.heard), len(w.alice.heard)
	for len(w.bob.heard) == b || len(w.alice.heard) == a {
		w.both(1)
		if time.Since(start) > limit {
			w.t.Fatalf("bob heard %d, alice %d in %v", len(w.bob.heard)-b, len(w.alice.heard)-a, limit)
		}
	}
	time.Sleep(500 * time.Millisecond) // what is on its way belongs to this
}

// both lets both phones speak n packets.
func (w *world) both(n int) {
	done := make(chan bool)
	go func() { w.alice.say(n, w.seq, 0xA1); done <- true }()
	w.bob.say(n, w.seq+500, 0xB2)
	<-done
	w.seq += uint16(n)
}

// same checks that a call goes on as it was, and ends it from both sides' view.
func (w *world) goesOn(before b2bua.View, clear *int, p *packets) {
	w.t.Helper()
	time.Sleep(10 * time.Second) // what there is to say about the move has been said
	if b, a := w.talk(50); b != 50 || a != 50 {
		w.t.Errorf("afterwards bob heard %d, alice %d of 50", b, a)
	}
	synctest.Wait()
	va, vb := w.views()
	for _, v := range []b2bua.View{va, vb} {
		if v.SASWords == "" || v.SASWords != before.SASWords || v.Protection != "srtp" || v.Trust != "encrypted" {
			w.t.Errorf("afterwards %+v", v)
		}
	}
	if *clear != 0 || len(p.faults) != 0 || p.rtp == 0 {
		w.t.Errorf("%d packets in clear, %d protected, faults %q", *clear, p.rtp, p.faults)
	}
	w.bob.hangup() // reaches the house that moved
	w.bob.await("bye answered")
	w.alice.await("bye")
	w.none()
	if n := w.a.proxy.Counters().Failed + w.b.proxy.Counters().Failed; n != 0 {
		w.t.Errorf("%d calls failed", n)
	}
}

var lan = worldOptions{net: memnet.Options{Delay: 10 * time.Millisecond}}

func TestCallerMovesToAnotherNetwork(t *testing.T) {
	t.Parallel()
	inBubble(t, lan, func(t *testing.T, w *world) {
		clear, p := w.tapClear(), w.tapNumbers()
		w.up()
		w.talk(100)
		before, _ := w.views()
		w.moves(w.a, outsideA, awayA, 0)
		w.heardWithin(2 * time.Second)
		w.bob.await("reinvited")
		if !strings.Contains(string(w.bob.reinvited.Body), "o=- 1 2 IN") {
			t.Errorf("the description that has changed has an old version:\n%s", w.bob.reinvited.Body)
		}
		if va, _ := w.views(); va.Legs[1].Media == "" || !strings.HasPrefix(va.Legs[1].Media, awayA.Addr().String()) {
			t.Errorf("media at %s", va.Legs[1].Media)
		}
		w.goesOn(before, clear, p)
	})
}

func TestCalleeMovesToAnotherNetwork(t *testing.T) {
	t.Parallel()
	inBubble(t, lan, func(t *testing.T, w *world) {
		clear, p := w.tapClear(), w.tapNumbers()
		w.up()
		w.talk(100)
		before, _ := w.views()
		w.moves(w.b, outsideB, awayB, 0)
		w.heardWithin(2 * time.Second)
		w.alice.await("reinvited")
		w.goesOn(before, clear, p)
	})
}

// A laptop goes from network to network, and back to the first.
func TestMovesAgainAndAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, lan, func(t *testing.T, w *world) {
		clear, p := w.tapClear(), w.tapNumbers()
		w.up()
		w.talk(10)
		before, _ := w.views()
		at := outsideA
		for _, to := range []netip.AddrPort{awayA, outsideA, awayA, outsideA} {
			w.net.GiveBack(to.Addr())
			w.moves(w.a, at, to, 0)
			at = to
			w.both(3) // the next move comes before the far end has answered
		}
		w.heardWithin(2 * time.Second)
		w.goesOn(before, clear, p)
	})
}

// Both ends find a better network at the same moment; the old addresses are
// still there for a while, or neither could tell the other.
func TestBothEndsMoveAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, lan, func(t *testing.T, w *world) {
		clear, p := w.tapClear(), w.tapNumbers()
		w.up()
		w.talk(100)
		before, _ := w.views()
		w.moves(w.a, outsideA, awayA, 32*time.Second)
		w.moves(w.b, outsideB, awayB, 32*time.Second)
		w.heardWithin(2500 * time.Millisecond) // a 491, then up to 2 s (RFC 3261 section 14.1)
		w.goesOn(before, clear, p)
	})
}

// Where both addresses vanish nobody can find the other: both phones hear that
// the call is over.
func TestBothEndsVanish(t *testing.T) {
	t.Parallel()
	inBubble(t, lan, func(t *testing.T, w *world) {
		w.up()
		w.talk(10)
		w.moves(w.a, outsideA, awayA, 0)
		w.moves(w.b, outsideB, awayB, 0)
		start := time.Now()
		for _, p := range []*phone{w.alice, w.bob} {
			if got := p.await("bye"); !strings.Contains(got, "new address") {
				t.Errorf("%s: %s", p.name, got)
			}
		}
		if took := time.Since(start); took > 33*time.Second {
			t.Errorf("took %v", took)
		}
		w.none()
	})
}

func TestMoveDuringHold(t *testing.T) {
	t.Parallel()
	inBubble(t, lan, func(t *testing.T, w *world) {
		clear, p := w.tapClear(), w.tapNumbers()
		w.up()
		w.talk(100)
		before, _ := w.views()
		body := string(w.alice.body())
		if got := w.alice.reinvite(strings.Replace(body, "a=sendrecv", "a=sendonly", 1)); got != "200" {
			t.Fatalf("hold: %s", got)
		}
		w.bob.await("reinvited")
		w.moves(w.a, outsideA, awayA, 0)
		w.bob.await("reinvited")
		if got := string(w.bob.reinvited.Body); !strings.Contains(got, "a=sendonly") {
			t.Errorf("the hold was lost on the way:\n%s", got)
		}
		time.Sleep(time.Minute)
		if got := w.alice.reinvite(body); got != "200" {
			t.Fatalf("resume: %s", got)
		}
		w.heardWithin(2 * time.Second)
		w.goesOn(before, clear, p)
	})
}

func TestCallerMovesWhileItRings(t *testing.T) {
	t.Parallel()
	inBubble(t, lan, func(t *testing.T, w *world) {
		clear, p := w.tapClear(), w.tapNumbers()
		w.bob.manual = true
		w.alice.call("sip:bob@b.example")
		w.alice.await("180")
		w.moves(w.a, outsideA, awayA, 0)
		time.Sleep(5 * time.Second)
		if len(w.bob.events) != 1 { // invited, once
			t.Errorf("bob's phone saw %d events", len(w.bob.events))
		}
		w.bob.do(func(d *sipDialog) { d.Answer("application/sdp", w.bob.body()) })
		w.alice.await("answered")
		w.bob.await("acked")
		synctest.Wait()
		w.heardWithin(2 * time.Second)
		before, _ := w.views()
		w.goesOn(before, clear, p)
	})
}

// A far end that goes on answering to where the INVITE came from gets a new one.
func TestCallerMovesWhileItRingsElsewhere(t *testing.T) {
	t.Parallel()
	inBubble(t, lan, func(t *testing.T, w *world) {
		clear, p := w.tapClear(), w.tapNumbers()
		w.bob.manual = true
		w.alice.call("sip:bob@b.example")
		w.alice.await("180")
		branch := ""
		w.tamper(func(m string) string {
			if strings.HasPrefix(m, "INVITE ") {
				via := m[strings.Index(m, "branch="):]
				if via = via[:30]; branch == "" {
					branch = via
				}
				if via == branch {
					return "" // the repetition
				}
			}
			return m
		})
		w.moves(w.a, outsideA, awayA, 0)
		time.Sleep(3 * time.Second)
		saw := map[string]int{}
		for len(w.bob.events) > 0 {
			saw[<-w.bob.events]++
		}
		if saw["invited"] != 2 || saw["cancelled"] != 1 {
			t.Fatalf("bob's phone saw %v", saw)
		}
		w.bob.do(func(d *sipDialog) { d.Answer("application/sdp", w.bob.body()) })
		w.bob.await("acked")
		w.alice.await("answered")
		synctest.Wait()
		w.heardWithin(2 * time.Second)
		before, _ := w.views()
		w.goesOn(before, clear, p)
	})
}

func TestCalleeMovesWhileItRings(t *testing.T) {
	t.Parallel()
	inBubble(t, lan, func(t *testing.T, w *world) {
		clear, p := w.tapClear(), w.tapNumbers()
		w.bob.manual = true
		w.alice.call("sip:bob@b.example")
		w.alice.await("180")
		w.moves(w.b, outsideB, awayB, 0)
		w.bob.do(func(d *sipDialog) { d.Answer("application/sdp", w.bob.body()) })
		w.alice.await("answered")
		w.bob.await("acked")
		synctest.Wait()
		w.heardWithin(2 * time.Second)
		before, _ := w.views()
		w.goesOn(before, clear, p)
	})
}

// The network is away before there is a new one: the phone's attempt to change
// the call fails and the call stays.
func TestNetworkGoesBeforeTheNextIsThere(t *testing.T) {
	t.Parallel()
	inBubble(t, lan, func(t *testing.T, w *world) {
		clear, p := w.tapClear(), w.tapNumbers()
		w.up()
		w.talk(100)
		before, _ := w.views()
		w.net.TakeAway(outsideA.Addr())
		if got := w.alice.reinvite(string(w.alice.body())); got != "500" {
			t.Errorf("without a network: %s", got)
		}
		time.Sleep(20 * time.Second)
		w.moves(w.a, outsideA, awayA, 0)
		w.heardWithin(2 * time.Second)
		p.faults = nil // what was said meanwhile has numbers that nobody saw
		w.goesOn(before, clear, p)
	})
}

// Plain legs follow as well: the far end believes the re-INVITE.
func TestPlainCallMoves(t *testing.T) {
	t.Parallel()
	o := lan
	o.modeA, o.modeB = policy.Off, policy.Off
	inBubble(t, o, func(t *testing.T, w *world) {
		w.up()
		w.talk(10)
		w.moves(w.a, outsideA, awayA, 0)
		w.heardWithin(2 * time.Second)
		if b, a := w.talk(20); b != 20 || a != 20 {
			t.Errorf("bob heard %d, alice %d of 20", b, a)
		}
		w.alice.hangup()
		w.bob.await("bye")
		w.none()
	})
}

// Behind a router that gets another public address only the name of ours
// changes; the far end is told.
func TestAdvertisedAddressChanges(t *testing.T) {
	t.Parallel()
	inBubble(t, lan, func(t *testing.T, w *world) {
		w.up()
		w.talk(10)
		shown := netip.MustParseAddrPort("203.0.113.99:5090")
		var contact, described bool
		w.net.Tap(func(d memnet.Datagram) {
			if m := string(d.Payload); d.From == outsideA && strings.HasPrefix(m, "INVITE ") {
				contact = contact || strings.Contains(m, "@203.0.113.99:5090>")
				described = described || strings.Contains(m, "c=IN IP4 203.0.113.99")
			}
		})
		if err := w.a.proxy.Move("internet", "udp", b2bua.Place{Advertise: shown}); err != nil {
			t.Fatal(err)
		}
		w.bob.await("reinvited")
		synctest.Wait()
		if !contact || !described {
			t.Errorf("the re-INVITE names the new address in Contact: %v, in SDP: %v", contact, described)
		}
	})
}

// A far end whose phone takes no re-INVITE still hears where we are.
func TestRefusedRenewalLeavesTheCall(t *testing.T) {
	t.Parallel()
	inBubble(t, lan, func(t *testing.T, w *world) {
		w.up()
		w.talk(60)
		w.tamper(func(m string) string {
			return strings.Replace(m, "SIP/2.0 200 OK", "SIP/2.0 488 Not Acceptable Here", 1)
		})
		w.moves(w.a, outsideA, awayA, 0)
		w.heardWithin(2 * time.Second)
		w.net.SetRule(nil)
		time.Sleep(time.Minute)
		if b, a := w.talk(20); b != 20 || a != 20 {
			t.Errorf("bob heard %d, alice %d of 20", b, a)
		}
	})
}

// A call on hold keeps its way through a NAT open.
func TestHeldCallIsKeptAlive(t *testing.T) {
	t.Parallel()
	inBubble(t, lan, func(t *testing.T, w *world) {
		w.up()
		w.talk(10)
		time.Sleep(10 * time.Second)
		gap := map[netip.AddrPort]time.Duration{}
		last := map[netip.AddrPort]time.Time{}
		w.net.Tap(func(d memnet.Datagram) {
			if !between(d.From, d.To) || isSIP(d.Payload) {
				return
			}
			if at, ok := last[d.From]; ok {
				gap[d.From] = max(gap[d.From], d.Time.Sub(at))
			}
			last[d.From] = d.Time
		})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if len(gap) != 4 {
			t.Errorf("%d ports speak, want RTP and RTCP of both houses", len(gap))
		}
		for from, longest := range gap {
			if longest > 20*time.Second {
				t.Errorf("%v was silent for %v", from, longest)
			}
		}
		if b, a := w.talk(20); b != 20 || a != 20 {
			t.Errorf("bob heard %d, alice %d of 20", b, a)
		}
	})
}

func TestMoveOfNobody(t *testing.T) {
	t.Parallel()
	inBubble(t, lan, func(t *testing.T, w *world) {
		c := w.listen(netip.MustParseAddrPort("[2001:db8::1]:5060"))
		defer c.Close()
		if err := w.a.proxy.Move("cellar", "udp", b2bua.Place{}); err == nil {
			t.Error("moved a listener that is not there")
		}
		if err := w.a.proxy.Move("internet", "udp", b2bua.Place{Packet: c}); err == nil {
			t.Error("moved from IPv4 to IPv6")
		}
		w.up()
		if b, a := w.talk(10); b != 10 || a != 10 {
			t.Errorf("bob heard %d, alice %d of 10", b, a)
		}
	})
}

// The provider learns the new address at once, not at the next renewal.
func TestTrunkMoves(t *testing.T) {
	t.Parallel()
	inBubble(t, withTrunk(oneAddress(), nil, nil), func(t *testing.T, w *world) {
		p := w.provider(providerAddr)
		defer p.close()
		time.Sleep(5 * time.Second)
		if contact := p.customer(); !strings.Contains(contact, "@"+outsideA.String()) {
			t.Fatalf("registered is %q", contact)
		}
		w.moves(w.a, outsideA, awayA, 0)
		time.Sleep(3 * time.Second)
		if contact := p.customer(); !strings.Contains(contact, "@"+awayA.String()) {
			t.Errorf("after the move %q is registered", contact)
		}
	})
}
