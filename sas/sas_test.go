package sas

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKnownValues(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		octets      [4]byte
		words, code string
	}{
		// The first octets of the fingerprint that the word list is usually
		// shown with: topmost Istanbul Pluto vagabond.
		{[4]byte{0xe5, 0x82, 0x94, 0xf2}, "topmost Istanbul Pluto", "540 274"},
		{[4]byte{0x00, 0x00, 0x00, 0x00}, "aardvark adroitness aardvark", "000 000"},
		{[4]byte{0xff, 0xff, 0xff, 0xff}, "Zulu Yucatan Zulu", "967 295"}, // 4294967295
		{[4]byte{0x09, 0x09, 0x0a, 0x00}, "Algol applicant allow", "587 328"},
		{[4]byte{0x0a, 0x0a, 0x09, 0x00}, "allow Apollo Algol", "429 824"},
		{[4]byte{0x00, 0x0f, 0x42, 0x40}, "aardvark atmosphere crowfoot", "000 000"}, // 1000000
		{[4]byte{0x00, 0x0f, 0x42, 0x3f}, "aardvark atmosphere crowfoot", "999 999"},
		{[4]byte{0x00, 0x00, 0x00, 0x07}, "aardvark adroitness aardvark", "000 007"},
		{[4]byte{0x00, 0x01, 0xe2, 0x40}, "aardvark adviser tiger", "123 456"},
	} {
		if got := WordsString(v.octets); got != v.words {
			t.Errorf("%x: words %q, want %q", v.octets, got, v.words)
		}
		if got := Words(v.octets); strings.Join(got[:], " ") != v.words {
			t.Errorf("%x: words %q, want %q", v.octets, got, v.words)
		}
		if got := Code(v.octets); got != v.code {
			t.Errorf("%x: code %q, want %q", v.octets, got, v.code)
		}
	}
}

// TestOctetsThatCount: words hang on the first three octets, each on one, the
// code on all four.
func TestOctetsThatCount(t *testing.T) {
	t.Parallel()
	base := [4]byte{10, 20, 30, 40}
	for i := range base {
		other := base
		other[i]++
		a, b := Words(base), Words(other)
		for w := range a {
			if (a[w] != b[w]) != (w == i) {
				t.Errorf("octet %d and word %d", i, w)
			}
		}
		if Code(base) == Code(other) {
			t.Errorf("octet %d does not reach the code", i)
		}
	}
}

func TestWordLists(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for name, list := range map[string][256]string{"even": even, "odd": odd} {
		for i, word := range list {
			lower := strings.ToLower(word)
			if seen[lower] {
				t.Errorf("%s %#x: %q is there twice", name, i, word)
			}
			seen[lower] = true
			if strings.Trim(lower, "abcdefghijklmnopqrstuvwxyz") != "" || len(word) < 4 || len(word) > 11 {
				t.Errorf("%s %#x: %q is no word of the list", name, i, word)
			}
			if i == 0 {
				continue
			}
			inOrder := strings.ToLower(list[i-1]) < lower
			// "applicant" stands before "Apollo".
			if exception := name == "odd" && word == "Apollo"; inOrder == exception {
				t.Errorf("%s %#x: %q after %q", name, i, word, list[i-1])
			}
		}
	}
}

// TestVectors holds the renderings to those of the complete exchanges.
func TestVectors(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "test", "vectors", "exchanges.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []struct{ Name, SAS, Words, Code string }
	if err := json.Unmarshal(b, &all); err != nil || len(all) == 0 {
		t.Fatalf("%d vectors, %v", len(all), err)
	}
	for _, v := range all {
		octets, err := hex.DecodeString(v.SAS)
		if err != nil || len(octets) != 4 {
			t.Fatalf("%s: SAS %q", v.Name, v.SAS)
		}
		if w, c := WordsString([4]byte(octets)), Code([4]byte(octets)); w != v.Words || c != v.Code {
			t.Errorf("%s: %q and %q, want %q and %q", v.Name, w, c, v.Words, v.Code)
		}
	}
}

func FuzzCode(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 4 {
			return
		}
		// The long way round: the number modulo a million, digit by digit.
		n := uint64(0)
		for _, o := range b[:4] {
			n = (n*256 + uint64(o)) % 1_000_000
		}
		want := ""
		for i := range 6 {
			if i == 3 {
				want = " " + want
			}
			want = string(rune('0'+n%10)) + want
			n /= 10
		}
		if got := Code([4]byte(b[:4])); got != want {
			t.Errorf("%x: %q, want %q", b[:4], got, want)
		}
	})
}
