package capture

import (
	"bytes"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	defaultPackets = 200_000
	defaultOctets  = 64 << 20
)

// Limits bound what a Recorder keeps. A zero means the default.
type Limits struct {
	Packets int // 200000: more than half an hour of one call, both directions
	Octets  int // of payload: 64 MiB
}

// Packet is one datagram that was seen.
type Packet struct {
	Time     time.Time
	From, To netip.AddrPort
	Payload  []byte // not to be changed
}

// Recorder keeps datagrams in memory, in the order in which they came. Once full
// it keeps what it has and counts the rest. It is safe for concurrent use.
type Recorder struct {
	limits Limits

	mu      sync.Mutex
	packets []Packet
	octets  int
	dropped uint64
}

// NewRecorder makes an empty one.
func NewRecorder(l Limits) *Recorder {
	if l.Packets <= 0 {
		l.Packets = defaultPackets
	}
	if l.Octets <= 0 {
		l.Octets = defaultOctets
	}
	return &Recorder{limits: l}
}

// UDP keeps a copy of one datagram, unless the limits are reached.
func (r *Recorder) UDP(t time.Time, from, to netip.AddrPort, payload []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.packets) >= r.limits.Packets || r.octets+len(payload) > r.limits.Octets {
		r.dropped++
		return
	}
	r.octets += len(payload)
	r.packets = append(r.packets, Packet{Time: t, From: from, To: to, Payload: bytes.Clone(payload)})
}

// Packets returns what was kept so far.
func (r *Recorder) Packets() []Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.packets)
}

// Dropped says how many datagrams came after the limits were reached. A claim
// about everything on the wire holds only when it is 0.
func (r *Recorder) Dropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// WritePcap writes what was kept so far as a capture file.
func (r *Recorder) WritePcap(w io.Writer) error {
	file, err := NewWriter(w)
	if err != nil {
		return err
	}
	for _, p := range r.Packets() {
		if err := file.UDP(p.Time, p.From, p.To, p.Payload); err != nil {
			return err
		}
	}
	return file.Close()
}

// Flows sorts the RTP among what was kept so far; see [Flows].
func (r *Recorder) Flows() []Flow { return Flows(r.Packets()) }
