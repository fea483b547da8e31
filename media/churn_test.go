package media

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipward/sipward/media/srtp"
)

// traffic is many calls whose phones share one socket and whose far ends share
// another: payload names the call and counts, the rest is like any call.
type traffic struct {
	t          *testing.T
	engine     *Engine
	phones     *net.UDPConn
	fars       *net.UDPConn
	toA, toB   []netip.AddrPort
	sessions   []*Session
	mu         []sync.Mutex // of far
	far        [][]*farKeys // keys of each call, the newest last
	heard      [2][]atomic.Uint32
	unreadable atomic.Uint32
}

// newTraffic opens calls of this many; reading goes on until the test ends.
func newTraffic(t *testing.T, e *Engine, calls int, suite srtp.Suite) *traffic {
	t.Helper()
	m := &traffic{
		t: t, engine: e, mu: make([]sync.Mutex, calls), far: make([][]*farKeys, calls),
		heard: [2][]atomic.Uint32{make([]atomic.Uint32, calls), make([]atomic.Uint32, calls)},
	}
	for _, c := range []**net.UDPConn{&m.phones, &m.fars} {
		conn, err := listenUDP(netip.AddrPortFrom(loopback, 0))
		if err != nil {
			t.Fatal(err)
		}
		*c = conn.(*net.UDPConn)
		(*c).SetReadBuffer(8 << 20) // as far as the system allows
	}
	for i := range calls {
		s := openSession(t, e)
		s.SetRemote(A, Remote{RTP: localOf(m.phones)})
		s.SetRemote(B, Remote{RTP: localOf(m.fars)})
		s.SetMode(A, Plain)
		a, _ := s.Local(A)
		b, _ := s.Local(B)
		m.sessions, m.toA, m.toB = append(m.sessions, s), append(m.toA, a), append(m.toB, b)
		m.rekey(i, suite)
	}
	var reading sync.WaitGroup
	reading.Add(2)
	go func() { defer reading.Done(); m.read(m.phones, A) }()
	go func() { defer reading.Done(); m.read(m.fars, B) }()
	t.Cleanup(func() {
		m.phones.Close()
		m.fars.Close()
		reading.Wait()
	})
	for call := range calls { // so that every call's keys are in use
		m.send(call, 0)
		if call%8 == 7 {
			time.Sleep(100 * time.Microsecond)
		}
	}
	m.settle()
	return m
}

// rekey gives a call new keys at both ends of its outer leg.
func (m *traffic) rekey(i int, suite srtp.Suite) {
	ours, theirs := newKeys(suite)
	keys := newFarKeys(m.t, theirs)
	m.mu[i].Lock()
	defer m.mu[i].Unlock()
	m.far[i] = append(m.far[i], keys) // heard before they are sent under
	if len(m.far[i]) > 2 {
		m.far[i] = m.far[i][1:]
	}
	if err := m.sessions[i].Protect(B, ours, ProtectOptions{}); err != nil {
		m.t.Error(err)
	}
}

// packet is the n-th of a call, named in the timestamp and the payload.
func packet(call int, n uint32) []byte {
	pkt := voice(uint32(call)+1, uint16(n))
	binary.BigEndian.PutUint32(pkt[4:], n)
	binary.BigEndian.PutUint32(pkt[12:], uint32(call))
	return pkt
}

// send sends the n-th packet of a call both ways.
func (m *traffic) send(call int, n uint32) {
	m.phones.WriteToUDPAddrPort(packet(call, n), m.toA[call])
	m.mu[call].Lock()
	defer m.mu[call].Unlock()
	sealed, err := m.far[call][len(m.far[call])-1].send.Protect(nil, packet(call, n))
	if err != nil {
		m.t.Error(err)
		return
	}
	m.fars.WriteToUDPAddrPort(sealed, m.toB[call])
}

// read counts what an end hears, which must be its own call's packets.
func (m *traffic) read(c *net.UDPConn, to End) {
	buf := make([]byte, 2048)
	calls := map[netip.AddrPort]int{}
	for i := range m.sessions {
		if to == A {
			calls[m.toA[i]] = i
		} else {
			calls[m.toB[i]] = i
		}
	}
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		call, ok := calls[unmap(from)]
		pkt := buf[:n]
		if ok && to == B {
			pkt, ok = m.open(call, pkt)
		}
		if !ok || len(pkt) != 172 || binary.BigEndian.Uint32(pkt[12:]) != uint32(call) {
			m.unreadable.Add(1)
			continue
		}
		m.heard[to][call].Add(1)
	}
}

// open tries the newest keys first.
func (m *traffic) open(call int, pkt []byte) ([]byte, bool) {
	m.mu[call].Lock()
	defer m.mu[call].Unlock()
	for i := range m.far[call] {
		keys := m.far[call][len(m.far[call])-1-i]
		if clear, err := keys.recv.Unprotect(nil, pkt); err == nil {
			return clear, true
		}
	}
	return nil, false
}

// settle waits until nothing more arrives.
func (m *traffic) settle() {
	total := func() (n uint32) {
		for to := range m.heard {
			for i := range m.heard[to] {
				n += m.heard[to][i].Load()
			}
		}
		return n
	}
	for before, still := uint32(0), 0; still < 10; time.Sleep(20 * time.Millisecond) {
		if now := total(); now != before {
			before, still = now, 0
		} else {
			still++
		}
	}
}

// whole checks that a call lost nothing.
func (m *traffic) whole(call int, sent uint32) {
	m.t.Helper()
	for to := range m.heard {
		if n := m.heard[to][call].Load(); n != sent {
			m.t.Errorf("call %d: end %d heard %d packets of %d; %+v", call, to, n, sent, m.sessions[call].Stats())
		}
	}
}

// 500 calls are given new keys while they speak; none loses a packet.
func TestRekeyingManyCallsLosesNothing(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("some seconds of traffic")
	}
	const calls, rounds = 500, 60
	e := newTestEngine(t, Options{})
	m := newTraffic(t, e, calls, gcm256)
	suites := srtp.Suites()
	for n := uint32(1); n < rounds; n++ {
		for call := range calls {
			m.send(call, n)
			if call%8 == 7 {
				time.Sleep(100 * time.Microsecond) // never more at once than sockets hold
			}
			if (int(n)+call)%20 == 19 { // 25 calls a round
				m.rekey(call, suites[int(n)%len(suites)])
			}
		}
	}
	m.settle()
	for call := range calls {
		m.whole(call, rounds)
	}
	if n := m.unreadable.Load(); n != 0 {
		t.Errorf("%d packets were no call's own", n)
	}
}

// Calls come and go beside calls that last, which lose nothing and hear no
// other. SIPWARD_CHURN gives it more time than the 2 s it has here, such as 5m.
func TestRemovingCallsTouchesNoOther(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds of traffic")
	}
	length := 2 * time.Second
	if v := os.Getenv("SIPWARD_CHURN"); v != "" {
		var err error
		if length, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	const calls = 20
	// Few ports, so that the ports and descriptors of calls that went are those
	// of calls that come.
	for name, o := range backends {
		t.Run(name, func(t *testing.T) {
			o.PortMin, o.PortMax = 41000, 41399
			if name == "portable" {
				o.PortMin, o.PortMax = 41400, 41799
			}
			e := newTestEngine(t, o)
			m := newTraffic(t, e, calls, gcm256)
			deadline := time.Now().Add(length)
			var churn sync.WaitGroup
			var churned atomic.Uint32
			for range 3 {
				churn.Add(1)
				go func() {
					defer churn.Done()
					for time.Now().Before(deadline) {
						m.passing()
						churned.Add(1)
					}
				}()
			}
			sent := uint32(1)
			for ; time.Now().Before(deadline); sent++ {
				for call := range calls {
					m.send(call, sent)
				}
				if sent%16 == 0 {
					m.rekey(int(sent/16)%calls, gcm256)
				}
				time.Sleep(5 * time.Millisecond)
			}
			churn.Wait()
			m.settle()
			for call := range calls {
				m.whole(call, sent)
			}
			if n := m.unreadable.Load(); n != 0 {
				t.Errorf("%d packets reached another call", n)
			}
			if churned.Load() < 10 || sent < 10 {
				t.Errorf("%d calls went and %d packets each came: the test saw nothing", churned.Load(), sent)
			}
		})
	}
}

// passing is a call that ends under load: packets of its phone still come when
// it is gone.
func (m *traffic) passing() {
	s, err := m.engine.Open(loopback, loopback)
	if err != nil {
		m.t.Error(err)
		return
	}
	phone, err := listenUDP(netip.AddrPortFrom(loopback, 0))
	if err != nil {
		m.t.Error(err)
		return
	}
	defer phone.Close()
	udp := phone.(*net.UDPConn)
	s.SetRemote(A, Remote{RTP: localOf(udp)})
	s.SetRemote(B, Remote{RTP: localOf(udp)})
	s.SetMode(A, Plain)
	s.SetMode(B, Plain)
	to, _ := s.Local(A)
	for n := range uint32(50) {
		udp.WriteToUDPAddrPort(packet(1<<20, n), to)
		if n == 25 {
			go s.Close()
		}
	}
	s.Close()
}

// A call costs at most 24 KB all in: the system's four sockets, of less than 3 KB
// each on Linux, and what is counted here.
func TestMemoryOfACall(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector keeps shadows of all memory")
	}
	const calls = 400
	e := newTestEngine(t, Options{})
	measure := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := measure()
	for range calls {
		s := openSession(t, e)
		s.SetRemote(A, Remote{RTP: phoneRTP})
		s.SetRemote(B, Remote{RTP: farRTP})
		s.SetMode(A, Plain)
		ours, _ := newKeys(gcm256)
		if err := s.Protect(B, ours, ProtectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	each := (measure() - before) / calls
	t.Logf("%d octets a call", each)
	if each > 12<<10 {
		t.Errorf("%d octets a call", each)
	}
}

// Relaying allocates nothing, sockets included.
func TestRelayDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	e := newTestEngine(t, Options{Workers: 1})
	s := openSession(t, e)
	phone, far := newPeer(t, loopback), newPeer(t, loopback)
	s.SetRemote(A, phone.remote())
	s.SetRemote(B, far.remote())
	s.SetMode(A, Plain)
	ours, _ := newKeys(gcm256)
	if err := s.Protect(B, ours, ProtectOptions{}); err != nil {
		t.Fatal(err)
	}
	to, _ := s.Local(A)
	pkt, seq := voice(1, 0), uint16(0)
	buf := make([]byte, 2048)
	far.rtp.SetReadDeadline(time.Now().Add(time.Minute))
	round := func() {
		for range 20 { // more at once than a quiet worker reads one by one
			seq++
			setSeq(pkt, seq)
			phone.rtp.WriteToUDPAddrPort(pkt, to)
		}
		for range 20 {
			if _, err := far.rtp.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := testing.AllocsPerRun(500, round); n != 0 {
		t.Errorf("%v allocations per 20 packets", n)
	}
}
