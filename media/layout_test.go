package media

import (
	"testing"
	"unsafe"
)

// What a packet needs of its session stands on few lines of the processor's caches.
// Go puts an object of this size at a multiple of 64 octets.
func TestLayout(t *testing.T) {
	t.Parallel()
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("laid out for 64 bits")
	}
	const line = 64
	var s Session
	var e end
	for name, on := range map[string][2]uintptr{ // first octet, and the one behind the last
		"head":            {0, unsafe.Offsetof(s.closed) + 1},
		"RTP port of A":   {unsafe.Offsetof(s.ports), unsafe.Offsetof(s.ports) + unsafe.Offsetof(port{}.local)},
		"RTP port of B":   {unsafe.Offsetof(s.ports) + unsafe.Sizeof(s.ports[0]), unsafe.Offsetof(s.ports) + unsafe.Sizeof(s.ports[0]) + unsafe.Offsetof(port{}.local)},
		"where to":        {unsafe.Offsetof(e.rtp) + unsafe.Offsetof(e.rtp.port), unsafe.Offsetof(e.numbering) + 8},
		"first source":    {unsafe.Offsetof(e.arrivals), unsafe.Offsetof(e.arrivals) + unsafe.Sizeof(arrival{})},
		"keys and counts": {unsafe.Offsetof(e.keys) + unsafe.Offsetof(e.keys.confirmed), unsafe.Offsetof(e.stats) + unsafe.Offsetof(e.stats.Lost)},
	} {
		if on[0]/line != (on[1]-1)/line {
			t.Errorf("%s: octets %d to %d are on two lines", name, on[0], on[1]-1)
		}
	}
	if unsafe.Offsetof(s.ends)%line != 0 || unsafe.Sizeof(e)%line != 0 {
		t.Errorf("ends at %d of %d octets do not begin with a line", unsafe.Offsetof(s.ends), unsafe.Sizeof(e))
	}
	if size := unsafe.Offsetof(stream{}.first); size != line {
		t.Errorf("a packet needs %d octets of its stream's numbers", size)
	}
	if size := unsafe.Sizeof(s); size > 2048 {
		t.Errorf("a session has %d octets: the next larger object is much larger", size)
	}
}
