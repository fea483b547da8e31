package capture

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Flow is the RTP that one source sent from one address to another, in the order
// in which it was seen.
type Flow struct {
	From, To netip.AddrPort
	SSRC     uint32
	Packets  []RTP
}

// RTP is one packet (RFC 3550 §5.1). Its payload reaches to the end of the
// datagram: padding stays on, since its length is ciphertext in SRTP, and there the
// authentication tag stands behind it.
type RTP struct {
	Time        time.Time
	PayloadType uint8
	Marker      bool
	Sequence    uint16
	Timestamp   uint32
	Payload     []byte // not to be changed
}

// Payloads are those of all packets of the flow.
func (f Flow) Payloads() [][]byte {
	out := make([][]byte, 0, len(f.Packets))
	for _, p := range f.Packets {
		out = append(out, p.Payload)
	}
	return out
}

// Flows picks RTP out of datagrams and sorts it by source, destination and SSRC;
// the flow seen first comes first. Nothing but a packet's own octets says that it
// is RTP: version 2, no RTCP packet type (RFC 5761 §4), a header that fits.
func Flows(packets []Packet) []Flow {
	type key struct {
		from, to netip.AddrPort
		ssrc     uint32
	}
	place := make(map[key]int)
	var flows []Flow
	for _, p := range packets {
		rtp, ssrc, ok := parseRTP(p.Payload)
		if !ok {
			continue
		}
		rtp.Time = p.Time
		k := key{p.From, p.To, ssrc}
		i, known := place[k]
		if !known {
			i = len(flows)
			place[k] = i
			flows = append(flows, Flow{From: p.From, To: p.To, SSRC: ssrc})
		}
		flows[i].Packets = append(flows[i].Packets, rtp)
	}
	return flows
}

// parseRTP reads the header of what may be an RTP packet.
func parseRTP(b []byte) (p RTP, ssrc uint32, ok bool) {
	const fixed = 12
	if len(b) < fixed || b[0]>>6 != 2 || b[1] >= 192 && b[1] <= 223 {
		return RTP{}, 0, false
	}
	header := fixed + 4*int(b[0]&0x0f) // contributing sources
	if b[0]&0x10 != 0 {                // header extension
		if len(b) < header+4 {
			return RTP{}, 0, false
		}
		header += 4 + 4*int(binary.BigEndian.Uint16(b[header+2:]))
	}
	if len(b) < header {
		return RTP{}, 0, false
	}
	return RTP{
		PayloadType: b[1] & 0x7f,
		Marker:      b[1]&0x80 != 0,
		Sequence:    binary.BigEndian.Uint16(b[2:]),
		Timestamp:   binary.BigEndian.Uint32(b[4:]),
		Payload:     b[header:],
	}, binary.BigEndian.Uint32(b[8:]), true
}
