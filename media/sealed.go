package media

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// receiveSealed takes what this side cannot look into, in the modes Passing
// and Opaque, and sends it on as it is. It cannot verify either, so only the
// end's own peer is heard, as in the mode Plain, and once its port is learned
// nobody else is.
//
// Passing lets RTP, RTCP and empty datagrams through. The empty ones are those
// with which an end opens the way through a NAT before it has keys (RFC 6263
// §4.1); the far end waits for them as this side would.
func (s *Session) receiveSealed(p *port, src netip.AddrPort, pkt []byte, now time.Duration) {
	e := &s.ends[p.end]
	what := kindRTP
	switch {
	case len(pkt) > maxPacket:
		e.stats.DroppedOther++
		return
	case e.mode == Passing && len(pkt) > 0:
		if what = classify(pkt, p.rtcp); what == kindOther {
			e.stats.DroppedOther++
			return
		}
	case p.rtcp:
		what = kindRTCP
	}
	if !e.fromKnownSource(src, p.rtcp) {
		e.stats.DroppedSource++
		return
	}
	e.lane(p.rtcp).latch(src, now)
	if e.mode == Passing && what == kindRTP && len(pkt) > 0 {
		e.arrivals.note(binary.BigEndian.Uint32(pkt[8:]), binary.BigEndian.Uint16(pkt[2:]), now)
	}
	s.accepted(e, len(pkt), now)
	s.forwardSealed(p.end.other(), append(s.worker.net.buffer(), pkt...), what, now)
}

// forwardSealed is such a packet's way out, from a buffer lent by the
// transport. It needs the same mode at both ends: what one end calls sealed
// never leaves as something else, nor the other way round.
func (s *Session) forwardSealed(to End, pkt []byte, what kind, now time.Duration) {
	e := &s.ends[to]
	if e.mode == Waiting {
		e.out.keep(waitingPacket{at: now, kind: what, data: pkt})
		return
	}
	if e.mode != s.ends[to.other()].mode {
		e.stats.DroppedOther++
		return
	}
	if from, addr, ok := e.destination(what); ok {
		e.emit(from, addr, pkt)
	}
}
