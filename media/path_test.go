package media

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/sipward/sipward/media/srtp"
)

func TestPlainOctetsAreUnchanged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session.SetMode(A, Plain)
	r.session.SetMode(B, Plain)
	for name, test := range map[string]struct {
		in   func([]byte)
		pkt  []byte
		want emitted
	}{
		"RTP to far":         {r.phone, voice(1, 65535), emitted{B, false, farRTP, nil}},
		"RTCP to far":        {r.phoneRTCP, receiverReport(1, 2, 3), emitted{B, true, farRTCP, nil}},
		"RTP to phone":       {r.far, voice(2, 1), emitted{A, false, phoneRTP, nil}},
		"RTCP to phone":      {r.farRTCP, senderReport(2), emitted{A, true, phoneRTCP, nil}},
		"muxed RTCP to far":  {r.phone, senderReport(1), emitted{B, true, farRTCP, nil}},
		"unmappable RTCP":    {r.phoneRTCP, words(0x80d10001, 1), emitted{B, true, farRTCP, nil}},
		"RTP with extension": {r.phone, append(words(0x90000001, 0, 1, 0xbede0001, 0x10ff0000), speech...), emitted{B, false, farRTP, nil}},
	} {
		test.in(test.pkt)
		got := r.one()
		if !bytes.Equal(got.pkt, test.pkt) {
			t.Errorf("%s: changed to %x", name, got.pkt)
		}
		if got.pkt = nil; got.end != test.want.end || got.rtcp != test.want.rtcp || got.to != test.want.to {
			t.Errorf("%s: left as %+v, want %+v", name, got, test.want)
		}
	}
	r.session.SetRemote(B, Remote{RTP: farRTP, RTCP: farRTCP, Mux: true})
	r.phoneRTCP(senderReport(1))
	if got := r.one(); got.rtcp || got.to != farRTP {
		t.Errorf("rtcp-mux: left from RTCP port %v to %v", got.rtcp, got.to)
	}
}

func TestStrangerIsNotRelayed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session.SetMode(A, Plain)
	r.session.SetMode(B, Plain)
	signalling := netip.MustParseAddr("203.0.113.5")
	r.session.SetRemote(A, Remote{RTP: phoneRTP, RTCP: phoneRTCP, Signalling: signalling})
	stranger := netip.MustParseAddrPort("203.0.113.66:4000")

	r.in(A, false, stranger, voice(1, 1))
	r.in(A, true, stranger, senderReport(1))
	r.none("stranger before the phone")

	other := netip.AddrPortFrom(phoneRTP.Addr(), 4711)
	r.in(A, false, other, voice(1, 2)) // the phone's address, its port is learned
	r.one()
	r.far(voice(2, 1))
	if got := r.one(); got.to != other {
		t.Errorf("answer goes to %v, want the learned %v", got.to, other)
	}
	r.in(A, false, stranger, voice(1, 3))
	r.in(A, false, phoneRTP, voice(1, 3))
	r.in(A, false, netip.AddrPortFrom(signalling, 4711), voice(1, 3))
	r.none("port already learned")
	if n := r.stats(A).DroppedSource; n != 5 {
		t.Errorf("DroppedSource %d, want 5", n)
	}

	// The same address again, or a hold, keeps the port.
	r.session.SetRemote(A, Remote{Signalling: signalling})
	r.in(A, false, stranger, voice(1, 4))
	r.none("stranger while the phone holds")
	r.session.SetRemote(A, Remote{RTP: phoneRTP, RTCP: phoneRTCP, Signalling: signalling})
	r.in(A, false, phoneRTP, voice(1, 4))
	r.none("SetRemote without a change")

	// Another address forgets it, and behind NAT the signalling address speaks.
	r.session.SetRemote(A, Remote{RTP: netip.MustParseAddrPort("10.0.0.7:4000"), Signalling: signalling})
	r.in(A, false, other, voice(1, 4))
	r.none("the old address")
	r.in(A, false, netip.AddrPortFrom(signalling, 999), voice(1, 4))
	r.one()
	r.in(A, false, netip.MustParseAddrPort("[::ffff:203.0.113.5]:999"), voice(1, 5))
	r.none("mapped address is another until the socket unmaps it")
}

func TestForgedPacketIsDropped(t *testing.T) {
	t.Parallel()
	for _, suite := range srtp.Suites() {
		t.Run(suite.Name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.session.SetMode(A, Plain)
			keys := r.protect(suite, ProtectOptions{})
			good := keys.seal(voice(2, 1))
			report := keys.sealRTCP(senderReport(2))

			forged := bytes.Clone(good)
			forged[40] ^= 1
			r.far(forged)
			r.none("changed octet")
			r.far(voice(2, 1))
			r.none("in clear")
			r.far(append(voice(2, 1), make([]byte, 16)...))
			r.none("in clear with an empty tag")
			forged = bytes.Clone(report)
			forged[12] ^= 1
			r.farRTCP(forged)
			r.farRTCP(append(senderReport(2), make([]byte, 20)...))
			r.none("forged report")
			_, wrong := newKeys(suite)
			r.far(newFarKeys(t, wrong).seal(voice(2, 1)))
			r.none("under other keys")
			if s := r.stats(B); s.DroppedAuth < 4 || s.PacketsIn != 0 {
				t.Errorf("stats %+v", s)
			}

			r.far(good)
			if got := r.one(); !bytes.Equal(got.pkt, voice(2, 1)) {
				t.Errorf("true packet arrives as %x", got.pkt)
			}
			r.far(good)
			r.none("replay")
			r.farRTCP(report)
			r.one()
			r.farRTCP(report)
			r.none("replay of a report")
			if s := r.stats(B); s.DroppedReplay != 2 {
				t.Errorf("DroppedReplay %d, want 2", s.DroppedReplay)
			}
		})
	}
}

func TestOtherDatagramsAreDropped(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session.SetMode(A, Plain)
	r.session.SetMode(B, Plain)
	datagrams := map[string][]byte{
		"empty":             {},
		"one octet":         {0x80},
		"short RTP":         voice(1, 1)[:11],
		"CSRCs cut":         append([]byte{0x8f}, voice(1, 1)[1:40]...),
		"extension cut":     append(words(0x90000001, 0, 1, 0xbede00ff), speech...),
		"STUN":              append(words(0x00010000, 0x2112a442, 0, 0, 0), speech...),
		"DTLS":              append([]byte{22, 0xfe, 0xff}, speech...),
		"ZRTP":              append(words(0x10000001, 0x5a525450, 1), speech...),
		"oversized":         append(voice(1, 1), make([]byte, maxPacket)...),
		"keep-alive of NAT": []byte("\r\n\r\n"),
	}
	for name, d := range datagrams {
		r.phone(d)
		r.none(name)
	}
	r.phoneRTCP(voice(1, 1))
	r.none("RTP on the RTCP port")
	s := r.stats(A)
	if s.DroppedOther != uint64(len(datagrams)+1) || s.PacketsIn != 0 {
		t.Errorf("stats %+v", s)
	}
	if r.session.ends[A].rtp.learned.IsValid() {
		t.Error("port learned from a datagram that is no packet")
	}
	r.phone(append(voice(1, 1), make([]byte, maxPacket-172)...))
	r.one() // the longest allowed
}

func TestPlainErasesKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session.SetMode(A, Plain)
	keys := r.protect(gcm256, ProtectOptions{})
	r.session.SetMode(B, Waiting)
	r.session.SetMode(B, Protected)
	r.phone(voice(1, 1))
	keys.open(r.one().pkt) // Waiting kept them
	r.session.SetMode(B, Plain)
	r.phone(voice(1, 2))
	if got := r.one(); !bytes.Equal(got.pkt, voice(1, 2)) {
		t.Errorf("plain end sends %x", got.pkt)
	}
	r.session.SetMode(B, Protected)
	r.phone(voice(1, 3))
	r.far(keys.seal(voice(2, 1)))
	r.none("Protected without keys")
	if mode := r.session.ends[B].mode; mode != Closed {
		t.Errorf("mode %d, want Closed", mode)
	}
}

func TestAddressMovesWithAuthentication(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session.SetMode(A, Plain)
	keys := r.protect(gcm256, ProtectOptions{})
	to := func() netip.AddrPort {
		t.Helper()
		r.phone(voice(1, uint16(r.stats(A).PacketsIn)))
		return r.one().to
	}
	from := func(src netip.AddrPort, pkt []byte) {
		r.in(B, false, src, pkt)
		r.drain()
	}
	nat := netip.MustParseAddrPort("203.0.113.9:7777")
	moved := netip.MustParseAddrPort("203.0.113.9:8888")
	if got := to(); got != farRTP {
		t.Fatalf("starts at %v", got)
	}
	late, last := keys.seal(voice(2, 1)), keys.seal(voice(2, 2))
	from(nat, last)
	if got := to(); got != nat {
		t.Errorf("newest packet does not move the address: %v", got)
	}
	r.now += time.Minute
	from(moved, late)
	if got := to(); got != nat {
		t.Errorf("late packet moves the address to %v", got)
	}
	from(moved, last)
	from(moved, voice(2, 9))
	if got := to(); got != nat {
		t.Errorf("replayed or forged packet moves the address to %v", got)
	}
	from(moved, keys.seal(voice(2, 3)))
	if got := to(); got != moved {
		t.Errorf("a minute later it does not move: %v", got)
	}
	r.now += 999 * time.Millisecond
	from(nat, keys.seal(voice(2, 4)))
	if got := to(); got != moved {
		t.Errorf("moves twice within a second, to %v", got)
	}
	r.now += time.Millisecond
	from(nat, keys.seal(voice(2, 5)))
	if got := to(); got != nat {
		t.Errorf("does not move after a second: %v", got)
	}
	// RTCP moves by itself, by its own index.
	r.in(B, true, moved, keys.sealRTCP(senderReport(2)))
	r.drain()
	r.phoneRTCP(senderReport(1))
	if got := r.one(); got.to != moved || !got.rtcp {
		t.Errorf("RTCP goes to %v", got.to)
	}
	r.session.SetRemote(B, Remote{RTP: farRTP, RTCP: farRTCP})
	if got := to(); got != nat {
		t.Errorf("the same SetRemote moves it to %v", got)
	}
	r.session.SetRemote(B, Remote{RTP: phoneRTP})
	if got := to(); got != phoneRTP {
		t.Errorf("another SetRemote leaves it at %v", got)
	}
}

// Random operations on both ends while packets flow: what leaves end B is
// never clear while B was protected last, and never verifies twice.
func TestProtectedEndNeverSendsClear(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		r := newRig(t)
		r.session.SetMode(A, Plain)
		var keys []*farKeys
		guarded := false
		phoneSeq, farSeq, verified, clear := uint16(rng.Uint32()), uint16(0), 0, 0
		for range 3000 {
			r.now += time.Duration(rng.IntN(20)) * time.Millisecond
			switch rng.IntN(60) {
			case 0:
				r.session.SetMode(B, Plain)
				guarded = false
			case 1:
				r.session.SetMode(B, []Mode{Closed, Waiting, Protected, Mode(99), Mode(-1)}[rng.IntN(5)])
			case 2, 3:
				keys = append(keys, r.protect(srtp.Suites()[rng.IntN(4)], ProtectOptions{SendAfterConfirm: rng.IntN(2) == 0}))
				guarded = true
			case 4:
				r.session.SetRemote(B, Remote{})
			case 5:
				r.session.SetRemote(B, Remote{RTP: farRTP, Mux: rng.IntN(2) == 0})
			case 6:
				if len(keys) > 0 {
					farSeq++
					r.far(keys[len(keys)-1].seal(voice(2, farSeq)))
				}
			case 7:
				phoneSeq = uint16(rng.Uint32())
			case 8:
				r.phoneRTCP(append(senderReport(uint32(rng.IntN(3))), append(words(0x80cc000a, 1, 0x73697077), speech...)...))
			case 9:
				r.session.Probe(B)
			case 10:
				r.session.SetMode(A, []Mode{Plain, Plain, Waiting, Closed}[rng.IntN(4)])
			default:
				phoneSeq += uint16(rng.IntN(3))
				r.phone(voiceType(byte(rng.IntN(2)), uint32(rng.IntN(3)), phoneSeq))
			}
			for _, e := range r.drain() {
				if e.end != B || len(e.pkt) == 0 {
					continue
				}
				isClear := bytes.Contains(e.pkt, speech[:8])
				if isClear && guarded {
					t.Fatalf("seed %d: clear packet left a protected end: %x", seed, e.pkt)
				}
				if isClear {
					clear++
					continue
				}
				// Under one of the keys it verifies and was not seen before.
				opened := false
				for _, k := range keys {
					_, err := unprotect(k.recv, nil, e.pkt, classify(e.pkt, false))
					opened = opened || err == nil
				}
				if !opened {
					t.Fatalf("seed %d: left under no key, or under an index used before: %x", seed, e.pkt)
				}
				verified++
			}
		}
		if verified == 0 || clear == 0 {
			t.Errorf("seed %d: %d protected and %d clear packets: the test saw nothing", seed, verified, clear)
		}
	}
}

func TestPathDoesNotAllocate(t *testing.T) {
	measure := func(t *testing.T, name string, f func()) {
		t.Helper()
		f()
		if n := testing.AllocsPerRun(500, f); n != 0 && !raceEnabled { // the race detector empties pools at random
			t.Errorf("%s: %v allocations per packet", name, n)
		}
	}
	quiet := func(r *rig) {
		for i := range r.session.ports {
			for j := range r.session.ports[i] {
				r.session.ports[i][j].socket = discardSocket{}
			}
		}
	}
	t.Run("plain", func(t *testing.T) {
		r := newRig(t)
		quiet(r)
		r.session.SetMode(A, Plain)
		r.session.SetMode(B, Plain)
		pkt, seq := voice(1, 0), uint16(0)
		measure(t, "phone to far", func() { seq++; setSeq(pkt, seq); r.phone(pkt) })
		measure(t, "stranger", func() { r.in(A, false, farRTP, pkt) })
	})
	for _, suite := range srtp.Suites() {
		t.Run(suite.Name, func(t *testing.T) {
			r := newRig(t)
			quiet(r)
			r.session.SetMode(A, Plain)
			keys := r.protect(suite, ProtectOptions{})
			pkt, seq := voice(1, 0), uint16(0)
			measure(t, "phone to far", func() { seq++; setSeq(pkt, seq); r.phone(pkt) })
			var sealed [][]byte
			for seq := range uint16(600) {
				sealed = append(sealed, keys.seal(voice(2, seq)))
			}
			measure(t, "far to phone", func() { r.far(sealed[0]); sealed = sealed[1:] })
			if s := r.stats(B); s.PacketsIn < 500 || s.PacketsOut < 500 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

type discardSocket struct{}

func (discardSocket) send([]byte, netip.AddrPort) {}
func (discardSocket) close()                      {}
func (discardSocket) wait()                       {}

func setSeq(pkt []byte, seq uint16) { pkt[2], pkt[3] = byte(seq>>8), byte(seq) }
