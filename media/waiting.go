package media

import (
	"net/netip"
	"time"
)

const (
	// maxWaiting and maxWaitingTime bound what is kept for an end whose mode
	// is not decided.
	maxWaiting     = 64
	maxWaitingTime = 200 * time.Millisecond
)

// waiting keeps the newest packets of one direction, in order.
type waiting struct {
	packets []waitingPacket
}

// waitingPacket is a datagram as it came, or a clear packet on its way out.
type waitingPacket struct {
	at   time.Duration
	port *port
	from netip.AddrPort
	kind kind
	data []byte
}

// keep adds a copy, and drops the oldest where there are too many.
func (w *waiting) keep(p waitingPacket) {
	p.data = append([]byte(nil), p.data...)
	if len(w.packets) == maxWaiting {
		clear(w.packets[0].data)
		copy(w.packets, w.packets[1:])
		w.packets[len(w.packets)-1] = p
		return
	}
	w.packets = append(w.packets, p)
}

// take empties the queue and gives what is not too old.
func (w *waiting) take(now time.Duration) []waitingPacket {
	packets := w.packets
	w.packets = nil
	for len(packets) > 0 && now-packets[0].at > maxWaitingTime {
		clear(packets[0].data)
		packets = packets[1:]
	}
	return packets
}

// drop empties the queue.
func (w *waiting) drop() {
	for _, p := range w.packets {
		clear(p.data)
	}
	w.packets = nil
}
