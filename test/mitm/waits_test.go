package mitm

import (
	"sync/atomic"
	"testing"

	"github.com/sipward/sipward/demo"
	"github.com/sipward/sipward/policy"
)

// Where calls must be pinned or verified the caller's house keeps back what is said
// until the callee's has confirmed the keys (protocol section 7). He takes all media
// off the wire and gives the caller's house something else for a confirmation:
// whatever that is, nothing is let go, and after 5 s the call ends.
func waits() []attack {
	verified := policy.Rules{UnknownPeers: policy.Require, UnknownTrust: policy.Verified}
	pinned := policy.Rules{UnknownPeers: policy.Require, UnknownTrust: policy.Pinned}
	// instead says what house A gets, at the RTP port and at the one of RTCP, for each
	// probe of its own.
	instead := func(name string, rules policy.Rules, instead func(s *scene, probe []byte, old [][]byte) [][]byte, toRTP bool) attack {
		var said, forged atomic.Int64
		return attack{name: name, rules: rules, earlier: true, alice: unheard, bob: unheard,
			mount: func(t *testing.T, s *scene) {
				old := s.man.Reports(FromB)
				if len(old) == 0 {
					t.Error("house B has sent no report in the earlier call")
				}
				s.man.Seize(func(p Packet) {
					switch {
					case p.Who == FromA && p.RTP():
						said.Add(1)
					case p.Who == FromA && p.RTCP() && (p.To.Port()%2 == 0) == toRTP:
						for _, b := range instead(s, p.Payload, old) {
							forged.Add(1)
							if err := s.man.Forge(p.To, p.From, b); err != nil {
								t.Error(err)
							}
						}
					}
				})
			},
			afterwards: func(t *testing.T, _ *scene, _ *demo.Call) {
				if said.Load() != 0 || forged.Load() < 20 {
					t.Errorf("%d packets of what was said left house A, for %d that he gave it", said.Load(), forged.Load())
				}
			}}
	}
	reflect := func(_ *scene, probe []byte, _ [][]byte) [][]byte { return [][]byte{probe} }
	replay := func(_ *scene, _ []byte, old [][]byte) [][]byte { return old }
	forge := func(_ *scene, probe []byte, _ [][]byte) [][]byte {
		report := append([]byte{0x80, 201, 0, 1}, probe[4:8]...)
		speech := append([]byte{0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 0x77}, make([]byte, 160)...)
		other := append([]byte(nil), probe...)
		other[len(other)-1] ^= 1
		return [][]byte{{}, report, append(report, make([]byte, 20)...), speech, append(speech, make([]byte, 16)...), other}
	}
	return []attack{
		instead("reflects the caller's probe", verified, reflect, false),
		instead("reflects the caller's probe to the port of RTP", verified, reflect, true),
		instead("replays a confirmation of an earlier call", verified, replay, false),
		instead("replays a confirmation of an earlier call to the port of RTP", pinned, replay, true),
		instead("forges a confirmation", verified, forge, false),
		instead("forges a confirmation at the port of RTP", pinned, forge, true),
	}
}
