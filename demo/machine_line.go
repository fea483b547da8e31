package demo

import (
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtcp"
)

// maxDatagram is what UDP can carry; uncompressed audio fills several kilobytes
// in 20 ms.
const maxDatagram = 1<<16 - 1

// machineLine is the media of one call at a test address.
//
// At an echo every RTP packet goes back after the delay as it came, with header
// extension, payload type, marker, timestamp and payload. SSRC and sequence
// number are the echo's own, and follow the caller's: loss, repetition and order
// are heard as they happened. At a speaker its voice is sent instead.
type machineLine struct {
	socket  pair
	local   netip.AddrPort // RTP
	name    string         // for RTCP
	delay   time.Duration
	voice   *voice // nil at an echo
	mask    uint32 // own SSRC: the caller's with these bits changed
	shift   uint16 // own sequence number: the caller's and this
	waiting chan late
	stop    chan struct{}
	wg      sync.WaitGroup

	mu     sync.Mutex
	to     ends
	open   bool // RTP may go both ways
	heard  time.Time
	clocks map[byte]uint32
	from   reception
}

// late is a packet that waits for its time.
type late struct {
	due time.Time
	b   []byte
}

func (m *machine) openLine(v *voice) (*machineLine, error) {
	socket, err := listenPair(m.network, m.addr)
	if err != nil {
		return nil, err
	}
	var random [6]byte
	rand.Read(random[:])
	l := &machineLine{
		socket: socket, local: localOf(socket.rtp.LocalAddr()), name: m.user + "@" + m.addr.String(), delay: m.delay, voice: v,
		mask: binary.BigEndian.Uint32(random[:]) | 1, shift: binary.BigEndian.Uint16(random[4:]), // never the caller's own SSRC
		waiting: make(chan late, 16+int(echoRate*m.delay/time.Second)), stop: make(chan struct{}), heard: time.Now(),
	}
	l.wg.Go(func() { readDatagrams(socket.rtp, maxDatagram, l.stop, l.takeRTP) })
	l.wg.Go(func() { readDatagrams(socket.rtcp, 2048, l.stop, l.takeRTCP) })
	if v == nil {
		l.wg.Go(l.repeat)
	} else {
		l.wg.Go(l.speak)
	}
	l.wg.Go(l.reportNowAndThen)
	return l, nil
}

// connect says where the caller is, whether RTP goes both ways, and the clock
// rates of its formats.
func (l *machineLine) connect(to ends, open bool, clocks map[byte]uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to, l.open, l.clocks = to, open && to.rtp.IsValid(), clocks
}

// touch begins the waiting for RTP anew.
func (l *machineLine) touch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = time.Now()
}

// quiet is how long no RTP has come.
func (l *machineLine) quiet() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.heard)
}

func (l *machineLine) takeRTP(b []byte, from netip.AddrPort) {
	now := time.Now()
	if !isRTP(b) || !l.welcome(b, from, now) || l.voice != nil {
		return
	}
	b = slices.Clone(b)
	binary.BigEndian.PutUint16(b[2:], binary.BigEndian.Uint16(b[2:])+l.shift)
	binary.BigEndian.PutUint32(b[8:], binary.BigEndian.Uint32(b[8:])^l.mask)
	select {
	case l.waiting <- late{now.Add(l.delay), b}:
	default: // beyond echoRate
	}
}

// welcome notes a packet of the caller; false for one that goes nowhere.
func (l *machineLine) welcome(b []byte, from netip.AddrPort, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from.Addr() != l.to.rtp.Addr() {
		return false
	}
	clock := l.clocks[b[1]&0x7f]
	if clock == 0 {
		clock = 8000 // of the types that phones use without saying it (RFC 3551 section 6)
	}
	l.heard = now
	l.from.take(b, clock, now)
	return l.open
}

func (l *machineLine) takeRTCP(b []byte, from netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if isRTCP(b) && from.Addr() == l.to.rtp.Addr() {
		l.from.takeReport(b, time.Now())
	}
}

// repeat sends each packet when it is due. One that falls into a hold is
// dropped.
func (l *machineLine) repeat() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var p late
		select {
		case p = <-l.waiting:
		case <-l.stop:
			return
		}
		timer.Reset(time.Until(p.due))
		select {
		case <-timer.C:
		case <-l.stop:
			return
		}
		l.mu.Lock()
		open, to := l.open, l.to.rtp
		l.mu.Unlock()
		if open {
			_, _ = l.socket.rtp.WriteTo(p.b, net.UDPAddrFromAddrPort(to)) // lost as on any network
		}
	}
}

// reportNowAndThen tells the caller how its RTP arrives, once there is any, or
// what a voice has sent.
// An echo's are receiver reports although it sends: the clock that an SR would
// have to tell the time by is the caller's own.
func (l *machineLine) reportNowAndThen() {
	timer := time.NewTimer(firstReport)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-l.stop:
			return
		}
		l.mu.Lock()
		to, about, known := l.to.rtcp, rtcp.ReceptionReport{}, l.from.known
		if to.IsValid() && known {
			about = l.from.report(time.Now())
		}
		l.mu.Unlock()
		var b []byte
		switch {
		case !to.IsValid():
		case l.voice != nil:
			b = l.voice.report(about.SSRC, l.name)
		case known:
			own := about.SSRC ^ l.mask
			b, _ = rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: own, Reports: []rtcp.ReceptionReport{about}}, rtcp.NewCNAMESourceDescription(own, l.name)})
		}
		if len(b) > 0 {
			_, _ = l.socket.rtcp.WriteTo(b, net.UDPAddrFromAddrPort(to)) // the next one comes
		}
		timer.Reset(reportEvery)
	}
}

// close ends everything and returns when it has ended. It must be called once.
func (l *machineLine) close() {
	close(l.stop)
	l.socket.close()
	l.wg.Wait()
}
