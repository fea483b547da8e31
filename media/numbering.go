package media

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

const (
	// ownStreams is how many SSRCs of a phone are kept apart.
	ownStreams = 4
	// idleStream is the silence after which another SSRC takes the first
	// stream over, whatever payload types it has.
	idleStream = 500 * time.Millisecond
	// rivalTime is how long a replaced SSRC that speaks again counts as one
	// that never stopped.
	rivalTime = time.Second
)

// numbering gives what leaves towards a protected end SSRCs and sequence
// numbers of our own.
//
// A new SSRC of the phone usually is the phone restarted, and then goes on
// with the numbers of the one before; two at a time, such as a stream and its
// retransmissions, need an own SSRC each. The rule: a new SSRC takes over the
// stream that carried its payload type, or else the first stream if that is
// silent for half a second, or else a stream not used yet, or else the one
// longest silent. An SSRC that was replaced and speaks again within a second
// gets another stream instead, at its second packet. A stream keeps its SSRC
// and counts on whoever has it, so no rule can make a number come twice.
type numbering struct {
	streams  [ownStreams]stream // the first is most phones' only one
	reporter uint32             // the phone's SSRC in RTCP while no stream has it
	reported bool
	_        [24]byte // layout_test.go
}

// stream is one SSRC of our own. Numbers are extended: they count on where 16
// bits wrap.
type stream struct {
	own     uint32
	source  uint32 // the phone's SSRC
	taken   bool
	broken  bool   // packets were withheld: go on behind the last number
	fresh   bool   // nothing of source was numbered yet
	runs    byte   // that were numbered, this one included; 2 stands for more
	rival   uint32 // the SSRC that source replaced
	last    int64  // highest number sent
	highest int64  // the phone's
	delta   int64  // own number less the phone's
	types   [2]uint64
	heard   time.Duration

	first      int64 // the phone's first number of this run; own numbers below belong to those before
	rivalUntil time.Duration
	rivalHeard bool
}

// newNumbering draws SSRCs and first numbers. A first number is below 2^15, so
// that a receiver which misses the first packets cannot mistake the rollover
// counter (RFC 3711 §3.3.1), and leaves room for those that it has overtaken.
func newNumbering() *numbering {
	n := &numbering{}
	for i := range n.streams {
		var b [6]byte
		for b == [6]byte{} || n.owns(binary.BigEndian.Uint32(b[:])) {
			rand.Read(b[:])
		}
		n.streams[i].own = binary.BigEndian.Uint32(b[:])
		n.streams[i].last = max(int64(binary.BigEndian.Uint16(b[4:])>>1), maxLate) - 1
	}
	return n
}

func (n *numbering) owns(ssrc uint32) bool {
	return n.byOwn(ssrc) != nil
}

func (n *numbering) byOwn(ssrc uint32) *stream {
	for i := range n.streams {
		if n.streams[i].own == ssrc {
			return &n.streams[i]
		}
	}
	return nil
}

func (n *numbering) bySource(ssrc uint32) *stream {
	for i := range n.streams {
		if s := &n.streams[i]; s.taken && s.source == ssrc {
			return s
		}
	}
	return nil
}

// pause says that packets are being withheld from the end: when they flow
// again the numbers go on without a gap.
func (n *numbering) pause() {
	if n == nil {
		return
	}
	for i := range n.streams {
		n.streams[i].broken = true
	}
}

// rtp writes own SSRC and number into an RTP packet of the phone. It is false
// for a late packet whose number may have been given before.
func (n *numbering) rtp(pkt []byte, now time.Duration) bool {
	source := binary.BigEndian.Uint32(pkt[8:])
	payloadType := pkt[1] & 0x7f
	s := n.bySource(source)
	if s == nil {
		if s = n.admit(source, payloadType, now); s == nil {
			return false
		}
	}
	number, ok := s.next(binary.BigEndian.Uint16(pkt[2:]))
	if !ok {
		return false
	}
	s.types[payloadType/64] |= 1 << (payloadType % 64)
	s.heard = now
	binary.BigEndian.PutUint16(pkt[2:], number)
	binary.BigEndian.PutUint32(pkt[8:], s.own)
	return true
}

// leave says that an SSRC has ended for good: the one that it replaced may come
// back at once, and is no rival.
func (n *numbering) leave(source uint32) {
	if n == nil {
		return
	}
	if s := n.bySource(source); s != nil {
		s.rivalUntil = 0
	}
}

// admit finds a stream for an SSRC that has none, nil for a straggler.
func (n *numbering) admit(source uint32, payloadType byte, now time.Duration) *stream {
	for i := range n.streams {
		s := &n.streams[i]
		if s.rival != source || now >= s.rivalUntil {
			continue
		}
		if !s.rivalHeard {
			s.rivalHeard = true
			return nil
		}
		s.rivalUntil = 0
		return n.spare(s).begin(source, now)
	}
	for i := range n.streams {
		if s := &n.streams[i]; s.taken && s.types[payloadType/64]>>(payloadType%64)&1 != 0 {
			return s.begin(source, now)
		}
	}
	if s := &n.streams[0]; s.taken && now-s.heard >= idleStream {
		return s.begin(source, now)
	}
	return n.spare(nil).begin(source, now)
}

// spare is a stream not used yet, or the one longest silent, other than not.
func (n *numbering) spare(not *stream) *stream {
	var oldest *stream
	for i := range n.streams {
		s := &n.streams[i]
		if s == not {
			continue
		}
		if !s.taken {
			return s
		}
		if oldest == nil || s.heard < oldest.heard {
			oldest = s
		}
	}
	return oldest
}

// begin gives the stream to another SSRC; numbers go on.
func (s *stream) begin(source uint32, now time.Duration) *stream {
	if s.taken {
		s.rival, s.rivalUntil, s.rivalHeard = s.source, now+rivalTime, false
	}
	s.taken, s.source, s.broken, s.fresh = true, source, true, true
	s.types = [2]uint64{}
	return s
}

// next maps a number of the phone. Loss and order stay visible; a big jump is
// a restart and goes on behind the last number.
func (s *stream) next(seq uint16) (number uint16, ok bool) {
	step := int64(int16(seq - uint16(s.highest)))
	switch {
	case s.broken || step > maxGap || step <= -maxLate:
		s.last++
		if s.highest += step; s.fresh || s.highest < 0 {
			s.highest = int64(seq)
		}
		s.first, s.broken, s.fresh, s.runs = s.highest, false, false, min(s.runs+1, 2)
		s.delta = s.last - s.highest
		return uint16(s.last), true
	case step > 0:
		s.highest += step
		s.last = s.highest + s.delta
		return uint16(s.last), true
	case s.highest+step < s.first && s.runs > 1:
		return 0, false
	}
	// Late, or a duplicate: the sender's srtp.Context knows which.
	return uint16(s.highest + step + s.delta), true
}

// sourceHighest maps an extended highest number that the far end reports back
// to the phone's count, whose cycles start at 0 with its first packet.
func (s *stream) sourceHighest(reported uint32) uint32 {
	step := int64(int16(uint16(reported) - uint16(s.last)))
	return uint32(max(s.first, s.last+step-s.delta))
}

// sourceNumber maps a 16-bit number back to the phone's.
func (s *stream) sourceNumber(number uint16) uint16 {
	return number - uint16(s.delta)
}
