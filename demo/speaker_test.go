package demo

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/memnet"
)

// withSpeaker runs f in a bubble with a speaker whose code is known once it is
// stored.
func withSpeaker(t *testing.T, f func(t *testing.T, n Network, s *Speaker, code *atomic.Pointer[string])) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := memnet.New(memnet.Options{Seed: 3, Delay: oneWay})
		defer memory.Close()
		n := &counted{Network: memory}
		var code atomic.Pointer[string]
		s, err := NewSpeaker(SpeakerOptions{Network: n, Addr: netip.MustParseAddr("192.0.2.99"), Code: func(callID string) (string, bool) {
			if p := code.Load(); p != nil && callID != "" {
				return *p, true
			}
			return "", false
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		f(t, n, s, &code)
		s.Close()
		if open := n.open.Load(); open != 0 || s.Calls() != 0 {
			t.Errorf("%d sockets and %d calls are left", open, s.Calls())
		}
	})
}

func TestSpeakerReadsTheCode(t *testing.T) {
	withSpeaker(t, func(t *testing.T, n Network, s *Speaker, code *atomic.Pointer[string]) {
		alice, err := NewPhone(PhoneOptions{Name: "alice", Addr: netip.MustParseAddr("192.0.2.7"), Network: n, Proxy: s.Addr(), Play: audio.Alice()})
		if err != nil {
			t.Fatal(err)
		}
		defer alice.Close()
		call, err := alice.Call(s.URI())
		if err != nil {
			t.Fatal(err)
		}
		await(t, call.Up())
		time.Sleep(2 * time.Second) // as a key exchange may take
		text := "709 518"
		code.Store(&text)
		if err := <-call.Hold(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second) // nothing is said meanwhile, and nothing is lost
		if err := <-call.Resume(); err != nil {
			t.Fatal(err)
		}
		await(t, call.Ended())
		if call.Err() != nil {
			t.Error(call.Err())
		}
		if got := audio.HeardDigits(call.Heard()); got != "709518709518" {
			t.Errorf("heard %s", got)
		}
		if _, heard := call.Reports(); heard == 0 || call.Noise() != 0 {
			t.Errorf("%d reports, noise %d", heard, call.Noise())
		}
	})
}

// A call without a code ends by itself, whether or not the caller says anything.
func TestSpeakerWithoutACode(t *testing.T) {
	withSpeaker(t, func(t *testing.T, n Network, s *Speaker, _ *atomic.Pointer[string]) {
		p := newProber(t, n, s.machine)
		defer p.close()
		begun := time.Now()
		mediaOf(t, p.dial(sdpType, offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 0", "a=recvonly")))
		await(t, p.ended)
		if took := time.Since(begun); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("it took %v", took)
		}
		p.close()
	})
}

// It answers G.711 alone, in the caller's order, and says why it does not answer
// what has none.
func TestSpeakerSpeaksG711(t *testing.T) {
	withSpeaker(t, func(t *testing.T, n Network, s *Speaker, code *atomic.Pointer[string]) {
		text := "360 518"
		code.Store(&text)
		p := newProber(t, n, s.machine)
		defer p.close()
		res := p.dial(sdpType, offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 111 9", "a=rtpmap:111 opus/48000/2", "a=rtpmap:9 G722/8000"))
		if res.Status != 488 || res.Reason != errNoG711.Error() {
			t.Errorf("%d %s", res.Status, res.Reason)
		}

		res = p.dial(sdpType, offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 111 8 0 101", "a=rtpmap:111 opus/48000/2", "a=rtpmap:8 PCMA/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", "a=ptime:60"))
		line := mediaOf(t, res)[0]
		if want := fmt.Sprintf("m=audio %d RTP/AVP 8 0\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n", line.Port); !strings.HasSuffix(string(res.Body), want) {
			t.Errorf("answered\n%s\nwant the end\n%s", res.Body, want)
		}
		var heard []int16
		var first, last received
		for i := 0; ; i++ {
			b := p.hear(p.rtp, time.Second)
			if b == nil {
				break
			}
			r, ok := parsePacket(b)
			if !ok || r.pt != payloadPCMA || len(r.payload) != frameSamples || (b[1]&0x80 != 0) != (i == 0) {
				t.Fatalf("packet %d: %x", i, b[:min(len(b), 12)])
			}
			if i == 0 {
				first = r
			} else if r.ssrc != first.ssrc || r.seq != last.seq+1 {
				t.Fatalf("packet %d: SSRC %d after %d, number %d after %d", i, r.ssrc, first.ssrc, r.seq, last.seq)
			}
			last = r
			heard = append(heard, audio.DecodeALaw(r.payload)...)
		}
		if got := audio.HeardDigits(heard); got != "360518360518" {
			t.Errorf("heard %s", got)
		}
		await(t, p.ended)
		p.close()
	})
}
