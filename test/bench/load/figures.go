package load

import (
	"fmt"
	"slices"
	"time"
)

// Spread says how a time is distributed.
type Spread struct{ P50, P99, P999, Max time.Duration }

// spreadOf sorts the values.
func spreadOf(v []time.Duration) Spread {
	if len(v) == 0 {
		return Spread{}
	}
	slices.Sort(v)
	at := func(permille int) time.Duration { return v[min(len(v)-1, len(v)*permille/1000)] }
	return Spread{at(500), at(990), at(999), v[len(v)-1]}
}

// maxLate is how late the generator may be, at the 99th percentile of its
// packets: with more it is not the relay alone which is measured.
const maxLate = 2 * time.Millisecond

// Result is what a run showed. Counts are those of the measured window, both
// directions together.
type Result struct {
	Calls  int
	Window time.Duration

	Sent, Delivered, Lost int
	// Invalid is what arrived and did not decrypt, or was not what was sent;
	// Duplicate arrived twice. Both count the time before the window too.
	Invalid, Duplicate int
	// Foreign is what is no RTP, or comes from elsewhere.
	Foreign int

	CPU     time.Duration // user and system time of the relay's process in the window
	Latency Spread        // from the system call that sent to the kernel's receipt

	Late    Spread // the generator, behind its own schedule
	Refused int    // by the generator's own socket when sending
	Dropped int    // by the generator's own socket or memory when receiving

	began, ended int64 // of the CPU time, in ns of the wall clock
}

// PerPacket is CPU time per packet that the relay delivered.
func (r *Result) PerPacket() time.Duration {
	if r.Delivered == 0 {
		return 0
	}
	return r.CPU / time.Duration(r.Delivered)
}

// Loss is the part of the packets sent which were not delivered, 0 to 1.
func (r *Result) Loss() float64 {
	if r.Sent == 0 {
		return 0
	}
	return float64(r.Lost) / float64(r.Sent)
}

// Fault says why a run must be thrown away: the generator itself fell short.
// "" where it did not.
func (r *Result) Fault() string {
	switch {
	case r.Late.P99 > maxLate:
		return fmt.Sprintf("the generator was late: %v at p99", r.Late.P99.Round(time.Microsecond))
	case r.Refused > 0:
		return fmt.Sprintf("the generator could not send %d packets", r.Refused)
	case r.Dropped > 0:
		return fmt.Sprintf("the generator could not take %d packets", r.Dropped)
	}
	return ""
}

// Wrong says what the relay did that no relay may: deliver packets which are
// not those that were sent. "" where all is well.
func (r *Result) Wrong() string {
	switch {
	case r.Invalid > 0:
		return fmt.Sprintf("%d packets arrived changed, or did not decrypt", r.Invalid)
	case r.Duplicate > 0:
		return fmt.Sprintf("%d packets arrived twice", r.Duplicate)
	}
	return ""
}

// String is a line for people.
func (r *Result) String() string {
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	return fmt.Sprintf("%d calls: %.2f us of CPU per packet, latency p50 %.0f p99 %.0f p99.9 %.0f us, loss %.3f %%, late p99 %.0f us",
		r.Calls, us(r.PerPacket()), us(r.Latency.P50), us(r.Latency.P99), us(r.Latency.P999), 100*r.Loss(), us(r.Late.P99))
}
