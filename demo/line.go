package demo

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sipward/sipward/demo/audio"
)

const (
	frameTime   = 20 * time.Millisecond
	firstReport = time.Second
	reportEvery = 2 * time.Second

	payloadPCMU  = 0
	payloadEvent = 101
)

// line is the media of one call at a phone: it plays a recording into RTP and
// records the RTP that comes. It hears from the moment it is opened, as RFC
// 3264 section 5.1 asks of who made an offer.
type line struct {
	socket pair
	local  netip.AddrPort // RTP
	frames [][]byte       // what is played, in payloads
	repeat bool
	cname  string

	heard  *recording
	played chan struct{} // closed when the recording was played to its end
	stop   chan struct{}
	wg     sync.WaitGroup

	mu         sync.Mutex
	rtp, rtcp  netip.AddrPort // the other end's
	open       bool           // neither side holds
	started    bool
	closed     bool
	ssrc       uint32
	seq        uint16
	timestamp  uint32
	sent       [][]byte
	octets     int
	reports    int // RTCP packets that came
	foreign    int // datagrams that are neither PCMU nor RTCP
	otherSSRC  uint32
	reportSent int
}

func openLine(n Network, addr netip.Addr, play []int16, repeat bool, cname string) (*line, error) {
	socket, err := listenPair(n, addr)
	if err != nil {
		return nil, err
	}
	var random [8]byte
	rand.Read(random[:])
	l := &line{
		socket: socket, local: localOf(socket.rtp.LocalAddr()), frames: frames(play), repeat: repeat, cname: cname,
		heard: newRecording(), played: make(chan struct{}), stop: make(chan struct{}),
		ssrc: binary.BigEndian.Uint32(random[:]) | 1, seq: binary.BigEndian.Uint16(random[4:]), timestamp: binary.BigEndian.Uint32(random[4:]),
	}
	l.wg.Add(2)
	go l.hear(socket.rtp, l.takeRTP)
	go l.hear(socket.rtcp, l.takeRTCP)
	return l, nil
}

// frames cuts a recording into payloads; silence fills the last one.
func frames(play []int16) [][]byte {
	var out [][]byte
	for len(play) > 0 {
		frame := make([]int16, frameSamples)
		play = play[copy(frame, play):]
		out = append(out, audio.EncodeMuLaw(frame))
	}
	return out
}

// connect says where the other end is and whether anything may be sent there.
func (l *line) connect(rtp, rtcp netip.AddrPort, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rtp, l.rtcp, l.open = rtp, rtcp, open && rtp.IsValid()
}

// mute ends the talking.
func (l *line) mute() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = false
}

// start begins to play and to report; once.
func (l *line) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started || l.closed {
		return
	}
	l.started = true
	l.wg.Add(2)
	go l.talk()
	go l.reportNowAndThen()
}

// talk sends a payload every 20 ms, the first one 20 ms from now: that is how
// long a phone needs to have something to send.
func (l *line) talk() {
	defer l.wg.Done()
	ticker := time.NewTicker(frameTime)
	defer ticker.Stop()
	fresh := true // the next packet begins a talkspurt (RFC 3551 section 4.1)
	for next := 0; ; {
		if next == len(l.frames) {
			if !l.repeat || next == 0 {
				close(l.played)
				return
			}
			next = 0
		}
		select {
		case <-ticker.C:
		case <-l.stop:
			return
		}
		l.mu.Lock()
		open, to := l.open, l.rtp
		l.timestamp += frameSamples
		if !open {
			l.mu.Unlock()
			fresh = true
			continue
		}
		l.seq++
		b := packet(payloadPCMU, fresh, l.seq, l.timestamp, l.ssrc, l.frames[next])
		l.mu.Unlock()
		if _, err := l.socket.rtp.WriteTo(b, net.UDPAddrFromAddrPort(to)); err == nil {
			l.mu.Lock()
			if len(l.sent) < maxPackets {
				l.sent = append(l.sent, l.frames[next])
			}
			l.octets += len(l.frames[next])
			l.mu.Unlock()
		}
		fresh = false
		next++
	}
}

// reportNowAndThen sends RTCP while the call lasts, a hold included.
func (l *line) reportNowAndThen() {
	defer l.wg.Done()
	timer := time.NewTimer(firstReport)
	defer timer.Stop()
	last := 0
	for {
		select {
		case <-timer.C:
		case <-l.stop:
			return
		}
		l.mu.Lock()
		to, packets := l.rtcp, len(l.sent)
		b := report(l.ssrc, l.otherSSRC, l.timestamp, packets, l.octets, packets > last, l.cname)
		last = packets
		l.mu.Unlock()
		if to.IsValid() {
			if _, err := l.socket.rtcp.WriteTo(b, net.UDPAddrFromAddrPort(to)); err == nil {
				l.mu.Lock()
				l.reportSent++
				l.mu.Unlock()
			}
		}
		timer.Reset(reportEvery)
	}
}

// hear reads a socket until it is closed.
func (l *line) hear(c net.PacketConn, take func([]byte)) {
	defer l.wg.Done()
	readDatagrams(c, 2048, l.stop, func(b []byte, _ netip.AddrPort) { take(b) })
}

// readDatagrams hands what comes to take until the socket is closed; a longer
// datagram than size octets is cut. take must not keep what it gets.
func readDatagrams(c net.PacketConn, size int, stop <-chan struct{}, take func(b []byte, from netip.AddrPort)) {
	buf := make([]byte, size)
	for {
		n, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			take(buf[:n], localOf(from))
			continue
		}
		select { // another host's ICMP; should it last, it must not take the CPU
		case <-time.After(frameTime):
		case <-stop:
			return
		}
	}
}

func (l *line) takeRTP(b []byte) {
	p, ok := parsePacket(b)
	if !ok || p.pt != payloadPCMU {
		if len(b) > 0 && p.pt != payloadEvent {
			l.mu.Lock()
			l.foreign++
			l.mu.Unlock()
		}
		return
	}
	l.mu.Lock()
	l.otherSSRC = p.ssrc
	l.mu.Unlock()
	l.heard.add(p.ssrc, p.seq, p.payload)
}

func (l *line) takeRTCP(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if isRTCP(b) {
		l.reports++
	} else if len(b) > 0 {
		l.foreign++
	}
}

// close ends everything and returns when it has ended.
func (l *line) close() {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	if first {
		close(l.stop)
		l.socket.close()
	}
	l.wg.Wait()
}
