package keyexchange

import "testing"

// BenchmarkExchange is a whole exchange, both ends: dh-init, dh-resp, dh-fin,
// the keys of one m= line and the SAS.
func BenchmarkExchange(b *testing.B) {
	for _, g := range []string{GroupX25519, GroupX25519MLKEM768} {
		b.Run(g, func(b *testing.B) {
			cfg := configOf(g)
			b.ReportAllocs()
			for b.Loop() {
				e := agreeing(b, cfg, nil)
				if !e.sameKeys(b) {
					b.Fatal("the ends do not agree")
				}
			}
		})
	}
}
