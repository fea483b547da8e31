package demo

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
)

const (
	maxDropout  = 3000        // packets missed at once before it counts as a new beginning (RFC 3550 appendix A.1)
	maxLost     = 1<<23 - 1   // of the cumulative count in a report
	senderType  = 200         // RTCP packet type SR
	senderInfo  = 28          // its octets up to the first report block
	delayUnits  = 1 << 16     // DLSR counts 1/65536 s
	fractionOne = uint32(256) // the fraction lost counts 1/256
)

// reception is what a report says of one source: RFC 3550 section 6.4.1,
// appendices A.3 and A.8.
type reception struct {
	known    bool
	ssrc     uint32
	base     uint32 // the first sequence number
	highest  uint32 // extended by the cycles
	received uint32
	before   struct{ expected, received uint32 } // at the last report

	begun     time.Time
	timestamp uint32
	transit   uint32
	jitter    float64 // in units of the timestamp

	sr   uint32 // the middle of the last SR's time; 0: none came
	srAt time.Time
}

// take counts an RTP packet whose payload type has that clock rate. Another
// SSRC, and a jump of the sequence number, is a new source.
func (r *reception) take(b []byte, clock uint32, now time.Time) {
	seq, timestamp, ssrc := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	step := int32(int16(seq - uint16(r.highest)))
	if !r.known || ssrc != r.ssrc || step > maxDropout || step < -maxDropout {
		*r = reception{known: true, ssrc: ssrc, base: uint32(seq), highest: uint32(seq), begun: now, received: 1, timestamp: timestamp, transit: -timestamp}
		return
	}
	r.received++
	if step > 0 {
		r.highest += uint32(step)
	}
	if timestamp == r.timestamp {
		return // a key press lasts many packets
	}
	transit := uint32(int64(now.Sub(r.begun).Seconds()*float64(clock))) - timestamp
	d := float64(int32(transit - r.transit))
	r.timestamp, r.transit = timestamp, transit
	r.jitter += (max(d, -d) - r.jitter) / 16
}

// takeReport notes the time of the source's SR.
func (r *reception) takeReport(b []byte, now time.Time) {
	if len(b) >= senderInfo && b[1] == senderType && r.known && binary.BigEndian.Uint32(b[4:]) == r.ssrc {
		r.sr, r.srAt = binary.BigEndian.Uint32(b[10:]), now
	}
}

// report is the report block about the source; what it counts since the last
// one begins anew.
func (r *reception) report(now time.Time) rtcp.ReceptionReport {
	out := rtcp.ReceptionReport{SSRC: r.ssrc, LastSequenceNumber: r.highest, Jitter: uint32(r.jitter)}
	expected := r.highest - r.base + 1
	if expected > r.received {
		out.TotalLost = min(expected-r.received, maxLost)
	}
	due, came := expected-r.before.expected, r.received-r.before.received
	if due > came {
		out.FractionLost = uint8(min((due-came)*fractionOne/due, fractionOne-1))
	}
	r.before.expected, r.before.received = expected, r.received
	if r.sr != 0 {
		out.LastSenderReport = r.sr
		out.Delay = uint32(now.Sub(r.srAt).Seconds() * delayUnits)
	}
	return out
}
