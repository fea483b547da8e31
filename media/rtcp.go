package media

import "encoding/binary"

// RTCP packet types and formats that carry SSRCs or RTP sequence numbers.
const (
	rtcpSR    = 200 // RFC 3550 §6.4.1
	rtcpRR    = 201 // RFC 3550 §6.4.2
	rtcpSDES  = 202 // RFC 3550 §6.5
	rtcpBYE   = 203 // RFC 3550 §6.6
	rtcpAPP   = 204 // RFC 3550 §6.7
	rtcpRTPFB = 205 // RFC 4585 §6.2
	rtcpPSFB  = 206 // RFC 4585 §6.3
	rtcpXR    = 207 // RFC 3611

	fbNACK  = 1 // RTPFB, RFC 4585 §6.2.1
	fbTMMBR = 3 // RTPFB, RFC 5104 §4.2.1
	fbTMMBN = 4 // RTPFB, RFC 5104 §4.2.2
	fbFIR   = 4 // PSFB, RFC 5104 §4.3.1
	fbTSTR  = 5 // PSFB, RFC 5104 §4.3.2
	fbTSTN  = 6 // PSFB, RFC 5104 §4.3.3
	fbVBCM  = 7 // PSFB, RFC 5104 §4.3.4
	fbALFB  = 15

	xrLossRLE      = 1 // RFC 3611 §4.1
	xrDuplicateRLE = 2
	xrReceiptTimes = 3
	xrReceiverTime = 4
	xrDLRR         = 5
	xrStatistics   = 6
	xrVoIPMetrics  = 7

	reportLen = 24
)

// direction says which way a compound crosses a numbering.
type direction uint8

const (
	outward direction = iota // from the phone to the protected end
	inward                   // from the protected end to the phone
)

// rtcpRewriter maps the SSRCs and sequence numbers of one compound packet.
type rtcpRewriter struct {
	numbering *numbering
	direction direction
	sender    uint32 // who speaks: SSRC of the packet that last said so
}

// rewrite maps a compound RTCP packet (RFC 3550 §6.1) in place and gives it
// back, shorter where it held packet types or report blocks that cannot be
// mapped as nobody knows where their SSRCs stand. It is false for a malformed
// packet and for one of which nothing is left.
func (n *numbering) rewrite(pkt []byte, d direction) ([]byte, bool) {
	if len(pkt) < rtcpHeaderLen {
		return nil, false
	}
	r := rtcpRewriter{n, d, binary.BigEndian.Uint32(pkt[4:])}
	kept := 0
	for rest := pkt; len(rest) > 0; {
		if len(rest) < 4 || rest[0]>>6 != 2 {
			return nil, false
		}
		size := 4 + 4*int(binary.BigEndian.Uint16(rest[2:]))
		if size > len(rest) || (rest[0]&0x20 != 0 && size < len(rest)) {
			return nil, false // cut short, or padded before the last packet
		}
		body, known, ok := r.packet(rest[:size])
		if !ok {
			return nil, false
		}
		if known {
			kept += copy(pkt[kept:], body)
		}
		rest = rest[size:]
	}
	// The first SSRC numbers the SRTCP packet, so there must be one.
	if kept < rtcpHeaderLen || binary.BigEndian.Uint16(pkt[2:]) == 0 {
		return nil, false
	}
	return pkt[:kept], true
}

// packet maps one RTCP packet in place. It is not known where its type is one
// whose SSRCs cannot be found, and not ok where its form is wrong.
func (r *rtcpRewriter) packet(p []byte) (out []byte, known, ok bool) {
	content := p[4:]
	if p[0]&0x20 != 0 {
		padding := int(p[len(p)-1])
		if padding == 0 || padding%4 != 0 || padding > len(content) {
			return nil, false, false
		}
		content = content[:len(content)-padding]
	}
	count := int(p[0] & 0x1f)
	switch p[1] {
	case rtcpSR:
		return p, true, len(content) >= 24+count*reportLen && r.first(content) && r.reports(content[24:], count)
	case rtcpRR:
		return p, true, len(content) >= 4+count*reportLen && r.first(content) && r.reports(content[4:], count)
	case rtcpSDES:
		return p, true, r.sdes(content, count)
	case rtcpBYE:
		return p, true, r.bye(content, count)
	case rtcpAPP:
		return p, true, len(content) >= 8 && r.first(content)
	case rtcpRTPFB:
		return p, true, r.first(content) && r.transportFeedback(content, count)
	case rtcpPSFB:
		return p, true, r.first(content) && r.payloadFeedback(content, count)
	case rtcpXR:
		if !r.first(content) {
			return nil, false, false
		}
		n, ok := r.extended(content[4:])
		if !ok {
			return nil, false, false
		}
		if 4+n < len(content) { // blocks went, and the padding with them
			p = p[:8+n]
			p[0] &^= 0x20
			binary.BigEndian.PutUint16(p[2:], uint16(len(p)/4-1))
		}
		return p, true, true
	}
	return nil, false, true
}

// first maps the SSRC of the packet's sender, and remembers one that has sent
// no RTP yet.
func (r *rtcpRewriter) first(content []byte) bool {
	if len(content) < 4 {
		return false
	}
	if r.direction == outward {
		r.sender = binary.BigEndian.Uint32(content)
		if r.numbering.bySource(r.sender) == nil {
			r.numbering.reporter, r.numbering.reported = r.sender, true
		}
	}
	r.ssrc(content)
	return true
}

// ssrc maps the SSRC at the start of b: outward a phone's to ours, where the
// compound's sender has the first stream until it sends RTP; inward one of ours
// to the phone's. Others stay. It gives the stream where there is one.
func (r *rtcpRewriter) ssrc(b []byte) *stream {
	ssrc := binary.BigEndian.Uint32(b)
	n := r.numbering
	if r.direction == outward {
		s := n.bySource(ssrc)
		if s == nil && ssrc == r.sender {
			s = &n.streams[0]
		}
		if s != nil {
			binary.BigEndian.PutUint32(b, s.own)
		}
		return s
	}
	s := n.byOwn(ssrc)
	switch {
	case s == nil:
	case s.taken:
		binary.BigEndian.PutUint32(b, s.source)
	case n.reported:
		binary.BigEndian.PutUint32(b, n.reporter)
	}
	return s
}

// numbered maps the SSRC at the start of b and gives the stream where the
// sequence numbers that go with it have to be mapped back.
func (r *rtcpRewriter) numbered(b []byte) *stream {
	s := r.ssrc(b)
	if r.direction == inward && s != nil && s.taken && !s.fresh {
		return s
	}
	return nil
}

// reports maps report blocks: SSRC and extended highest sequence number.
func (r *rtcpRewriter) reports(b []byte, count int) bool {
	for ; count > 0; count, b = count-1, b[reportLen:] {
		if s := r.numbered(b); s != nil {
			binary.BigEndian.PutUint32(b[8:], s.sourceHighest(binary.BigEndian.Uint32(b[8:])))
		}
	}
	return true
}

// sdes maps the SSRC of every chunk; items end with a null octet and are
// padded to 32 bits.
func (r *rtcpRewriter) sdes(b []byte, count int) bool {
	for ; count > 0; count-- {
		if len(b) < 8 {
			return false
		}
		r.ssrc(b)
		n := 4
		for b[n] != 0 {
			if n+1 >= len(b) {
				return false
			}
			if n += 2 + int(b[n+1]); n >= len(b) {
				return false
			}
		}
		if n = n&^3 + 4; n > len(b) {
			return false
		}
		b = b[n:]
	}
	return true
}

// bye maps the SSRCs that leave; a reason may follow.
func (r *rtcpRewriter) bye(b []byte, count int) bool {
	if len(b) < 4*count {
		return false
	}
	for i := range count {
		r.ssrc(b[4*i:])
	}
	return true
}

// transportFeedback maps the media sender's SSRC and what the format holds.
func (r *rtcpRewriter) transportFeedback(b []byte, format int) bool {
	if len(b) < 8 {
		return false
	}
	s := r.numbered(b[4:])
	switch entries := b[8:]; format {
	case fbNACK:
		if len(entries)%4 != 0 {
			return false
		}
		for ; s != nil && len(entries) > 0; entries = entries[4:] {
			binary.BigEndian.PutUint16(entries, s.sourceNumber(binary.BigEndian.Uint16(entries)))
		}
	case fbTMMBR, fbTMMBN:
		return r.each(entries, 8)
	}
	return true
}

// payloadFeedback maps the media sender's SSRC and what the format holds.
func (r *rtcpRewriter) payloadFeedback(b []byte, format int) bool {
	if len(b) < 8 {
		return false
	}
	r.ssrc(b[4:])
	switch entries := b[8:]; format {
	case fbFIR, fbTSTR, fbTSTN:
		return r.each(entries, 8)
	case fbVBCM:
		for len(entries) > 0 {
			if len(entries) < 8 {
				return false
			}
			r.ssrc(entries)
			n := 8 + (int(binary.BigEndian.Uint16(entries[6:]))+3)&^3
			if n > len(entries) {
				return false
			}
			entries = entries[n:]
		}
	case fbALFB:
		// The receiver's estimated maximum bitrate ends with a list of SSRCs.
		if len(entries) >= 8 && string(entries[:4]) == "REMB" {
			return len(entries) == 8+4*int(entries[4]) && r.each(entries[8:], 4)
		}
	}
	return true
}

// each maps the SSRC at the start of every entry of this size.
func (r *rtcpRewriter) each(b []byte, size int) bool {
	if len(b)%size != 0 {
		return false
	}
	for ; len(b) > 0; b = b[size:] {
		r.ssrc(b)
	}
	return true
}

// extended maps extended report blocks, drops those of other types, and says
// how many octets are left.
func (r *rtcpRewriter) extended(blocks []byte) (kept int, ok bool) {
	for rest := blocks; len(rest) > 0; {
		if len(rest) < 4 {
			return 0, false
		}
		size := 4 + 4*int(binary.BigEndian.Uint16(rest[2:]))
		if size > len(rest) {
			return 0, false
		}
		known, ok := r.block(rest[:size])
		if !ok {
			return 0, false
		}
		if known {
			kept += copy(blocks[kept:], rest[:size])
		}
		rest = rest[size:]
	}
	return kept, true
}

func (r *rtcpRewriter) block(b []byte) (known, ok bool) {
	switch b[0] {
	case xrReceiverTime:
		return true, true
	case xrDLRR:
		return true, r.each(b[4:], 12)
	case xrVoIPMetrics:
		if len(b) < 8 {
			return false, false
		}
		r.ssrc(b[4:])
		return true, true
	case xrLossRLE, xrDuplicateRLE, xrReceiptTimes, xrStatistics:
		if len(b) < 12 {
			return false, false
		}
		if s := r.numbered(b[4:]); s != nil {
			for _, at := range []int{8, 10} { // begin_seq, end_seq
				binary.BigEndian.PutUint16(b[at:], s.sourceNumber(binary.BigEndian.Uint16(b[at:])))
			}
		}
		return true, true
	}
	return false, true
}

// appendEmptyReport adds a receiver report without blocks (RFC 3550 §6.4.2).
func appendEmptyReport(b []byte, ssrc uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, 2<<6, rtcpRR, 0, 1), ssrc)
}
