package media

import (
	"maps"
	"slices"
	"time"
)

const (
	// aliveTick is how often an engine looks for idle ways, and aliveTicks how
	// often it has to find one idle: a keep-alive leaves 15 to 20 s after the last
	// packet (RFC 6263 section 4.6: 15 s).
	aliveTick  = 5 * time.Second
	aliveTicks = 3
)

// keeper is what an end remembers for its keep-alives.
type keeper struct {
	on    bool
	lanes [2]struct {
		sent  uint32 // packets, when looked at last
		quiet int    // ticks since
	}
}

// KeepAlive says whether the way to an end's peer is kept open while nothing is
// sent to it, for the NATs on it (RFC 6263): where no RTP or no RTCP left for 15
// s, an empty datagram goes to the peer's RTP or RTCP address, or, under keys that the
// peer has shown to have, an SRTCP packet with an empty receiver report to the
// latter; before, Probe alone speaks under them. An end that is Closed
// or Waiting, or whose peer holds with the address 0.0.0.0, gets none.
func (s *Session) KeepAlive(e End, on bool) {
	s.do(func(time.Duration) { s.ends[e].alive.on = on })
	if on {
		s.engine.keepAlive()
	}
}

// keepAlive starts the engine's one timer. It runs while there are sessions.
func (e *Engine) keepAlive() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.alive == nil && !e.closed {
		e.alive = time.AfterFunc(aliveTick, e.keepAllAlive)
	}
}

func (e *Engine) keepAllAlive() {
	e.mu.Lock()
	sessions := slices.Collect(maps.Keys(e.sessions))
	if len(sessions) > 0 && !e.closed {
		e.alive.Reset(aliveTick)
	} else {
		e.alive = nil
	}
	e.mu.Unlock()
	for _, s := range sessions {
		s.do(func(time.Duration) {
			for i := range s.ends {
				s.keepEndAlive(End(i))
			}
		})
	}
}

// keepEndAlive is one tick of an end.
func (s *Session) keepEndAlive(e End) {
	end := &s.ends[e]
	if !end.alive.on || end.mode != Plain && end.mode != Protected && end.mode != Passing {
		return
	}
	for i, what := range [...]kind{kindRTP, kindRTCP} {
		lane := &end.alive.lanes[i]
		from, to, ok := end.destination(what)
		if !ok || what == kindRTCP && end.remote.Mux {
			continue
		}
		if from.sent != lane.sent {
			lane.sent, lane.quiet = from.sent, 0
			continue
		}
		if lane.quiet++; lane.quiet < aliveTicks {
			continue
		}
		lane.quiet = 0
		if what == kindRTCP && end.mode == Protected && end.keys.send != nil && end.keys.confirmed {
			s.report(end, end.keys.send, what)
			lane.sent = from.sent
			continue
		}
		from.socket.send(s.worker.net.buffer(), to)
	}
}
