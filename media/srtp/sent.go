package srtp

// sentWindow is how far behind the highest index a late packet may still be
// protected.
const sentWindow = 128

// maxIndex is the last packet index of a key (RFC 3711 §3.3.1).
const maxIndex = 1<<48 - 1

// sent remembers which indices of one SSRC were used under a key, so that none
// is used twice: with a counter mode a second use gives both packets away.
type sent struct {
	ssrc    uint32
	highest uint64    // rollover counter << 16 | sequence number
	window  [2]uint64 // bit n%64 of word n/64: highest-n was used
}

// start uses the first index of an SSRC; its rollover counter is 0.
func (s *sent) start(ssrc uint32, seq uint16) {
	*s = sent{ssrc: ssrc, highest: uint64(seq), window: [2]uint64{1, 0}}
}

// claim uses the index nearest to the highest that ends in seq, and returns it.
// ErrIndex, with nothing changed: that index was used before or may have been.
// ErrExhausted: it lies behind the key's life.
func (s *sent) claim(seq uint16) (uint64, error) {
	step := int(int16(seq - uint16(s.highest)))
	if step > 0 {
		if s.highest+uint64(step) > maxIndex {
			return 0, ErrExhausted
		}
		s.highest += uint64(step)
		s.shift(uint(step))
		s.window[0] |= 1
		return s.highest, nil
	}
	back := uint(-step)
	if back >= sentWindow || uint64(back) > s.highest {
		return 0, ErrIndex
	}
	bit := uint64(1) << (back % 64)
	if s.window[back/64]&bit != 0 {
		return 0, ErrIndex
	}
	s.window[back/64] |= bit
	return s.highest - uint64(back), nil
}

// shift moves the window n indices on.
func (s *sent) shift(n uint) {
	switch {
	case n >= sentWindow:
		s.window = [2]uint64{}
	case n >= 64:
		s.window[1], s.window[0] = s.window[0]<<(n-64), 0
	default:
		s.window[1] = s.window[1]<<n | s.window[0]>>(64-n)
		s.window[0] <<= n
	}
}
