package media

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// countDescriptors is -1 where the system does not list them.
func countDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}

// mediaGoroutines counts goroutines that this package started.
func mediaGoroutines() int {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	return strings.Count(string(buf), "created by github.com/sipward/sipward/media.")
}

// Not parallel: it counts what the whole process has.
func TestCloseLeavesNothing(t *testing.T) {
	for name, o := range backends {
		t.Run(name, func(t *testing.T) {
			goroutines, descriptors := mediaGoroutines(), countDescriptors()
			e, err := NewEngine(o)
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				s := openSession(t, e)
				ours, _ := newKeys(gcm256)
				s.SetRemote(B, Remote{RTP: netip.AddrPortFrom(loopback, 9)})
				s.Protect(B, ours, ProtectOptions{})
				s.Probe(B)
			}
			if n := mediaGoroutines(); n <= goroutines {
				t.Errorf("%d goroutines while open: the test sees none", n)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			if err := e.Close(); err != nil {
				t.Errorf("second Close: %v", err)
			}
			// They have all said that they end; the last step is the runtime's, also of
			// those of a test before.
			for deadline := time.Now().Add(5 * time.Second); mediaGoroutines() > goroutines; runtime.Gosched() {
				if time.Now().After(deadline) {
					t.Errorf("%d goroutines before, %d after Close", goroutines, mediaGoroutines())
					break
				}
			}
			if n := countDescriptors(); n != descriptors {
				t.Errorf("%d descriptors before, %d after Close", descriptors, n)
			}
		})
	}
}

// A hundred protected calls of 50 packets a second each way for two seconds,
// not one lost. Phones stand on 127.0.1.x, the far ends on 127.0.2.x.
func TestHundredSessions(t *testing.T) {
	if testing.Short() {
		t.Skip("two seconds of traffic")
	}
	for name, o := range backends {
		t.Run(name, func(t *testing.T) {
			e := newTestEngine(t, o)
			const sessions, packets = 100, 100
			var wg sync.WaitGroup
			all := make([]*Session, sessions)
			for i := range all {
				phone := newPeer(t, netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}))
				far := newPeer(t, netip.AddrFrom4([4]byte{127, 0, 2, byte(i + 1)}))
				s := openSession(t, e)
				all[i] = s
				s.SetRemote(A, phone.remote())
				s.SetRemote(B, far.remote())
				s.SetMode(A, Plain)
				ours, theirs := newKeys(gcm256)
				if err := s.Protect(B, ours, ProtectOptions{}); err != nil {
					t.Fatal(err)
				}
				keys := newFarKeys(t, theirs)
				toA, _ := s.Local(A)
				toB, _ := s.Local(B)
				wg.Add(3)
				go func() {
					defer wg.Done()
					time.Sleep(time.Duration(i) * 200 * time.Microsecond) // calls do not beat as one
					tick := time.NewTicker(20 * time.Millisecond)
					defer tick.Stop()
					for seq := range uint16(packets) {
						phone.send(phone.rtp, voice(1, seq), toA)
						sealed, err := keys.send.Protect(nil, voice(2, seq))
						if err != nil {
							t.Error(err)
							return
						}
						far.send(far.rtp, sealed, toB)
						<-tick.C
					}
				}()
				receive := func(c *net.UDPConn, open func(pkt []byte) ([]byte, error)) {
					defer wg.Done()
					buf := make([]byte, 2048)
					for n := range uint32(packets) {
						c.SetReadDeadline(time.Now().Add(5 * time.Second))
						size, err := c.Read(buf)
						pkt := buf[:size]
						if err == nil {
							pkt, err = open(pkt)
						}
						if err != nil {
							t.Errorf("session %d after %d packets: %v", i, n, err)
							return
						}
						if stamp := binary.BigEndian.Uint32(pkt[4:]); stamp != 160*n {
							t.Errorf("session %d: timestamp %d as packet %d", i, stamp, n)
							return
						}
					}
				}
				go receive(phone.rtp, func(pkt []byte) ([]byte, error) { return pkt, nil })
				go receive(far.rtp, func(pkt []byte) ([]byte, error) { return keys.recv.Unprotect(nil, pkt) })
			}
			wg.Wait()
			for i, s := range all {
				for end, stats := range s.Stats() {
					if stats.PacketsIn != packets || stats.PacketsOut != packets || stats.Lost != 0 {
						t.Errorf("session %d end %d: %+v", i, end, stats)
					}
				}
			}
		})
	}
}
