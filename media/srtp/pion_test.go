package srtp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	pion "github.com/pion/srtp/v3"
)

// pionProfiles are the suites that pion/srtp has as well.
var pionProfiles = map[string]pion.ProtectionProfile{
	"AEAD_AES_256_GCM":        pion.ProtectionProfileAeadAes256Gcm,
	"AEAD_AES_128_GCM":        pion.ProtectionProfileAeadAes128Gcm,
	"AES_256_CM_HMAC_SHA1_80": pion.ProtectionProfileAes256CmHmacSha1_80,
	"AES_CM_128_HMAC_SHA1_80": pion.ProtectionProfileAes128CmHmacSha1_80,
}

func newPion(t testing.TB, suite Suite, key, salt []byte) *pion.Context {
	t.Helper()
	c, err := pion.CreateContext(key, salt, pionProfiles[suite.Name], pion.SRTPReplayProtection(64), pion.SRTCPReplayProtection(64))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Packets of an implementation by other people are the same to the octet, and
// each opens what the other has sealed, over several wraps of the numbers.
func TestSameAsPion(t *testing.T) {
	t.Parallel()
	for _, suite := range Suites() {
		if _, ok := pionProfiles[suite.Name]; !ok {
			continue
		}
		t.Run(suite.Name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(5, uint64(suite.KeyLen)))
			key, salt := randomOctets(rng, suite.KeyLen), randomOctets(rng, suite.SaltLen)
			send, recv := newTestContext(t, suite, key, salt), newTestContext(t, suite, key, salt)
			theirs, back := newPion(t, suite, key, salt), newPion(t, suite, key, salt)
			seq := uint16(30000)
			for i := range 3000 {
				seq += uint16(1 + rng.IntN(100))
				pkt, _ := randomRTP(rng, seq, 1+uint32(i%3))
				sealed, err := send.Protect(nil, pkt)
				if err != nil {
					t.Fatal(err)
				}
				want, err := theirs.EncryptRTP(nil, pkt, nil)
				if err != nil || !bytes.Equal(sealed, want) {
					t.Fatalf("packet %d: %x, pion %x (%v)", i, sealed, want, err)
				}
				for name, open := range map[string]func() ([]byte, error){
					"here": func() ([]byte, error) { return recv.Unprotect(nil, sealed) },
					"pion": func() ([]byte, error) { return back.DecryptRTP(nil, sealed, nil) },
				} {
					if got, err := open(); err != nil || !bytes.Equal(got, pkt) {
						t.Fatalf("packet %d opened by %s: %x, %v", i, name, got, err)
					}
				}
				report := randomRTCP(rng, 1+uint32(i%3))
				if sealed, err = send.ProtectRTCP(nil, report); err != nil {
					t.Fatal(err)
				}
				if want, err = theirs.EncryptRTCP(nil, report, nil); err != nil || !bytes.Equal(sealed, want) {
					t.Fatalf("report %d: %x, pion %x (%v)", i, sealed, want, err)
				}
				if got, err := recv.UnprotectRTCP(nil, want); err != nil || !bytes.Equal(got, report) {
					t.Fatalf("report %d: %x, %v", i, got, err)
				}
			}
		})
	}
}

// FuzzAgainstPion gives both the same packets under the same keys: what leaves
// is the same, and what comes in is taken or refused alike.
func FuzzAgainstPion(f *testing.F) {
	f.Add(uint8(0), uint16(7), voice(7, 1))
	f.Add(uint8(1), uint16(40000), append([]byte{0x91, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 9, 9, 9, 9, 0xab, 0xcd, 0, 1, 1, 2, 3, 4}, "payload"...))
	f.Add(uint8(3), uint16(65535), []byte{0x80, 200, 0, 1, 0, 0, 0, 1, 5, 5, 5, 5})
	f.Fuzz(func(t *testing.T, which uint8, before uint16, pkt []byte) {
		suite := Suites()[which%4]
		rng := rand.New(rand.NewPCG(9, uint64(which)))
		key, salt := randomOctets(rng, suite.KeyLen), randomOctets(rng, suite.SaltLen)
		ours, theirs := newTestContext(t, suite, key, salt), newPion(t, suite, key, salt)
		if len(pkt) >= 12 { // a packet before it sets the rollover counter's guess
			first := voice(before, binary.BigEndian.Uint32(pkt[8:]))
			a, errA := ours.Protect(nil, first)
			b, errB := theirs.EncryptRTP(nil, first, nil)
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				t.Fatalf("first packet: %x %v, pion %x %v", a, errA, b, errB)
			}
		}
		sealed, err := ours.Protect(nil, pkt)
		if err == nil {
			want, err := theirs.EncryptRTP(nil, pkt, nil)
			// pion reads into header extensions, which are opaque here.
			if err == nil && !bytes.Equal(sealed, want) {
				t.Fatalf("%x: %x, pion %x", pkt, sealed, want)
			}
			recv := newTestContext(t, suite, key, salt)
			if binary.BigEndian.Uint16(pkt[2:]) >= before { // rollover counter 0
				if got, err := recv.Unprotect(nil, sealed); err != nil || !bytes.Equal(got, pkt) {
					t.Fatalf("%x comes back as %x, %v", pkt, got, err)
				}
			}
		}
		// As an incoming packet it is forged: neither may take it.
		if out, err := newTestContext(t, suite, key, salt).Unprotect(nil, pkt); err == nil {
			if _, err := newPion(t, suite, key, salt).DecryptRTP(nil, pkt, nil); err != nil {
				t.Fatalf("%x was taken as %x", pkt, out)
			}
		}
		if sealed, err := ours.ProtectRTCP(nil, pkt); err == nil {
			want, err := theirs.EncryptRTCP(nil, pkt, nil)
			if err == nil && !bytes.Equal(sealed, want) {
				t.Fatalf("report %x: %x, pion %x", pkt, sealed, want)
			}
			if got, err := newTestContext(t, suite, key, salt).UnprotectRTCP(nil, sealed); err != nil || !bytes.Equal(got, pkt) {
				t.Fatalf("report %x comes back as %x, %v", pkt, got, err)
			}
		}
		newTestContext(t, suite, key, salt).UnprotectRTCP(nil, pkt)
	})
}
