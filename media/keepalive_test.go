package media

import (
	"testing"
	"testing/synctest"
	"time"
)

// alive gives the far peer's RTCP port a socket too.
func alive(t *testing.T, f func(t *testing.T, m *inMemory, far farEnd)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newInMemory(t)
		defer m.close()
		network := m.far.(*memoryConn).network
		rtcp, _ := network.listen(farRTCP)
		defer rtcp.Close()
		f(t, m, farEnd{m, rtcp.(*memoryConn)})
	})
}

type farEnd struct {
	*inMemory
	rtcp *memoryConn
}

// heard counts what came to the far peer since the last look, and the empty ones
// among it.
func (f farEnd) heard() (rtp, rtcp, empty int) {
	r, c := got(f.far), got(f.rtcp)
	for _, p := range append(r, c...) {
		if len(p) == 0 {
			empty++
		}
	}
	return len(r), len(c), empty
}

func TestIdleWayIsKeptAlive(t *testing.T) {
	alive(t, func(t *testing.T, m *inMemory, far farEnd) {
		m.session.SetMode(A, Plain)
		m.session.SetMode(B, Plain)
		m.session.KeepAlive(B, true)
		time.Sleep(time.Minute + time.Second)
		if rtp, rtcp, empty := far.heard(); rtp != 4 || rtcp != 4 || empty != 8 {
			t.Errorf("in a minute %d to RTP, %d to RTCP, %d of them empty; want 4, 4, 8", rtp, rtcp, empty)
		}
		if n := len(got(m.phone)); n != 0 {
			t.Errorf("the phone, whose way is not kept, gets %d", n)
		}
		m.session.KeepAlive(B, false)
		time.Sleep(time.Minute)
		if rtp, rtcp, _ := far.heard(); rtp+rtcp != 0 {
			t.Errorf("%d and %d behind the end", rtp, rtcp)
		}
	})
}

// Speech keeps its way open by itself; the one of RTCP beside it is idle.
func TestBusyWayGetsNoKeepAlive(t *testing.T) {
	alive(t, func(t *testing.T, m *inMemory, far farEnd) {
		m.session.SetMode(A, Plain)
		m.session.SetMode(B, Plain)
		m.session.KeepAlive(B, true)
		for seq := range uint16(30) {
			m.phone.WriteTo(voice(1, seq), m.toPhone)
			time.Sleep(time.Second)
		}
		if rtp, rtcp, empty := far.heard(); rtp != 30 || rtcp != 2 || empty != 2 {
			t.Errorf("%d to RTP, %d to RTCP, %d empty; want 30, 2, 2", rtp, rtcp, empty)
		}
		// The last packet left a second ago.
		start := time.Now()
		for {
			time.Sleep(100 * time.Millisecond)
			if rtp, _, _ := far.heard(); rtp > 0 {
				break
			}
		}
		if took := time.Since(start) + time.Second; took < 15*time.Second || took > 20*time.Second+100*time.Millisecond {
			t.Errorf("a keep-alive %v after the last packet, want 15 to 20 s", took)
		}
	})
}

func TestKeepAlivesUnderKeys(t *testing.T) {
	alive(t, func(t *testing.T, m *inMemory, far farEnd) {
		ours, theirs := newKeys(gcm256)
		if err := m.session.Protect(B, ours, ProtectOptions{}); err != nil {
			t.Fatal(err)
		}
		m.session.KeepAlive(B, true)
		keys := newFarKeys(t, theirs)
		time.Sleep(16 * time.Second)
		if rtp, rtcp, empty := far.heard(); rtp != 1 || rtcp != 1 || empty != 2 {
			t.Errorf("before the confirmation %d to RTP, %d to RTCP, %d empty; want 1, 1, 2", rtp, rtcp, empty)
		}
		m.far.WriteTo(keys.seal(voice(2, 1)), m.toFar)
		time.Sleep(31 * time.Second)
		if packets := got(m.far); len(packets) != 2 || len(packets[0]) != 0 {
			t.Errorf("to RTP: %x, want 2 empty ones", packets)
		}
		reports := got(far.rtcp)
		if len(reports) != 2 {
			t.Fatalf("%d reports, want 2", len(reports))
		}
		for _, r := range reports {
			if clear, err := keys.recv.UnprotectRTCP(nil, r); err != nil || len(clear) == 0 {
				t.Errorf("report %x: %v", clear, err)
			}
		}
		// A peer that holds the old way is sent nothing.
		m.session.SetRemote(B, Remote{})
		time.Sleep(time.Minute)
		if rtp, rtcp, _ := far.heard(); rtp+rtcp != 0 {
			t.Errorf("%d and %d to a peer that holds", rtp, rtcp)
		}
	})
}

// The timer ends with the last session and starts again with the next one.
func TestKeepAliveTimerEndsWithTheSessions(t *testing.T) {
	alive(t, func(t *testing.T, m *inMemory, far farEnd) {
		m.session.KeepAlive(B, true)
		m.session.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		m.engine.mu.Lock()
		running := m.engine.alive != nil
		m.engine.mu.Unlock()
		if running {
			t.Error("the timer runs without sessions")
		}
		s, err := m.engine.Open(phoneRTP.Addr(), farRTP.Addr())
		if err != nil {
			t.Fatal(err)
		}
		s.SetRemote(B, Remote{RTP: farRTP, RTCP: farRTCP})
		s.SetMode(B, Plain)
		s.KeepAlive(B, true)
		time.Sleep(16 * time.Second)
		if rtp, rtcp, _ := far.heard(); rtp != 1 || rtcp != 1 {
			t.Errorf("the next session sent %d and %d keep-alives, want one each", rtp, rtcp)
		}
	})
}
