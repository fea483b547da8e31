package audio

import "math/bits"

// G.711 keeps a sign, three bits of magnitude and four bits of detail. Both laws
// cut the range into segments, each twice as wide as the one below, and each
// segment into 16 steps. What is sent has bits inverted so that silence, the
// commonest signal, does not look like an idle line.

const (
	muBias = 0x84  // puts the lowest mu-law segment at a power of two
	muClip = 32635 // the largest magnitude that fits with the bias
)

var (
	muTable = decodeTable(muLawSample)
	aTable  = decodeTable(aLawSample)
)

// EncodeMuLaw codes samples as G.711 mu-law (RTP payload type 0, PCMU), one
// octet each.
func EncodeMuLaw(pcm []int16) []byte {
	b := make([]byte, len(pcm))
	for i, s := range pcm {
		b[i] = muLawOctet(s)
	}
	return b
}

// DecodeMuLaw is the inverse of EncodeMuLaw, as far as the coding allows.
func DecodeMuLaw(b []byte) []int16 { return decode(b, &muTable) }

// EncodeALaw codes samples as G.711 A-law (RTP payload type 8, PCMA), one octet
// each.
func EncodeALaw(pcm []int16) []byte {
	b := make([]byte, len(pcm))
	for i, s := range pcm {
		b[i] = aLawOctet(s)
	}
	return b
}

// DecodeALaw is the inverse of EncodeALaw, as far as the coding allows.
func DecodeALaw(b []byte) []int16 { return decode(b, &aTable) }

func decode(b []byte, table *[256]int16) []int16 {
	pcm := make([]int16, len(b))
	for i, o := range b {
		pcm[i] = table[o]
	}
	return pcm
}

func decodeTable(sample func(byte) int16) (t [256]int16) {
	for i := range t {
		t[i] = sample(byte(i))
	}
	return t
}

func muLawOctet(s int16) byte {
	magnitude, sign := int(s), byte(0)
	if magnitude < 0 {
		magnitude, sign = -magnitude, 0x80
	}
	magnitude = min(magnitude, muClip) + muBias
	segment := bits.Len(uint(magnitude)) - 8 // 0x84..0xff is segment 0
	step := magnitude >> (segment + 3) & 0x0f
	return ^(sign | byte(segment<<4) | byte(step))
}

func muLawSample(o byte) int16 {
	o = ^o
	segment, step := int(o>>4&7), int(o&0x0f)
	magnitude := (step<<3+muBias)<<segment - muBias
	if o&0x80 != 0 {
		return int16(-magnitude)
	}
	return int16(magnitude)
}

func aLawOctet(s int16) byte {
	magnitude, sign := int(s), byte(0x80)
	if magnitude < 0 {
		// G.711 has no zero: what lies just below it belongs to the first
		// negative step, and a border to the step nearer to zero.
		magnitude, sign = -magnitude-1, 0
	}
	segment := max(bits.Len(uint(magnitude))-8, 0) // 0..0xff is segment 0
	step := magnitude >> (max(segment, 1) + 3) & 0x0f
	return (sign | byte(segment<<4) | byte(step)) ^ 0x55
}

func aLawSample(o byte) int16 {
	o ^= 0x55
	segment, step := int(o>>4&7), int(o&0x0f)
	magnitude := step<<4 + 8 // the middle of the step
	if segment > 0 {
		magnitude = (magnitude + 0x100) << (segment - 1)
	}
	if o&0x80 == 0 {
		return int16(-magnitude)
	}
	return int16(magnitude)
}
