package vectors

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the vector files anew")

// hexBytes are octets that stand in the files as lower-case hex digits.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func unhex(t testing.TB, s string) hexBytes {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// secret makes a private key out of its name, so that the files can be
// computed by anybody who reads this line.
func secret(name string) hexBytes {
	sum := sha256.Sum256([]byte("sipward test vector: " + name))
	return sum[:]
}

// compare holds a file to what was computed, or writes it.
func compare(t *testing.T, file string, computed any) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(computed); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	stored, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(stored, b.Bytes()) {
		return
	}
	want, got := bytes.Split(b.Bytes(), []byte("\n")), bytes.Split(stored, []byte("\n"))
	for i := range min(len(want), len(got)) {
		if !bytes.Equal(want[i], got[i]) {
			t.Fatalf("%s:%d differs from what the protocol gives\nfile     %s\ncomputed %s", file, i+1, got[i], want[i])
		}
	}
	t.Fatalf("%s has %d lines, computed are %d", file, len(got), len(want))
}
