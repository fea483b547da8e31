package srtp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"testing"
)

// octets is a hex string of a test vector.
type octets []byte

func (o *octets) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*o = b
	return err
}

type rfcVectors struct {
	Derivation []struct {
		Section    string
		Key, Salt  octets
		CipherKey  octets `json:"cipher_key"`
		CipherSalt octets `json:"cipher_salt"`
		AuthKey    octets `json:"auth_key"`
	}
	Keystream []struct {
		Section              string
		Key, Salt, Keystream octets
	}
	Packets []struct {
		Section, Suite, Kind string
		SessionKey           octets `json:"session_key"`
		SessionSalt          octets `json:"session_salt"`
		Index                uint32
		Plain, Protected     octets
	}
}

// The RFCs print values of single steps and packets under session keys. They
// prove the reference; TestContextIsReference then compares Context with it
// under master keys.
func TestReferenceAgainstRFCs(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/rfc.json")
	if err != nil {
		t.Fatal(err)
	}
	var v rfcVectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Derivation) == 0 || len(v.Keystream) == 0 || len(v.Packets) == 0 {
		t.Fatal("vectors missing")
	}
	check := func(name string, got, want []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, want %x", name, got, want)
		}
	}
	for _, d := range v.Derivation {
		r := newReference("", d.Key, d.Salt)
		check(d.Section+" cipher key", r.rtpKey, d.CipherKey)
		check(d.Section+" cipher salt", r.rtpSalt, d.CipherSalt)
		check(d.Section+" auth key", r.rtpAuth, d.AuthKey)
	}
	for _, k := range v.Keystream {
		check(k.Section, keystream("", k.Key, counter(k.Salt, 0, 0), len(k.Keystream)), k.Keystream)
	}
	for _, p := range v.Packets {
		r := &reference{suite: p.Suite, rtpKey: p.SessionKey, rtpSalt: p.SessionSalt, rtcpKey: p.SessionKey, rtcpSalt: p.SessionSalt}
		if p.Kind == "rtp" {
			check(p.Section, r.protect(p.Plain, 12, 0), p.Protected)
		} else {
			check(p.Section, r.protectRTCP(p.Plain, p.Index), p.Protected)
		}
	}
}

func TestContextIsReference(t *testing.T) {
	t.Parallel()
	for _, suite := range Suites() {
		t.Run(suite.Name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(1, uint64(suite.KeyLen+suite.SaltLen)))
			key, salt := randomOctets(rng, suite.KeyLen), randomOctets(rng, suite.SaltLen)
			reference := newReference(suite.Name, key, salt)
			send, recv := newTestContext(t, suite, key, salt), newTestContext(t, suite, key, salt)
			index := uint64(65500) // wraps after 36 packets
			for i := range 200 {
				pkt, header := randomRTP(rng, uint16(index), 0xcafe0001)
				want := reference.protect(pkt, header, uint32(index>>16))
				got, err := send.Protect(nil, pkt)
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("packet %d: got %x (%v), want %x", i, got, err, want)
				}
				back, err := recv.Unprotect(nil, got)
				if err != nil || !bytes.Equal(back, pkt) {
					t.Fatalf("packet %d back: got %x (%v), want %x", i, back, err, pkt)
				}
				index++

				report := randomRTCP(rng, 0xcafe0001)
				want = reference.protectRTCP(report, uint32(i+1))
				got, err = send.ProtectRTCP(nil, report)
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("report %d: got %x (%v), want %x", i, got, err, want)
				}
				if n := recv.RTCPIndex(got); n != uint32(i+1) {
					t.Fatalf("report %d: RTCPIndex %d", i, n)
				}
				back, err = recv.UnprotectRTCP(nil, got)
				if err != nil || !bytes.Equal(back, report) {
					t.Fatalf("report %d back: got %x (%v), want %x", i, back, err, report)
				}
			}
		})
	}
}

func newTestContext(t testing.TB, suite Suite, key, salt []byte) *Context {
	t.Helper()
	c, err := NewContext(suite.Name, key, salt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func randomOctets(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// randomRTP makes a packet with up to 3 CSRCs and now and then an extension.
func randomRTP(rng *rand.Rand, seq uint16, ssrc uint32) (pkt []byte, header int) {
	csrcs := rng.IntN(4)
	pkt = append([]byte{2<<6 | byte(csrcs), byte(rng.IntN(128)), byte(seq >> 8), byte(seq)}, randomOctets(rng, 4)...)
	pkt = append(pkt, byte(ssrc>>24), byte(ssrc>>16), byte(ssrc>>8), byte(ssrc))
	pkt = append(pkt, randomOctets(rng, 4*csrcs)...)
	if rng.IntN(2) == 0 {
		words := rng.IntN(3)
		pkt[0] |= 0x10
		pkt = append(append(pkt, 0xab, 0xcd, 0, byte(words)), randomOctets(rng, 4*words)...)
	}
	header = len(pkt)
	return append(pkt, randomOctets(rng, rng.IntN(200))...), header
}

func randomRTCP(rng *rand.Rand, ssrc uint32) []byte {
	words := 1 + rng.IntN(20)
	pkt := []byte{2 << 6, 201, 0, byte(words), byte(ssrc >> 24), byte(ssrc >> 16), byte(ssrc >> 8), byte(ssrc)}
	return append(pkt, randomOctets(rng, 4*words-4)...)
}
