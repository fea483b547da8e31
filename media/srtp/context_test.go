package srtp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
)

// pair is a sender's and a receiver's Context under the same random keys.
func pair(t testing.TB, suite Suite) (send, recv *Context) {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 7))
	key, salt := randomOctets(rng, suite.KeyLen), randomOctets(rng, suite.SaltLen)
	return newTestContext(t, suite, key, salt), newTestContext(t, suite, key, salt)
}

// voice is a 20 ms packet of G.711.
func voice(seq uint16, ssrc uint32) []byte {
	pkt := make([]byte, 172)
	pkt[0] = 2 << 6
	binary.BigEndian.PutUint16(pkt[2:], seq)
	binary.BigEndian.PutUint32(pkt[8:], ssrc)
	copy(pkt[12:], "speech")
	return pkt
}

func eachSuite(t *testing.T, f func(t *testing.T, suite Suite)) {
	for _, suite := range Suites() {
		t.Run(suite.Name, func(t *testing.T) {
			t.Parallel()
			f(t, suite)
		})
	}
}

func protect(t *testing.T, c *Context, pkt []byte) []byte {
	t.Helper()
	out, err := c.Protect(nil, pkt)
	if err != nil {
		t.Fatalf("Protect %d: %v", binary.BigEndian.Uint16(pkt[2:]), err)
	}
	return out
}

func TestSuites(t *testing.T) {
	t.Parallel()
	want := []string{"AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80", "AEAD_ARIA_256_GCM", "X_AEAD_CHACHA20_POLY1305"}
	for i, s := range Suites() {
		if s.Name != want[i] || s.Common != (i < 4) {
			t.Errorf("suite %d is %+v, want %s", i, s, want[i])
		}
	}
	if _, err := NewContext("NULL_HMAC_SHA1_80", make([]byte, 16), make([]byte, 14)); !errors.Is(err, ErrSuite) {
		t.Errorf("unknown suite: %v", err)
	}
	eachSuite(t, func(t *testing.T, s Suite) {
		for _, n := range []struct{ key, salt int }{{s.KeyLen - 1, s.SaltLen}, {s.KeyLen, s.SaltLen + 1}, {0, 0}} {
			if _, err := NewContext(s.Name, make([]byte, n.key), make([]byte, n.salt)); !errors.Is(err, ErrKeyLength) {
				t.Errorf("key of %d, salt of %d: %v", n.key, n.salt, err)
			}
		}
	})
}

func TestReplayIsRefused(t *testing.T) {
	t.Parallel()
	eachSuite(t, func(t *testing.T, suite Suite) {
		send, recv := pair(t, suite)
		var packets [][]byte
		for seq := range uint16(400) {
			packets = append(packets, protect(t, send, voice(seq, 1)))
		}
		unprotect := func(i int, want error) {
			t.Helper()
			if _, err := recv.Unprotect(nil, packets[i]); err != want {
				t.Errorf("packet %d: %v, want %v", i, err, want)
			}
		}
		unprotect(0, nil)
		unprotect(0, ErrReplay)
		unprotect(399, nil)
		unprotect(399, ErrReplay)
		unprotect(272, nil) // 127 behind: late but inside a window of 128
		unprotect(272, ErrReplay)
		unprotect(399-receivedWindow, ErrReplay)

		report := []byte{2 << 6, 201, 0, 1, 0, 0, 0, 1}
		protected, err := send.ProtectRTCP(nil, report)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := recv.UnprotectRTCP(nil, protected); err != nil {
			t.Errorf("report: %v", err)
		}
		if _, err := recv.UnprotectRTCP(nil, protected); err != ErrReplay {
			t.Errorf("report again: %v", err)
		}
	})
}

func TestChangedPacketDoesNotVerify(t *testing.T) {
	t.Parallel()
	eachSuite(t, func(t *testing.T, suite Suite) {
		send, recv := pair(t, suite)
		clear := voice(9, 1)
		protected := protect(t, send, clear)
		report, err := send.ProtectRTCP(nil, []byte{2 << 6, 201, 0, 1, 0, 0, 0, 1})
		if err != nil {
			t.Fatal(err)
		}
		for bit := range len(protected) * 8 {
			forged := bytes.Clone(protected)
			forged[bit/8] ^= 1 << (bit % 8)
			if out, err := recv.Unprotect(nil, forged); err != ErrAuth && err != ErrMalformed {
				t.Fatalf("bit %d flipped: %v, %x", bit, err, out)
			}
		}
		for bit := range len(report) * 8 {
			forged := bytes.Clone(report)
			forged[bit/8] ^= 1 << (bit % 8)
			if out, err := recv.UnprotectRTCP(nil, forged); err != ErrAuth && err != ErrMalformed {
				t.Fatalf("bit %d of report flipped: %v, %x", bit, err, out)
			}
		}
		for n := range len(protected) {
			if _, err := recv.Unprotect(nil, protected[:n]); err == nil {
				t.Fatalf("cut to %d octets: verifies", n)
			}
		}
		for n := range len(report) {
			if _, err := recv.UnprotectRTCP(nil, report[:n]); err == nil {
				t.Fatalf("report cut to %d octets: verifies", n)
			}
		}
		// After all that the true ones still pass: nothing was taken note of.
		if out, err := recv.Unprotect(nil, protected); err != nil || !bytes.Equal(out, clear) {
			t.Errorf("true packet: %v", err)
		}
		if _, err := recv.UnprotectRTCP(nil, report); err != nil {
			t.Errorf("true report: %v", err)
		}
	})
}

// An SRTCP packet may be authenticated without being encrypted (RFC 3711
// §3.4); the suites here always encrypt.
func TestUnencryptedRTCPIsRefused(t *testing.T) {
	t.Parallel()
	suite := Suites()[3]
	rng := rand.New(rand.NewPCG(7, 7))
	key, salt := randomOctets(rng, suite.KeyLen), randomOctets(rng, suite.SaltLen)
	pkt := []byte{2 << 6, 201, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}
	pkt = append(pkt, mac(newReference(suite.Name, key, salt).rtcpAuth, pkt)...)
	if _, err := newTestContext(t, suite, key, salt).UnprotectRTCP(nil, pkt); err != ErrMalformed {
		t.Errorf("got %v, want %v", err, ErrMalformed)
	}
}

func TestIndexIsUsedOnce(t *testing.T) {
	t.Parallel()
	steps := []struct {
		name string
		seq  uint16
		want error
	}{
		{"first", 5, nil},
		{"again", 5, ErrIndex},
		{"late", 3, nil},
		{"late again", 3, ErrIndex},
		{"before the key's first index", 65535, ErrIndex},
		{"forward", 5 + 20000, nil},
		{"too late", 5, ErrIndex},
		{"edge of the window", 20005 - 127, nil},
		{"edge again", 20005 - 127, ErrIndex},
		{"behind the window", 20005 - 128, ErrIndex},
		{"forward", 50000, nil},
		{"wraps", 10, nil},
		{"late across the wrap", 65530, nil},
		{"and again", 65530, ErrIndex},
		{"wrapped again", 10, ErrIndex},
		{"next", 11, nil},
	}
	eachSuite(t, func(t *testing.T, suite Suite) {
		send, recv := pair(t, suite)
		var window [2]uint64
		for _, step := range steps {
			out, err := send.Protect(nil, voice(step.seq, 1))
			if err != step.want {
				t.Fatalf("%s (%d): %v, want %v", step.name, step.seq, err, step.want)
			}
			if err == nil {
				if _, err := recv.Unprotect(nil, out); err != nil {
					t.Fatalf("%s (%d): receiver says %v", step.name, step.seq, err)
				}
			}
			window = send.sent.all[0].window
		}
		if window[0]&1 == 0 {
			t.Error("highest index is not marked as used")
		}
	})
}

// The window against a set that remembers everything.
func TestClaimAgainstModel(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 3))
	for _, spread := range []int{3, 40, 70, 200} {
		var s sent
		s.start(1, 100)
		used := map[uint64]bool{100: true}
		highest := uint64(100)
		taken := 0
		for range 5000 {
			index := max(int(highest)-rng.IntN(160)+rng.IntN(spread), 0)
			_, usedBefore := used[uint64(index)]
			want := !usedBefore && (uint64(index) > highest || highest-uint64(index) < sentWindow)
			got, err := s.claim(uint16(index))
			if (err == nil) != want || want && got != uint64(index) {
				t.Fatalf("index %d with highest %d: %d, %v, want %v", index, highest, got, err, want)
			}
			if want {
				used[uint64(index)] = true
				highest = max(highest, uint64(index))
				taken++
			}
		}
		if taken < 50 || s.highest != highest {
			t.Errorf("spread %d: %d taken, highest %d, want %d", spread, taken, s.highest, highest)
		}
	}
}

// Three wraps of the sequence number, with loss and changed order.
func TestRolloverCounter(t *testing.T) {
	t.Parallel()
	suite := Suites()[1]
	rng := rand.New(rand.NewPCG(7, 7))
	key, salt := randomOctets(rng, suite.KeyLen), randomOctets(rng, suite.SaltLen)
	send, recv := newTestContext(t, suite, key, salt), newTestContext(t, suite, key, salt)
	reference := newReference(suite.Name, key, salt)
	const first = 32000
	var held []byte
	for index := uint64(first); index < first+3*65536+1000; index++ {
		pkt := voice(uint16(index), 1)
		out := protect(t, send, pkt)
		if index%1021 == 0 || index>>16 != (index+1)>>16 {
			if want := reference.protect(pkt, 12, uint32(index>>16)); !bytes.Equal(out, want) {
				t.Fatalf("index %d: got %x, want %x", index, out, want)
			}
		}
		switch {
		case index%97 == 0: // lost
			continue
		case index%101 == 0 && held == nil: // comes one later
			held = out
			continue
		}
		if _, err := recv.Unprotect(nil, out); err != nil {
			t.Fatalf("index %d: %v", index, err)
		}
		if held != nil {
			if _, err := recv.Unprotect(nil, held); err != nil {
				t.Fatalf("held packet at %d: %v", index, err)
			}
			held = nil
		}
	}
}

// After a rekeying numbers go on; where they wrap before the first packet
// arrives, the receiver has to find rollover counter 1 by itself.
func TestWrapBeforeFirstPacket(t *testing.T) {
	t.Parallel()
	eachSuite(t, func(t *testing.T, suite Suite) {
		send, recv := pair(t, suite)
		protect(t, send, voice(65535, 1)) // lost
		for seq := range uint16(3) {
			out := protect(t, send, voice(seq, 1))
			if seq == 0 {
				forged := bytes.Clone(out)
				forged[20] ^= 1
				if _, err := recv.Unprotect(nil, forged); err != ErrAuth {
					t.Fatalf("forged: %v", err)
				}
			}
			if _, err := recv.Unprotect(nil, out); err != nil {
				t.Fatalf("packet %d: %v", seq, err)
			}
		}
		// Forged packets of a stranger's choice do not spoil an ordinary start.
		send, recv = pair(t, suite)
		first := protect(t, send, voice(7, 1))
		forged := bytes.Clone(first)
		forged[20] ^= 1
		recv.Unprotect(nil, forged)
		if _, err := recv.Unprotect(nil, first); err != nil {
			t.Fatalf("after forged packet: %v", err)
		}
		for ssrc := range uint32(10 * maxSources) {
			forged := bytes.Clone(first)
			binary.BigEndian.PutUint32(forged[8:], 1000+ssrc)
			recv.Unprotect(nil, forged)
		}
		if len(recv.seen.all) != 1 {
			t.Errorf("strangers made it keep %d states", len(recv.seen.all))
		}
	})
}

func TestSourcesAreBounded(t *testing.T) {
	t.Parallel()
	suite := Suites()[0]
	send, recv := pair(t, suite)
	sendMore, _ := pair(t, suite)
	for ssrc := range uint32(maxSources) {
		if _, err := recv.Unprotect(nil, protect(t, send, voice(1, ssrc))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := send.Protect(nil, voice(1, maxSources)); err != ErrSources {
		t.Errorf("sender takes %v", err)
	}
	if _, err := recv.Unprotect(nil, protect(t, sendMore, voice(1, maxSources))); err != ErrSources {
		t.Errorf("receiver takes %v", err)
	}
	if _, err := recv.Unprotect(nil, protect(t, send, voice(2, 0))); err != nil {
		t.Errorf("known SSRC: %v", err)
	}
}

func TestErasedContext(t *testing.T) {
	t.Parallel()
	c, _ := pair(t, Suites()[0])
	c.Erase()
	for name, f := range map[string]func(dst, pkt []byte) ([]byte, error){
		"Protect": c.Protect, "Unprotect": c.Unprotect, "ProtectRTCP": c.ProtectRTCP, "UnprotectRTCP": c.UnprotectRTCP,
	} {
		if _, err := f(nil, voice(1, 1)); err != ErrErased {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMalformedIsRefused(t *testing.T) {
	t.Parallel()
	send, recv := pair(t, Suites()[0])
	long := make([]byte, 100)
	for name, pkt := range map[string][]byte{
		"empty":              {},
		"short":              voice(1, 1)[:11],
		"version 0":          long,
		"extension too long": append([]byte{0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xff, 0xff}, long...),
		"cut in the CSRCs":   append([]byte{0x8f}, voice(1, 1)[1:70]...),
	} {
		if _, err := send.Protect(nil, pkt); err != ErrMalformed {
			t.Errorf("%s: Protect: %v", name, err)
		}
		if _, err := recv.Unprotect(nil, pkt); err != ErrMalformed {
			t.Errorf("%s: Unprotect: %v", name, err)
		}
	}
	if _, err := recv.Unprotect(nil, append([]byte{0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xc0, 0xde, 0, 0}, long...)); err != ErrMalformed {
		t.Errorf("cryptex: %v", err)
	}
}

func TestNoAllocations(t *testing.T) {
	for _, suite := range Suites() {
		t.Run(suite.Name, func(t *testing.T) {
			send, recv := pair(t, suite)
			pkt := make([]byte, 172, 172+MaxOverhead)
			clear := make([]byte, 0, cap(pkt))
			plain, seq := voice(0, 1), uint16(0)
			round := func() {
				copy(pkt, plain)
				binary.BigEndian.PutUint16(pkt[2:], seq)
				seq++
				out, err := send.Protect(pkt[:0], pkt)
				if err == nil {
					_, err = recv.Unprotect(clear, out)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			round()
			if n := testing.AllocsPerRun(200, round); n != 0 {
				t.Errorf("%v allocations per round", n)
			}
		})
	}
}
