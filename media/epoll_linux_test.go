package media

import (
	"net/netip"
	"runtime"
	"testing"
	"time"
	"unsafe"
)

// A worker that has few packets takes each in a round of its own; one that has
// many lets them gather.
func TestCoalescing(t *testing.T) {
	if testing.Short() {
		t.Skip("five seconds of traffic")
	}
	t.Parallel()
	for name, test := range map[string]struct {
		calls    int
		every    time.Duration // for each call
		min, max uint32        // rounds of 200 packets, fewer than a socket holds
	}{
		"few":  {1, 25 * time.Millisecond, 100, 500},
		"many": {20, 100 * time.Millisecond, 5, 80},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const packets = 200
			e := newTestEngine(t, Options{Workers: 1, Coalesce: 40 * time.Millisecond})
			loop := e.workers[0].net.(*epoll)
			phone, far := newPeer(t, loopback), newPeer(t, loopback)
			var to []netip.AddrPort
			for range test.calls {
				s := openSession(t, e)
				s.SetRemote(A, phone.remote())
				s.SetRemote(B, far.remote())
				s.SetMode(A, Plain)
				s.SetMode(B, Plain)
				rtp, _ := s.Local(A)
				to = append(to, rtp)
			}
			for i := range packets {
				phone.send(phone.rtp, voice(1, uint16(i/test.calls)), to[i%test.calls])
				time.Sleep(test.every / time.Duration(test.calls))
			}
			for range packets {
				far.read(far.rtp)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			if loop.round < test.min || loop.round > test.max {
				t.Errorf("%d packets in %d rounds", packets, loop.round)
			}
		})
	}
}

// A worker looks at each socket that has packets, and at where they go.
func TestSocketIsOneLine(t *testing.T) {
	t.Parallel()
	var kept []*epollSocket
	for range 20 {
		s := &epollSocket{}
		kept = append(kept, s)
		if first := uintptr(unsafe.Pointer(s)); first/64 != (first+unsafe.Sizeof(*s)-1)/64 {
			t.Fatalf("a socket of %d octets at octet %d of a cache line", unsafe.Sizeof(*s), first%64)
		}
	}
	runtime.KeepAlive(kept)
}

// Events of a socket that is gone find nobody, and not who has its place now.
func TestPlacesOfSockets(t *testing.T) {
	t.Parallel()
	var table sockets
	first, other, second := &epollSocket{fd: 1}, &epollSocket{fd: 2}, &epollSocket{fd: 3}
	index, turn := table.add(first)
	otherIndex, otherTurn := table.add(other)
	table.remove(first)
	if table.get(index, turn) != nil {
		t.Error("found after it was removed")
	}
	newIndex, newTurn := table.add(second)
	if newIndex != index {
		t.Errorf("place %d stays empty", index)
	}
	if table.get(index, turn) != nil {
		t.Error("an old event finds the new socket")
	}
	if table.get(newIndex, newTurn) != second || table.get(otherIndex, otherTurn) != other || table.get(noSocket, 0) != nil {
		t.Error("sockets are not where they were put")
	}
}

// A worker that finds far more packets than a round takes reads several of a socket
// at a visit: what a socket needs is then read into the processor once for all of
// them, and the worker catches up.
func TestBacklog(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{"ring": {Workers: 1}, "no ring": {Workers: 1, NoRing: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const calls, each = 3 * epollEvents, 40 // less than a socket holds
			e := newTestEngine(t, o)
			w := e.workers[0]
			loop := w.net.(*epoll)
			phone, far := newPeer(t, loopback), newPeer(t, loopback)
			var sessions []*Session
			for range calls {
				s := openSession(t, e)
				s.SetRemote(A, phone.remote())
				s.SetRemote(B, far.remote())
				s.SetMode(A, Plain)
				s.SetMode(B, Plain)
				sessions = append(sessions, s)
			}
			w.lock()
			began := loop.round
			for _, s := range sessions {
				for seq := range uint16(each) {
					phone.send(phone.rtp, voice(1, seq), s.ports[A][0].local)
				}
			}
			w.unlock()
			in := uint64(0)
			for deadline := time.Now().Add(20 * time.Second); in < calls*each; runtime.Gosched() {
				in = 0
				for _, s := range sessions {
					in += s.Stats()[A].PacketsIn
				}
				if time.Now().After(deadline) {
					t.Fatalf("%d packets of %d", in, calls*each)
				}
			}
			w.lock()
			rounds := loop.round - began
			w.unlock()
			if one := uint32(calls * each / epollEvents); rounds > one/2 {
				t.Errorf("%d rounds, with one packet a visit it would be %d", rounds, one)
			}
		})
	}
}
