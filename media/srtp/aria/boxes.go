package aria

import "math/bits"

// tables hold, for each octet of a word, its substitution spread to the three
// other octets.
type tables [4][256]uint32

// sBoxes are the substitutions of RFC 5794 section 2.4.2 and their inverses.
type sBoxes struct{ s1, s2, s1i, s2i [256]byte }

var (
	boxes = makeBoxes()
	odd   = spread(&boxes.s1, &boxes.s2, &boxes.s1i, &boxes.s2i)
	even  = spread(&boxes.s1i, &boxes.s2i, &boxes.s1, &boxes.s2)
)

// affine2 are the rows of the matrix of the second substitution, the bits of a
// row from the lowest.
var affine2 = [8]byte{0b01111010, 0b10111100, 0b11101011, 0b10111001, 0b00110100, 0b10000001, 0b10111010, 0b11001011}

// makeBoxes computes the substitutions from their definition: an inverse and a
// power in GF(2^8) with x^8+x^4+x^3+x+1, each followed by an affine map.
func makeBoxes() (b sBoxes) {
	for x := range 256 {
		inverse := power(byte(x), 254)
		s1 := byte(0x63)
		for _, n := range []int{0, 1, 2, 3, 4} {
			s1 ^= bits.RotateLeft8(inverse, n)
		}
		s2, p := byte(0xe2), power(byte(x), 247)
		for row, mask := range affine2 {
			s2 ^= byte(bits.OnesCount8(mask&p)&1) << row
		}
		b.s1[x], b.s2[x] = s1, s2
		b.s1i[s1], b.s2i[s2] = byte(x), byte(x)
	}
	return b
}

func power(x byte, n int) byte {
	r := byte(1)
	for range n {
		r = multiply(r, x)
	}
	return r
}

func multiply(a, b byte) (r byte) {
	for ; b > 0; b >>= 1 {
		if b&1 == 1 {
			r ^= a
		}
		carry := a >> 7
		a = a<<1 ^ carry*0x1b
	}
	return r
}

func spread(boxes ...*[256]byte) (t tables) {
	for i, box := range boxes {
		others := uint32(0x01010101) &^ (1 << (24 - 8*i))
		for x, s := range box {
			t[i][x] = uint32(s) * others
		}
	}
	return t
}
