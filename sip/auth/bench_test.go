package auth

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func BenchmarkChallenge(b *testing.B) {
	c := newChallenger(b, Options{})
	b.ReportAllocs()
	for b.Loop() {
		c.Challenge(false)
	}
}

// BenchmarkVerify compares what answers cost; "wrong" and "unknown" must not
// differ, or names could be found out by the time.
func BenchmarkVerify(b *testing.B) {
	var file strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&file, "user%d:zanzibar\n", i)
	}
	path := filepath.Join(b.TempDir(), "users.txt")
	if err := os.WriteFile(path, []byte(file.String()+"bob:zanzibar\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	u, err := OpenUsers(path, realm)
	if err != nil {
		b.Fatal(err)
	}
	for _, a := range []Algorithm{SHA256, MD5} {
		c := newChallenger(b, Options{Users: u, Algorithms: []Algorithm{a}})
		s := NewSession(Credentials{User: "bob", Password: "zanzibar"})
		var right []string
		v, err := s.Answer(c.Challenge(false), "", register)
		for range 4096 {
			if err != nil {
				b.Fatal(err)
			}
			right = append(right, v)
			v, _ = s.Next(register)
		}
		name := string(a)
		b.Run(name+"/right", func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i%len(right) == 0 {
					c.counts = newCounts(c.counts.lifetime)
				}
				if res := c.Verify(right[i%len(right):][:1], register); res.Verdict != OK {
					b.Fatal(res)
				}
				i++
			}
		})
		wrong := strings.Replace(right[0], `cnonce="`, `cnonce="x`, 1)
		for _, other := range []struct{ name, value string }{
			{"wrong", wrong}, {"unknown", strings.Replace(wrong, `"bob"`, `"bib"`, 1)},
		} {
			b.Run(name+"/"+other.name, func(b *testing.B) {
				b.ReportAllocs()
				values := []string{other.value}
				for b.Loop() {
					if res := c.Verify(values, register); res.Verdict != Wrong {
						b.Fatal(res)
					}
				}
			})
		}
	}
	c := newChallenger(b, Options{Users: u})
	b.Run("parallel", func(b *testing.B) {
		s := NewSession(Credentials{User: "bob", Password: "zanzibar"})
		v, err := s.Answer(c.Challenge(false), "", register)
		if err != nil {
			b.Fatal(err)
		}
		values := []string{v}
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c.Verify(values, register)
			}
		})
	})
}

func BenchmarkAnswer(b *testing.B) {
	c := newChallenger(b, Options{})
	ch := c.Challenge(false)
	s := NewSession(Credentials{User: "bob", Password: "zanzibar"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Answer(ch, "", register); err != nil {
			b.Fatal(err)
		}
	}
}
