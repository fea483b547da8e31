//go:build interop && linux

package interop

import (
	"math"
	"slices"
	"testing"
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

// judgePieces wants to hear a voice in most parts of what a phone recorded that
// leaves out or repeats a few samples now and then, as linphone does on a busy
// machine: whole, it would not be in step with what was played, and neither are the
// parts in which it does so.
func judgePieces(t *testing.T, where string, heard, voice []int16) {
	t.Helper()
	const (
		piece    = audio.Rate / 2
		inPieces = 0.7 // another voice is below otherVoice in pieces, too: TestPieces
	)
	scores := pieces(heard, voice, piece)
	t.Logf("%s: %.3f, by half seconds", where, scores)
	slices.Sort(scores)
	if len(scores) < 3 || scores[len(scores)/2] < inPieces {
		t.Errorf("%s: alike by %.3f, want %v in most of them and three at least", where, scores, inPieces)
	}
}

func pieces(heard, voice []int16, length int) (scores []float64) {
	for ; len(heard) >= length; heard = heard[length:] {
		scores = append(scores, alike(heard[:length], voice))
	}
	return scores
}

// TestPieces shows that half seconds tell voices apart.
func TestPieces(t *testing.T) {
	t.Parallel()
	scores := pieces(audio.Alice(), audio.Bob(), audio.Rate/2)
	slices.Sort(scores)
	if m := scores[len(scores)/2]; m >= otherVoice {
		t.Errorf("Alice sounds like Bob in half seconds: %.3f", scores)
	}
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
