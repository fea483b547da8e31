package keyexchange

import (
	"errors"
	"math/rand/v2"
	"testing"
)

// FuzzTampering: whatever one octet somebody changes on the way, either an end
// notices or the ends have no common keys; and if nothing changes they have.
func FuzzTampering(f *testing.F) {
	f.Add(uint64(1), false, byte(0), uint16(20), byte(0))
	for which := range byte(3) {
		for _, hybrid := range []bool{false, true} {
			f.Add(uint64(which), hybrid, which, uint16(12), byte(1))
			f.Add(uint64(which), hybrid, which, uint16(40), byte('A'^'B'))
			f.Add(uint64(which), hybrid, which, uint16(1500), byte(3))
		}
	}
	f.Fuzz(func(t *testing.T, seed uint64, hybrid bool, which byte, at uint16, with byte) {
		random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
		cfg := Config{Groups: []string{GroupX25519}, Suites: Suites(), Rand: random}
		if hybrid {
			cfg.Groups = []string{GroupX25519MLKEM768, GroupX25519}
		}
		values := [3]string{}
		tampered := false
		carry := func(i byte, value string) string {
			values[i] = value
			if which%3 != i || with == 0 {
				return value
			}
			b := []byte(value)
			b[int(at)%len(b)] ^= with
			tampered = true
			return string(b)
		}
		x, err := NewInitiator(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		y, resp, err := NewResponder(cfg, taken(carry(0, x.Init())), nil)
		if err == nil {
			var fin string
			if fin, err = x.TakeResp(taken(carry(1, resp))); err == nil {
				err = y.TakeFin(taken(carry(2, fin)))
			}
		}
		if err != nil {
			var failure *Failure
			if !tampered || !errors.As(err, &failure) && !errors.Is(err, ErrNoCommon) {
				t.Fatalf("tampered %t: %v", tampered, err)
			}
			return
		}
		e := &ends{x, y, values[0], values[1], values[2]}
		if e.sameKeys(t) == tampered {
			t.Errorf("tampered %t and the ends agree: %t", tampered, !tampered)
		}
	})
}
