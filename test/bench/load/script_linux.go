package load

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// interval is the time between two packets of a stream.
const interval = 20 * time.Millisecond

// stream is one direction of a call, and when in an interval its packets leave.
type stream struct {
	call  int
	dir   direction
	phase time.Duration
}

// spreadStreams gives the streams of n calls phases that fill the interval
// evenly but not in the order of the calls, and sorts them by phase.
func spreadStreams(n int) []stream {
	streams := make([]stream, 0, int(directions)*n)
	const golden = 0x9e3779b9 // 2^32 divided by the golden ratio: neighbours end up far apart
	for i := range cap(streams) {
		turn := uint32(i) * golden
		phase := time.Duration(uint64(turn) * uint64(interval) >> 32)
		streams = append(streams, stream{i / int(directions), direction(i % int(directions)), phase})
	}
	slices.SortFunc(streams, func(a, b stream) int { return cmp.Compare(a.phase, b.phase) })
	return streams
}

// script is everything that a run sends, in the order in which it leaves: the
// packet of stream i in interval r is number r*len(streams)+i.
type script struct {
	streams []stream
	rounds  int
	memory  []byte // slots of slotLen
	octets  []uint8
	sent    []int64 // when, in ns of the wall clock; 0: not
	first   uint32  // number of the packets of interval 0
	began   int64   // when interval 0 began
}

// write builds all packets of a run, and encrypts those to the secure side.
func (g *Generator) write(calls, rounds int) (*script, error) {
	s := &script{streams: spreadStreams(calls), rounds: rounds, first: g.next}
	total := rounds * len(s.streams)
	var err error
	if s.memory, err = allocate(total * slotLen); err != nil {
		return nil, err
	}
	s.octets, s.sent = make([]uint8, total), make([]int64, total)
	clearBuf := make([]byte, 0, slotLen)
	for i := range total {
		stream := &s.streams[i%len(s.streams)]
		c := &g.calls[stream.call]
		slot := s.memory[i*slotLen:][:0:slotLen]
		pkt := appendPacket(clearBuf, name{uint32(stream.call), stream.dir, s.first + uint32(i/len(s.streams))})
		if stream.dir == unprotecting && c.encrypt != nil {
			if pkt, err = c.encrypt.EncryptRTP(slot, pkt, nil); err != nil {
				s.free()
				return nil, fmt.Errorf("load: %w", err)
			}
		} else {
			pkt = append(slot, pkt...)
		}
		s.octets[i] = uint8(len(pkt))
	}
	return s, nil
}

// start sets when the first interval begins.
func (s *script) start(at time.Time) { s.began = at.UnixNano() }

// due is when packet i should leave, in ns of the wall clock.
func (s *script) due(i int) int64 {
	return s.began + int64(i/len(s.streams))*int64(interval) + int64(s.streams[i%len(s.streams)].phase)
}

func (s *script) packet(i int) []byte { return s.memory[i*slotLen:][:s.octets[i]] }

func (s *script) free() { unix.Munmap(s.memory) }

// inbox keeps what arrives on one socket as it came.
type inbox struct {
	memory []byte // slots of slotLen
	octets []uint16
	from   []unix.RawSockaddrInet4
	at     []int64
	count  int
	full   int // how often there was no room
}

func newInbox(size int) (*inbox, error) {
	memory, err := allocate(size * slotLen)
	if err != nil {
		return nil, err
	}
	b := &inbox{memory: memory, octets: make([]uint16, size), from: make([]unix.RawSockaddrInet4, size), at: make([]int64, size)}
	for i := range size { // have the pages before they are timed
		b.octets[i], b.at[i], b.from[i].Family = 1, 1, unix.AF_INET
	}
	return b, nil
}

// fill takes all that the socket has.
func (b *inbox) fill(s *socket) {
	for {
		n := s.receive(b.memory[b.count*slotLen:])
		for i := range n {
			octets, from, at := s.received(i)
			b.octets[b.count], b.from[b.count], b.at[b.count] = uint16(octets), from, at
			b.count++
		}
		if b.count == len(b.at) {
			b.full++
			return
		}
		if n < batch {
			return
		}
	}
}

func (b *inbox) packet(i int) []byte { return b.memory[i*slotLen:][:min(int(b.octets[i]), slotLen)] }

func (b *inbox) free() { unix.Munmap(b.memory) }

// allocate gives memory with its pages there, outside of Go's heap. They are large
// ones where the system has them: each packet is met once, so that a quarter of the
// generator's time went into finding where its packets are.
func allocate(octets int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, max(octets, 1), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("load: no memory for %d MB of packets: %w", octets>>20, err)
	}
	unix.Madvise(b, unix.MADV_HUGEPAGE)
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = 0
	}
	return b, nil
}
