package sdp

import (
	"os"
	"strings"
	"testing"
)

// BenchmarkRewrite is what one offer costs: Parse, Apply, an attribute, Bytes.
func BenchmarkRewrite(b *testing.B) {
	for _, name := range []string{"desk-audio", "desk-video", "browser-bundle"} {
		body, err := os.ReadFile("testdata/" + name + ".sdp")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) { benchmark(b, body) })
	}
	// What a stranger can make it cost at most.
	b.Run("hostile-ipv6", func(b *testing.B) {
		benchmark(b, []byte("c=IN IP6 fd00::1\r\ns="+strings.Repeat("1:", MaxSize/2-20)))
	})
	b.Run("hostile-lines", func(b *testing.B) {
		benchmark(b, []byte("c=IN IP4 1.2.3.4\r\n"+strings.Repeat("a=candidate:1.2.3.5\na=1.2.3.4\n", MaxSize/31-10)))
	})
}

func benchmark(b *testing.B, body []byte) {
	s, err := Parse(body)
	if err != nil {
		b.Fatal(err)
	}
	r := Rewrite{Addr: own4, Ports: oraclePorts(len(s.Media()), 0), DropKeying: true}
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		s, err := Parse(body)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Apply(r); err != nil && err != ErrTooLarge {
			b.Fatal(err)
		}
		s.AddSessionAttribute("dh-init", "1 x25519=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8 AEAD_AES_256_GCM")
		if len(s.Bytes()) == 0 {
			b.Fatal("nothing left")
		}
	}
}
