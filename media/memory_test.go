package media

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/media/srtp"
)

// memory is a network of datagrams in one process, for bubbles of synctest.
type memory struct {
	mu    sync.Mutex
	conns map[netip.AddrPort]*memoryConn
}

type memoryConn struct {
	net.PacketConn // only the methods below are used
	network        *memory
	addr           netip.AddrPort
	queue          chan memoryDatagram
	closed         chan struct{}
	once           sync.Once
}

type memoryDatagram struct {
	from netip.AddrPort
	pkt  []byte
}

func (m *memory) listen(addr netip.AddrPort) (net.PacketConn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conns[addr] != nil {
		return nil, fmt.Errorf("%s is in use", addr)
	}
	c := &memoryConn{network: m, addr: addr, queue: make(chan memoryDatagram, 256), closed: make(chan struct{})}
	if m.conns == nil {
		m.conns = map[netip.AddrPort]*memoryConn{}
	}
	m.conns[addr] = c
	return c, nil
}

func (c *memoryConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-c.queue:
		return copy(b, d.pkt), net.UDPAddrFromAddrPort(d.from), nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *memoryConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	if peer := c.network.conns[to.(*net.UDPAddr).AddrPort()]; peer != nil {
		select {
		case peer.queue <- memoryDatagram{c.addr, bytes.Clone(b)}:
		default: // full: lost
		}
	}
	return len(b), nil
}

func (c *memoryConn) Close() error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	delete(c.network.conns, c.addr)
	c.once.Do(func() { close(c.closed) })
	return nil
}

// inMemory is a session between a phone and a far peer that stand in memory.
type inMemory struct {
	t              *testing.T
	engine         *Engine
	session        *Session
	phone, far     net.PacketConn
	toPhone, toFar net.Addr // the session's RTP addresses
}

func newInMemory(t *testing.T) *inMemory {
	network := &memory{}
	engine, err := NewEngine(Options{Listen: network.listen, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	m := &inMemory{t: t, engine: engine}
	if m.session, err = engine.Open(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")); err != nil {
		t.Fatal(err)
	}
	m.phone, _ = network.listen(phoneRTP)
	m.far, _ = network.listen(farRTP)
	a, _ := m.session.Local(A)
	b, _ := m.session.Local(B)
	m.toPhone, m.toFar = net.UDPAddrFromAddrPort(a), net.UDPAddrFromAddrPort(b)
	m.session.SetRemote(A, Remote{RTP: phoneRTP, RTCP: phoneRTCP})
	m.session.SetRemote(B, Remote{RTP: farRTP, RTCP: farRTCP})
	return m
}

func (m *inMemory) close() {
	if err := m.engine.Close(); err != nil {
		m.t.Error(err)
	}
	m.phone.Close()
	m.far.Close()
}

// got is what arrived at a peer so far.
func got(c net.PacketConn) (packets [][]byte) {
	synctest.Wait()
	for {
		select {
		case d := <-c.(*memoryConn).queue:
			packets = append(packets, d.pkt)
		default:
			return packets
		}
	}
}

func TestWaitingKeepsPacketsBothWays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newInMemory(t)
		defer m.close()
		ours, theirs := newKeys(gcm256)
		far := newFarKeys(t, theirs)
		m.session.SetMode(A, Plain)
		m.session.SetMode(B, Waiting)
		for seq := range uint16(15) { // one each 20 ms: 0..14, at 0..280 ms
			m.phone.WriteTo(voice(1, seq), m.toPhone)
			m.far.WriteTo(far.seal(voice(2, seq)), m.toFar)
			time.Sleep(20 * time.Millisecond)
		}
		if n, k := len(got(m.phone)), len(got(m.far)); n+k != 0 {
			t.Fatalf("%d and %d packets passed while the mode was not decided", n, k)
		}
		if err := m.session.Protect(B, ours, ProtectOptions{}); err != nil {
			t.Fatal(err)
		}
		// At 300 ms what came at 100 ms or later is left: 5..14.
		toFar, toPhone := got(m.far), got(m.phone)
		if len(toFar) != 10 || len(toPhone) != 10 {
			t.Fatalf("%d packets to the far end and %d to the phone, want 10 each", len(toFar), len(toPhone))
		}
		var last uint16
		for i, pkt := range toFar {
			clear := far.open(pkt)
			if i > 0 && seqOf(clear) != last+1 {
				t.Errorf("packet %d has number %d after %d", i, seqOf(clear), last)
			}
			last = seqOf(clear)
			if !bytes.Equal(clear[4:8], voice(1, uint16(i+5))[4:8]) {
				t.Errorf("packet %d is not the phone's %d", i, i+5)
			}
			if !bytes.Equal(toPhone[i], voice(2, uint16(i+5))) {
				t.Errorf("packet %d to the phone: %x", i, toPhone[i][:12])
			}
		}
	})
}

func TestWaitingIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newInMemory(t)
		defer m.close()
		m.session.SetMode(A, Plain)
		m.session.SetMode(B, Waiting)
		for seq := range uint16(100) {
			m.phone.WriteTo(voice(1, seq), m.toPhone)
		}
		synctest.Wait()
		m.session.SetMode(B, Plain)
		packets := got(m.far)
		if len(packets) != maxWaiting || seqOf(packets[0]) != 100-maxWaiting {
			t.Fatalf("%d packets kept, the first is %d", len(packets), seqOf(packets[0]))
		}
		// Closed throws them away.
		m.session.SetMode(B, Waiting)
		m.phone.WriteTo(voice(1, 100), m.toPhone)
		synctest.Wait()
		m.session.SetMode(B, Closed)
		m.session.SetMode(B, Plain)
		if n := len(got(m.far)); n != 0 {
			t.Errorf("%d packets survive Closed", n)
		}
		// A phone whose own end waits is kept as well, and its source is
		// checked afterwards.
		m.session.SetMode(A, Waiting)
		m.phone.WriteTo(voice(1, 101), m.toPhone)
		m.far.WriteTo(voice(3, 1), m.toPhone)
		synctest.Wait()
		m.session.SetMode(A, Plain)
		if packets := got(m.far); len(packets) != 1 || seqOf(packets[0]) != 101 {
			t.Errorf("%d packets after the phone's end waited, want its one", len(packets))
		}
		if n := m.session.Stats()[A].DroppedSource; n != 1 {
			t.Errorf("DroppedSource %d", n)
		}
	})
}

func TestSendAfterConfirm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newInMemory(t)
		defer m.close()
		m.session.SetMode(A, Plain)
		protect := func() (far *farKeys, confirmed *int) {
			ours, theirs := newKeys(gcm256)
			confirmed = new(int)
			err := m.session.Protect(B, ours, ProtectOptions{SendAfterConfirm: true, Confirmed: func() {
				*confirmed++
				m.session.Stats() // may call the session
			}})
			if err != nil {
				t.Fatal(err)
			}
			return newFarKeys(t, theirs), confirmed
		}
		far, confirmed := protect()
		m.phone.WriteTo(voice(1, 1), m.toPhone)
		m.session.Probe(B)
		for _, pkt := range got(m.far) {
			if len(pkt) != 0 {
				t.Fatalf("left before the confirmation: %x", pkt)
			}
		}
		m.far.WriteTo(voice(2, 1), m.toFar) // does not verify
		synctest.Wait()
		if *confirmed != 0 {
			t.Fatal("confirmed by a packet in clear")
		}
		m.far.WriteTo(far.seal(voice(2, 1)), m.toFar)
		m.far.WriteTo(far.seal(voice(2, 2)), m.toFar)
		packets := got(m.far)
		if *confirmed != 1 || len(packets) != 1 {
			t.Fatalf("%d confirmations, %d packets", *confirmed, len(packets))
		}
		far.open(packets[0]) // the one that was kept

		// Rekeyed the same way, the old keys go on until the new are confirmed.
		next, confirmed := protect()
		m.phone.WriteTo(voice(1, 2), m.toPhone)
		if packets = got(m.far); len(packets) != 1 {
			t.Fatalf("%d packets while the new keys are not confirmed", len(packets))
		}
		far.open(packets[0])
		m.far.WriteTo(far.seal(voice(2, 3)), m.toFar)
		synctest.Wait()
		if *confirmed != 0 {
			t.Fatal("a packet under the old keys confirms the new")
		}
		m.far.WriteTo(next.seal(voice(2, 4)), m.toFar)
		synctest.Wait()
		m.phone.WriteTo(voice(1, 3), m.toPhone)
		if packets = got(m.far); *confirmed != 1 || len(packets) != 1 {
			t.Fatalf("%d confirmations, %d packets", *confirmed, len(packets))
		}
		next.open(packets[0])
		if n := len(got(m.phone)); n != 4 {
			t.Errorf("%d packets at the phone, want 4", n)
		}
	})
}

func TestOldKeysAreHeardForFiveSeconds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		after time.Duration
		want  int
	}{
		"before": {oldKeysTime - time.Millisecond, 1},
		"after":  {oldKeysTime + time.Millisecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newInMemory(t)
				defer m.close()
				m.session.SetMode(A, Plain)
				var far [2]*farKeys
				for i := range far {
					ours, theirs := newKeys(gcm256)
					far[i] = newFarKeys(t, theirs)
					if err := m.session.Protect(B, ours, ProtectOptions{}); err != nil {
						t.Fatal(err)
					}
					if i == 0 {
						m.far.WriteTo(far[0].seal(voice(2, 1)), m.toFar)
						got(m.phone)
					}
				}
				time.Sleep(test.after)
				m.far.WriteTo(far[0].seal(voice(2, 2)), m.toFar)
				if n := len(got(m.phone)); n != test.want {
					t.Errorf("%d packets under the old keys pass, want %d", n, test.want)
				}
				if old := m.session.ends[B].keys.old; (old != nil) != (test.want == 1) {
					t.Errorf("old keys kept: %v", old != nil)
				}
				m.far.WriteTo(far[1].seal(voice(2, 5)), m.toFar)
				m.far.WriteTo(far[0].seal(voice(2, 3)), m.toFar) // was overtaken
				if n := len(got(m.phone)); n != 1+test.want {
					t.Errorf("%d packets pass, want %d", n, 1+test.want)
				}
				time.Sleep(overtaken)
				synctest.Wait()
				m.far.WriteTo(far[0].seal(voice(2, 4)), m.toFar)
				if n := len(got(m.phone)); n != 0 || m.session.ends[B].keys.old != nil {
					t.Errorf("%d packets under the old keys pass once the new ones are in use", n)
				}
			})
		})
	}
}

// Media is faster than signalling: what the peer sends under keys whose last part
// is still on its way is heard when that has come.
func TestExpectedKeys(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		expect, give bool
		after        time.Duration
		heard        int
	}{
		"soon":      {true, false, 150 * time.Millisecond, 3},
		"late":      {true, false, 300 * time.Millisecond, 1},
		"given up":  {true, true, 150 * time.Millisecond, 1},
		"forgotten": {false, false, 150 * time.Millisecond, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newInMemory(t)
				defer m.close()
				m.session.SetMode(A, Plain)
				ours, theirs := newKeys(gcm256)
				far := newFarKeys(t, theirs)
				if err := m.session.Protect(B, ours, ProtectOptions{}); err != nil {
					t.Fatal(err)
				}
				m.far.WriteTo(far.seal(voice(2, 1)), m.toFar)
				ours, theirs = newKeys(gcm256)
				next := newFarKeys(t, theirs)
				m.session.Expect(B, test.expect)
				m.far.WriteTo(next.seal(voice(2, 3)), m.toFar)
				m.far.WriteTo(far.seal(voice(2, 2)), m.toFar) // still heard meanwhile
				m.far.WriteTo(next.seal(voice(2, 4)), m.toFar)
				if n := len(got(m.phone)); n != 2 {
					t.Errorf("%d packets pass before the keys are there, want 2", n)
				}
				if test.give {
					m.session.Expect(B, false)
				}
				time.Sleep(test.after)
				if err := m.session.Protect(B, ours, ProtectOptions{}); err != nil {
					t.Fatal(err)
				}
				m.far.WriteTo(next.seal(voice(2, 5)), m.toFar)
				if n := len(got(m.phone)); n != test.heard {
					t.Errorf("%d packets pass, want %d", n, test.heard)
				}
				if dropped := m.session.Stats()[B].DroppedAuth; test.expect != (dropped == 0) && name != "given up" || test.give && dropped != 2 {
					t.Errorf("%d were counted as not verified", dropped)
				}
			})
		})
	}
}

// SRTCP begins to count anew under new keys: a report that comes before they do looks
// as if it had been heard already.
func TestExpectedReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newInMemory(t)
		defer m.close()
		m.session.SetMode(A, Plain)
		ours, theirs := newKeys(gcm256)
		far := newFarKeys(t, theirs)
		if err := m.session.Protect(B, ours, ProtectOptions{}); err != nil {
			t.Fatal(err)
		}
		report := far.sealRTCP(appendEmptyReport(nil, 2))
		m.far.WriteTo(report, m.toFar)
		got(m.phone)
		ours, theirs = newKeys(gcm256)
		next := newFarKeys(t, theirs)
		m.session.Expect(B, true)
		m.far.WriteTo(next.sealRTCP(appendEmptyReport(nil, 2)), m.toFar)
		m.far.WriteTo(report, m.toFar) // which was heard
		if n := len(got(m.phone)); n != 0 {
			t.Errorf("%d reports pass before the keys are there", n)
		}
		confirmed := false
		if err := m.session.Protect(B, ours, ProtectOptions{Confirmed: func() { confirmed = true }}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if stats := m.session.Stats()[B]; !confirmed || stats.PacketsIn != 2 || stats.DroppedReplay != 1 || stats.DroppedAuth != 0 {
			t.Errorf("confirmed: %v, %+v, want two reports and one that is a repetition", confirmed, stats)
		}
	})
}

func TestLastActivity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newInMemory(t)
		defer m.close()
		opened := time.Now()
		if at := m.session.LastActivity(); !at.Equal(opened) {
			t.Errorf("starts at %v, opened at %v", at, opened)
		}
		m.session.SetMode(A, Plain)
		time.Sleep(time.Minute)
		m.far.WriteTo(voice(1, 1), m.toPhone) // a stranger there
		synctest.Wait()
		if at := m.session.LastActivity(); !at.Equal(opened) {
			t.Errorf("a stranger counts as activity at %v", at)
		}
		m.phone.WriteTo(voice(1, 1), m.toPhone)
		synctest.Wait()
		if at := m.session.LastActivity(); !at.Equal(time.Now()) {
			t.Errorf("is %v after a packet at %v", at, time.Now())
		}
	})
}

func TestKeysAreUsedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, suite := range srtp.Suites() {
		ours, theirs := newKeys(suite)
		if err := r.session.Protect(B, ours, ProtectOptions{}); err != nil {
			t.Fatal(err)
		}
		fresh, _ := newKeys(suite)
		halfSend, halfRecv := fresh, fresh
		halfSend.SendKey, halfSend.SendSalt = ours.SendKey, ours.SendSalt
		halfRecv.RecvKey, halfRecv.RecvSalt = ours.RecvKey, ours.RecvSalt
		for name, keys := range map[string]Keys{"again": ours, "swapped": theirs, "sending again": halfSend, "receiving again": halfRecv} {
			if err := r.session.Protect(B, keys, ProtectOptions{}); err != ErrKeyReuse {
				t.Errorf("%s: %v", name, err)
			}
		}
		r.session.SetMode(B, Plain) // erases, but does not forget
		if err := r.session.Protect(B, ours, ProtectOptions{}); err != ErrKeyReuse {
			t.Errorf("after Plain: %v", err)
		}
	}
	same, _ := newKeys(gcm256)
	same.RecvKey, same.RecvSalt = same.SendKey, same.SendSalt
	if err := r.session.Protect(B, same, ProtectOptions{}); err != ErrKeyReuse {
		t.Errorf("one key for both directions: %v", err)
	}
	bad, _ := newKeys(gcm256)
	bad.RecvSalt = bad.RecvSalt[1:]
	r.session.SetMode(B, Closed)
	if err := r.session.Protect(B, bad, ProtectOptions{}); err == nil {
		t.Error("short salt accepted")
	}
	if mode := r.session.ends[B].mode; mode != Closed {
		t.Errorf("an error left mode %d", mode)
	}
	r.session.Close()
	if err := r.session.Protect(B, same, ProtectOptions{}); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}
