package media

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

var elsewhere = netip.MustParseAddr("127.0.0.77")

// A session goes to another address in the middle of a call: the far end hears
// it there at once, as it has the keys, and no packet number is skipped or comes
// twice.
func TestConformRebind(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, e *Engine) {
		j := join(t, e)
		j.protect(t, gcm256, ProtectOptions{}, ProtectOptions{})
		old, _ := j.sessions[0].Local(B)
		var ssrc uint32
		var number, back uint16
		for seq := range uint16(200) {
			if seq == 100 {
				if err := j.sessions[0].Rebind(B, elsewhere); err != nil {
					t.Fatal(err)
				}
			}
			phone, other := j.phones[0], j.phones[1]
			phone.send(phone.rtp, voice(1, seq), j.phonePort(0))
			packet := other.read(other.rtp)
			if seq == 0 {
				ssrc, number = ssrcOf(packet), seqOf(packet)
			}
			if ssrcOf(packet) != ssrc || seqOf(packet) != number+seq {
				t.Fatalf("packet %d arrives as %x %d, the first was %x %d", seq, ssrcOf(packet), seqOf(packet), ssrc, number)
			}
			if seq == 150 { // a re-INVITE tells of the move
				rtp, rtcp := j.sessions[0].Local(B)
				j.sessions[1].SetRemote(B, Remote{RTP: rtp, RTCP: rtcp})
			}
			if seq < 100 || seq >= 150 {
				other.send(other.rtp, voice(2, back), j.phonePort(1))
				back++
				phone.read(phone.rtp)
			}
		}
		rtp, rtcp := j.sessions[0].Local(B)
		if rtp.Addr() != elsewhere || rtcp.Addr() != elsewhere || rtp.Port()%2 != 0 || rtcp.Port() != rtp.Port()+1 {
			t.Errorf("ports %v and %v", rtp, rtcp)
		}
		c, err := listenUDP(old)
		if err != nil {
			t.Errorf("the old port is not free: %v", err)
		} else {
			c.Close()
		}
		for i, s := range j.sessions {
			for end, stats := range s.Stats() {
				if stats.Lost+stats.DroppedAuth+stats.DroppedReplay+stats.DroppedSource != 0 {
					t.Errorf("session %d end %d: %+v", i, end, stats)
				}
			}
		}
	})
}

func TestConformRebindFailsAndStays(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, e *Engine) {
		s := openSession(t, e)
		before, _ := s.Local(B)
		for _, addr := range []netip.Addr{{}, netip.IPv4Unspecified(), netip.MustParseAddr("192.0.2.1")} {
			if err := s.Rebind(B, addr); err == nil {
				t.Errorf("rebound to %v", addr)
			}
		}
		if err := s.Rebind(B, loopback); err != nil {
			t.Error(err)
		}
		if now, _ := s.Local(B); now != before {
			t.Errorf("at %v, was at %v", now, before)
		}
		far := newPeer(t, loopback)
		phone := newPeer(t, loopback)
		s.SetRemote(A, phone.remote())
		s.SetRemote(B, far.remote())
		s.SetMode(A, Plain)
		s.SetMode(B, Plain)
		rtp, _ := s.Local(A)
		phone.send(phone.rtp, voice(1, 1), rtp)
		far.read(far.rtp)
		s.Close()
		if err := s.Rebind(B, elsewhere); !errors.Is(err, ErrClosed) {
			t.Errorf("rebound a closed session: %v", err)
		}
	})
}

// Sessions that move, talk and close at the same time.
func TestConformRebindUnderLoad(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, e *Engine) {
		j := join(t, e)
		j.protect(t, gcm256, ProtectOptions{}, ProtectOptions{})
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			phone := j.phones[0]
			for seq := uint16(0); ; seq++ {
				select {
				case <-stop:
					return
				default:
				}
				phone.rtp.WriteToUDPAddrPort(voice(1, seq), j.phonePort(0))
				time.Sleep(50 * time.Microsecond)
			}
		}()
		for i := range 40 {
			addr := loopback
			if i%2 == 0 {
				addr = elsewhere
			}
			if err := j.sessions[0].Rebind(B, addr); err != nil {
				t.Error(err)
			}
			j.sessions[0].Probe(B)
		}
		j.sessions[0].Close()
		close(stop)
		<-done
		if stats := j.sessions[1].Stats()[B]; stats.DroppedReplay != 0 || stats.DroppedAuth != 0 {
			t.Errorf("%+v", stats)
		}
		e.ports.mu.Lock()
		defer e.ports.mu.Unlock()
		if n := len(e.ports.used); n != 2 {
			t.Errorf("%d pairs of ports are in use, want those of the other session", n)
		}
	})
}
