package demo

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sipward/sipward/sip/sdp"
)

// errNoEcho says that a description has no m-line that a machine can take.
var errNoEcho = errors.New("demo: no plain RTP audio between addresses of one family")

// mirror is an offer as a machine answers it: the first m-line of plain RTP
// audio with all its formats in the offer's order, and no other line.
type mirror struct {
	lines      []sdp.Media
	mine       int             // index of the line that is taken
	attributes []string        // of that line, which make its formats what they are
	clocks     map[byte]uint32 // RTP clock rates in Hz by payload type
	time       string          // t=, which an answer repeats (RFC 3264 section 6)
}

// offerOfEcho is what it offers where the caller leaves that to it.
func offerOfEcho() mirror {
	return mirror{
		lines:      []sdp.Media{{Kind: "audio", Proto: "RTP/AVP", Formats: []string{"0", "8"}, RTP: true}},
		attributes: []string{"rtpmap:0 PCMU/8000", "rtpmap:8 PCMA/8000", "ptime:20"},
		time:       "0 0",
	}
}

// mirrorOf reads the description of a caller, and where it takes its audio: an
// address of own's family that is one host's, or nowhere while it holds.
func mirrorOf(body []byte, own netip.Addr) (mirror, ends, error) {
	s, err := sdp.Parse(body)
	if err != nil {
		return mirror{}, ends{}, err
	}
	m := mirror{lines: s.Media(), clocks: map[byte]uint32{}, time: "0 0"}
	for _, l := range m.lines {
		if l.Proto == "" || len(l.Formats) == 0 {
			return mirror{}, ends{}, errNoEcho // a line that cannot be answered
		}
	}
	m.mine = slices.IndexFunc(m.lines, func(l sdp.Media) bool {
		return l.Kind == "audio" && l.RTP && !l.Secure && !l.Rejected
	})
	if m.mine < 0 {
		return mirror{}, ends{}, errNoEcho
	}
	to, ok := endsOf(m.audio(), own)
	if !ok {
		return mirror{}, ends{}, errNoEcho
	}
	m.read(body)
	return m, to, nil
}

func (m mirror) audio() sdp.Media { return m.lines[m.mine] }

// read takes out of the text what package sdp has no field for.
func (m *mirror) read(body []byte) {
	section := -1
	for text := range strings.FieldsFuncSeq(string(body), func(r rune) bool { return r == '\r' || r == '\n' }) {
		kind, value, _ := strings.Cut(strings.TrimLeft(text, " \t\ufeff"), "=")
		name, rest, _ := strings.Cut(value, ":")
		switch {
		case kind == "m":
			section++
		case kind == "t" && section < 0:
			m.time = value
		case kind != "a" || section != m.mine:
		case name == "rtpmap":
			m.clock(rest)
			m.attributes = append(m.attributes, value)
		case name == "fmtp" || name == "ptime" || name == "maxptime":
			m.attributes = append(m.attributes, value)
		}
	}
}

// clock notes the rate of an rtpmap such as "96 opus/48000/2".
func (m *mirror) clock(rtpmap string) {
	format, encoding, _ := strings.Cut(rtpmap, " ")
	parts := strings.Split(encoding, "/")
	pt, err := strconv.ParseUint(format, 10, 7)
	if err != nil || len(parts) < 2 {
		return
	}
	if rate, err := strconv.ParseUint(parts[1], 10, 20); err == nil && rate > 0 {
		m.clocks[byte(pt)] = uint32(rate)
	}
}

// describe writes what follows the origin line of a description with the
// machine's own address.
func (m mirror) describe(user string, local netip.AddrPort, direction string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "s=%s\r\nc=IN %s %s\r\nt=%s\r\n", user, familyOf(local.Addr()), local.Addr(), m.time)
	for i, l := range m.lines {
		if i != m.mine {
			fmt.Fprintf(&b, "m=%s 0 %s %s\r\n", l.Kind, l.Proto, strings.Join(l.Formats, " "))
			continue
		}
		fmt.Fprintf(&b, "m=audio %d %s %s\r\n", local.Port(), l.Proto, strings.Join(l.Formats, " "))
		for _, a := range m.attributes {
			fmt.Fprintf(&b, "a=%s\r\n", a)
		}
		fmt.Fprintf(&b, "a=%s\r\n", direction)
	}
	return b.String()
}

// originated puts the first two lines in front.
func originated(user, text string, addr netip.Addr, id uint32, version int) []byte {
	return fmt.Appendf(nil, "v=0\r\no=%s %d %d IN %s %s\r\n%s", user, id, version, familyOf(addr), addr, text)
}

func familyOf(a netip.Addr) string {
	if a.Is6() {
		return "IP6"
	}
	return "IP4"
}

// mirroredDirection answers the direction of an m-line. One whose address is
// nowhere can be sent nothing, whatever else it says.
func mirroredDirection(m sdp.Media) string {
	own := "sendrecv"
	if m.Held() {
		own = "recvonly"
	}
	return answering(m.Direction, own)
}

// endsOf is where an m-line takes RTP and RTCP; not ok where a machine may not
// send. RTCP for another host than the one whose RTP comes back is not sent.
func endsOf(m sdp.Media, own netip.Addr) (ends, bool) {
	if m.Held() {
		return ends{}, true
	}
	addr := addrOf(m.Addr)
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if !addr.IsValid() || addr.Is4() != own.Is4() || addr.IsMulticast() || addr == broadcast || m.Port == 0 {
		return ends{}, false
	}
	to := ends{rtp: netip.AddrPortFrom(addr, uint16(m.Port))}
	if m.RTCPPort != 0 && (m.RTCPAddr == "" || addrOf(m.RTCPAddr) == addr) {
		to.rtcp = netip.AddrPortFrom(addr, uint16(m.RTCPPort))
	}
	return to, true
}
