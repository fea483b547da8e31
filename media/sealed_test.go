package media

import (
	"bytes"
	"net/netip"
	"testing"
)

// sealed is a rig whose two ends pass on what they cannot look into.
func sealed(t *testing.T, m Mode) *rig {
	r := newRig(t)
	r.session.SetMode(A, m)
	r.session.SetMode(B, m)
	return r
}

// What others protect crosses to the octet in both directions: no number, no
// SSRC and no report in it is this side's.
func TestPassingLeavesOctetsAsTheyAre(t *testing.T) {
	t.Parallel()
	r := sealed(t, Passing)
	one, other := newKeys(gcm256)
	a, b := newFarKeys(t, one), newFarKeys(t, other)
	for i := range 3 {
		out := a.seal(voice(7, uint16(65534+i)))
		r.phone(out)
		if got := r.one(); !bytes.Equal(got.pkt, out) || got.to != farRTP || got.rtcp {
			t.Errorf("packet %d: %x to %v, want %x", i, got.pkt, got.to, out)
		}
		report := b.sealRTCP(receiverReport(9, 7, uint32(i)))
		r.farRTCP(report)
		if got := r.one(); !bytes.Equal(got.pkt, report) || got.to != phoneRTCP || !got.rtcp {
			t.Errorf("report %d: %x to %v, want %x", i, got.pkt, got.to, report)
		}
	}
	if st := r.stats(A); st.PacketsIn != 3 || st.PacketsOut != 3 || st.Lost != 0 {
		t.Errorf("counted %+v", st)
	}
	r.far(nil) // opens a way through a NAT (RFC 6263 section 4.1)
	if got := r.one(); len(got.pkt) != 0 || got.to != phoneRTP {
		t.Errorf("an empty datagram became %x to %v", got.pkt, got.to)
	}
}

// Nothing here can verify, so only the peer's address is heard, and once its
// port is known no other.
func TestSealedHearsOnlyThePeer(t *testing.T) {
	t.Parallel()
	stranger := netip.MustParseAddrPort("203.0.113.66:4000")
	for _, m := range []Mode{Passing, Opaque} {
		r := sealed(t, m)
		r.in(B, false, stranger, voice(1, 1))
		r.in(B, true, stranger, senderReport(1))
		r.none("from a stranger")
		moved := netip.AddrPortFrom(farRTP.Addr(), 7777)
		r.in(B, false, moved, voice(1, 1)) // behind a NAT: another port of the same address
		r.one()
		r.far(voice(1, 2))
		r.none("from another port than the learned one")
		r.phone(voice(2, 1))
		if got := r.one(); got.to != moved {
			t.Errorf("sent to %v, want the learned %v", got.to, moved)
		}
		if st := r.stats(B); st.DroppedSource < 2 || st.PacketsIn != 1 {
			t.Errorf("mode %v counted %+v", m, st)
		}
	}
}

// Passing takes no datagram that could not be SRTP; Opaque takes any, on the
// port that it came to.
func TestSealedKinds(t *testing.T) {
	t.Parallel()
	udptl := []byte{0x00, 0x01, 0x06, 0x55}
	r := sealed(t, Passing)
	r.phone(udptl)
	r.phone(make([]byte, maxPacket+1))
	r.none("what is not RTP")
	r = sealed(t, Opaque)
	r.phone(udptl)
	if got := r.one(); !bytes.Equal(got.pkt, udptl) || got.to != farRTP {
		t.Errorf("%x to %v", got.pkt, got.to)
	}
	r.phoneRTCP(udptl)
	if got := r.one(); !bytes.Equal(got.pkt, udptl) || got.to != farRTCP {
		t.Errorf("%x to %v", got.pkt, got.to)
	}
	r.phone(make([]byte, maxPacket+1))
	r.none("what is too long")
	if st := r.stats(A); st.DroppedOther != 1 {
		t.Errorf("counted %+v", st)
	}
}

// Whatever the modes of the two ends are, clear packets of one never leave as
// what the other end calls sealed, nor sealed ones as clear.
func TestSealedNeedsBothEnds(t *testing.T) {
	t.Parallel()
	for _, other := range []Mode{Closed, Plain} {
		for _, m := range []Mode{Passing, Opaque} {
			r := newRig(t)
			r.session.SetMode(A, other)
			r.session.SetMode(B, m)
			r.phone(voice(1, 1))
			r.none("from the other mode")
			r.far(voice(1, 1))
			r.none("to the other mode")
		}
	}
	r := newRig(t)
	r.protect(gcm256, ProtectOptions{})
	r.session.SetMode(A, Opaque)
	r.phone(voice(1, 1))
	r.none("towards a protected end")
}

// Packets that came before the answer was read cross when both ends are known.
func TestSealedAfterWaiting(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session.SetMode(A, Waiting)
	r.session.SetMode(B, Waiting)
	one, _ := newKeys(gcm256)
	pkt := newFarKeys(t, one).seal(voice(7, 1))
	r.phone(pkt)
	r.session.SetMode(A, Passing)
	r.session.SetMode(B, Passing)
	if got := r.one(); !bytes.Equal(got.pkt, pkt) {
		t.Errorf("%x, want %x", got.pkt, pkt)
	}
}

// An end that was protected has no keys left once it passes others' packets.
func TestSealedErasesKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	far := r.protect(gcm256, ProtectOptions{})
	r.session.SetMode(A, Plain)
	r.session.SetMode(B, Passing)
	r.session.SetMode(B, Protected) // has no keys any more: Closed
	r.far(far.seal(voice(1, 1)))
	r.phone(voice(1, 1))
	r.none("after the keys are gone")
}
