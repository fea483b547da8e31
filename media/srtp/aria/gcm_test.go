package aria

import (
	"bytes"
	"crypto/cipher"
	"math/rand/v2"
	"testing"
)

// The mode is that of crypto/cipher, to the octet and in what it refuses.
func TestGCMIsThatOfCryptoCipher(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(2, 2))
	octets := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	for i := range 300 {
		key, nonce, plain, more := octets(32), octets(12), octets(rng.IntN(200)), octets(rng.IntN(40))
		b, err := NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		want, err := cipher.NewGCM(b)
		if err != nil {
			t.Fatal(err)
		}
		g, err := NewGCM(key)
		if err != nil {
			t.Fatal(err)
		}
		sealed := g.Seal([]byte("x"), nonce, plain, more)
		if w := want.Seal([]byte("x"), nonce, plain, more); !bytes.Equal(sealed, w) {
			t.Fatalf("message %d: %x, want %x", i, sealed, w)
		}
		if got, err := g.Open([]byte("y"), nonce, sealed[1:], more); err != nil || !bytes.Equal(got, append([]byte("y"), plain...)) {
			t.Fatalf("message %d: %x, %v", i, got, err)
		}
		sealed[1+rng.IntN(len(sealed)-1)] ^= 1 << rng.IntN(8)
		if got, err := g.Open(nil, nonce, sealed[1:], more); err == nil {
			t.Fatalf("changed message %d opens as %x", i, got)
		}
		if _, err := g.Open(nil, nonce, sealed[:rng.IntN(tagSize)], more); err == nil {
			t.Fatal("a message shorter than its tag opens")
		}
		inPlace := append(make([]byte, 0, len(plain)+tagSize), plain...)
		if got := g.Seal(inPlace[:0], nonce, inPlace, more); !bytes.Equal(got, want.Seal(nil, nonce, plain, more)) {
			t.Fatalf("message %d sealed in place: %x", i, got)
		}
	}
}
