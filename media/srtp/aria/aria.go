// Package aria is the block cipher ARIA (RFC 5794): blocks of 128 bits, keys of
// 128, 192 or 256. SRTP has it in AEAD_ARIA_256_GCM (RFC 8269), which some
// offices are obliged to use. Like every cipher of tables it takes time that
// depends a little on key and data; the AES suites do not.
package aria

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// BlockSize of ARIA in octets.
const BlockSize = 16

// state is a block, or a round key, as four big-endian words.
type state [4]uint32

type block struct {
	enc, dec []state // round keys, one more than there are rounds
}

// NewCipher makes the cipher of a key of 16, 24 or 32 octets. Any other length
// is an error.
func NewCipher(key []byte) (cipher.Block, error) {
	switch len(key) {
	case 16, 24, 32:
	default:
		return nil, fmt.Errorf("aria: a key of %d octets; 16, 24 and 32 are possible", len(key))
	}
	b := &block{enc: expand(key)}
	n := len(b.enc) - 1
	b.dec = make([]state, n+1)
	for i := range b.dec {
		b.dec[i] = b.enc[n-i]
		if i > 0 && i < n {
			b.dec[i].diffuse()
		}
	}
	return b, nil
}

func (b *block) BlockSize() int          { return BlockSize }
func (b *block) Encrypt(dst, src []byte) { crypt(b.enc, dst, src) }
func (b *block) Decrypt(dst, src []byte) { crypt(b.dec, dst, src) }

// crypt is RFC 5794 section 2.3: rounds of the two kinds in turn, and a last one
// without diffusion.
func crypt(keys []state, dst, src []byte) {
	s := load(src[:BlockSize])
	last := len(keys) - 2
	for i := 0; i < last; i += 2 {
		s.add(keys[i])
		s.round(&odd)
		if i+1 < last {
			s.add(keys[i+1])
			s.round(&even)
		}
	}
	s.add(keys[last])
	s.substitute()
	s.add(keys[last+1])
	s.store(dst[:BlockSize])
}

func load(b []byte) (s state) {
	for i := range s {
		s[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	return s
}

func (s *state) store(b []byte) {
	for i := range s {
		binary.BigEndian.PutUint32(b[4*i:], s[i])
	}
}

func (s *state) add(k state) {
	for i := range s {
		s[i] ^= k[i]
	}
}

// round substitutes and diffuses. The diffusion of section 2.4.3 is done in
// three steps: within a word each octet goes to the three others, which the
// tables do together with the substitution; words are mixed; the octets of a
// word change places; and the words are mixed again.
func (s *state) round(t *tables) {
	for i, w := range s {
		s[i] = t[0][w>>24] ^ t[1][w>>16&0xff] ^ t[2][w>>8&0xff] ^ t[3][w&0xff]
	}
	s.mix()
}

func (s *state) mix() {
	s.mixWords()
	s[1] = s[1]<<8&0xff00ff00 | s[1]>>8&0x00ff00ff
	s[2] = bits.RotateLeft32(s[2], 16)
	s[3] = bits.ReverseBytes32(s[3])
	s.mixWords()
}

// mixWords puts into each word the three that are not its own turn.
func (s *state) mixWords() {
	a, b, c, d := s[0], s[1], s[2], s[3]
	s[0], s[1], s[2], s[3] = a^b^c, a^c^d, a^b^d, b^c^d
}

// diffuse is the diffusion alone, which the keys for decryption need.
func (s *state) diffuse() {
	for i, w := range s {
		// Each octet to the three others of its word.
		s[i] = bits.RotateLeft32(w, 8) ^ bits.RotateLeft32(w, 16) ^ bits.RotateLeft32(w, 24)
	}
	s.mix()
}

// substitute is the second kind of substitution layer, which ends the last round.
func (s *state) substitute() {
	for i, w := range s {
		s[i] = uint32(boxes.s1i[w>>24])<<24 | uint32(boxes.s2i[w>>16&0xff])<<16 | uint32(boxes.s1[w>>8&0xff])<<8 | uint32(boxes.s2[w&0xff])
	}
}

// constants of the key expansion: the fractional part of 1/pi.
var constants = [3]state{
	{0x517cc1b7, 0x27220a94, 0xfe13abe8, 0xfa9a6ee0},
	{0x6db14acc, 0x9e21c820, 0xff28b1d5, 0xef5de2b0},
	{0xdb92371d, 0x2126e970, 0x03249775, 0x04e8c90e},
}

// expand makes the round keys for encryption (RFC 5794 section 2.2).
func expand(key []byte) []state {
	first := (len(key) - 16) / 8 // which constant comes first
	var w [4]state
	var right [16]byte
	copy(right[:], key[16:])
	w[0] = load(key)
	step := func(from state, c int, t *tables, with state) state {
		from.add(constants[(first+c)%3])
		from.round(t)
		from.add(with)
		return from
	}
	w[1] = step(w[0], 0, &odd, load(right[:]))
	w[2] = step(w[1], 1, &even, w[0])
	w[3] = step(w[2], 2, &odd, w[1])
	keys := make([]state, 0, 17)
	for _, left := range [...]int{128 - 19, 128 - 31, 61, 31, 19} {
		for i := range 4 {
			k := w[i]
			k.add(w[(i+1)%4].rotate(left))
			if i == 3 {
				k = w[3]
				k.add(w[0].rotate(left))
			}
			keys = append(keys, k)
		}
	}
	clear(right[:])
	return keys[:13+2*first]
}

// rotate turns the 128 bits to the left.
func (s state) rotate(n int) (r state) {
	words, shift := n/32, n%32
	for i := range r {
		r[i] = s[(i+words)%4]<<shift | uint32(uint64(s[(i+words+1)%4])>>(32-shift))
	}
	return r
}
