package media

import "time"

const (
	// paceWindow is how long packets are counted before the pace changes.
	paceWindow = 8 * time.Millisecond
	// A worker is busy from this many packets per round on, and until there
	// are fewer than that: below, waking up for each is not worth the delay.
	busyFrom, busyUntil = 4, 2
)

// pace says when a worker lets packets gather before it reads them, so that
// one wake-up serves many sockets. While few packets come it never does: each
// is relayed as it arrives.
type pace struct {
	bound   time.Duration // from one round to the next; none where 0 or less
	since   time.Duration // start of the window
	packets int           // since then
	busy    bool
}

// pause is how long to wait after a round that began at this time, took so
// many packets, and is over now. A busy worker that took as long as from one round
// to the next goes on at once: enough packets have gathered meanwhile.
func (p *pace) pause(packets int, began, now time.Duration) (pause time.Duration, busy bool) {
	p.packets += packets
	if elapsed := began - p.since; elapsed >= paceWindow {
		perRound := float64(p.packets) * float64(p.bound) / float64(elapsed)
		p.busy = perRound >= busyFrom || p.busy && perRound >= busyUntil
		p.since, p.packets = began, 0
	}
	if !p.busy {
		return 0, false
	}
	return max(p.bound-(now-began), 0), true
}
