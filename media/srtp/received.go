package srtp

// receivedWindow is how far behind the highest index a late packet is still
// taken, in packets (RFC 3711 section 3.3.2 asks for 64 at least).
const receivedWindow = 256

// received is what a receiver remembers of one SSRC: the highest index that has
// verified, and which of those before it have.
type received struct {
	ssrc    uint32
	highest uint64
	window  [receivedWindow / 64]uint64 // bit n%64 of word n/64: highest-n was seen
}

// index returns the index nearest to the highest that ends in seq (RFC 3711
// section 3.3.1); false where it would lie before the first or behind the last.
func (r *received) index(seq uint16) (uint64, bool) {
	i := int64(r.highest) + int64(int16(seq-uint16(r.highest)))
	return uint64(i), i >= 0 && i <= maxIndex
}

// fresh says whether an index was not seen before, and lies not behind the
// window.
func (r *received) fresh(index uint64) bool {
	if index > r.highest {
		return true
	}
	back := r.highest - index
	return back < receivedWindow && r.window[back/64]>>(back%64)&1 == 0
}

// mark notes an index that has verified.
func (r *received) mark(index uint64) {
	if index > r.highest {
		r.shift(index - r.highest)
		r.highest = index
	}
	back := r.highest - index
	r.window[back/64] |= 1 << (back % 64)
}

// shift moves the window n indices on.
func (r *received) shift(n uint64) {
	if n >= receivedWindow {
		r.window = [receivedWindow / 64]uint64{}
		return
	}
	words, bits := int(n/64), n%64
	for i := len(r.window) - 1; i >= 0; i-- {
		var w uint64
		if i >= words {
			w = r.window[i-words] << bits
			if bits > 0 && i > words {
				w |= r.window[i-words-1] >> (64 - bits)
			}
		}
		r.window[i] = w
	}
}

// find returns the entry of an SSRC, nil where it has none.
func find(all []received, ssrc uint32) *received {
	for i := range all {
		if all[i].ssrc == ssrc {
			return &all[i]
		}
	}
	return nil
}
