package calls

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/sipward/sipward/demo/memnet"
)

// tapSpeech follows the phones' packets over the three links between them. Its
// result says whether each that a link has delivered went on over the next: what is
// missing at the far end the network has lost, and no sipward.
func (w *world) tapSpeech() (check func()) {
	w.t.Helper()
	type link struct{ from, to netip.Addr }
	type seen struct{ written, carried map[uint16]bool }
	links := map[link]seen{}
	var mu sync.Mutex
	remove := w.net.Tap(func(d memnet.Datagram) {
		if isSIP(d.Payload) || len(d.Payload) < 172 || d.Payload[0]>>6 != 2 || d.Payload[1]&0x7f != 0 {
			return // no speech of these phones
		}
		mu.Lock()
		defer mu.Unlock()
		l := link{d.From.Addr(), d.To.Addr()}
		if links[l].written == nil {
			links[l] = seen{map[uint16]bool{}, map[uint16]bool{}}
		}
		seq := binary.BigEndian.Uint16(d.Payload[2:])
		links[l].written[seq] = true
		if d.Copies > 0 {
			links[l].carried[seq] = true
		}
	})
	there := []netip.Addr{alicePhone.Addr(), insideA.Addr(), insideB.Addr(), bobPhone.Addr()}
	back := []netip.Addr{bobPhone.Addr(), insideB.Addr(), insideA.Addr(), alicePhone.Addr()}
	outside := map[link]link{
		{insideA.Addr(), insideB.Addr()}: {outsideA.Addr(), outsideB.Addr()},
		{insideB.Addr(), insideA.Addr()}: {outsideB.Addr(), outsideA.Addr()},
	}
	return func() {
		w.t.Helper()
		remove()
		mu.Lock()
		defer mu.Unlock()
		for _, way := range [][]netip.Addr{there, back} {
			var before seen
			for i := range way[1:] {
				l := link{way[i], way[i+1]}
				if o, ok := outside[l]; ok {
					l = o
				}
				now := links[l]
				if i == 0 && len(now.written) == 0 {
					w.t.Errorf("nothing was said by %v", way[0])
				}
				if i > 0 && len(now.written) != len(before.carried) {
					w.t.Errorf("of %d packets that came to it, %v sent %d on", len(before.carried), way[i], len(now.written))
				}
				before = now
			}
		}
	}
}
