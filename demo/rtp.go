package demo

import (
	"encoding/binary"

	"github.com/pion/rtcp"
)

// rtpHeader is the length of an RTP header without CSRC and extension.
const rtpHeader = 12

// packet builds an RTP packet (RFC 3550 section 5.1).
func packet(pt byte, marker bool, seq uint16, timestamp, ssrc uint32, payload []byte) []byte {
	b := make([]byte, rtpHeader, rtpHeader+len(payload))
	b[0] = 2 << 6
	b[1] = pt
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], timestamp)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return append(b, payload...)
}

// received is what a phone reads of an RTP packet.
type received struct {
	pt      byte
	seq     uint16
	ssrc    uint32
	payload []byte
}

// parsePacket reads an RTP packet in clear; ok is false for anything else.
func parsePacket(b []byte) (p received, ok bool) {
	if !isRTP(b) {
		return received{}, false
	}
	at := rtpHeader + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < at+4 {
			return received{}, false
		}
		at += 4 + 4*int(binary.BigEndian.Uint16(b[at+2:]))
	}
	end := len(b)
	if b[0]&0x20 != 0 && end > 0 {
		end -= int(b[end-1])
	}
	if at > end {
		return received{}, false
	}
	return received{pt: b[1] & 0x7f, seq: binary.BigEndian.Uint16(b[2:]), ssrc: binary.BigEndian.Uint32(b[8:]), payload: b[at:end]}, true
}

// isRTP and isRTCP tell datagrams apart by their first octets, which SRTP
// leaves in clear (RFC 5761 section 4).
func isRTP(b []byte) bool {
	return len(b) >= rtpHeader && b[0]>>6 == 2 && (b[1] < 192 || b[1] > 223)
}

func isRTCP(b []byte) bool {
	return len(b) >= 8 && b[0]>>6 == 2 && b[1] >= 192 && b[1] <= 223
}

// report is the RTCP that a phone sends: an SR while it talks, else an RR, with
// its name (RFC 3550 section 6.1).
func report(ssrc, about uint32, timestamp uint32, packets, octets int, talking bool, name string) []byte {
	var blocks []rtcp.ReceptionReport
	if about != 0 {
		blocks = []rtcp.ReceptionReport{{SSRC: about}}
	}
	var first rtcp.Packet = &rtcp.ReceiverReport{SSRC: ssrc, Reports: blocks}
	if talking {
		first = &rtcp.SenderReport{SSRC: ssrc, RTPTime: timestamp, PacketCount: uint32(packets), OctetCount: uint32(octets), Reports: blocks}
	}
	b, err := rtcp.Marshal([]rtcp.Packet{first, rtcp.NewCNAMESourceDescription(ssrc, name)})
	if err != nil {
		return nil // fields of fixed lengths: there is nothing that could not be written
	}
	return b
}
