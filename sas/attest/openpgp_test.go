package attest

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// The keys of testdata and the signatures beside them are by gpg 2.2.40, made with
//
//	gpg --quick-generate-key 'Alice ALGORITHM <alice@a.example>' ALGORITHM sign never
//	gpg --armor --export FINGERPRINT >ALGORITHM.asc
//	printf 'the signed text' | gpg --digest-algo SHA256 --detach-sign --output ALGORITHM.sig
const storedText = "the signed text"

var storedAlgorithms = []string{"ed25519", "rsa2048", "nistp256"}

type stored struct {
	keys        *Keys
	fingerprint string
	key, sig    []byte
}

func readStored(t testing.TB, algorithm string) stored {
	t.Helper()
	k, err := OpenKeys(filepath.Join("testdata", algorithm+".asc"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := stored{keys: k}
	for s.fingerprint = range k.set.certificates {
	}
	for name, into := range map[string]*[]byte{".asc": &s.key, ".sig": &s.sig} {
		if *into, err = os.ReadFile(filepath.Join("testdata", algorithm+name)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestStoredSignatures(t *testing.T) {
	t.Parallel()
	for _, algorithm := range storedAlgorithms {
		s := readStored(t, algorithm)
		expectResult(t, s.keys.Verify(context.Background(), s.fingerprint, alice, []byte(storedText), s.sig), Right, true, "signed")
		expectResult(t, s.keys.Verify(context.Background(), s.fingerprint, alice, []byte("the signed Text"), s.sig), Wrong, false, "not of this call")
	}
}

// The library notes in a key what it has checked: checks at once must not meet.
func TestChecksAtOnce(t *testing.T) {
	t.Parallel()
	s := readStored(t, "nistp256")
	var second sync.Map
	s.keys.set.now = func() time.Time { // each check judges anew
		n, _ := second.LoadOrStore("n", new(lockedCounter))
		return time.Now().Add(time.Duration(n.(*lockedCounter).next()) * time.Second)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 10 {
				if r := s.keys.Verify(context.Background(), s.fingerprint, alice, []byte(storedText), s.sig); r.State != Right || !r.Owned {
					t.Errorf("%+v", r)
				}
				if !s.keys.Usable(context.Background(), alice) {
					t.Error("not usable")
				}
			}
		}()
	}
	wg.Wait()
}

type lockedCounter struct {
	mu sync.Mutex
	n  int
}

func (c *lockedCounter) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}

// A clock that was wrong for a while leaves nothing behind.
func TestClockThatWasWrong(t *testing.T) {
	t.Parallel()
	e, err := openpgp.NewEntity("Alice", "", "alice@a.example", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, SigLifetimeSecs: 3600})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	k := readTestKeys(t, b.Bytes())
	for _, ahead := range []time.Duration{2 * time.Hour, 0, 2 * time.Hour} {
		k.set.now = func() time.Time { return time.Now().Add(ahead) }
		if got, want := k.Usable(context.Background(), alice), ahead == 0; got != want {
			t.Errorf("%s ahead: usable %v", ahead, got)
		}
	}
}

// No signature costs more than the ones that are nested, which take milliseconds;
// the quickest of some tries counts, as a busy machine only adds.
func TestHostileSignatures(t *testing.T) {
	t.Parallel()
	s := readStored(t, "rsa2048")
	body := func(version, kind, algorithm, hash byte, rest ...byte) []byte {
		return append([]byte{version, kind, algorithm, hash}, rest...)
	}
	framed := func(b []byte) []byte { return append([]byte{0xC2, 255, 0, 0, byte(len(b) >> 8), byte(len(b))}, b...) }
	subpackets := append([]byte{0, 6, 5, 2, 1, 2, 3, 4, 0, 0}, 0, 0)
	for name, tt := range map[string]struct {
		sig   []byte
		state State
	}{
		"MPI of 65535 bits without its octets": {framed(body(4, 0, 1, 8, append(subpackets, 0xff, 0xff, 1)...)), Wrong},
		"MPI of 6000 octets":                   {framed(body(4, 0, 1, 8, append(append(subpackets, 0xbb, 0x80), bytes.Repeat([]byte{0xff}, 6000)...)...)), Wrong},
		"4 GiB of subpackets, version 6":       {framed(body(6, 0, 1, 8, 0xff, 0xff, 0xff, 0xff)), Wrong},
		"version 3":                            {framed(body(3, 5, 0, 0)), Unchecked},
		"version 99":                           {framed(body(99, 5, 0, 0)), Unchecked},
		"unknown algorithm":                    {framed(body(4, 0, 99, 8, 0, 0, 0, 0)), Unchecked},
		"critical subpacket that is not known": {framed(body(4, 0, 1, 8, 0, 9, 5, 2, 1, 2, 3, 4, 2, 0xE0, 1, 0, 0)), Unchecked},
		"no creation time":                     {framed(body(4, 0, 1, 8, 0, 0, 0, 0, 0, 0, 0, 1, 1)), Wrong},
		"nested":                               {framed(nested(300)), Wrong},
		"compressed data":                      {[]byte{0xC8, 2, 1, 0}, Wrong},
		"partial length":                       {append([]byte{0xC2, 0xEF}, make([]byte, 1<<15)...), Wrong},
		"indeterminate length":                 {append([]byte{0x8B}, s.sig[3:]...), Wrong},
		"two octets of length, 1 octet there":  {[]byte{0xC2, 0xC0}, Wrong},
		"4 GiB announced":                      {[]byte{0xC2, 255, 255, 255, 255, 255, 4}, Wrong},
		"one octet":                            {[]byte{0xC2}, Wrong},
	} {
		took := time.Hour
		for try := 0; try < 10 && took > time.Second; try++ {
			start := time.Now()
			if r := s.keys.Verify(context.Background(), s.fingerprint, alice, []byte(storedText), tt.sig); r.State != tt.state || r.Why == "" {
				t.Errorf("%s: %+v, want %s", name, r, tt.state)
			}
			took = min(took, time.Since(start))
		}
		if took > time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
}

// nested is a signature in a signature in a signature.
func nested(depth int) []byte {
	inner := []byte{4, 0x19, 1, 8, 0, 0, 0, 0, 0, 0, 0, 1, 1}
	for range depth {
		n := len(inner) + 1
		hashed := append([]byte{5, 2, 1, 2, 3, 4, 255, 0, 0, byte(n >> 8), byte(n), 32}, inner...)
		inner = append([]byte{4, 0, 1, 8, byte(len(hashed) >> 8), byte(len(hashed))}, hashed...)
		inner = append(inner, 0, 0, 0, 0, 0, 1, 1)
	}
	return inner
}

// A key whose exponent is huge makes each check slow: the library reads none.
func TestHugeExponentIsRefused(t *testing.T) {
	t.Parallel()
	n := new(big.Int).Lsh(big.NewInt(1), 2047)
	n.Add(n, big.NewInt(1))
	for exponent, refused := range map[int]bool{65537: false, 1<<24 - 1: false, 1 << 24: true, 1<<31 - 1: true} {
		var b bytes.Buffer
		if err := packet.NewRSAPublicKey(time.Unix(1e9, 0), &rsa.PublicKey{N: n, E: exponent}).Serialize(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := packet.Read(&b); (err != nil) != refused {
			t.Errorf("exponent %d: %v", exponent, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	all := map[string]stored{}
	for _, algorithm := range storedAlgorithms {
		s := readStored(f, algorithm)
		all[algorithm] = s
		f.Add(s.sig, []byte(storedText))
		f.Add(s.sig, []byte("another text"))
		f.Add(append(bytes.Clone(s.sig), s.sig...), []byte(storedText))
	}
	f.Add([]byte{0xC2, 255, 255, 255, 255, 255, 4}, []byte(storedText))
	f.Add(append([]byte{0xC2, 255, 0, 0, 0x10, 0}, nested(20)...), []byte{})
	f.Fuzz(func(t *testing.T, sig, text []byte) {
		for algorithm, s := range all {
			r := s.keys.Verify(context.Background(), s.fingerprint, alice, text, sig)
			if r.State == Right && string(text) != storedText {
				t.Errorf("%s: right for the text %q", algorithm, text)
			}
			if r.Owned && r.State != Right || r.Why == "" {
				t.Errorf("%s: %+v", algorithm, r)
			}
		}
	})
}

func FuzzKeys(f *testing.F) {
	sigs := map[string]stored{}
	for _, algorithm := range storedAlgorithms {
		s := readStored(f, algorithm)
		sigs[s.fingerprint] = s
		f.Add(s.key)
		_, base, _ := strings.Cut(string(s.key), "\n\n")
		base, _, _ = strings.Cut(base, "\n=")
		raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(base, "\n", ""))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		f.Add(append(raw, raw...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k := newKeySet()
		if err := k.add(b); err != nil {
			return
		}
		if len(k.certificates) == 0 {
			t.Error("no key and no error")
		}
		for fingerprint, c := range k.certificates {
			s, known := sigs[fingerprint]
			// Nobody but the key's owner gives it a name.
			for _, name := range c.at(time.Now()).names {
				if known && !strings.HasPrefix(name, "Alice ") {
					t.Errorf("%s bears the name %q", fingerprint, name)
				}
			}
			if r := k.verify(fingerprint, alice, []byte("another text"), s.sig, func(string) bool { return true }); r.State == Right {
				t.Error("right for another text")
			}
		}
	})
}

func BenchmarkEd25519(b *testing.B) {
	s := testSigner(b, 1)
	benchmarkSigner(b, nil, s)
}

func BenchmarkOpenPGP(b *testing.B) {
	for _, algorithm := range []string{"ed25519", "nistp256", "rsa3072"} {
		b.Run(algorithm, func(b *testing.B) {
			h := newHome(b)
			f := h.Make("Alice <alice@a.example>", algorithm, "sign", "never")
			path := filepath.Join(b.TempDir(), "key")
			if err := os.WriteFile(path, h.Run(nil, "--passphrase", "", "--export-secret-keys", f), 0o600); err != nil {
				b.Fatal(err)
			}
			s, err := OpenKeyFile(path, "")
			if err != nil {
				b.Fatal(err)
			}
			k := h.keys(f)
			benchmarkSigner(b, k, s)
			b.Run("judge", func(b *testing.B) {
				for b.Loop() {
					c := k.set.certificates[f]
					c.forget()
					c.judge(time.Now())
				}
			})
			b.Run("sign by gpg", func(b *testing.B) {
				s, err := NewGnuPGSigner(context.Background(), h.options(), f)
				if err != nil {
					b.Fatal(err)
				}
				benchmarkSign(b, s)
			})
		})
	}
}

func benchmarkSigner(b *testing.B, k Keyring, s Signer) {
	b.Run("sign", func(b *testing.B) { benchmarkSign(b, s) })
	value, err := s.Sign(context.Background(), Initiator, [32]byte{}, alice)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if r := CheckAll(context.Background(), k, Initiator, [32]byte{}, []string{value}); r[0].State != Right {
				b.Fatal(r[0].Why)
			}
		}
	})
}

func benchmarkSign(b *testing.B, s Signer) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Sign(context.Background(), Initiator, [32]byte{}, alice); err != nil {
			b.Fatal(err)
		}
	}
}
