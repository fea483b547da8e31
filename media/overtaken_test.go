package media

import (
	"testing"

	"github.com/sipward/sipward/media/srtp"
)

// The first packets of a stream are overtaken by later ones like any others, and
// heard like any others: nothing before them has their numbers.
func TestFirstPacketOvertaken(t *testing.T) {
	t.Parallel()
	for name, sequence := range map[string][]uint16{
		"by one":          {101, 100, 102},
		"by two":          {7, 6, 5, 8},
		"at zero":         {1, 0, 2},
		"behind the wrap": {0, 65535, 65534, 1},
		"by many":         {127, 0, 1, 128},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 50 { // the first number is drawn
				r := newRig(t)
				r.session.SetMode(A, Plain)
				far := r.protect(srtp.Suites()[0], ProtectOptions{})
				var first uint16
				for i, seq := range sequence {
					r.phone(voice(1, seq))
					sent := r.drain()
					if len(sent) != 1 {
						t.Fatalf("%d packets left for number %d of %v", len(sent), seq, sequence)
					}
					far.open(sent[0].pkt)
					if i == 0 {
						first = seqOf(sent[0].pkt)
					} else if got := seqOf(sent[0].pkt) - first; got != seq-sequence[0] {
						t.Errorf("number %d left %d behind the first, want %d", seq, int16(got), int16(seq-sequence[0]))
					}
				}
			}
		})
	}
}
