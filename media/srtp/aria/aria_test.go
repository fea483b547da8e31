package aria

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

func octets(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 5794 appendix A.
func TestRFC5794(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ key, plain, cipher string }{
		{"000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff", "d718fbd6ab644c739da95f3be6451778"},
		{"000102030405060708090a0b0c0d0e0f1011121314151617", "00112233445566778899aabbccddeeff", "26449c1805dbe7aa25a468ce263a9e79"},
		{"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "00112233445566778899aabbccddeeff", "f92bd7c79fb72e2f2b8f80c1972d24fc"},
	} {
		b, err := NewCipher(octets(t, v.key))
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, BlockSize)
		b.Encrypt(out, octets(t, v.plain))
		if got := hex.EncodeToString(out); got != v.cipher {
			t.Errorf("key of %d bits: %s, want %s", len(v.key)*4, got, v.cipher)
		}
		b.Decrypt(out, out)
		if got := hex.EncodeToString(out); got != v.plain {
			t.Errorf("key of %d bits, back: %s", len(v.key)*4, got)
		}
	}
}

func TestKeyLength(t *testing.T) {
	t.Parallel()
	for n := range 40 {
		_, err := NewCipher(make([]byte, n))
		if ok := n == 16 || n == 24 || n == 32; (err == nil) != ok {
			t.Errorf("key of %d octets: %v", n, err)
		}
	}
}

func TestDecryptIsInverse(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		key, plain := make([]byte, []int{16, 24, 32}[rng.IntN(3)]), make([]byte, BlockSize)
		for i := range key {
			key[i] = byte(rng.Uint32())
		}
		for i := range plain {
			plain[i] = byte(rng.Uint32())
		}
		b, err := NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		out := bytes.Clone(plain)
		b.Encrypt(out, out)
		if bytes.Equal(out, plain) {
			t.Fatalf("key %x leaves %x as it is", key, plain)
		}
		if b.Decrypt(out, out); !bytes.Equal(out, plain) {
			t.Fatalf("key %x: %x comes back as %x", key, plain, out)
		}
	}
}

func BenchmarkEncrypt(b *testing.B) {
	c, err := NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, BlockSize)
	b.SetBytes(BlockSize)
	for b.Loop() {
		c.Encrypt(buf, buf)
	}
}
