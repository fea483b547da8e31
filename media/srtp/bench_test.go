package srtp

import (
	"encoding/binary"
	"testing"
)

// Both benchmarks: one packet of 20 ms G.711, 172 octets.
func BenchmarkProtect(b *testing.B) {
	for _, suite := range Suites() {
		b.Run(suite.Name, func(b *testing.B) {
			send, _ := pair(b, suite)
			pkt := make([]byte, 172, 172+MaxOverhead)
			clear := voice(0, 1)
			b.ReportAllocs()
			for seq := uint16(0); b.Loop(); seq++ {
				copy(pkt, clear)
				binary.BigEndian.PutUint16(pkt[2:], seq)
				if _, err := send.Protect(pkt[:0], pkt); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkUnprotect(b *testing.B) {
	for _, suite := range Suites() {
		b.Run(suite.Name, func(b *testing.B) {
			send, recv := pair(b, suite)
			const batch = 1024
			packets := make([][]byte, batch)
			clear := make([]byte, 0, 172+MaxOverhead)
			seq := uint16(0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i = (i + 1) % batch {
				if i == 0 {
					b.StopTimer()
					for j := range packets {
						var err error
						if packets[j], err = send.Protect(packets[j][:0], voice(seq, 1)); err != nil {
							b.Fatal(err)
						}
						seq++
					}
					b.StartTimer()
				}
				if _, err := recv.Unprotect(clear, packets[i]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPion is pion/srtp at the work of BenchmarkProtect, for the ratio.
func BenchmarkPion(b *testing.B) {
	for _, suite := range Suites() {
		if _, ok := pionProfiles[suite.Name]; !ok {
			continue
		}
		key, salt := make([]byte, suite.KeyLen), make([]byte, suite.SaltLen)
		b.Run("protect/"+suite.Name, func(b *testing.B) {
			c := newPion(b, suite, key, salt)
			pkt := make([]byte, 172, 172+MaxOverhead)
			clear := voice(0, 1)
			b.ReportAllocs()
			for seq := uint16(0); b.Loop(); seq++ {
				copy(pkt, clear)
				binary.BigEndian.PutUint16(pkt[2:], seq)
				if _, err := c.EncryptRTP(pkt[:0], pkt, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
