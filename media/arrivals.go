package media

import "time"

const (
	// maxGap is the largest step forward that still reads as loss, and maxLate
	// the largest step back that still reads as a late packet; anything
	// further is a restarted sender (RFC 3550 §A.1, with its MAX_DROPOUT and
	// the replay window's reach instead of MAX_MISORDER).
	maxGap  = 3000
	maxLate = 128
	// arrivalSources bounds the SSRCs counted apart.
	arrivalSources = 4
)

// arrivals counts what came in and what is missing, per RFC 3550 §A.3.
type arrivals struct {
	sources [arrivalSources]arrival
	lost    uint64 // of runs that ended
}

// arrival is one SSRC's run of packets.
type arrival struct {
	active   bool
	ssrc     uint32
	base     int64 // first number of the run
	highest  int64 // extended highest
	received int64
	last     time.Duration
}

// note counts an accepted packet and tells whether its number is the newest of
// its source.
func (a *arrivals) note(ssrc uint32, seq uint16, now time.Duration) (newest bool) {
	oldest := &a.sources[0]
	for i := range a.sources {
		s := &a.sources[i]
		if s.active && s.ssrc == ssrc {
			return a.count(s, seq, now)
		}
		if oldest.active && (!s.active || s.last < oldest.last) {
			oldest = s
		}
	}
	a.begin(oldest, ssrc, seq, now)
	return true
}

func (a *arrivals) count(s *arrival, seq uint16, now time.Duration) (newest bool) {
	step := int64(int16(seq - uint16(s.highest)))
	if step > maxGap || step <= -maxLate {
		a.begin(s, s.ssrc, seq, now)
		return true
	}
	s.received++
	s.last = now
	if step > 0 {
		s.highest += step
	}
	return step > 0
}

// begin starts a new run, keeping the loss of the one before.
func (a *arrivals) begin(s *arrival, ssrc uint32, seq uint16, now time.Duration) {
	a.lost += s.missing()
	*s = arrival{active: true, ssrc: ssrc, base: int64(seq), highest: int64(seq), received: 1, last: now}
}

// missing is expected less received, where duplicates never make it negative.
func (s *arrival) missing() uint64 {
	if !s.active {
		return 0
	}
	return uint64(max(0, s.highest-s.base+1-s.received))
}

// total is the loss of all sources so far.
func (a *arrivals) total() uint64 {
	n := a.lost
	for i := range a.sources {
		n += a.sources[i].missing()
	}
	return n
}
