package media

import "testing"

// The protected end of a call goes on in another session, where somebody else
// speaks to it: under the same keys, from the same SSRC, with numbers that were
// not used before; and the session that it left sends and hears nothing more.
func TestConformAdopt(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, e *Engine) {
		j := join(t, e)
		j.protect(t, gcm256, ProtectOptions{}, ProtectOptions{})
		phone, far := j.phones[0], j.phones[1]
		var ssrc uint32
		var last uint16
		for seq := range uint16(20) {
			phone.send(phone.rtp, voice(1, 3000+seq), j.phonePort(0))
			packet := far.read(far.rtp)
			ssrc, last = ssrcOf(packet), seqOf(packet)
			far.send(far.rtp, voice(2, seq), j.phonePort(1))
			phone.read(phone.rtp)
		}

		other := newPeer(t, loopback)
		s := openSession(t, e)
		s.SetRemote(B, other.remote())
		s.SetMode(B, Plain)
		s.Adopt(A, j.sessions[0], B)
		rtp, rtcp := j.sessions[1].Local(B)
		s.SetRemote(A, Remote{RTP: rtp, RTCP: rtcp})
		s.SetMode(A, Protected)
		rtp, rtcp = s.Local(A)
		j.sessions[1].SetRemote(B, Remote{RTP: rtp, RTCP: rtcp})
		j.sessions[0].SetMode(B, Protected) // it has no keys for that

		before := j.sessions[0].Stats()[B].PacketsOut
		phone.send(phone.rtp, voice(1, 3020), j.phonePort(0))
		to, _ := s.Local(B)
		for seq := range uint16(20) {
			other.send(other.rtp, voice(7, 100+seq), to)
			packet := far.read(far.rtp)
			if n := seqOf(packet); ssrcOf(packet) != ssrc || n-last == 0 || n-last > 1000 {
				t.Fatalf("packet %d arrives as %x %d behind %x %d", seq, ssrcOf(packet), n, ssrc, last)
			} else {
				last = n
			}
			far.send(far.rtp, voice(2, 20+seq), j.phonePort(1))
			other.read(other.rtp)
		}
		if n := j.sessions[0].Stats()[B].PacketsOut; n != before {
			t.Errorf("%d packets left by the session that has no keys any more", n-before)
		}
		for i, s := range []*Session{s, j.sessions[1]} {
			for end, stats := range s.Stats() {
				if stats.DroppedAuth+stats.DroppedReplay != 0 {
					t.Errorf("session %d end %d: %+v", i, end, stats)
				}
			}
		}
	})
}

// What is closed neither gives keys nor takes them.
func TestConformAdoptOfClosed(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, e *Engine) {
		j := join(t, e)
		j.protect(t, gcm256, ProtectOptions{}, ProtectOptions{})
		s := openSession(t, e)
		j.sessions[0].Close()
		s.Adopt(A, j.sessions[0], B)
		s.Close()
		s.Adopt(B, j.sessions[1], B)
		j.sessions[1].Adopt(B, j.sessions[1], B)
		if s.ends[A].keys.send != nil || s.ends[B].keys.send != nil {
			t.Error("a closed session has keys")
		}
	})
}
