package capture

const (
	// run is how many octets in a row must be the same for a packet to count as
	// readable: 4 ms of G.711. That a given run of 32 octets stands at a given place
	// of ciphertext by chance has the probability 2^-256.
	run = 32
	// variety is how many different octets a run needs: silence, which is the same
	// everywhere, proves nothing.
	variety = 8
)

// PlainSet remembers what phones said, to find it again in what was seen on the
// wire. The zero value is empty and ready. It is not safe for concurrent use.
//
// It holds the payloads in runs of 32 octets and finds any of them at any place.
// A packet that carries a payload unchanged is therefore found, and so is one
// that carries it with something around it, such as the tag of an SRTP without
// encryption, or cut into other pieces of at least 63 octets.
type PlainSet struct {
	runs map[[run]byte]struct{}
}

// Add remembers one RTP payload in the clear. It says whether the payload can be
// found again: one that is shorter than 32 octets or nearly constant, such as
// silence, is not.
func (s *PlainSet) Add(payload []byte) bool {
	added := false
	for len(payload) >= run {
		piece := [run]byte(payload)
		payload = payload[run:]
		if !varied(piece) {
			continue
		}
		if s.runs == nil {
			s.runs = make(map[[run]byte]struct{})
		}
		s.runs[piece] = struct{}{}
		added = true
	}
	return added
}

// In says whether a tapped payload contains something of what was added. It may
// be a whole datagram as well.
func (s *PlainSet) In(tapped []byte) bool {
	for ; len(tapped) >= run; tapped = tapped[1:] {
		if _, found := s.runs[[run]byte(tapped)]; found {
			return true
		}
	}
	return false
}

// Count says how many of the tapped payloads are readable.
func (s *PlainSet) Count(tapped [][]byte) int {
	n := 0
	for _, t := range tapped {
		if s.In(t) {
			n++
		}
	}
	return n
}

// ContainsPlain says whether tapped, the payload of a packet seen on the wire,
// contains something of plain, a payload that a phone sent; see [PlainSet].
func ContainsPlain(tapped, plain []byte) bool {
	var s PlainSet
	s.Add(plain)
	return s.In(tapped)
}

// varied says whether a run holds enough different octets.
func varied(piece [run]byte) bool {
	var seen [256]bool
	different := 0
	for _, o := range piece {
		if !seen[o] {
			seen[o] = true
			different++
		}
	}
	return different >= variety
}
