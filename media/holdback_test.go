package media

import (
	"bytes"
	"testing"
	"time"
)

// Keys that are held back for all but Probe: the peer gets reports under them, at
// both of its addresses, and what is relayed only when it has answered.
func TestProbeBeforeAllElse(t *testing.T) {
	alive(t, func(t *testing.T, m *inMemory, peer farEnd) {
		m.session.SetMode(A, Plain)
		ours, theirs := newKeys(gcm256)
		far := newFarKeys(t, theirs)
		if err := m.session.Protect(B, ours, ProtectOptions{SendAfterConfirm: true, ProbeBefore: true}); err != nil {
			t.Fatal(err)
		}
		rtcp := append([]byte{0x80, 201, 0, 1}, 1, 2, 3, 4)
		seen := map[string]bool{}
		probed := func(n int) {
			t.Helper()
			m.session.Probe(B)
			reports := 0
			for _, pkt := range append(got(m.far), got(peer.rtcp)...) {
				if len(pkt) == 0 {
					continue
				}
				clear := far.openRTCP(pkt)
				if len(clear) != 8 || clear[0] != 0x80 || clear[1] != 201 {
					t.Errorf("%x is no empty receiver report", clear)
				}
				if seen[string(pkt)] {
					t.Error("the same packet twice under one key")
				}
				seen[string(pkt)] = true
				reports++
			}
			if reports != n {
				t.Errorf("%d reports, want %d", reports, n)
			}
		}
		for seq := range uint16(8) { // at 0 to 140 ms
			m.phone.WriteTo(voice(1, seq), m.toPhone)
			m.phone.WriteTo(rtcp, m.toPhone)
			probed(2)
			time.Sleep(20 * time.Millisecond)
		}
		m.session.SetRemote(B, Remote{RTP: farRTP, Mux: true})
		probed(1) // both go to one address
		m.session.SetRemote(B, Remote{RTP: farRTP, RTCP: farRTCP})

		m.far.WriteTo(far.seal(voice(2, 1)), m.toFar)
		packets := got(m.far)
		voices := 0
		for _, pkt := range packets {
			if classify(pkt, false) != kindRTP {
				continue
			}
			if clear := far.open(pkt); !bytes.Equal(clear[4:8], voice(1, uint16(voices))[4:8]) {
				t.Errorf("packet %d is another", voices)
			}
			voices++
		}
		if voices != 8 {
			t.Errorf("%d of 8 packets that were said within 200 ms", voices)
		}
		got(peer.rtcp)
		probed(1) // nothing is held back any more
	})
}

// A rekeying with that option: the keys before go on for what is relayed.
func TestProbeBeforeInRekeying(t *testing.T) {
	alive(t, func(t *testing.T, m *inMemory, peer farEnd) {
		m.session.SetMode(A, Plain)
		ours, theirs := newKeys(gcm256)
		first := newFarKeys(t, theirs)
		if err := m.session.Protect(B, ours, ProtectOptions{}); err != nil {
			t.Fatal(err)
		}
		m.far.WriteTo(first.seal(voice(2, 1)), m.toFar)
		ours, theirs = newKeys(gcm256)
		second := newFarKeys(t, theirs)
		if err := m.session.Protect(B, ours, ProtectOptions{SendAfterConfirm: true, ProbeBefore: true}); err != nil {
			t.Fatal(err)
		}
		m.phone.WriteTo(voice(1, 1), m.toPhone)
		first.open(got(m.far)[0])
		m.session.Probe(B)
		second.openRTCP(got(peer.rtcp)[0])
		m.session.Release(B)
		got(m.far)
		m.phone.WriteTo(voice(1, 2), m.toPhone)
		second.open(got(m.far)[0])
	})
}
