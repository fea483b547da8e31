package audio

import (
	"slices"
	"testing"
)

// The first value of every segment and the largest one, from ITU-T G.711 tables
// 1a and 2a: character signal as sent and decoder output value, which the
// tables give in 13 bits for A-law and in 14 bits for mu-law.
func TestG711ReferenceValues(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		decode        func([]byte) []int16
		encode        func([]int16) []byte
		negative      byte // bit that turns the sign
		scale         int16
		octets        []byte
		decoderValues []int16
	}{
		{
			name: "mu-law", decode: DecodeMuLaw, encode: EncodeMuLaw, negative: 0x80, scale: 4,
			octets:        []byte{0x80, 0x8f, 0x9f, 0xaf, 0xbf, 0xcf, 0xdf, 0xef, 0xfe, 0xff},
			decoderValues: []int16{8031, 4191, 2079, 1023, 495, 231, 99, 33, 2, 0},
		},
		{
			// Tables give A-law before every other bit is inverted.
			name: "A-law", decode: DecodeALaw, encode: EncodeALaw, negative: 0x80, scale: 8,
			octets:        []byte{0xff ^ 0x55, 0xf0 ^ 0x55, 0xe0 ^ 0x55, 0xd0 ^ 0x55, 0xc0 ^ 0x55, 0xb0 ^ 0x55, 0xa0 ^ 0x55, 0x80 ^ 0x55},
			decoderValues: []int16{4032, 2112, 1056, 528, 264, 132, 66, 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for i, octet := range tt.octets {
				want := tt.decoderValues[i] * tt.scale
				if got := tt.decode([]byte{octet})[0]; got != want {
					t.Errorf("octet %#02x is %d, want %d", octet, got, want)
				}
				if got := tt.decode([]byte{octet ^ tt.negative})[0]; got != -want {
					t.Errorf("octet %#02x is %d, want %d", octet^tt.negative, got, -want)
				}
				if got := tt.encode([]int16{want})[0]; got != octet {
					t.Errorf("%d becomes %#02x, want %#02x", want, got, octet)
				}
			}
		})
	}
}

// The 1 kHz test signal of G.711 tables 5 and 6, whose level is 0 dBm0: it is a
// sine, so its eight octets decode to a pattern with its symmetries.
func TestG711TestSignal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		octets []byte
		decode func([]byte) []int16
		encode func([]int16) []byte
	}{
		{"A-law", []byte{0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4}, DecodeALaw, EncodeALaw},
		{"mu-law", []byte{0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e}, DecodeMuLaw, EncodeMuLaw},
	}
	for _, tt := range tests {
		pcm := tt.decode(tt.octets)
		for i := range 4 {
			if pcm[i] != -pcm[i+4] || pcm[i] != pcm[3-i] {
				t.Errorf("%s: %v is no sine", tt.name, pcm)
			}
		}
		if ratio := float64(pcm[1]) / float64(pcm[0]); ratio < 2.3 || ratio > 2.5 { // tan(67.5°) = 2.414
			t.Errorf("%s: %v: peaks are %.2f times the rest, want 2.41", tt.name, pcm, ratio)
		}
		if got := tt.encode(pcm); !slices.Equal(got, tt.octets) {
			t.Errorf("%s: encoded again % x, want % x", tt.name, got, tt.octets)
		}
	}
}

// Every sample decodes to the middle of the interval that tables 1a and 2a put it
// into, and every octet comes back, except that mu-law knows two zeros.
func TestG711Exhaustive(t *testing.T) {
	t.Parallel()
	laws := []struct {
		name   string
		encode func([]int16) []byte
		decode func([]byte) []int16
		scale  int
		first  []int    // decision values before the segments of doubling width
		width  int      // of the intervals of the first of those segments
		below  int      // which interval a negative sample on a border belongs to: 1 the one nearer to zero (the tables leave it open)
		zeros  [][2]int // octets that do not come back, and what comes instead
	}{
		{"mu-law", EncodeMuLaw, DecodeMuLaw, 4, steps(-1, 31, 2), 4, 0, [][2]int{{0x7f, 0xff}}},
		{"A-law", EncodeALaw, DecodeALaw, 8, steps(0, 64, 2), 4, 1, nil},
	}
	for _, law := range laws {
		t.Run(law.name, func(t *testing.T) {
			t.Parallel()
			borders := law.first
			for width := law.width; len(borders) < 129; width *= 2 {
				last := borders[len(borders)-1]
				borders = append(borders, steps(last+width, last+16*width, width)...)
			}
			for s := -32768; s <= 32767; s++ {
				magnitude := max(s, -s)
				if s < 0 {
					magnitude -= law.below
				}
				want := 0
				for i, to := range borders[1:] {
					if from := borders[i]; magnitude >= from*law.scale {
						want = (from + to) * law.scale / 2
					}
				}
				if s < 0 {
					want = -want
				}
				if got := int(law.decode(law.encode([]int16{int16(s)}))[0]); got != want {
					t.Fatalf("%d becomes %d, want %d", s, got, want)
				}
			}
			for i := range 256 {
				want := i
				for _, zero := range law.zeros {
					if i == zero[0] {
						want = zero[1]
					}
				}
				if got := law.encode(law.decode([]byte{byte(i)}))[0]; int(got) != want {
					t.Errorf("octet %#02x came back as %#02x", i, got)
				}
			}
		})
	}
}

// steps counts from the first to the last, both included.
func steps(first, last, width int) []int {
	var out []int
	for s := first; s <= last; s += width {
		out = append(out, s)
	}
	return out
}

func BenchmarkEncodeMuLaw(b *testing.B) {
	frame := Alice()[8000:8160]
	for b.Loop() {
		EncodeMuLaw(frame)
	}
}
