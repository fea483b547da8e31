package media

import "time"

const (
	// paceWindow is how long packets are counted before the pace changes.
	paceWindow = 8 * time.Millisecond
	// A worker is busy from this many packets per pause on, and until there
	// are fewer than that: below, a wake-up per packet is cheaper than the
	// delay is worth.
	busyFrom, busyUntil = 4, 2
)

// pace says when a worker lets packets gather before it reads them, so that
// one wake-up serves many sockets. While few packets come it never does: each
// is relayed as it arrives.
type pace struct {
	bound   time.Duration // the longest pause; none where 0
	since   time.Duration // start of the window
	packets int           // since then
	busy    bool
}

// pause is how long to wait after a round that found this many packets.
func (p *pace) pause(packets int, now time.Duration) time.Duration {
	p.packets += packets
	if elapsed := now - p.since; elapsed >= paceWindow {
		perPause := float64(p.packets) * float64(p.bound) / float64(elapsed)
		p.busy = perPause >= busyFrom || p.busy && perPause >= busyUntil
		p.since, p.packets = now, 0
	}
	if !p.busy {
		return 0
	}
	return p.bound
}
