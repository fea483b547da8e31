package media

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/sipward/sipward/media/srtp"
)

// rig is a session whose sockets are a list: packets go in by hand and come
// out where the test can look, at times the test chooses.
type rig struct {
	t       testing.TB
	session *Session
	out     []emitted
	lent    [bufferLen]byte
	now     time.Duration
}

// emitted is a packet that left.
type emitted struct {
	end  End
	rtcp bool // from the RTCP port
	to   netip.AddrPort
	pkt  []byte
}

type rigSocket struct {
	rig  *rig
	port *port
}

func (s rigSocket) send(pkt []byte, to netip.AddrPort) {
	s.rig.out = append(s.rig.out, emitted{s.port.end, s.port.rtcp, to, bytes.Clone(pkt)})
}
func (rigSocket) close() {}
func (rigSocket) wait()  {}

type rigTransport struct{ *rig }

func (r rigTransport) open(netip.AddrPort, *port) (socket, error) { panic("rig opens no sockets") }
func (r rigTransport) buffer() []byte                             { return r.lent[:0] }
func (rigTransport) flush()                                       {}
func (rigTransport) close() error                                 { return nil }

var (
	phoneRTP  = netip.MustParseAddrPort("192.0.2.10:4000")
	phoneRTCP = netip.MustParseAddrPort("192.0.2.10:4001")
	farRTP    = netip.MustParseAddrPort("198.51.100.20:5000")
	farRTCP   = netip.MustParseAddrPort("198.51.100.20:5001")
)

// newRig has a phone at end A and a far peer at end B; both ends are Closed.
func newRig(t testing.TB) *rig {
	r := &rig{t: t}
	ports, err := newPorts(10000, 10003)
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{start: time.Now(), net: rigTransport{r}}
	r.session = newSession(&Engine{ports: ports, sessions: map[*Session]struct{}{}}, w)
	for i := range r.session.ports {
		for j := range r.session.ports[i] {
			p := &r.session.ports[i][j]
			p.socket = rigSocket{r, p}
		}
	}
	r.session.SetRemote(A, Remote{RTP: phoneRTP, RTCP: phoneRTCP})
	r.session.SetRemote(B, Remote{RTP: farRTP, RTCP: farRTCP})
	return r
}

// in delivers a packet to a port.
func (r *rig) in(e End, rtcp bool, src netip.AddrPort, pkt []byte) {
	w := r.session.worker
	w.lock()
	defer w.unlock()
	j := 0
	if rtcp {
		j = 1
	}
	r.session.receive(&r.session.ports[e][j], src, pkt, r.now)
}

func (r *rig) phone(pkt []byte)   { r.in(A, false, phoneRTP, pkt) }
func (r *rig) phoneRTCP(p []byte) { r.in(A, true, phoneRTCP, p) }
func (r *rig) far(pkt []byte)     { r.in(B, false, farRTP, pkt) }
func (r *rig) farRTCP(pkt []byte) { r.in(B, true, farRTCP, pkt) }
func (r *rig) stats(e End) Stats  { return r.session.Stats()[e] }
func (r *rig) drain() []emitted   { out := r.out; r.out = nil; return out }

// one is the only packet that left since the last look.
func (r *rig) one() emitted {
	r.t.Helper()
	out := r.drain()
	if len(out) != 1 {
		r.t.Fatalf("%d packets left, want 1", len(out))
	}
	return out[0]
}

// none says that nothing left.
func (r *rig) none(why string) {
	r.t.Helper()
	if out := r.drain(); len(out) != 0 {
		r.t.Fatalf("%s: %d packets left, want none", why, len(out))
	}
}

// protect gives end B keys and gives the far peer's view of them.
func (r *rig) protect(suite srtp.Suite, o ProtectOptions) *farKeys {
	r.t.Helper()
	ours, theirs := newKeys(suite)
	if err := r.session.Protect(B, ours, o); err != nil {
		r.t.Fatal(err)
	}
	return newFarKeys(r.t, theirs)
}

// newKeys draws keys for both ends of a protected way.
func newKeys(suite srtp.Suite) (one, other Keys) {
	draw := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		return b
	}
	one = Keys{Suite: suite.Name, SendKey: draw(suite.KeyLen), SendSalt: draw(suite.SaltLen), RecvKey: draw(suite.KeyLen), RecvSalt: draw(suite.SaltLen)}
	other = Keys{Suite: suite.Name, SendKey: one.RecvKey, SendSalt: one.RecvSalt, RecvKey: one.SendKey, RecvSalt: one.SendSalt}
	return one, other
}

// farKeys is SRTP as the far peer does it.
type farKeys struct {
	t          testing.TB
	send, recv *srtp.Context
}

func newFarKeys(t testing.TB, k Keys) *farKeys {
	t.Helper()
	send, err := srtp.NewContext(k.Suite, k.SendKey, k.SendSalt)
	if err != nil {
		t.Fatal(err)
	}
	recv, err := srtp.NewContext(k.Suite, k.RecvKey, k.RecvSalt)
	if err != nil {
		t.Fatal(err)
	}
	return &farKeys{t, send, recv}
}

func (f *farKeys) seal(pkt []byte) []byte     { return f.must(f.send.Protect(nil, pkt)) }
func (f *farKeys) open(pkt []byte) []byte     { return f.must(f.recv.Unprotect(nil, pkt)) }
func (f *farKeys) sealRTCP(pkt []byte) []byte { return f.must(f.send.ProtectRTCP(nil, pkt)) }
func (f *farKeys) openRTCP(pkt []byte) []byte { return f.must(f.recv.UnprotectRTCP(nil, pkt)) }

func (f *farKeys) must(pkt []byte, err error) []byte {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
	return pkt
}

// speech marks payloads, so that a packet in clear is known anywhere.
var speech = []byte("clear speech, for the phone only")

// voice is a packet of 20 ms G.711.
func voice(ssrc uint32, seq uint16) []byte {
	return voiceType(0, ssrc, seq)
}

func voiceType(payloadType byte, ssrc uint32, seq uint16) []byte {
	pkt := make([]byte, 172)
	pkt[0], pkt[1] = 2<<6, payloadType
	binary.BigEndian.PutUint16(pkt[2:], seq)
	binary.BigEndian.PutUint32(pkt[4:], 160*uint32(seq))
	binary.BigEndian.PutUint32(pkt[8:], ssrc)
	copy(pkt[12:], speech)
	return pkt
}

func ssrcOf(pkt []byte) uint32 { return binary.BigEndian.Uint32(pkt[8:]) }
func seqOf(pkt []byte) uint16  { return binary.BigEndian.Uint16(pkt[2:]) }

// words writes 32-bit words, for RTCP packets.
func words(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// receiverReport is a compound of a report about one source and a CNAME.
func receiverReport(from, about, highest uint32) []byte {
	return append(words(
		0x81c90007, from, about, 0, highest, 0, 0, 0,
		0x81ca0003, from), 1, 3, 'a', '@', 'b', 0, 0, 0)
}

// senderReport is a compound of a sender report without blocks and a CNAME.
func senderReport(from uint32) []byte {
	return append(words(
		0x80c80006, from, 1, 2, 3, 4, 5,
		0x81ca0003, from), 1, 3, 'a', '@', 'b', 0, 0, 0)
}

var gcm256 = srtp.Suites()[0]
