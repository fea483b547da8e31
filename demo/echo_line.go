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

const (
	// echoRate bounds what one call may make an echo keep and send, in packets
	// a second: ten phones' worth. Two echoes that somebody has joined to each
	// other send no more than that either.
	echoRate = 500
	// maxDatagram is what UDP can carry; uncompressed audio fills several
	// kilobytes in 20 ms.
	maxDatagram = 1<<16 - 1
)

// echoLine is the media of one call at an echo: every RTP packet goes back
// after the delay as it came, with header extension, payload type, marker,
// timestamp and payload. SSRC and sequence number are the echo's own, and follow
// the caller's: loss, repetition and order are heard as they happened.
type echoLine struct {
	socket  pair
	local   netip.AddrPort // RTP
	delay   time.Duration
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

func openEchoLine(n Network, addr netip.Addr, delay time.Duration) (*echoLine, error) {
	socket, err := listenPair(n, addr)
	if err != nil {
		return nil, err
	}
	var random [6]byte
	rand.Read(random[:])
	l := &echoLine{
		socket: socket, local: localOf(socket.rtp.LocalAddr()), delay: delay,
		mask: binary.BigEndian.Uint32(random[:]) | 1, shift: binary.BigEndian.Uint16(random[4:]), // never the caller's own SSRC
		waiting: make(chan late, 16+int(echoRate*delay/time.Second)), stop: make(chan struct{}), heard: time.Now(),
	}
	l.wg.Go(func() { readDatagrams(socket.rtp, maxDatagram, l.stop, l.takeRTP) })
	l.wg.Go(func() { readDatagrams(socket.rtcp, 2048, l.stop, l.takeRTCP) })
	l.wg.Go(l.repeat)
	l.wg.Go(l.reportNowAndThen)
	return l, nil
}

// connect says where the caller is, whether RTP goes both ways, and the clock
// rates of its formats.
func (l *echoLine) connect(to ends, open bool, clocks map[byte]uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to, l.open, l.clocks = to, open && to.rtp.IsValid(), clocks
}

// touch begins the waiting for RTP anew.
func (l *echoLine) touch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = time.Now()
}

// quiet is how long no RTP has come.
func (l *echoLine) quiet() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.heard)
}

func (l *echoLine) takeRTP(b []byte, from netip.AddrPort) {
	now := time.Now()
	if !isRTP(b) || !l.welcome(b, from, now) {
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
func (l *echoLine) welcome(b []byte, from netip.AddrPort, now time.Time) bool {
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

func (l *echoLine) takeRTCP(b []byte, from netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if isRTCP(b) && from.Addr() == l.to.rtp.Addr() {
		l.from.takeReport(b, time.Now())
	}
}

// repeat sends each packet when it is due. One that falls into a hold is
// dropped.
func (l *echoLine) repeat() {
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

// reportNowAndThen tells the caller how its RTP arrives, once there is any.
// They are receiver reports although the echo sends: the clock that an SR would
// have to tell the time by is the caller's own.
func (l *echoLine) reportNowAndThen() {
	timer := time.NewTimer(firstReport)
	defer timer.Stop()
	name := echoUser + "@" + l.local.Addr().String()
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
		if to.IsValid() && known {
			own := about.SSRC ^ l.mask
			b, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: own, Reports: []rtcp.ReceptionReport{about}}, rtcp.NewCNAMESourceDescription(own, name)})
			if err == nil {
				_, _ = l.socket.rtcp.WriteTo(b, net.UDPAddrFromAddrPort(to)) // the next one comes
			}
		}
		timer.Reset(reportEvery)
	}
}

// close ends everything and returns when it has ended. It must be called once.
func (l *echoLine) close() {
	close(l.stop)
	l.socket.close()
	l.wg.Wait()
}
