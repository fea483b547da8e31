package media

import (
	"encoding/binary"
	"time"
)

// taps is what a session does beyond relaying: it exists once something of it
// is asked for, so that all other sessions pay one nil check per packet.
type taps struct {
	ways [2]way // by the end that hears
}

// way is one direction: from one end's peer to the other's ears.
type way struct {
	muted   bool
	player  *player
	resumed bool // the player has ended: mark the first packet after it
	events  *eventTap
	quality *quality // of what comes from the speaking end
	heard   heard
}

// heard is the last RTP packet that an end was sent of the other one's.
type heard struct {
	known  bool
	ssrc   uint32
	stamp  uint32
	number uint16
	at     time.Duration
}

// tap makes the session's taps at the first use.
func (s *Session) tap(to End) *way {
	if s.taps == nil {
		s.taps = &taps{}
	}
	return &s.taps.ways[to]
}

// Mute stops RTP towards an end, or lets it pass again. RTCP passes, what the
// session itself plays to the end too, and events are still handed out.
func (s *Session) Mute(to End, on bool) {
	s.do(func(time.Duration) {
		if on || s.taps != nil {
			s.tap(to).muted = on
		}
	})
}

// relay takes an accepted packet on towards the other end.
func (s *Session) relay(to End, pkt []byte, what kind, now time.Duration) {
	if s.taps != nil && !s.taps.pass(to, pkt, what, now) {
		s.ends[to].numbering.pause() // what is withheld leaves no gap
		return
	}
	s.forward(to, pkt, what, now)
}

// pass looks at a packet on its way to an end and says whether it may go on.
func (t *taps) pass(to End, pkt []byte, what kind, now time.Duration) bool {
	w := &t.ways[to]
	if what == kindRTCP {
		if q := t.ways[to.other()].quality; q != nil {
			q.senderReports(pkt, now) // the other peer answers them
		}
		if w.quality != nil {
			w.quality.reports(pkt, now)
		}
		return true
	}
	if w.quality != nil {
		w.quality.arrived(pkt, now)
	}
	if w.events != nil && w.events.take(pkt) {
		return false
	}
	if w.muted || w.player != nil {
		return false
	}
	if w.resumed {
		w.resumed = false
		pkt[1] |= rtpMarker
	}
	w.heard = heard{true, binary.BigEndian.Uint32(pkt[8:]), binary.BigEndian.Uint32(pkt[4:]), binary.BigEndian.Uint16(pkt[2:]), now}
	return true
}

// drop ends what the taps do, with the session.
func (t *taps) drop() {
	for i := range t.ways {
		if p := t.ways[i].player; p != nil {
			p.end()
		}
		t.ways[i] = way{}
	}
}
