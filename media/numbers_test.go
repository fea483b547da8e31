package media

import (
	"bytes"
	"testing"
	"time"
)

func TestOwnNumbersTowardsProtectedEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session.SetMode(A, Plain)
	keys := r.protect(gcm256, ProtectOptions{})
	var ssrc uint32
	var next uint16
	send := func(name string, pkt []byte, gap int) {
		t.Helper()
		r.phone(pkt)
		got := keys.open(r.one().pkt)
		if ssrc == 0 {
			ssrc, next = ssrcOf(got), seqOf(got)
			if next >= 1<<15 {
				t.Errorf("first number is %d, not below 2^15", next)
			}
			if ssrc == ssrcOf(pkt) {
				t.Error("the phone's SSRC went out")
			}
		}
		if want := next + uint16(gap); ssrcOf(got) != ssrc || seqOf(got) != want {
			t.Errorf("%s: left as %x/%d, want %x/%d", name, ssrcOf(got), seqOf(got), ssrc, want)
		}
		if gap >= 0 {
			next = seqOf(got) + 1
		}
		if !bytes.Equal(got[12:], pkt[12:]) || !bytes.Equal(got[4:8], pkt[4:8]) || !bytes.Equal(got[:2], pkt[:2]) {
			t.Errorf("%s: more than SSRC and number changed", name)
		}
	}
	dropped := func(name string, pkt []byte) {
		t.Helper()
		before := r.stats(A).DroppedReplay
		r.phone(pkt)
		r.none(name)
		if n := r.stats(A).DroppedReplay; n != before+1 {
			t.Errorf("%s: DroppedReplay %d, want %d", name, n, before+1)
		}
	}
	send("first", voice(7, 65530), 0)
	send("second", voice(7, 65531), 0)
	dropped("duplicate", voice(7, 65531))
	send("gap across the wrap", voice(7, 3), 7) // 65532..65535, 0..2 are missing
	send("late", voice(7, 1), -3)
	dropped("late again", voice(7, 1))
	send("overtaken by the first", voice(7, 65529), -11)
	dropped("that one again", voice(7, 65529))
	send("big jump is a restart", voice(7, 20000), 0)
	dropped("late from before the restart", voice(7, 19999))
	send("jump back is a restart", voice(7, 100), 0)
	send("another SSRC, same payload type: restarted phone", voice(8, 4000), 0)
	send("its next", voice(8, 4001), 0)

	r.session.SetRemote(B, Remote{}) // the far end holds
	for seq := range uint16(50) {
		r.phone(voice(8, 4002+seq))
	}
	r.none("while the far end holds")
	r.session.SetRemote(B, Remote{RTP: farRTP, RTCP: farRTCP})
	send("after the hold", voice(8, 4052), 0)

	r.session.SetMode(B, Closed)
	r.phone(voice(8, 4053))
	r.none("while closed")
	r.session.SetMode(B, Protected)
	send("after being closed", voice(8, 4054), 0)

	// Of what waits longer than is kept no gap is left either.
	r.session.SetMode(B, Waiting)
	for seq := range uint16(maxWaiting + 9) {
		r.phone(voice(8, 4055+seq))
	}
	r.session.SetMode(B, Protected)
	for i, e := range r.drain() {
		if clear := keys.open(e.pkt); seqOf(clear) != next {
			t.Fatalf("kept packet %d has number %d, want %d", i, seqOf(clear), next)
		}
		next++
	}

	r.now += time.Hour
	send("after silence, with another codec", voiceType(9, 9, 1), 0)
}

func TestFirstNumbers(t *testing.T) {
	t.Parallel()
	for range 200 {
		n := newNumbering()
		seen := map[uint32]bool{}
		for i := range n.streams {
			if first := n.streams[i].last + 1; first < 0 || first >= 1<<15 {
				t.Errorf("first number %d", first)
			}
			if own := n.streams[i].own; own == 0 || seen[own] {
				t.Errorf("SSRC %x drawn twice", own)
			} else {
				seen[own] = true
			}
		}
	}
}

func TestTwoSourcesAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session.SetMode(A, Plain)
	keys := r.protect(gcm256, ProtectOptions{})
	left := func(pkt []byte) uint32 {
		t.Helper()
		r.now += 10 * time.Millisecond
		r.phone(pkt)
		return ssrcOf(keys.open(r.one().pkt))
	}
	stream, repair := left(voiceType(96, 1, 1)), left(voiceType(97, 2, 1))
	if stream == repair {
		t.Fatal("retransmissions share the stream's SSRC")
	}
	for seq := uint16(2); seq < 20; seq++ {
		if left(voiceType(96, 1, seq)) != stream || left(voiceType(97, 2, seq)) != repair {
			t.Fatalf("packet %d changed its SSRC", seq)
		}
	}
	// A second source of the same payload type takes over, until the first
	// shows that it never stopped.
	if left(voiceType(96, 3, 1)) != stream {
		t.Error("new SSRC with the stream's payload type does not take over")
	}
	r.phone(voiceType(96, 1, 20))
	r.none("one straggler of the replaced SSRC")
	third := left(voiceType(96, 1, 21))
	if third == stream || third == repair {
		t.Error("replaced SSRC that goes on shares an SSRC")
	}
	if left(voiceType(96, 3, 2)) != stream || left(voiceType(96, 1, 22)) != third {
		t.Error("two sources at once do not keep their SSRCs")
	}
	// However many there are, four SSRCs leave and no number comes twice: the
	// far end's keys would refuse a replay.
	seen := map[uint32]bool{}
	for i := range uint32(500) {
		r.now += time.Millisecond
		r.phone(voiceType(byte(i%90), 100+i%40, uint16(i)))
		for _, e := range r.drain() {
			seen[ssrcOf(keys.open(e.pkt))] = true
		}
	}
	if len(seen) > ownStreams {
		t.Errorf("%d SSRCs left, want at most %d", len(seen), ownStreams)
	}
}
