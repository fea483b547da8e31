package media

import (
	"bytes"
	"testing"
)

func TestMute(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session.SetMode(A, Plain)
	keys := r.protect(gcm256, ProtectOptions{})
	r.session.Mute(B, false)
	if r.session.taps != nil {
		t.Error("a session that was never muted has taps")
	}
	r.phone(voice(1, 1))
	first := seqOf(keys.open(r.one().pkt))
	r.session.Mute(B, true)
	for seq := range uint16(100) {
		r.phone(voice(1, 2+seq))
	}
	r.none("muted")
	r.far(keys.seal(voice(2, 1)))
	if got := r.one(); got.end != A || !bytes.Equal(got.pkt, voice(2, 1)) {
		t.Errorf("the other direction: %x", got.pkt)
	}
	r.phoneRTCP(senderReport(1))
	if got := r.one(); !got.rtcp {
		t.Error("RTCP is muted too")
	}
	if n := r.stats(A).PacketsIn; n != 102 {
		t.Errorf("%d packets counted while muted, want 102", n)
	}
	r.session.Mute(B, false)
	r.phone(voice(1, 102))
	if got := keys.open(r.one().pkt); seqOf(got) != first+1 {
		t.Errorf("number %d after %d: the silence left a gap", seqOf(got), first)
	}
}

// The cost of taps to sessions that have none is one nil check; with taps
// nothing is allocated per packet either.
func TestTapsDoNotAllocate(t *testing.T) {
	r := newRig(t)
	for i := range r.session.ports {
		for j := range r.session.ports[i] {
			r.session.ports[i][j].socket = discardSocket{}
		}
	}
	r.session.SetMode(A, Plain)
	r.session.SetMode(B, Plain)
	r.session.Measure(map[uint8]uint32{0: 8000})
	r.session.Events(A, EventOptions{PayloadType: 101, Queue: make(chan Event, 1)})
	r.session.Mute(A, true)
	pkt, report, seq := voice(1, 0), senderReport(1), uint16(0)
	if n := testing.AllocsPerRun(500, func() {
		seq++
		setSeq(pkt, seq)
		r.phone(pkt)
		r.phone(keyPress(5, seq, uint32(seq), 160, false))
		r.phoneRTCP(report)
	}); n > 1 { // the test's own packet
		t.Errorf("%v allocations per round", n)
	}
}
