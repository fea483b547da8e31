package media

import "time"

// Adopt lets an end of another session go on here, where its peer now speaks
// with somebody else: its keys with their rollover counters and replay windows,
// and the numbering of what it protects, so that nothing is ever protected
// twice. They move; the end left behind has none and is closed. Ports and
// addresses do not move: the peer has to be told of this session's, and SetMode
// and SetRemote say what follows. Keys that a rekeying replaced are erased.
// It does nothing where either session is closed.
func (s *Session) Adopt(e End, from *Session, fromEnd End) {
	if s == from {
		return
	}
	var keys keyring
	var numbers *numbering
	moved := false
	from.do(func(now time.Duration) {
		left := &from.ends[fromEnd]
		erase(&left.keys.old)
		if from.timers[fromEnd] != nil {
			from.timers[fromEnd].Stop()
		}
		keys, numbers, moved = left.keys, left.numbering, true
		left.keys, left.numbering, left.mode = keyring{used: keys.used}, nil, Closed
		left.in.drop()
		left.out.drop()
	})
	if !moved {
		return
	}
	taken := false
	s.do(func(now time.Duration) {
		end := &s.ends[e]
		end.keys.erase()
		if s.timers[e] != nil {
			s.timers[e].Stop()
		}
		end.keys, end.numbering, end.mode, taken = keys, numbers, Closed, true
		end.arrivals, end.rtcpFrom, end.rtcpIndex = arrivals{}, 0, 0
		end.in.drop()
		end.out.drop()
	})
	if !taken {
		keys.erase()
	}
}
