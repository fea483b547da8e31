package media

import (
	"testing"
	"unsafe"
)

// What a packet needs of its session stands on few lines of the processor's caches.
// Where an object begins is Go's affair (one with pointers, of over 512 octets, 8
// octets behind a line's begin), so real ones are looked at.
func TestLayout(t *testing.T) {
	t.Parallel()
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("laid out for 64 bits")
	}
	const line = 64
	// Allocated like all others, on the heap.
	sessions, numbers := make([]*Session, 20), make([]*numbering, 20)
	for i := range sessions {
		sessions[i], numbers[i] = &Session{}, &numbering{}
	}
	type part struct{ first, last unsafe.Pointer }
	for i, s := range sessions {
		parts := map[string]part{
			"head":          {unsafe.Pointer(&s.engine), unsafe.Pointer(&s.closed)},
			"RTP port of A": {unsafe.Pointer(&s.ports[A][0].session), unsafe.Pointer(&s.ports[A][0].rtcp)},
			"RTP port of B": {unsafe.Pointer(&s.ports[B][0].session), unsafe.Pointer(&s.ports[B][0].rtcp)},
			"numbers":       {unsafe.Pointer(&numbers[i].streams[0].own), unsafe.Pointer(&numbers[i].streams[0].heard)},
		}
		for which, name := range []string{A: " of A", B: " of B"} {
			e := &s.ends[which]
			parts["where to"+name] = part{unsafe.Pointer(&e.rtp.port), unsafe.Pointer(&e.numbering)}
			parts["first source"+name] = part{unsafe.Pointer(&e.arrivals.sources[0]), unsafe.Pointer(&e.arrivals.sources[0].last)}
			parts["keys and counts"+name] = part{unsafe.Pointer(&e.keys.confirmed), unsafe.Pointer(&e.stats.BytesOut)}
		}
		for name, p := range parts {
			if uintptr(p.first)/line != uintptr(p.last)/line {
				t.Errorf("%s is on two lines: octet %d to octet %d of them", name, uintptr(p.first)%line, uintptr(p.first)%line+uintptr(p.last)-uintptr(p.first))
			}
		}
	}
	if size := unsafe.Sizeof(Session{}); size > 2048-8 {
		t.Errorf("a session has %d octets: the next larger object is much larger", size)
	}
}
