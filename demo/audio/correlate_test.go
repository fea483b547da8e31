package audio

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// overLine is what remains of pcm behind mu-law.
func overLine(pcm []int16) []int16 { return DecodeMuLaw(EncodeMuLaw(pcm)) }

func louder(pcm []int16, factor float64) []int16 {
	out := slices.Clone(pcm)
	for i, s := range pcm {
		out[i] = int16(max(-32768, min(32767, math.Round(float64(s)*factor))))
	}
	return out
}

// tone is a sine; whiteNoise has all frequencies alike.
func tone(seconds, hertz float64) []int16 {
	out := make([]int16, int(seconds*Rate))
	for i := range out {
		out[i] = int16(8000 * math.Sin(2*math.Pi*hertz*float64(i)/Rate))
	}
	return out
}

func whiteNoise(samples int, amplitude float64) []int16 {
	random := rand.New(rand.NewPCG(1, 2))
	out := make([]int16, samples)
	for i := range out {
		out[i] = int16(amplitude * (2*random.Float64() - 1))
	}
	return out
}

func mixed(a, b []int16) []int16 {
	out := slices.Clone(a)
	for i := range min(len(a), len(b)) {
		out[i] += b[i]
	}
	return out
}

func silence(samples int) []int16 { return make([]int16, samples) }

func TestCorrelateTheSame(t *testing.T) {
	t.Parallel()
	a := Alice()
	tests := []struct {
		name  string
		heard []int16
		least float64
		lag   int
	}{
		{"identical", a, 0.999999, 0},
		{"after silence", slices.Concat(silence(12345), a), 0.999999, 12345},
		{"before silence", slices.Concat(a, silence(40000)), 0.999999, 0},
		{"beginning missing", a[9000:], 0.999999, -9000},
		{"end missing", a[:20000], 0.999999, 0},
		{"one second out of the middle", slices.Concat(silence(777), a[16000:24000]), 0.999999, 777 - 16000},
		{"beginning missing after silence over the line", slices.Concat(DecodeMuLaw(slices.Repeat([]byte{0xff}, 4000)), overLine(a[9000:])), 0.99, 4000 - 9000},
		{"over the line", slices.Concat(DecodeMuLaw(slices.Repeat([]byte{0xff}, 4000)), overLine(a)), 0.99, 4000},
		{"A-law", DecodeALaw(EncodeALaw(a)), 0.99, 0},
		{"softly", louder(a, 0.02), 0.99, 0},
		{"loudly", louder(a, 1.5), 0.99, 0},
		{"with an offset", mixed(a, slices.Repeat([]int16{2000}, len(a))), 0.999, 0},
		{"after a ringing tone", slices.Concat(tone(3, 425), a), 0.999999, 3 * Rate},
		{"with noise 20 dB below", mixed(a, whiteNoise(len(a), 300)), 0.98, 0},
	}
	for _, tt := range tests {
		score, lag := Correlate(tt.heard, a)
		if score < tt.least || score > 1 || lag != tt.lag {
			t.Errorf("%s: %.7f at %d, want at least %v at %d", tt.name, score, lag, tt.least, tt.lag)
		}
	}
}

func TestCorrelateSomethingElse(t *testing.T) {
	t.Parallel()
	a, b := Alice(), Bob()
	tests := []struct {
		name          string
		heard, played []int16
	}{
		{"Bob for Alice", b, a},
		{"Alice for Bob", a, b},
		{"Bob after silence", slices.Concat(silence(30000), b), a},
		{"a piece of Bob", b[10000:26000], a},
		{"Bob over the line", overLine(b), a},
		{"noise", whiteNoise(60000, 8000), a},
		{"ciphertext", DecodeMuLaw(randomOctets(60000)), a},
		{"a tone", tone(5, 425), a},
	}
	for _, tt := range tests {
		score, _ := Correlate(tt.heard, tt.played)
		t.Logf("%s: %.3f", tt.name, score)
		if score >= 0.3 {
			t.Errorf("%s: %.3f, want less than 0.3", tt.name, score)
		}
	}
}

func TestCorrelateNothing(t *testing.T) {
	t.Parallel()
	a := Alice()
	tests := []struct {
		name          string
		heard, played []int16
	}{
		{"nothing heard", nil, a},
		{"nothing played", a, nil},
		{"neither", nil, nil},
		{"silence", silence(40000), a},
		{"silence twice", silence(40000), silence(40000)},
		{"silence of A-law", DecodeALaw(slices.Repeat([]byte{0xd5, 0x55}, 20000)), DecodeALaw(slices.Repeat([]byte{0xd5, 0x55}, 20000))},
		{"an offset", slices.Repeat([]int16{1000}, 40000), slices.Repeat([]int16{1000}, 40000)},
		{"too short", a[16000:17000], a},
	}
	for _, tt := range tests {
		if score, lag := Correlate(tt.heard, tt.played); score != 0 || lag != 0 {
			t.Errorf("%s: %.3f at %d, want 0 at 0", tt.name, score, lag)
		}
	}
}

// The transform agrees with the sum that it stands for.
func TestCrossCorrelationByHand(t *testing.T) {
	t.Parallel()
	for _, sizes := range [][2]int{{1, 1}, {5, 3}, {3, 5}, {64, 64}, {100, 29}} {
		h, p := centred(whiteNoise(sizes[0], 100)), centred(Alice()[8000:8000+sizes[1]])
		got := crossCorrelation(h, p)
		for lag := -len(p) + 1; lag < len(h); lag++ {
			var want float64
			for i := range p {
				if i+lag >= 0 && i+lag < len(h) {
					want += h[i+lag] * p[i]
				}
			}
			if d := got[(lag+len(got))%len(got)] - want; math.Abs(d) > 1e-4 {
				t.Errorf("%v at %d: off by %g of %g", sizes, lag, d, want)
			}
		}
	}
}

func TestRecordings(t *testing.T) {
	t.Parallel()
	for name, record := range map[string]func() []int16{"Alice": Alice, "Bob": Bob} {
		pcm := record()
		length := time.Duration(len(pcm)) * time.Second / Rate
		if length < 5*time.Second || length > 6*time.Second {
			t.Errorf("%s takes %v", name, length)
		}
		var power float64
		var peak int16
		for _, s := range pcm {
			power += float64(s) * float64(s) / float64(len(pcm))
			peak = max(peak, s, -s)
		}
		if rms := math.Sqrt(power); rms < 1000 || peak > 17000 {
			t.Errorf("%s: mean level %.0f, peak %d", name, rms, peak)
		}
		pcm[0]++
		if record()[0] == pcm[0] {
			t.Errorf("%s hands out the same slice twice", name)
		}
	}
}

func randomOctets(n int) []byte {
	random := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// Ten seconds of each.
func BenchmarkCorrelate(b *testing.B) {
	played := slices.Concat(Alice(), Bob())[:10*Rate]
	heard := overLine(slices.Concat(silence(Rate), played[:9*Rate]))
	for b.Loop() {
		if score, _ := Correlate(heard, played); score < 0.9 {
			b.Fatal(score)
		}
	}
}
