package media

import (
	"encoding/binary"
	"time"
)

// Quality says how well the media of one end's peer arrives here, and how well
// the peer says it hears.
type Quality struct {
	// Jitter is the interarrival jitter of what comes from the peer (RFC 3550
	// §6.4.1). A busy worker reads up to Options.Coalesce late, which counts.
	Jitter time.Duration
	// RoundTrip is the time to the peer and back, from the newest report that
	// answers a sender report which passed here; 0 while there is none.
	RoundTrip time.Duration
	// Heard is what the peer's newest report says of what it receives.
	Heard Heard
}

// Heard is what a peer reports of what it receives (RFC 3550 §6.4.1).
type Heard struct {
	Valid  bool    // a report has come
	Loss   float64 // share lost since the report before, 0 to 1
	Lost   int32   // packets lost in all
	Jitter time.Duration
}

// Measure begins to measure the quality of both directions. rates are the RTP
// clock rates of the payload types, in Hz; jitter is not known for others.
func (s *Session) Measure(rates map[uint8]uint32) {
	s.do(func(time.Duration) {
		for i := range s.ends {
			q := &quality{}
			for payloadType, rate := range rates {
				q.rates[payloadType&0x7f] = rate
			}
			s.tap(End(i)).quality = q
		}
	})
}

// Quality gives what Measure has found, indexed by End; ok is false where it
// was not called.
func (s *Session) Quality() (found [2]Quality, ok bool) {
	s.worker.lock()
	defer s.worker.unlock()
	if s.taps == nil {
		return found, false
	}
	for i := range s.ends {
		// What comes from an end goes the other's way.
		from, to := s.taps.ways[End(i).other()].quality, s.taps.ways[i].quality
		if from == nil || to == nil {
			return found, false
		}
		found[i] = Quality{Jitter: from.jitter(), RoundTrip: from.roundTrip, Heard: from.heard}
		found[i].Heard.Jitter = inTime(from.heardJitter, to.rate)
	}
	return found, true
}

// sentReports is how many sender reports are remembered until they are
// answered.
const sentReports = 4

// quality measures what comes from one end's peer.
type quality struct {
	rates [128]uint32

	// The stream that arrives, in units of its timestamp.
	ssrc    uint32
	rate    uint32
	transit int64
	scaled  uint64 // jitter times 16, as in RFC 3550 §A.8

	// Sender reports that went to the peer: middle of their NTP time, and when.
	asked [sentReports]struct {
		ntp uint32
		at  time.Duration
	}
	next        int
	roundTrip   time.Duration
	heard       Heard
	heardJitter uint64 // in units of the timestamp
}

// arrived counts an RTP packet's arrival in.
func (q *quality) arrived(pkt []byte, now time.Duration) {
	rate := q.rates[pkt[1]&0x7f]
	if rate == 0 {
		return
	}
	ssrc := binary.BigEndian.Uint32(pkt[8:])
	arrival := int64(now/time.Microsecond) * int64(rate) / 1e6
	transit := arrival - int64(binary.BigEndian.Uint32(pkt[4:]))
	if ssrc != q.ssrc || rate != q.rate {
		q.ssrc, q.rate, q.transit = ssrc, rate, transit
		q.scaled = 0
		return
	}
	d := int64(int32(transit - q.transit)) // timestamps wrap
	q.transit = transit
	if d < 0 {
		d = -d
	}
	if d > int64(rate) {
		return // over a second: a hold or a new talkspurt's clock, no jitter
	}
	q.scaled = q.scaled + uint64(d) - (q.scaled+8)>>4
}

func (q *quality) jitter() time.Duration { return inTime(q.scaled>>4, q.rate) }

// inTime converts units of a timestamp.
func inTime(units uint64, rate uint32) time.Duration {
	if rate == 0 {
		return 0
	}
	return time.Duration(min(units, 1<<32) * uint64(time.Second) / uint64(rate))
}

// senderReports remembers the sender reports of a compound that goes to the
// peer.
func (q *quality) senderReports(pkt []byte, now time.Duration) {
	eachReport(pkt, func(kind byte, body []byte, _ int) {
		if kind == rtcpSR {
			q.asked[q.next].ntp, q.asked[q.next].at = binary.BigEndian.Uint32(body[6:]), now
			q.next = (q.next + 1) % sentReports
		}
	})
}

// reports reads the report blocks of a compound that comes from the peer.
func (q *quality) reports(pkt []byte, now time.Duration) {
	eachReport(pkt, func(kind byte, body []byte, count int) {
		blocks := body[4:]
		if kind == rtcpSR {
			blocks = body[24:]
		}
		for ; count > 0; count, blocks = count-1, blocks[reportLen:] {
			q.report(blocks, now)
		}
	})
}

func (q *quality) report(b []byte, now time.Duration) {
	q.heard = Heard{Valid: true, Loss: float64(b[4]) / 256, Lost: int32(binary.BigEndian.Uint32(b[4:])<<8) >> 8}
	q.heardJitter = uint64(binary.BigEndian.Uint32(b[12:]))
	asked, delay := binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:])
	if asked == 0 {
		return
	}
	for i := range q.asked {
		if a := &q.asked[i]; a.ntp == asked && a.at != 0 {
			// A peer may round its delay up past what it is.
			q.roundTrip = max(now-a.at-time.Duration(uint64(delay)*uint64(time.Second)>>16), 1)
		}
	}
}

// eachReport calls f for every well-formed sender or receiver report of a
// compound, with what follows the first word and the count of report blocks,
// all of which fit.
func eachReport(pkt []byte, f func(kind byte, body []byte, count int)) {
	for rest := pkt; len(rest) >= 8 && rest[0]>>6 == 2; {
		size := 4 + 4*int(binary.BigEndian.Uint16(rest[2:]))
		if size > len(rest) {
			return
		}
		count, body := int(rest[0]&0x1f), rest[4:size]
		switch kind := rest[1]; {
		case kind == rtcpSR && len(body) >= 24+count*reportLen, kind == rtcpRR && len(body) >= 4+count*reportLen:
			f(kind, body, count)
		}
		rest = rest[size:]
	}
}
