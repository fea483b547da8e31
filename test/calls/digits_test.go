package calls

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// packet is RTP of a payload type.
func packet(payloadType byte, seq uint16, ssrc byte) []byte {
	return append([]byte{0x80, payloadType, byte(seq >> 8), byte(seq), 0, 0, 0, 0, 0, 0, 0, ssrc}, 5, 0x8a, 3, 32)
}

// Both phones number their digits differently (RFC 3264 section 5.1 lets them),
// and send what the other one's description says: comfort noise and digits
// arrive under the number that the listener has named.
func TestDigitsUnderTheListenersNumber(t *testing.T) {
	t.Parallel()
	for _, mode := range []policy.Mode{policy.Require, policy.Off} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{modeA: mode, modeB: mode}, func(t *testing.T, w *world) {
				w.alice.body, w.bob.body = withEvents(w.alice, "101"), withEvents(w.bob, "97")
				w.up()
				for p, number := range map[*phone]string{w.alice: "97", w.bob: "101"} {
					body := p.lastReq
					if p == w.alice {
						body = p.answer
					}
					if !strings.Contains(string(body.Body), "a=rtpmap:"+number+" telephone-event/8000") {
						t.Errorf("%s was told\n%s", p.name, body.Body)
					}
				}
				for i, kind := range []byte{0, 13, 97} {
					w.alice.rtp.WriteTo(packet(kind, uint16(i), 1), net.UDPAddrFromAddrPort(*w.alice.media.Load()))
					time.Sleep(20 * time.Millisecond)
				}
				for i, kind := range []byte{0, 13, 101} {
					w.bob.rtp.WriteTo(packet(kind, uint16(i), 2), net.UDPAddrFromAddrPort(*w.bob.media.Load()))
					time.Sleep(20 * time.Millisecond)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				for p, want := range map[*phone]string{w.alice: "\x00\x0d\x65", w.bob: "\x00\x0d\x61"} {
					var got []byte
					for len(p.heard) > 0 {
						pkt := <-p.heard
						got = append(got, pkt[1])
						if string(pkt[12:]) != "\x05\x8a\x03\x20" {
							t.Errorf("%s heard %x", p.name, pkt)
						}
					}
					if string(got) != want {
						t.Errorf("%s heard payload types %v, want %v", p.name, got, []byte(want))
					}
				}
			})
		})
	}
}

// Candidates that come later, in an INFO (RFC 8840), reach nobody: the call's
// media goes through its sipwards.
func TestTrickledCandidatesDoNotPass(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{modeA: policy.Prefer, modeB: policy.Prefer}, func(t *testing.T, w *world) {
		w.up()
		for _, p := range []*phone{w.alice, w.bob} {
			for _, f := range []struct {
				fields []sip.Field
				kind   string
				want   int
			}{
				{[]sip.Field{{Name: "Info-Package", Value: "trickle-ice"}}, "application/trickle-ice-sdpfrag", 469},
				{nil, "application/trickle-ice-sdpfrag", 469},
				{[]sip.Field{{Name: "Info-Package", Value: "Trickle-ICE"}}, "text/plain", 469},
				{nil, "application/dtmf-relay", 200},
			} {
				status := make(chan int, 1)
				p.do(func(d *sip.Dialog) {
					d.Do("INFO", f.kind, []byte("a=candidate:1 1 udp 1 10.1.0.2 4000 typ host\r\n"), func(res *sip.Message, err error) {
						if err == nil && res.Status >= 200 {
							status <- res.Status
						}
					}, f.fields...)
				})
				if got := <-status; got != f.want {
					t.Errorf("INFO of %s with %s: %d, want %d", p.name, f.kind, got, f.want)
				}
			}
		}
	})
}
