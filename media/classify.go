package media

import "encoding/binary"

// kind is what a datagram is.
type kind uint8

const (
	kindOther kind = iota // STUN, DTLS, ZRTP, keep-alives, anything malformed: dropped
	kindRTP
	kindRTCP
)

const (
	rtpHeaderLen  = 12
	rtcpHeaderLen = 8
)

// classify says what a datagram is from its first octets, which protection
// leaves in clear (RFC 5761 §4, RFC 7983 §7): version 2, and RTCP where the
// second octet is 192 to 223. The RTP port takes both, as rtcp-mux may be in
// use; the RTCP port takes RTCP only.
func classify(pkt []byte, rtcpPort bool) kind {
	if len(pkt) < rtcpHeaderLen || len(pkt) > maxPacket || pkt[0]>>6 != 2 {
		return kindOther
	}
	if pkt[1] >= 192 && pkt[1] <= 223 {
		return kindRTCP
	}
	if rtcpPort || !rtpHeaderFits(pkt) {
		return kindOther
	}
	return kindRTP
}

// rtpHeaderFits tells whether fixed header, CSRC list and header extension
// (RFC 3550 §5.1, §5.3.1) end within the packet.
func rtpHeaderFits(pkt []byte) bool {
	n := rtpHeaderLen + 4*int(pkt[0]&0x0f)
	if pkt[0]&0x10 != 0 {
		if len(pkt) < n+4 {
			return false
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(pkt[n+2:]))
	}
	return len(pkt) >= n
}
