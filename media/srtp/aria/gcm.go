package aria

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

const (
	nonceSize = 12
	tagSize   = 16
)

// gcm is Galois/Counter Mode (NIST SP 800-38D) with nonces of 12 octets and
// whole tags. That of crypto/cipher allocates for every packet with any cipher
// but AES.
type gcm struct {
	b     cipher.Block
	table [16]element // multiples of the hash key

	// Scratch, so that nothing escapes for a packet.
	counter, mask, stream, sum, length [BlockSize]byte
}

// element is one of GF(2^128), its first bit the highest of hi.
type element struct{ hi, lo uint64 }

// NewGCM makes ARIA in Galois/Counter Mode. It is for one goroutine at a time
// and allocates nothing where dst has room. Errors are those of [NewCipher].
func NewGCM(key []byte) (cipher.AEAD, error) {
	b, err := NewCipher(key)
	if err != nil {
		return nil, err
	}
	g := &gcm{b: b}
	var h [BlockSize]byte
	b.Encrypt(h[:], h[:])
	// table[i] is the key times the four bits of i, the highest first.
	e := element{binary.BigEndian.Uint64(h[:8]), binary.BigEndian.Uint64(h[8:])}
	for i := 8; i > 0; i /= 2 {
		g.table[i] = e
		e = e.half()
	}
	for i := 2; i < 16; i *= 2 {
		for j := 1; j < i; j++ {
			g.table[i+j] = element{g.table[i].hi ^ g.table[j].hi, g.table[i].lo ^ g.table[j].lo}
		}
	}
	clear(h[:])
	return g, nil
}

// half multiplies by x, which in this order of bits moves them down.
func (e element) half() element {
	carry := e.lo & 1
	return element{e.hi>>1 ^ carry*(0xe1<<56), e.lo>>1 | e.hi<<63}
}

// reduction is what four bits that leave at the lower end become at the upper.
var reduction = func() (t [16]uint64) {
	for i := range t {
		e := element{0, uint64(i)}
		for range 4 {
			e = e.half()
		}
		t[i] = e.hi
	}
	return t
}()

func (g *gcm) NonceSize() int { return nonceSize }
func (g *gcm) Overhead() int  { return tagSize }

// Seal implements [cipher.AEAD].
func (g *gcm) Seal(dst, nonce, plain, more []byte) []byte {
	g.begin(nonce)
	start := len(dst)
	dst = append(dst, plain...)
	sealed := dst[start:]
	g.xor(sealed)
	return append(dst, g.tag(sealed, more)...)
}

var errOpen = errors.New("aria: message does not verify")

// Open implements [cipher.AEAD].
func (g *gcm) Open(dst, nonce, sealed, more []byte) ([]byte, error) {
	if len(sealed) < tagSize {
		return nil, errOpen
	}
	body, tag := sealed[:len(sealed)-tagSize], sealed[len(sealed)-tagSize:]
	g.begin(nonce)
	if subtle.ConstantTimeCompare(g.tag(body, more), tag) == 0 {
		return nil, errOpen
	}
	start := len(dst)
	dst = append(dst, body...)
	g.xor(dst[start:])
	return dst, nil
}

// begin sets the counter to 1, whose block masks the tag.
func (g *gcm) begin(nonce []byte) {
	if len(nonce) != nonceSize {
		panic("aria: a nonce has 12 octets")
	}
	copy(g.counter[:], nonce)
	binary.BigEndian.PutUint32(g.counter[nonceSize:], 1)
	g.b.Encrypt(g.mask[:], g.counter[:])
}

// xor encrypts or decrypts in place, with the blocks from counter 2 on.
func (g *gcm) xor(text []byte) {
	for n := uint32(2); len(text) > 0; n++ {
		binary.BigEndian.PutUint32(g.counter[nonceSize:], n)
		g.b.Encrypt(g.stream[:], g.counter[:])
		text = text[subtle.XORBytes(text, text, g.stream[:]):]
	}
}

// tag is the masked hash of what is authenticated and what is encrypted; it is
// valid until the next call.
func (g *gcm) tag(sealed, more []byte) []byte {
	var e element
	g.hash(&e, more)
	g.hash(&e, sealed)
	binary.BigEndian.PutUint64(g.length[:8], uint64(len(more))*8)
	binary.BigEndian.PutUint64(g.length[8:], uint64(len(sealed))*8)
	g.hash(&e, g.length[:])
	binary.BigEndian.PutUint64(g.sum[:8], e.hi)
	binary.BigEndian.PutUint64(g.sum[8:], e.lo)
	subtle.XORBytes(g.sum[:], g.sum[:], g.mask[:])
	return g.sum[:]
}

// hash takes octets into the hash, the last block filled with zeros.
func (g *gcm) hash(e *element, b []byte) {
	for len(b) > 0 {
		var x [BlockSize]byte
		b = b[copy(x[:], b):]
		e.hi ^= binary.BigEndian.Uint64(x[:8])
		e.lo ^= binary.BigEndian.Uint64(x[8:])
		g.multiply(e)
	}
}

// multiply multiplies by the hash key, four bits at a time from the last.
func (g *gcm) multiply(e *element) {
	var z element
	for _, word := range [2]uint64{e.lo, e.hi} {
		for range 16 {
			out := z.lo & 0xf
			z.lo = z.lo>>4 | z.hi<<60
			z.hi = z.hi>>4 ^ reduction[out]
			m := &g.table[word&0xf]
			z.hi ^= m.hi
			z.lo ^= m.lo
			word >>= 4
		}
	}
	*e = z
}
