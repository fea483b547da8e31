package audio

import (
	"math"
	"math/bits"
	"math/cmplx"
)

const (
	// minOverlap is the shortest piece that counts as hearing something, in
	// samples: 200 ms. In less than that any two voices resemble each other.
	minOverlap = Rate / 5
	// quiet is the power of a signal, as the mean of its squared samples, below
	// which it is silence: the noise that G.711 makes of nothing.
	quiet = noise * noise
	// noise is the largest sample that counts as silence at the ends.
	noise = 16
)

// Correlate says how alike two recordings are wherever one lies best upon the
// other. The score is the normalised cross-correlation, the cosine of the angle
// between the two as vectors, over their overlap at the best lag: 1 when one is
// the other at any audible volume, shifted, after silence or with its beginning or end
// missing; near 0 when they have nothing to do with each other, and for silence.
//
// The lag is in samples: heard[i+lag] belongs to played[i].
//
// An overlap counts only where it is at least 200 ms long and holds half of what
// there is to hear in one of the two, so that a syllable does not pass for a
// sentence. Time must pass alike in both: audio that lost a packet in the middle
// without a gap in its place matches before or after it, not both.
func Correlate(heard, played []int16) (score float64, lag int) {
	h, p := centred(heard), centred(played)
	// Silence at the ends goes first: where a recording begins with silence and
	// then in mid-sentence, it must not lie upon what was not heard.
	h, skippedH := trimmed(h)
	p, skippedP := trimmed(p)
	sumH, sumP := energies(h), energies(p)
	totalH, totalP := sumH[len(h)], sumP[len(p)]
	if len(h) < minOverlap || len(p) < minOverlap ||
		totalH < quiet*float64(len(h)) || totalP < quiet*float64(len(p)) {
		return 0, 0
	}

	cross := crossCorrelation(h, p)
	for l := -len(p) + minOverlap; l <= len(h)-minOverlap; l++ {
		// The overlap in samples of heard, then of played.
		from, to := max(l, 0), min(len(h), len(p)+l)
		if to-from < minOverlap {
			continue
		}
		energyH := sumH[to] - sumH[from]
		energyP := sumP[to-l] - sumP[from-l]
		if 2*energyH < totalH && 2*energyP < totalP {
			continue
		}
		n := float64(to - from)
		if energyH < quiet*n/16 || energyP < quiet*n/16 {
			continue // one of the two is silent here
		}
		if s := cross[(l+len(cross))%len(cross)] / math.Sqrt(energyH*energyP); s > score {
			score, lag = s, l
		}
	}
	if score == 0 {
		return 0, 0
	}
	return min(score, 1), lag + skippedH - skippedP
}

// centred is pcm without its mean: two signals that share nothing but an offset
// are not alike.
func centred(pcm []int16) []float64 {
	var sum float64
	for _, s := range pcm {
		sum += float64(s)
	}
	mean := sum / float64(max(len(pcm), 1))
	out := make([]float64, len(pcm))
	for i, s := range pcm {
		out[i] = float64(s) - mean
	}
	return out
}

// trimmed is x without silence at its ends, and how much went from its beginning.
func trimmed(x []float64) (rest []float64, skipped int) {
	for len(x) > 0 && math.Abs(x[len(x)-1]) <= noise {
		x = x[:len(x)-1]
	}
	for len(x) > 0 && math.Abs(x[0]) <= noise {
		x = x[1:]
		skipped++
	}
	return x, skipped
}

// energies are the running sums of squares: the energy of x[a:b] is e[b]-e[a].
func energies(x []float64) []float64 {
	e := make([]float64, len(x)+1)
	for i, v := range x {
		e[i+1] = e[i] + v*v
	}
	return e
}

// crossCorrelation returns the sum over i of h[i+lag]*p[i] at index lag, modulo
// its length for negative lags.
func crossCorrelation(h, p []float64) []float64 {
	size := 1 << bits.Len(uint(len(h)+len(p)-1))
	// Two real signals fit into one complex transform: one as the real, one as
	// the imaginary part, told apart afterwards by their symmetry.
	z := make([]complex128, size)
	for i, v := range h {
		z[i] = complex(v, 0)
	}
	for i, v := range p {
		z[i] += complex(0, v)
	}
	roots := unitRoots(size)
	transform(z, roots)
	r := make([]complex128, size)
	for k := range z {
		mirror := cmplx.Conj(z[(size-k)&(size-1)])
		hk, pk := (z[k]+mirror)/2, (z[k]-mirror)/2i
		// Conjugated as a whole, so that a second forward transform, conjugated
		// again, is the inverse one. The result is real, which spares the latter.
		r[k] = cmplx.Conj(hk) * pk
	}
	transform(r, roots)
	out := make([]float64, size)
	for i, v := range r {
		out[i] = real(v) / float64(size)
	}
	return out
}

// unitRoots are exp(-2πik/size) for the first half of k.
func unitRoots(size int) []complex128 {
	roots := make([]complex128, size/2)
	for k := range roots {
		sin, cos := math.Sincos(-2 * math.Pi * float64(k) / float64(size))
		roots[k] = complex(cos, sin)
	}
	return roots
}

// transform is the discrete Fourier transform in place, by halves (Cooley and
// Tukey, 1965). The length is a power of two.
func transform(x []complex128, roots []complex128) {
	shift := bits.UintSize - bits.Len(uint(len(x)-1))
	for i := range x {
		if j := int(bits.Reverse(uint(i)) >> shift); j > i {
			x[i], x[j] = x[j], x[i]
		}
	}
	for width := 2; width <= len(x); width *= 2 {
		half, stride := width/2, len(x)/width
		for start := 0; start < len(x); start += width {
			low, high := x[start:start+half], x[start+half:start+width]
			for k := range low {
				a, b := low[k], high[k]*roots[k*stride]
				low[k], high[k] = a+b, a-b
			}
		}
	}
}
