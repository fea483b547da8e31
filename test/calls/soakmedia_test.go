package calls

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sipward/sipward/sip"
)

// What a phone of the soak says and hears: its descriptions and its packets.

// stance is how a phone takes part in the media: what it wishes in its descriptions.
type stance string

const (
	both     stance = "sendrecv"
	sendonly stance = "sendonly"
	inactive stance = "inactive"
	nowhere  stance = "0.0.0.0" // hold as before RFC 3264: sendrecv at no address
)

func (p *seat) describe(w stance, direction string) []byte {
	p.ver++
	at := p.d.at.String()
	if w == nowhere {
		at = "0.0.0.0"
	}
	port := p.rtp.LocalAddr().(*net.UDPAddr).Port
	return fmt.Appendf(nil, "v=0\r\no=- 1 %d IN IP4 %v\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=%s\r\n", p.ver, p.d.at, at, port, direction)
}

// offer describes what the phone wishes.
func (p *seat) offer(w stance) []byte {
	if w == nowhere {
		return p.describe(w, "sendrecv")
	}
	return p.describe(w, string(w))
}

// reply answers an offer that was learnt just before: what the phone wishes, as
// far as the other side lets it (RFC 3264 section 6.1).
func (p *seat) reply(offered string) []byte {
	switch {
	case offered == "inactive", offered == "sendonly" && p.holds != both && p.holds != nowhere:
		return p.describe(p.holds, "inactive")
	case offered == "sendonly":
		return p.describe(p.holds, "recvonly")
	case offered == "recvonly" || p.holds == sendonly:
		return p.describe(p.holds, "sendonly")
	case p.holds == inactive:
		return p.describe(p.holds, "inactive")
	}
	return p.describe(p.holds, "sendrecv")
}

// learn reads a description and returns its direction, "" where there is none.
// An answer says recvonly to a hold without being one.
func (p *seat) learn(m *sip.Message) string {
	if len(m.Body) == 0 {
		return ""
	}
	direction, addr, port := "sendrecv", "", 0
	for line := range strings.SplitSeq(string(m.Body), "\r\n") {
		switch {
		case strings.HasPrefix(line, "c="):
			addr = strings.Fields(line)[2]
		case strings.HasPrefix(line, "m="):
			port, _ = strconv.Atoi(strings.Fields(line)[1])
		case line == "a=sendonly", line == "a=recvonly", line == "a=inactive":
			direction = line[2:]
		}
	}
	ip, err := netip.ParseAddr(addr)
	if err != nil || port == 0 {
		p.d.s.fail(p.n, "a phone got no address for its media:\n%s", m.Body)
		return direction
	}
	p.to = net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port)))
	return direction
}

// offered takes the other side's offer.
func (p *seat) offered(direction string) {
	p.held = direction == "sendonly" || direction == "inactive"
	p.locate()
}

// answered takes the other side's answer to an offer that asked for mine. To
// inactive there is only one answer, which says nothing new.
func (p *seat) answered(direction string, mine stance) {
	if mine != inactive {
		p.held = direction == "sendonly" || direction == "inactive"
	}
	p.locate()
}

// locate: a description without an address is a hold too.
func (p *seat) locate() {
	if p.to != nil && p.to.IP.IsUnspecified() {
		p.held, p.to = true, nil
	}
}

// listen counts what the other phone says; whatever else comes is a fault.
func (p *seat) listen() {
	defer close(p.done)
	buf := make([]byte, 2000)
	for {
		size, _, err := p.rtp.ReadFrom(buf)
		if err != nil {
			return
		}
		if buf[1]&0x7f != 0 {
			continue // RTCP, or noise that opens a NAT
		}
		if want := userOfCall(p.n); size != 172 || string(buf[12:12+len(want)]) != want {
			p.d.s.fail(p.n, "a phone hears %d octets of another call: %q", size, buf[12:min(size, 24)])
		}
		p.mu.Lock()
		p.heard++
		p.mu.Unlock()
	}
}

// say sends one packet of speech, each with a number of its own.
func (p *seat) say() {
	p.queue.Post(func() {
		if p.to == nil {
			return
		}
		packet := make([]byte, 172)
		packet[0], packet[2], packet[3], packet[11] = 0x80, byte(p.seq>>8), byte(p.seq), p.d.at.As4()[1]<<4|p.d.at.As4()[3]
		p.seq++
		copy(packet[12:], userOfCall(p.n))
		p.rtp.WriteTo(packet, p.to)
	})
}

func (p *seat) hears() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard
}
