package demo

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sipward/sipward/sip/sdp"
)

const sdpType = "application/sdp"

// describe writes the session description of a phone: an offer, or the answer
// to one of count m-lines whose line at index takes the audio.
func (c *Call) describe(direction string, offer *sdp.Session) []byte {
	addr := c.line.local.Addr()
	family := "IP4"
	if addr.Is6() {
		family = "IP6"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=%s %d %d IN %s %s\r\ns=call\r\nc=IN %s %s\r\nt=0 0\r\n",
		c.phone.o.Name, c.line.ssrc, c.version, family, addr, family, addr)
	c.version++
	lines := []sdp.Media{{Kind: "audio", RTP: true, Proto: "RTP/AVP", Formats: []string{"0", "101"}}}
	if offer != nil {
		lines = offer.Media()
	}
	mine := audioLine(lines)
	for i, m := range lines {
		if i != mine {
			fmt.Fprintf(&b, "m=%s 0 %s %s\r\n", m.Kind, m.Proto, strings.Join(m.Formats, " "))
			continue
		}
		fmt.Fprintf(&b, "m=audio %d RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=%s\r\n",
			c.line.local.Port(), direction)
	}
	return []byte(b.String())
}

// audioLine is the index of the first m-line that a phone can take, or -1.
func audioLine(lines []sdp.Media) int {
	return slices.IndexFunc(lines, func(m sdp.Media) bool {
		return m.Kind == "audio" && m.RTP && !m.Secure && !m.Rejected && slices.Contains(m.Formats, "0")
	})
}

// hear takes in what the other end's description says. It returns false where
// there is no audio in it that the phone knows.
func (c *Call) hear(s *sdp.Session) bool {
	lines := s.Media()
	i := audioLine(lines)
	if i < 0 {
		return false
	}
	m := lines[i]
	addr, err := netip.ParseAddr(m.Addr)
	addr = addr.Unmap()
	held := err != nil || addr.IsUnspecified() || m.Direction == "sendonly" || m.Direction == "inactive"
	var rtp, rtcp netip.AddrPort
	if err == nil && !addr.IsUnspecified() {
		rtp = netip.AddrPortFrom(addr, uint16(m.Port))
		at := addr
		if a, err := netip.ParseAddr(m.RTCPAddr); err == nil {
			at = a.Unmap()
		}
		rtcp = netip.AddrPortFrom(at, uint16(m.RTCPPort))
	}
	c.heldByOther = held
	c.line.connect(rtp, rtcp, !held && c.direction == "sendrecv")
	return true
}

// answering is the direction that answers an offer of that direction (RFC 3264
// section 6.1), given the phone's own wish.
func answering(offered, own string) string {
	send := offered != "sendonly" && offered != "inactive" && (own == "sendrecv" || own == "sendonly")
	receive := offered != "recvonly" && offered != "inactive" && (own == "sendrecv" || own == "recvonly")
	switch {
	case send && receive:
		return "sendrecv"
	case send:
		return "sendonly"
	case receive:
		return "recvonly"
	}
	return "inactive"
}
