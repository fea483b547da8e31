package capture

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/audio"
)

// packet is an RTP packet with a plain header.
func packet(payloadType byte, sequence uint16, ssrc uint32, payload []byte) []byte {
	b := []byte{0x80, payloadType}
	b = binary.BigEndian.AppendUint16(b, sequence)
	b = binary.BigEndian.AppendUint32(b, 160*uint32(sequence))
	b = binary.BigEndian.AppendUint32(b, ssrc)
	return append(b, payload...)
}

// frames are 20-ms payloads of mu-law.
func frames(pcm []int16) [][]byte {
	return slices.Collect(slices.Chunk(audio.EncodeMuLaw(pcm[:len(pcm)/160*160]), 160))
}

func TestRecorderIsBounded(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Limits{Packets: 3})
	b := []byte("a")
	for range 5 {
		r.UDP(noon, alice4, bob4, b)
		b[0]++
	}
	got := r.Packets()
	if len(got) != 3 || r.Dropped() != 2 || string(got[0].Payload) != "a" || string(got[2].Payload) != "c" {
		t.Errorf("kept %+v, dropped %d", got, r.Dropped())
	}
	if got[0].From != alice4 || got[0].To != bob4 || !got[0].Time.Equal(noon) {
		t.Errorf("kept %+v", got[0])
	}

	r = NewRecorder(Limits{Octets: 10})
	for _, size := range []int{6, 5, 4, 0, 1} { // 5 and 1 are too much, 0 is not
		r.UDP(noon, alice4, bob4, make([]byte, size))
	}
	if len(r.Packets()) != 3 || r.Dropped() != 2 {
		t.Errorf("kept %d, dropped %d", len(r.Packets()), r.Dropped())
	}

	r = NewRecorder(Limits{})
	for range 200_001 {
		r.UDP(noon, alice4, bob4, nil)
	}
	if len(r.Packets()) != 200_000 || r.Dropped() != 1 {
		t.Errorf("by default kept %d, dropped %d", len(r.Packets()), r.Dropped())
	}
}

func TestRecorderWritesPcap(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Limits{})
	r.UDP(noon, alice4, bob4, []byte("one"))
	r.UDP(noon.Add(time.Second), bob6, alice6, []byte("two"))
	var file bytes.Buffer
	if err := r.WritePcap(&file); err != nil {
		t.Fatal(err)
	}
	got := readBack(t, file.Bytes())
	if len(got) != 2 || string(got[0].payload) != "one" || got[1].from != bob6 || !got[1].time.Equal(noon.Add(time.Second)) {
		t.Errorf("read back %+v", got)
	}
	if err := r.WritePcap(&full{10}); err == nil {
		t.Error("a full disk was no error")
	}
}

func TestRecorderConcurrently(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Limits{Packets: 500})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 100 {
				r.UDP(noon, alice4, bob4, packet(0, uint16(i), 1, []byte("x")))
				if i%20 == 0 {
					r.Flows()
				}
			}
		})
	}
	wg.Wait()
	if len(r.Packets()) != 500 || r.Dropped() != 300 {
		t.Errorf("kept %d, dropped %d", len(r.Packets()), r.Dropped())
	}
}

func TestFlows(t *testing.T) {
	t.Parallel()
	media := func(a netip.AddrPort, port uint16) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), port) }
	from, to := media(alice4, 4000), media(bob4, 5000)
	withSources := packet(8, 7, 2, append(make([]byte, 8), "csrc"...))
	withSources[0] |= 2
	withExtension := packet(0x80|8, 8, 2, append([]byte{0xbe, 0xde, 0, 1, 1, 2, 3, 4}, "ext"...))
	withExtension[0] |= 0x10
	cutExtension := packet(8, 9, 2, []byte{0xbe, 0xde, 0, 2, 1, 2, 3, 4})
	cutExtension[0] |= 0x10
	padded := packet(8, 10, 2, []byte{1, 2, 2})
	padded[0] |= 0x20

	r := NewRecorder(Limits{})
	for _, d := range []struct {
		from, to netip.AddrPort
		b        []byte
	}{
		{alice4, bob4, []byte("INVITE sip:bob@192.0.2.2 SIP/2.0")},
		{from, to, packet(0, 1, 1, []byte("a"))},
		{to, from, packet(0, 1, 1, []byte("b"))},        // the other direction
		{from, to, packet(200, 1, 1, make([]byte, 40))}, // a sender report
		{from, to, packet(0, 2, 1, []byte("c"))},
		{from, to, withSources},
		{from, to, withExtension},
		{from, to, cutExtension},
		{from, to, padded},
		{from, to, packet(0, 3, 1, nil)},
		{from, to, packet(0, 4, 1, nil)[:11]},
		{from, to, nil},
		{from, to, append([]byte{0x00, 0x01}, make([]byte, 18)...)}, // a STUN request
	} {
		r.UDP(noon, d.from, d.to, d.b)
	}
	flows := r.Flows()
	if len(flows) != 3 {
		t.Fatalf("%d flows, want 3: %+v", len(flows), flows)
	}
	tests := []struct {
		from, to netip.AddrPort
		ssrc     uint32
		want     []string
	}{
		{from, to, 1, []string{"a", "c", ""}},
		{to, from, 1, []string{"b"}},
		{from, to, 2, []string{"csrc", "ext", "\x01\x02\x02"}},
	}
	for i, tt := range tests {
		f := flows[i]
		var got []string
		for _, p := range f.Payloads() {
			got = append(got, string(p))
		}
		if f.From != tt.from || f.To != tt.to || f.SSRC != tt.ssrc || !slices.Equal(got, tt.want) {
			t.Errorf("flow %d: %v to %v, %d: %q", i, f.From, f.To, f.SSRC, got)
		}
	}
	p := flows[2].Packets[1]
	if p.PayloadType != 8 || !p.Marker || p.Sequence != 8 || p.Timestamp != 1280 || !p.Time.Equal(noon) {
		t.Errorf("read %+v", p)
	}
}

func FuzzRTP(f *testing.F) {
	f.Add(packet(0, 1, 2, []byte("payload")))
	f.Add(packet(200, 1, 2, nil))
	f.Add([]byte{0x9f, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ssrc, ok := parseRTP(b)
		if !ok {
			return
		}
		if !bytes.HasSuffix(b, p.Payload) || len(b)-len(p.Payload) < 12 {
			t.Errorf("payload % x of % x", p.Payload, b)
		}
		// The fixed header, built again from what was read.
		again := packet(p.PayloadType, p.Sequence, ssrc, nil)
		again[0] = b[0]
		if p.Marker {
			again[1] |= 0x80
		}
		binary.BigEndian.PutUint32(again[4:], p.Timestamp)
		if !bytes.Equal(again, b[:12]) {
			t.Errorf("header % x read as % x", b[:12], again)
		}
	})
}

func TestPlainSet(t *testing.T) {
	t.Parallel()
	said := frames(audio.Alice())
	var s PlainSet
	if s.In(said[50]) {
		t.Error("an empty set contains something")
	}
	kept := 0
	for _, f := range said {
		if s.Add(f) {
			kept++
		}
	}
	if kept < len(said)*3/4 {
		t.Errorf("only %d of %d frames of speech can be found again", kept, len(said))
	}
	if got := s.Count(said); got != kept {
		t.Errorf("%d of what was said is readable, want %d", got, kept)
	}
	if got := s.Count(frames(audio.Bob())); got != 0 {
		t.Errorf("%d of what somebody else said is readable", got)
	}

	random := rand.New(rand.NewPCG(1, 1))
	cipher := make([][]byte, len(said))
	var tagged, whole [][]byte
	for i, f := range said {
		cipher[i] = make([]byte, len(f)+10)
		for j := range cipher[i] {
			cipher[i][j] = byte(random.Uint32())
		}
		tagged = append(tagged, slices.Concat(f, cipher[i][:10])) // SRTP with the NULL cipher
		whole = append(whole, packet(0, uint16(i), 1, f))
	}
	if got := s.Count(cipher); got != 0 {
		t.Errorf("%d of the ciphertexts are readable", got)
	}
	if got := s.Count(tagged); got != kept {
		t.Errorf("%d with a tag behind are readable, want %d", got, kept)
	}
	if got := s.Count(whole); got != kept {
		t.Errorf("%d within whole datagrams are readable, want %d", got, kept)
	}
	// Cut anew, into 30 ms that begin elsewhere.
	cut := slices.Collect(slices.Chunk(slices.Concat(said...)[77:], 240))
	if got, want := s.Count(cut), kept*160/240*9/10; got < want {
		t.Errorf("%d of %d are readable when cut anew, want at least %d", got, len(cut), want)
	}
}

func TestContainsPlain(t *testing.T) {
	t.Parallel()
	speech := audio.EncodeMuLaw(audio.Alice()[16000:16160])
	other := audio.EncodeMuLaw(audio.Bob()[16000:16160])
	silent := bytes.Repeat([]byte{0xff}, 160)
	quiet := bytes.Repeat([]byte{0xff, 0xfe, 0x7f, 0x7e}, 40)
	tests := []struct {
		name          string
		tapped, plain []byte
		want          bool
	}{
		{"equal", speech, speech, true},
		{"inside", slices.Concat(other, speech, other), speech, true},
		{"63 octets of it", speech[20:83], speech, true},
		{"31 octets of it", speech[:31], speech, false},
		{"another", other, speech, false},
		{"silence", silent, silent, false},
		{"quiet noise", quiet, quiet, false},
		{"speech after silence", slices.Concat(silent[:80], speech[:80]), slices.Concat(silent[:80], speech[:80]), true},
		{"nothing tapped", nil, speech, false},
		{"nothing said", speech, nil, false},
		{"too short", speech[:20], speech[:20], false},
	}
	for _, tt := range tests {
		if got := ContainsPlain(tt.tapped, tt.plain); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func BenchmarkPlainSetIn(b *testing.B) {
	var s PlainSet
	for _, f := range frames(audio.Alice()) {
		s.Add(f)
	}
	tapped := packet(0, 1, 1, frames(audio.Bob())[100])
	for b.Loop() {
		if s.In(tapped) {
			b.Fatal("found")
		}
	}
}

func BenchmarkWriterUDP(b *testing.B) {
	w, err := NewWriter(&full{1 << 62})
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 172)
	b.ReportAllocs()
	for b.Loop() {
		if err := w.UDP(noon, alice4, bob4, payload); err != nil {
			b.Fatal(err)
		}
	}
}
