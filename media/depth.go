package media

const (
	// maxDepth is how many packets of one socket are asked for in a row.
	maxDepth = 16
	// steadyVisits is for how many visits a depth stays that was found to be all
	// that a socket holds.
	steadyVisits = 8
)

// depth is how many packets a socket is asked for at a visit. A question that finds
// nothing costs half of what a packet does, and one packet a visit is dear where
// there are more: the socket has left the processor's caches until the next one. So
// it follows what the socket was found to hold.
type depth struct {
	now    uint8 // 0 and 1: one packet
	steady uint8 // visits until more are tried
}

// asks is for how many packets to ask at this visit, where it may hold more than one
// or, most likely, does not.
func (d *depth) asks(more bool) int {
	switch {
	case !more:
		d.now = 1
		d.steady -= min(d.steady, 1)
	case d.steady > 0:
		d.steady--
	default:
		d.now = min(2*max(d.now, 1), maxDepth)
	}
	return int(max(d.now, 1))
}

// held says how many packets there were at this visit.
func (d *depth) held(packets int) {
	if packets < int(d.now) {
		d.now, d.steady = uint8(max(packets, 1)), steadyVisits
	}
}
