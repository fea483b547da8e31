package media

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/sipward/sipward/media/srtp"
)

// BenchmarkPath relays one packet of 20 ms G.711 from the phone to the far
// end, without sockets.
func BenchmarkPath(b *testing.B) {
	run := func(b *testing.B, r *rig) {
		for i := range r.session.ports {
			for j := range r.session.ports[i] {
				r.session.ports[i][j].socket = discardSocket{}
			}
		}
		r.session.SetMode(A, Plain)
		pkt, seq := voice(1, 0), uint16(0)
		b.ReportAllocs()
		for b.Loop() {
			seq++
			setSeq(pkt, seq)
			r.phone(pkt)
		}
		if s := r.stats(B); s.PacketsOut == 0 {
			b.Fatal("nothing left")
		}
	}
	b.Run("plain", func(b *testing.B) {
		r := newRig(b)
		r.session.SetMode(B, Plain)
		run(b, r)
	})
	for _, suite := range srtp.Suites() {
		b.Run(suite.Name, func(b *testing.B) {
			r := newRig(b)
			r.protect(suite, ProtectOptions{})
			run(b, r)
		})
	}
}

// BenchmarkRelay relays over loopback sockets, some packets under way at a
// time; an operation is one packet, including the peers' own send and receive.
// Nothing coalesces: a benchmark that waits for each answer would measure that.
func BenchmarkRelay(b *testing.B) {
	for name, o := range backends {
		o.Coalesce = -1
		for _, flight := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", name, flight), func(b *testing.B) {
				e := newTestEngine(b, o)
				s, err := e.Open(loopback, loopback)
				if err != nil {
					b.Fatal(err)
				}
				phone, far := newPeer(b, loopback), newPeer(b, netip.MustParseAddr("127.0.0.2"))
				s.SetRemote(A, phone.remote())
				s.SetRemote(B, far.remote())
				s.SetMode(A, Plain)
				ours, _ := newKeys(gcm256)
				if err := s.Protect(B, ours, ProtectOptions{}); err != nil {
					b.Fatal(err)
				}
				to, _ := s.Local(A)
				pkt, seq := voice(1, 0), uint16(0)
				buf := make([]byte, 2048)
				b.ReportAllocs()
				sent, received := 0, 0
				for b.Loop() {
					for ; sent < received+flight; sent++ {
						seq++
						setSeq(pkt, seq)
						phone.send(phone.rtp, pkt, to)
					}
					if _, err := far.rtp.Read(buf); err != nil {
						b.Fatal(err)
					}
					received++
				}
			})
		}
	}
}

// BenchmarkManyCalls relays one packet of each of many calls in turn, without
// sockets: what one call's packet finds in the processor's caches is what the
// other calls have left there.
func BenchmarkManyCalls(b *testing.B) {
	for _, calls := range []int{1, 100, 1000, 2000} {
		b.Run(fmt.Sprint(calls), func(b *testing.B) {
			first := newRig(b)
			sessions := make([]*Session, calls)
			for i := range sessions {
				r := newRig(b)
				r.protect(srtp.Suites()[1], ProtectOptions{})
				r.session.SetMode(A, Plain)
				r.session.worker = first.session.worker
				for j := range r.session.ports {
					for k := range r.session.ports[j] {
						r.session.ports[j][k].socket = discardSocket{}
					}
				}
				sessions[i] = r.session
			}
			pkt, seq, next := voice(1, 0), uint16(0), 0
			b.ReportAllocs()
			for b.Loop() {
				if next++; next >= calls {
					next = 0
					seq++
					setSeq(pkt, seq)
				}
				// Not in the order in which they were made.
				s := sessions[next*617%calls]
				s.receive(&s.ports[A][0], phoneRTP, pkt, 0)
			}
		})
	}
}
