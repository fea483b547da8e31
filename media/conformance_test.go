package media

import (
	"bytes"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipward/sipward/media/srtp"
)

func TestConformPlain(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, e *Engine) {
		s := openSession(t, e)
		rtpA, rtcpA := s.Local(A)
		rtpB, rtcpB := s.Local(B)
		for _, pair := range [][2]netip.AddrPort{{rtpA, rtcpA}, {rtpB, rtcpB}} {
			if pair[0].Port()%2 != 0 || pair[1].Port() != pair[0].Port()+1 || pair[0].Addr() != loopback || pair[1].Addr() != loopback {
				t.Errorf("ports %v", pair)
			}
		}
		phone, far := newPeer(t, loopback), newPeer(t, loopback)
		stranger := newPeer(t, netip.MustParseAddr("127.0.0.99"))
		s.SetRemote(A, phone.remote())
		s.SetRemote(B, far.remote())
		s.SetMode(A, Plain)
		s.SetMode(B, Plain)
		for seq := range uint16(50) {
			stranger.send(stranger.rtp, voice(9, seq), rtpA)
			phone.send(phone.rtp, []byte{}, rtpA)
			phone.send(phone.rtp, make([]byte, 9000), rtpA)
			phone.send(phone.rtp, voice(1, seq), rtpA)
			if got := far.read(far.rtp); !bytes.Equal(got, voice(1, seq)) {
				t.Fatalf("far end gets %x", got)
			}
			far.send(far.rtp, voice(2, seq), rtpB)
			if got := phone.read(phone.rtp); !bytes.Equal(got, voice(2, seq)) {
				t.Fatalf("phone gets %x", got)
			}
			phone.send(phone.rtcp, senderReport(1), rtcpA)
			if got := far.read(far.rtcp); !bytes.Equal(got, senderReport(1)) {
				t.Fatalf("far end gets report %x", got)
			}
			far.send(far.rtcp, senderReport(2), rtcpB)
			if got := phone.read(phone.rtcp); !bytes.Equal(got, senderReport(2)) {
				t.Fatalf("phone gets report %x", got)
			}
		}
		stats := s.Stats()
		want := Stats{PacketsIn: 100, PacketsOut: 100, BytesIn: 50 * (172 + 44), BytesOut: 50 * (172 + 44), DroppedSource: 50, DroppedOther: 100}
		if stats[A] != want {
			t.Errorf("stats of A: %+v, want %+v", stats[A], want)
		}
		want.DroppedSource, want.DroppedOther = 0, 0
		if stats[B] != want {
			t.Errorf("stats of B: %+v, want %+v", stats[B], want)
		}
	})
}

func TestConformIPv6(t *testing.T) {
	t.Parallel()
	six := netip.IPv6Loopback()
	if c, err := listenUDP(netip.AddrPortFrom(six, 0)); err != nil {
		t.Skip("no IPv6 here")
	} else {
		c.Close()
	}
	eachBackend(t, func(t *testing.T, e *Engine) {
		s, err := e.Open(loopback, six)
		if err != nil {
			t.Fatal(err)
		}
		phone, far := newPeer(t, loopback), newPeer(t, six)
		s.SetRemote(A, phone.remote())
		s.SetRemote(B, far.remote())
		s.SetMode(A, Plain)
		s.SetMode(B, Plain)
		rtpA, _ := s.Local(A)
		rtpB, _ := s.Local(B)
		phone.send(phone.rtp, voice(1, 1), rtpA)
		if got := far.read(far.rtp); !bytes.Equal(got, voice(1, 1)) {
			t.Fatalf("far end gets %x", got)
		}
		far.send(far.rtp, voice(2, 1), rtpB)
		if got := phone.read(phone.rtp); !bytes.Equal(got, voice(2, 1)) {
			t.Fatalf("phone gets %x", got)
		}
	})
}

func TestConformBackToBack(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, e *Engine) {
		for _, suite := range srtp.Suites() {
			t.Run(suite.Name, func(t *testing.T) {
				j := join(t, e)
				confirmed := make(chan int, 10)
				j.protect(t, suite,
					ProtectOptions{SendAfterConfirm: true, Confirmed: func() { confirmed <- 1 }},
					ProtectOptions{Confirmed: func() { confirmed <- 0 }})

				// Probes alone confirm both ends.
				j.sessions[1].Probe(B) // may not send under the keys yet
				j.sessions[0].Probe(B)
				if got := <-confirmed; got != 1 {
					t.Fatalf("session %d is confirmed first", got)
				}
				j.sessions[1].Probe(B)
				if got := <-confirmed; got != 0 {
					t.Fatalf("session %d is confirmed second", got)
				}
				// The reports of the probes reach the phones.
				for i := range 2 {
					report := j.phones[i].read(j.phones[i].rtcp)
					if own, _ := firstStream(j.sessions[1-i]); !bytes.Equal(report, appendEmptyReport(nil, own)) {
						t.Errorf("phone %d gets report %x", i, report)
					}
				}
				var ssrc [2]uint32
				for seq := range uint16(100) {
					for i, phone := range j.phones {
						other := j.phones[1-i]
						phone.send(phone.rtp, voice(uint32(i+1), seq), j.phonePort(i))
						got := other.read(other.rtp)
						if seq == 0 {
							ssrc[i] = ssrcOf(got)
						}
						if ssrcOf(got) != ssrc[i] || !bytes.Equal(got[12:], voice(1, seq)[12:]) || !bytes.Equal(got[4:8], voice(1, seq)[4:8]) {
							t.Fatalf("packet %d of phone %d arrives as %x", seq, i, got)
						}
					}
				}
				// Phone 2 reports on what it hears; phone 1 reads its own numbers.
				_, rtcp := j.sessions[1].Local(A)
				_, last := firstStream(j.sessions[0])
				j.phones[1].send(j.phones[1].rtcp, receiverReport(2, ssrc[0], uint32(uint16(last))), rtcp)
				if got := j.phones[0].read(j.phones[0].rtcp); !bytes.Equal(got, receiverReport(ssrc[1], 1, 99)) {
					t.Errorf("report arrives as %x", got)
				}
				for i, s := range j.sessions {
					for end, stats := range s.Stats() {
						if stats.Lost != 0 || stats.DroppedAuth+stats.DroppedReplay+stats.DroppedSource != 0 {
							t.Errorf("session %d end %d: %+v", i, end, stats)
						}
					}
				}
				if len(confirmed) != 0 {
					t.Error("Confirmed was called twice")
				}
			})
		}
	})
}

func TestConformRekeyWithoutLoss(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, e *Engine) {
		j := join(t, e)
		confirmed := make(chan struct{}, 2)
		confirm := func() { confirmed <- struct{}{} }
		j.protect(t, gcm256, ProtectOptions{SendAfterConfirm: true, Confirmed: confirm}, ProtectOptions{Confirmed: confirm})
		const packets = 2000
		var readers sync.WaitGroup
		for i, phone := range j.phones {
			other := j.phones[1-i]
			arrived := make(chan struct{}, packets)
			go func() {
				for seq := range uint16(packets) {
					phone.send(phone.rtp, voice(1, seq), j.phonePort(i))
					if seq%8 == 7 { // never more under way than sockets hold
						if _, ok := <-arrived; !ok {
							return
						}
					}
				}
			}()
			readers.Add(1)
			go func() {
				defer readers.Done()
				defer close(arrived)
				buf := make([]byte, 2048)
				var first uint16
				for n := range uint16(packets) {
					other.rtp.SetReadDeadline(time.Now().Add(5 * time.Second))
					if _, err := other.rtp.Read(buf); err != nil {
						t.Errorf("after %d packets: %v", n, err)
						return
					}
					if n == 0 {
						first = seqOf(buf)
					}
					if seqOf(buf) != first+n {
						t.Errorf("number %d after %d packets from %d", seqOf(buf), n, first)
						return
					}
					if n%8 == 7 {
						arrived <- struct{}{}
					}
				}
			}()
		}
		done := make(chan struct{})
		go func() { readers.Wait(); close(done) }()
		for range 2 { // keys that nobody has used are not kept through a rekeying
			select {
			case <-confirmed:
			case <-done:
			}
		}
		for rekeyings := 0; ; rekeyings++ {
			confirmed := make(chan struct{}, 2)
			confirm := func() { confirmed <- struct{}{} }
			j.protect(t, srtp.Suites()[rekeyings%4],
				ProtectOptions{SendAfterConfirm: true, Confirmed: confirm}, ProtectOptions{Confirmed: confirm})
			for range 2 {
				select {
				case <-confirmed:
				case <-done:
					if rekeyings < 3 {
						t.Errorf("only %d rekeyings while packets flowed", rekeyings)
					}
					return
				}
			}
		}
	})
}

// Everything at once, for the race detector; and Close while packets arrive.
func TestConformCloseUnderLoad(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, e *Engine) {
		for range 5 {
			j := join(t, e)
			var stop atomic.Bool
			var wg sync.WaitGroup
			run := func(f func()) {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for !stop.Load() {
						f()
					}
				}()
			}
			for i, phone := range j.phones {
				seq := uint16(0)
				to, _ := j.sessions[i].Local(A)
				run(func() {
					seq++
					phone.rtp.WriteToUDPAddrPort(voice(1, seq), to)
				})
			}
			rounds := make(chan struct{}, 1)
			run(func() {
				one, other := newKeys(gcm256)
				j.sessions[0].Protect(B, one, ProtectOptions{Confirmed: func() { j.sessions[0].Stats() }})
				j.sessions[1].Protect(B, other, ProtectOptions{SendAfterConfirm: true})
				j.sessions[0].Probe(B)
				j.sessions[0].SetMode(A, Waiting)
				j.sessions[0].SetMode(A, Plain)
				j.sessions[1].SetRemote(A, j.phones[1].remote())
				j.sessions[1].LastActivity()
				select {
				case rounds <- struct{}{}:
				default:
				}
			})
			for range 20 {
				<-rounds
			}
			var closing sync.WaitGroup
			for _, s := range j.sessions {
				for range 2 {
					closing.Add(1)
					go func() { defer closing.Done(); s.Close() }()
				}
			}
			closing.Wait()
			stop.Store(true)
			wg.Wait()
			if j.sessions[0].ends[B].keys.send != nil || j.sessions[0].ends[B].keys.recv != nil {
				t.Error("keys survive Close")
			}
		}
	})
}

func TestConformOpenAndClose(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, e *Engine) {
		for _, addr := range []netip.Addr{{}, netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			if s, err := e.Open(loopback, addr); err == nil {
				t.Errorf("Open at %v gives %v", addr, s)
			}
		}
		if _, err := e.Open(loopback, netip.MustParseAddr("192.0.2.1")); err == nil || errors.Is(err, ErrNoPorts) {
			t.Errorf("address of another machine: %v", err)
		}
		s := openSession(t, e)
		rtp, rtcp := s.Local(A)
		for _, local := range []netip.AddrPort{rtp, rtcp} {
			if c, err := listenUDP(local); err == nil {
				c.Close()
				t.Errorf("%v is not taken", local)
			}
		}
		s.Close()
		s.Close()
		for _, local := range []netip.AddrPort{rtp, rtcp} {
			c, err := listenUDP(local)
			if err != nil {
				t.Errorf("after Close: %v", err)
				continue
			}
			c.Close()
		}
		if len(e.ports.used) != 0 || len(e.sessions) != 0 {
			t.Errorf("%d pairs of ports and %d sessions are left", len(e.ports.used), len(e.sessions))
		}
		for _, w := range e.workers {
			if w.sessions != 0 {
				t.Errorf("a worker still counts %d sessions", w.sessions)
			}
		}
		openSession(t, e)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if _, err := e.Open(loopback, loopback); !errors.Is(err, ErrClosed) {
			t.Errorf("Open after Close: %v", err)
		}
		if len(e.ports.used) != 0 {
			t.Errorf("%d pairs of ports are left after the engine's Close", len(e.ports.used))
		}
	})
}

func TestConformNoPorts(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr("127.0.0.77")
	for name, o := range backends {
		t.Run(name, func(t *testing.T) {
			if name == "system" {
				o.PortMin, o.PortMax = 15000, 15005
			} else {
				o.PortMin, o.PortMax = 15010, 15015
			}
			e := newTestEngine(t, o)
			// Another program has the RTCP port of the last pair.
			c, err := listenUDP(netip.AddrPortFrom(addr, uint16(o.PortMax)))
			if err != nil {
				t.Skip(err)
			}
			defer c.Close()
			s, err := e.Open(addr, addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Open(addr, addr); !errors.Is(err, ErrNoPorts) {
				t.Errorf("range is taken, yet: %v", err)
			}
			s.Close()
			if _, err := e.Open(addr, addr); err != nil {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

// The taps work alike whatever serves the sockets.
func TestConformTaps(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, e *Engine) {
		j := join(t, e)
		j.protect(t, gcm256, ProtectOptions{}, ProtectOptions{})
		s := j.sessions[0]
		queue := make(chan Event, 8)
		s.Events(A, EventOptions{PayloadType: 101, Queue: queue})
		s.Measure(map[uint8]uint32{0: 8000})
		phone, other := j.phones[0], j.phones[1]
		phone.send(phone.rtp, keyPress(7, 1, 160, 320, true), j.phonePort(0))
		other.read(other.rtp)
		if begin, end := <-queue, <-queue; begin.Code != 7 || begin.Ended || !end.Ended {
			t.Errorf("events %+v and %+v", begin, end)
		}
		done := make(chan struct{})
		if err := s.Play(B, g711(tone(10), func() { close(done) })); err != nil {
			t.Fatal(err)
		}
		for i := range byte(10) {
			if got := other.read(other.rtp); got[12] != i+1 {
				t.Fatalf("frame %d arrives as %x", i, got)
			}
		}
		<-done
		s.Mute(B, true)
		phone.send(phone.rtp, voice(1, 2), j.phonePort(0))
		phone.send(phone.rtp, keyPress(8, 3, 1600, 320, true), j.phonePort(0))
		<-queue // the voice before it was withheld by now
		s.Mute(B, false)
		phone.send(phone.rtp, voice(1, 4), j.phonePort(0))
		if got := other.read(other.rtp); !bytes.Equal(got[4:8], voice(1, 4)[4:8]) {
			t.Errorf("after the silence: %x", got[:12])
		}
		if _, ok := s.Quality(); !ok {
			t.Error("nothing measured")
		}
	})
}
