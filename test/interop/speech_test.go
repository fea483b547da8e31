//go:build interop && linux

package interop

import (
	"math"
	"time"

	"github.com/sipward/sipward/demo/audio"
)

const (
	sameVoice  = 0.9
	otherVoice = 0.3
)

// alike says how much of what was heard is the voice, which was played over and
// over.
func alike(heard, voice []int16) float64 {
	score, _ := audio.Correlate(heard, repeated(voice, 20*time.Second))
	return score
}

// decoded is what G.711 mu-law makes of payloads.
func decoded(payloads [][]byte) []int16 {
	var pcm []int16
	for _, p := range payloads {
		pcm = append(pcm, audio.DecodeMuLaw(p)...)
	}
	return pcm
}

// entropy is that of the single octets, in bits: 8 for ciphertext.
func entropy(payloads [][]byte) float64 {
	var count [256]float64
	var n float64
	for _, p := range payloads {
		for _, o := range p {
			count[o]++
			n++
		}
	}
	var bits float64
	for _, c := range count {
		if c > 0 {
			bits -= c / n * math.Log2(c/n)
		}
	}
	return bits
}

func kindsOf(ms []message) map[string]bool {
	kinds := make(map[string]bool)
	for _, m := range ms {
		kinds[m.kind()] = true
	}
	return kinds
}
