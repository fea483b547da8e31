package media

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/sipward/sipward/media/srtp"
)

// receive is a packet's way in: what it is, and whether it may be heard. It
// runs under the worker's lock; pkt stays as it is.
func (s *Session) receive(p *port, src netip.AddrPort, pkt []byte, now time.Duration) {
	e := &s.ends[p.end]
	if e.mode == Passing || e.mode == Opaque {
		s.receiveSealed(p, src, pkt, now)
		return
	}
	what := classify(pkt, p.rtcp)
	if what == kindOther {
		e.stats.DroppedOther++
		return
	}
	switch e.mode {
	case Waiting:
		e.in.keep(waitingPacket{at: now, port: p, from: src, kind: what, data: pkt})
	case Plain:
		s.receivePlain(p, src, pkt, what, now)
	case Protected:
		s.receiveProtected(p, src, pkt, what, now)
	default:
		e.stats.DroppedOther++
	}
}

// receivePlain hears only the end's own peer.
func (s *Session) receivePlain(p *port, src netip.AddrPort, pkt []byte, what kind, now time.Duration) {
	e := &s.ends[p.end]
	if !e.fromKnownSource(src, p.rtcp) {
		e.stats.DroppedSource++
		return
	}
	e.lane(p.rtcp).latch(src, now)
	if what == kindRTP {
		e.arrivals.note(binary.BigEndian.Uint32(pkt[8:]), binary.BigEndian.Uint16(pkt[2:]), now)
	}
	s.accepted(e, len(pkt), now)
	s.relay(p.end.other(), append(s.worker.net.buffer(), pkt...), what, now)
}

// receiveProtected hears whatever verifies under the end's keys.
func (s *Session) receiveProtected(p *port, src netip.AddrPort, pkt []byte, what kind, now time.Duration) {
	e := &s.ends[p.end]
	clear, err := e.keys.authenticate(s.worker.net.buffer(), pkt, what, now)
	if err != nil {
		// SRTCP indices begin anew under new keys, and look like a repetition then.
		if e.expecting && (errors.Is(err, srtp.ErrAuth) || what == kindRTCP && errors.Is(err, srtp.ErrReplay)) {
			e.in.keep(waitingPacket{at: now, port: p, from: src, kind: what, data: pkt})
		} else {
			e.stats.refused(err)
		}
		return
	}
	s.accepted(e, len(pkt), now)
	if s.newest(e, clear, pkt, what, now) {
		e.lane(p.rtcp).follow(src, now)
	}
	if what == kindRTCP {
		var ok bool
		if clear, ok = e.numbering.rewrite(clear, inward); !ok {
			e.stats.DroppedOther++
			clear = nil
		}
	}
	if clear != nil {
		s.relay(p.end.other(), clear, what, now)
	}
	if e.keys.news {
		e.keys.news = false
		s.expireOld(p.end, now)
		s.resume(p.end, now) // packets that waited for the confirmation
	}
}

// newest tells whether an authenticated packet is its source's newest so far.
func (s *Session) newest(e *end, clear, pkt []byte, what kind, now time.Duration) bool {
	if what == kindRTP {
		return e.arrivals.note(binary.BigEndian.Uint32(clear[8:]), binary.BigEndian.Uint16(clear[2:]), now)
	}
	return e.newestRTCP(binary.BigEndian.Uint32(clear[4:]), e.keys.rtcpIndex(pkt))
}

// accepted counts a packet of the end's peer.
func (s *Session) accepted(e *end, octets int, now time.Duration) {
	e.stats.PacketsIn++
	e.stats.BytesIn += uint64(octets)
	s.active = now
}

// refused counts a packet that an srtp.Context did not let through.
func (t *Stats) refused(err error) {
	switch {
	case errors.Is(err, srtp.ErrAuth):
		t.DroppedAuth++
	case errors.Is(err, srtp.ErrReplay), errors.Is(err, srtp.ErrIndex):
		t.DroppedReplay++
	default:
		t.DroppedOther++
	}
}

// forward is a packet's way out to an end. pkt is in a buffer lent by the
// transport. Only the branch for Plain sends octets as they are, and
// forwardSealed those of others.
func (s *Session) forward(to End, pkt []byte, what kind, now time.Duration) {
	e := &s.ends[to]
	switch e.mode {
	case Waiting:
		e.out.keep(waitingPacket{at: now, kind: what, data: pkt})
	case Plain:
		if what == kindRTCP {
			var ok bool
			if pkt, ok = e.concealment.rtcp(pkt); !ok {
				s.ends[to.other()].stats.DroppedOther++
				return
			}
		}
		if from, addr, ok := e.destination(what); ok {
			e.emit(from, addr, pkt)
		}
	case Passing, Opaque:
		s.forwardSealed(to, pkt, what, now)
	case Protected:
		s.forwardProtected(e, &s.ends[to.other()], pkt, what, now)
	default:
		e.numbering.pause()
	}
}

// forwardProtected sends pkt under the end's keys, own SSRC and own number.
func (s *Session) forwardProtected(e, source *end, pkt []byte, what kind, now time.Duration) {
	if e.keys.send == nil {
		e.out.keep(waitingPacket{at: now, kind: what, data: pkt})
		return
	}
	from, addr, ok := e.destination(what)
	if !ok {
		e.numbering.pause()
		return
	}
	if what == kindRTCP {
		if pkt, ok = e.numbering.rewrite(pkt, outward); ok {
			pkt, ok = e.concealment.rtcp(pkt)
		}
		if !ok {
			source.stats.DroppedOther++
			return
		}
	} else if !e.numbering.rtp(pkt, now) {
		source.stats.DroppedReplay++
		return
	}
	protected, err := e.keys.protect(pkt, what)
	if err != nil {
		source.stats.refused(err)
		return
	}
	e.emit(from, addr, protected)
}

// emit hands a packet to the socket.
func (e *end) emit(from *port, to netip.AddrPort, pkt []byte) {
	e.stats.PacketsOut++
	from.sent++
	e.stats.BytesOut += uint64(len(pkt))
	from.socket.send(pkt, to)
}

// resume sends on what was kept for an end, now that its mode is decided.
func (s *Session) resume(which End, now time.Duration) {
	e := &s.ends[which]
	if e.mode == Closed {
		e.in.drop()
		e.out.drop()
		e.numbering.pause()
		return
	}
	if e.mode == Waiting {
		return
	}
	for _, p := range e.in.take(now) {
		s.receive(p.port, p.from, p.data, now)
		clear(p.data)
	}
	if e.mode == Protected && e.keys.send == nil || len(e.out.packets) == 0 {
		return
	}
	e.numbering.pause() // older ones may have been dropped
	for _, p := range e.out.take(now) {
		s.forward(which, append(s.worker.net.buffer(), p.data...), p.kind, now)
		clear(p.data)
	}
}
